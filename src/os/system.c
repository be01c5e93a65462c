/* system.c - limits, clock, entropy, cpu. Reads files by raw open/read into the stack: no stdio,
 * which would malloc. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "os/os.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

static size_t limit(int which)
{
	struct rlimit lim;
	if (getrlimit(which, &lim) || lim.rlim_cur == RLIM_INFINITY)
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

/* The file's first bytes as text; its length, or -1. */
static int read_text(const char *path, char *buf, size_t bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t got = read(fd, buf, bytes - 1);
	close(fd);
	if (got < 0)
		return -1;
	buf[got] = 0;
	return (int)got;
}

/* The number that a file begins with, or SIZE_MAX ("max", absent). */
static size_t read_number(const char *path)
{
	char buf[64];
	if (read_text(path, buf, sizeof(buf)) <= 0 || buf[0] < '0' || buf[0] > '9')
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
	if (!line)
		return SIZE_MAX;
	line += strlen(key) - 1;
	more = strcspn(line, "\n");
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
	char text[1024];
	size_t least = SIZE_MAX;
	struct sysinfo info;
	if (read_text("/proc/self/cgroup", text, sizeof(text)) > 0) {
		least = cgroup_limit(text, "0::/", CGROUP_ROOT, "/memory.max");
		least = hk_min(least, cgroup_limit(text, ":memory:/", CGROUP_ROOT "/memory",
						   "/memory.limit_in_bytes"));
	}
	if (!sysinfo(&info))
		least = hk_min(least, (size_t)info.totalram * info.mem_unit);
	return least;
}

bool hk_os_overcommit_strict(void)
{
	return read_number("/proc/sys/vm/overcommit_memory") == 2;
}

uint32_t hk_os_clock_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint32_t)((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000);
}

void hk_os_entropy(uint64_t out[2])
{
	const void *random = (const void *)getauxval(AT_RANDOM);
	if (random)
		memcpy(out, random, 16);
	else {
		struct timespec now;
		clock_gettime(CLOCK_MONOTONIC, &now);
		out[0] = (uint64_t)now.tv_nsec * 0x9e3779b97f4a7c15ull ^ (uintptr_t)&now;
		out[1] = (uint64_t)getpid() * 0xd1342543de82ef95ull ^ (uint64_t)now.tv_sec;
	}
}

int hk_os_cpu(void)
{
	return sched_getcpu(); /* reads rseq's cpu_id since glibc 2.35 */
}

/* Weak: absent from static programs and from the libc of before 2.34 unless -ldl is linked. */
extern __typeof__(dlsym) dlsym __attribute__((weak));

void *hk_os_symbol(const char *name, bool next)
{
	return dlsym ? dlsym(next ? RTLD_NEXT : RTLD_DEFAULT, name) : NULL;
}

void hk_os_yield(void)
{
	sched_yield();
}

void hk_os_sleep_us(unsigned us)
{
	struct timespec t = {0, (long)us * 1000};
	int saved = errno;
	nanosleep(&t, NULL);
	errno = saved;
}
