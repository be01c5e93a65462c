/* observer.c - a preloaded object that writes down which file serves malloc in each process.
 *
 *   LD_PRELOAD=liballocator.so:observer.so HAKOBS_FILE=/tmp/lines program
 *
 * One line a process image at its start ('S') and one at its end ('E', from the destructor or from
 * _exit), fields separated by tabs:
 *
 *   S|E  pid  comm  exe  file-of-malloc  blocks  place
 *
 * blocks: what hak_stats_get() of the serving library says it handed out ('-' where nothing of that
 * name is loaded), in a forked process less what its parent had at the fork. place: where a block
 * asked for at the end lies: 'brk' is the heap of libc, 'own' and 'other' what hak_owns() says of it,
 * 'map' elsewhere with no hak_owns().
 *
 * It does not allocate before the end of the program, keeps no file open, and takes its symbols
 * from the dynamic linker as weak references, since dlsym may allocate. Processes that exec another
 * program or are killed write no 'E'.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hakmem/hakmem.h"

extern int hak_stats_get(struct hak_stats *stats) __attribute__((weak));
extern int hak_owns(const void *ptr) __attribute__((weak));

/* Copied at the start: servers overwrite or drop their environment. */
static char observe_file[512];
static pid_t start_pid;
static uint64_t blocks_at_fork;
static char *brk_start;
static void *malloc_serves;

extern ElfW(Dyn) _DYNAMIC[] __attribute__((visibility("hidden")));

/* Where calls of malloc go: what the linker wrote into this object's own jump slot (it is linked
 * with -z now). "&malloc", and dlsym too, give a stub of the executable where that one takes the
 * address and is at a fixed place, as python3 of Debian. */
static void *malloc_find(void)
{
	const ElfW(Sym) *symbols = NULL;
	const ElfW(Rela) *slots = NULL;
	const char *names = NULL;
	size_t bytes = 0;
	Dl_info self;
	uintptr_t base;

	if (dladdr(_DYNAMIC, &self) == 0)
		return NULL;
	base = (uintptr_t)self.dli_fbase;
	for (const ElfW(Dyn) *entry = _DYNAMIC; entry->d_tag != DT_NULL; entry++) {
		/* The linker has made these addresses absolute, but not on every machine. */
		uintptr_t at = entry->d_un.d_ptr < base ? entry->d_un.d_ptr + base : entry->d_un.d_ptr;

		if (entry->d_tag == DT_SYMTAB)
			symbols = (const void *)at;
		else if (entry->d_tag == DT_STRTAB)
			names = (const void *)at;
		else if (entry->d_tag == DT_JMPREL)
			slots = (const void *)at;
		else if (entry->d_tag == DT_PLTRELSZ)
			bytes = entry->d_un.d_val;
	}
	if (symbols == NULL || names == NULL || slots == NULL)
		return NULL;
	for (size_t i = 0; i < bytes / sizeof(*slots); i++) {
		size_t symbol = slots[i].r_info >> 32;

		if (strcmp(names + symbols[symbol].st_name, "malloc") == 0)
			return *(void **)(base + slots[i].r_offset);
	}
	return NULL;
}

static uint64_t blocks_now(void)
{
	struct hak_stats stats;

	memset(&stats, 0, sizeof(stats));
	stats.size_bytes = sizeof(stats);
	if (hak_stats_get(&stats) != 0)
		return 0;
	return stats.malloc_blocks;
}

static void before_fork(void)
{
	int saved = errno;

	blocks_at_fork = blocks_now();
	errno = saved;
}

static const char *place_of_block(void)
{
	void *volatile ptr = malloc(24);
	const char *place = "map";

	if (ptr == NULL)
		place = "none";
	else if ((char *)ptr >= brk_start && (char *)ptr < (char *)sbrk(0))
		place = "brk";
	else if (hak_owns != NULL)
		place = hak_owns(ptr) ? "own" : "other";
	free(ptr);
	return place;
}

static void write_line(char kind)
{
	char line[2048], exe[512], comm[17] = "?", blocks[24] = "-";
	const char *place = "?";
	Dl_info info;
	ssize_t len;
	int fd;

	if (observe_file[0] == '\0')
		return;
	if (kind == 'E') {
		place = place_of_block();
		if (hak_stats_get != NULL) {
			uint64_t count = blocks_now();

			if (getpid() != start_pid)
				count -= blocks_at_fork;
			snprintf(blocks, sizeof(blocks), "%llu", (unsigned long long)count);
		}
	}
	if (malloc_serves == NULL || dladdr(malloc_serves, &info) == 0 || info.dli_fname == NULL)
		info.dli_fname = "?";
	prctl(PR_GET_NAME, comm);
	len = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	exe[len > 0 ? len : 0] = '\0';
	len = snprintf(line, sizeof(line), "%c\t%d\t%s\t%s\t%s\t%s\t%s\n", kind, (int)getpid(),
		       comm, exe, info.dli_fname, blocks, place);
	if (len <= 0 || (size_t)len >= sizeof(line))
		return;
	fd = open(observe_file, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return;
	/* Short writes of one line do not happen on a regular file; nothing to do if they did. */
	if (write(fd, line, (size_t)len) != len)
		line[0] = '\0';
	close(fd);
}

__attribute__((constructor)) static void observer_start(void)
{
	const char *name = getenv("HAKOBS_FILE");
	int saved = errno;

	start_pid = getpid();
	malloc_serves = malloc_find();
	brk_start = sbrk(0);
	/* Others' constructors may have begun the heap already; nothing else lies below it so near. */
	brk_start -= 1 << 20;
	if (name != NULL && strlen(name) < sizeof(observe_file))
		strcpy(observe_file, name);
	if (observe_file[0] != '\0' && hak_stats_get != NULL)
		pthread_atfork(before_fork, NULL, NULL);
	write_line('S');
	errno = saved;
}

__attribute__((destructor)) static void observer_end(void)
{
	int saved = errno;

	write_line('E');
	errno = saved;
}

/* Forked children that leave this way run no destructor. */
__attribute__((noreturn)) void _exit(int status)
{
	write_line('E');
	for (;;)
		syscall(SYS_exit_group, status);
}
