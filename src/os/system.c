/* system.c - limits, clock, entropy, symbols. Reads files by raw open/read into the stack: no stdio,
 * which would malloc, and by syscall(), which is no cancellation point: a thread that is cancelled
 * here would leave with a lock held. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "os/os.h"
#include "os/syscalls.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

static size_t limit(int which)
{
	struct rlimit lim;
	if (hk_sys_getrlimit(which, &lim) || lim.rlim_cur == RLIM_INFINITY)
		return SIZE_MAX;
	return lim.rlim_cur;
}

size_t hk_os_limit_address_space(void)
{
	return limit(RLIMIT_AS);
}

size_t hk_os_limit_data(void)
{
	return limit(RLIMIT_DATA);
}

size_t hk_os_limit_locked(void)
{
	return limit(RLIMIT_MEMLOCK);
}

int hk_os_read(const char *path, char *buf, size_t bytes, bool roots)
{
	int saved = errno, fd = hk_sys_open(path, O_RDONLY | O_NONBLOCK);
	ssize_t got = -1;
	struct stat st;
	if (fd >= 0 && roots &&
	    (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid || (st.st_mode & (S_IWGRP | S_IWOTH))))
		got = -2;
	else if (fd >= 0)
		got = hk_sys_read(fd, buf, bytes - 1);
	if (fd >= 0)
		hk_sys_close(fd);
	errno = saved;
	if (got < 0)
		return got == -2 ? -2 : -1;
	buf[got] = 0;
	return (int)got;
}

/* The number that a file begins with, or SIZE_MAX ("max", absent). */
static size_t read_number(const char *path)
{
	char buf[64];
	if (hk_os_read(path, buf, sizeof(buf), false) <= 0 || buf[0] < '0' || buf[0] > '9')
		return SIZE_MAX;
	size_t x = 0;
	for (char *s = buf; *s >= '0' && *s <= '9'; s++)
		x = x * 10 + (size_t)(*s - '0');
	return x;
}

/* The least of the limits in files LEAF of the process's cgroup and of all those above it. TEXT is
 * /proc/self/cgroup, KEY what stands before the group's path in its line, ROOT where it is mounted. */
static size_t cgroup_limit(const char *text, const char *key, const char *root, const char *leaf)
{
	char path[1200];
	const char *line = strstr(text, key);
	size_t least = SIZE_MAX, n = strlen(root), first = n, more;
	line = line ? line + strlen(key) - 1 : "";
	more = strcspn(line, "\n");
	if (n + more + strlen(leaf) >= sizeof(path))
		more = 0; /* the root's alone */
	memcpy(path, root, n);
	memcpy(path + n, line, more);
	for (n += more; n >= first; n--) {
		if (n > first && path[n] != '/' && n != first + more)
			continue; /* within a name */
		strcpy(path + n, leaf);
		least = hk_min(least, read_number(path));
		path[n] = 0;
	}
	return least;
}

size_t hk_os_memory_limit(void)
{
	char text[4096]; /* version 1 has a line for each of its 13 controllers */
	size_t least = SIZE_MAX;
	struct sysinfo info;
	if (hk_os_read("/proc/self/cgroup", text, sizeof(text), false) > 0) {
		least = cgroup_limit(text, "0::/", CGROUP_ROOT, "/memory.max");
		least = hk_min(least, cgroup_limit(text, ":memory:/", CGROUP_ROOT "/memory",
						   "/memory.limit_in_bytes"));
	}
	if (!syscall(SYS_sysinfo, &info))
		least = hk_min(least, (size_t)info.totalram * info.mem_unit);
	return least;
}

int hk_os_overcommit(void)
{
	size_t mode = read_number("/proc/sys/vm/overcommit_memory");
	return mode <= 2 ? (int)mode : 0;
}

size_t hk_os_memory_total(void)
{
	struct sysinfo info;
	if (syscall(SYS_sysinfo, &info))
		return SIZE_MAX;
	return ((size_t)info.totalram + info.totalswap) * info.mem_unit;
}

uint32_t hk_os_clock_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint32_t)((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000);
}

/* One way: base and tags are derived from it, AT_RANDOM also makes libc's canary and pointer guard. */
static uint64_t one_way(uint64_t a, uint64_t b)
{
	for (unsigned i = 0; i < 8; i++) {
		a = (a ^ b) * 0x9e3779b97f4a7c15ull;
		b = (b >> 29 | b << 35) + (a >> 32) * (a | 1);
	}
	return a ^ b;
}

void hk_os_entropy(uint64_t out[2])
{
	uint64_t seed[2] = {0, 0};
	int saved = errno;
	if (syscall(SYS_getrandom, out, 16, 1 /* GRND_NONBLOCK */) == 16)
		return;
	errno = saved;
	const void *random = (const void *)getauxval(AT_RANDOM);
	struct timespec now = {0, 0};
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (random)
		memcpy(seed, random, 16);
	out[0] = one_way(seed[0], seed[1] ^ (uint64_t)now.tv_nsec);
	out[1] = one_way(out[0], seed[0] + (uint64_t)syscall(SYS_getpid));
}

bool hk_os_has_thp(void)
{
	char text[128];
	return hk_os_read("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof(text), false) > 0 &&
	       !strstr(text, "[never]");
}

bool hk_os_is_first_thread(void)
{
	return syscall(SYS_gettid) == syscall(SYS_getpid);
}

/* Weak: absent from static programs and from the libc of before 2.34 unless -ldl is linked. */
extern __typeof__(dlsym) dlsym __attribute__((weak));

void *hk_os_symbol(const char *name, bool next)
{
	return dlsym ? dlsym(next ? RTLD_NEXT : RTLD_DEFAULT, name) : NULL;
}

void *hk_os_symbol_at(const void *address, const char *name)
{
	Dl_info info;
	if (!dlsym || !dladdr(address, &info) || !info.dli_fname)
		return NULL;
	void *object = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
	void *p = object ? dlsym(object, name) : NULL;
	if (object)
		dlclose(object);
	return p;
}

void hk_os_yield(void)
{
	syscall(SYS_sched_yield);
}

void hk_os_sleep_us(unsigned us)
{
	struct timespec t = {0, (long)us * 1000};
	int saved = errno;
	syscall(SYS_nanosleep, &t, NULL);
	errno = saved;
}

int hk_os_folders(const char *path)
{
	struct stat st;
	int saved = errno, rc = (int)syscall(SYS_newfstatat, AT_FDCWD, path, &st, 0);
	errno = saved;
	return rc || !S_ISDIR(st.st_mode) ? -1 : (int)st.st_nlink - 2;
}

uint64_t hk_os_signals_block(void)
{
	uint64_t all = ~(3ull << 31), before = 0; /* but 32 and 33, by which libc reaches all threads (setuid, cancel) */
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, &before, sizeof(all));
	return before;
}

void hk_os_signals_set(uint64_t mask)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
}
