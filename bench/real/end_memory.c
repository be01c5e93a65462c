/* end_memory.c - a preloaded object that writes down a process's peak and last resident memory.
 *
 *   LD_PRELOAD=liballocator.so:end_memory.so HAK_MEMORY_FILE=/tmp/lines program
 *
 * One line a process that ends in order: pid, name, VmHWM and VmRSS in KiB, with tabs between.
 * getrusage can't say this: its peak is inherited over exec from a larger parent. It doesn't
 * allocate, keeps no file open, and doesn't see processes that end by _exit or a signal. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Copied at the start: servers overwrite or drop their environment. */
static char memory_file[512];

static long status_kib(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtol(at + strlen(name), NULL, 10) : -1;
}

static void line_write(void)
{
	static char text[4096];
	char line[128], comm[17] = "?";
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[got > 0 ? got : 0] = '\0';
	prctl(PR_GET_NAME, comm);
	int len = snprintf(line, sizeof(line), "%d\t%s\t%ld\t%ld\n", (int)getpid(), comm,
			   status_kib(text, "VmHWM:"), status_kib(text, "VmRSS:"));
	fd = open(memory_file, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (fd < 0)
		return;
	/* A lost line shows: the row then has no peak. */
	if (write(fd, line, (size_t)len) != len)
		line[0] = '\0';
	close(fd);
}

__attribute__((constructor)) static void memory_start(void)
{
	const char *name = getenv("HAK_MEMORY_FILE");

	if (name && strlen(name) < sizeof(memory_file))
		strcpy(memory_file, name);
}

__attribute__((destructor)) static void memory_end(void)
{
	int saved = errno;

	if (memory_file[0])
		line_write();
	errno = saved;
}
