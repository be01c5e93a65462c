/* verify_preload.c - the checker object that bench/verify preloads behind the allocator.
 *
 * Makes the check of verify.h in each process it is loaded into, before main, and in the children
 * of a fork; writes one line each to HAK_VERIFY_DIR/<pid>, with tabs between
 *   start|fork|exit, ok|FAIL, file that serves malloc, note or reason, executable, peak KiB, blocks
 * Never stops or changes the program: bench/verify judges. Defines nothing that a program calls. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../include/hakmem/hakmem.h"
#include "verify.h"

static struct hk_verify_state state;
static char report_dir[256];
static char executable[256];

/* Peak resident KiB of this image; getrusage's figure is inherited over exec. */
static long peak_kib(void)
{
	static char buf[4096];
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (fd >= 0)
		close(fd);
	buf[got > 0 ? got : 0] = 0;
	char *at = strstr(buf, "VmHWM:");
	return at ? strtol(at + 6, NULL, 10) : -1;
}

/* Blocks served so far, where the allocator can tell; else -1. */
static long long blocks_served(void)
{
	struct hak_stats stats = {.size_bytes = sizeof(stats)};
	int (*get)(struct hak_stats *) = (int (*)(struct hak_stats *))dlsym(RTLD_DEFAULT,
									   "hak_stats_get");

	return get && !get(&stats) ? (long long)stats.malloc_blocks : -1;
}

/* One write, so that lines of parent and child never mix. */
static void report(const char *event)
{
	static char path[320], line[2304];
	int tells_end = !strcmp(event, "exit");

	snprintf(path, sizeof(path), "%s/%d", report_dir, (int)getpid());
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	int n = snprintf(line, sizeof(line), "%s\t%s\t%s\t%s\t%s\t%ld\t%lld\n", event,
			 state.failed || !state.wanted ? "FAIL" : "ok", state.file,
			 state.failed ? state.reason : state.note, executable,
			 tells_end ? peak_kib() : -1, tells_end ? blocks_served() : -1);
	if (write(fd, line, n) != n)
		unlink(path);
	close(fd);
}

static void in_child(void)
{
	int saved = errno;

	if (state.failed)
		return; /* the parent's report says it */
	hk_verify_child(&state);
	report("fork");
	errno = saved;
}

__attribute__((constructor)) static void on_load(void)
{
	const char *dir = getenv("HAK_VERIFY_DIR");
	int saved = errno;

	if (!dir || strlen(dir) >= sizeof(report_dir))
		return;
	strcpy(report_dir, dir);
	ssize_t n = readlink("/proc/self/exe", executable, sizeof(executable) - 1);
	executable[n > 0 ? n : 0] = 0;
	if (!hk_verify_bindings(&state))
		hk_verify_volume(&state, hk_verify_volume_bytes((size_t)1 << 20));
	if (!state.failed && !state.wanted) {
		state.failed = 1;
		strcpy(state.reason, "HAK_VERIFY_LIB is not set");
	}
	report("start");
	pthread_atfork(NULL, NULL, in_child);
	errno = saved;
}

__attribute__((destructor)) static void on_exit_of_program(void)
{
	if (report_dir[0])
		report("exit");
}
