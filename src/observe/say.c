/* say.c - see say.h. Does not buffer and remembers nothing but what fd 2 was. Uses
 * syscall(), which is no cancellation point. */
#include "observe/say.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/check.h"
#include "observe/options.h"
#include "os/syscalls.h"

#define LINE_BYTES 400

#define KEPT_FD_MIN 100

HK_AT_START static struct stat first_stderr; /* [C] after hk_say_init; st_mode 0: it was closed */
static int kept_fd = -1;         /* [C] a copy of it, where HAKMEM_VERBOSE wants to speak at exit */

void hk_say_init(void)
{
	int saved = errno;
	if (fstat(2, &first_stderr))
		first_stderr.st_mode = 0;
	errno = saved;
}

void hk_say_keep(void)
{
	if (first_stderr.st_mode)
		kept_fd = hk_sys_fcntl(2, F_DUPFD_CLOEXEC, KEPT_FD_MIN);
}

/* Is FD still what standard error was at the start? */
static bool is_first(int fd)
{
	struct stat now;
	return first_stderr.st_mode && !fstat(fd, &now) && now.st_dev == first_stderr.st_dev &&
	       now.st_ino == first_stderr.st_ino && now.st_rdev == first_stderr.st_rdev;
}

static bool log_told; /* [A] */

/* The file to write to, or -1; *OPENED: to be closed. */
static int sink(bool *opened)
{
	*opened = false;
	if (hk_options.log) {
		int fd = (int)syscall(SYS_openat, AT_FDCWD, hk_options.log,
				      O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);
		*opened = fd >= 0;
		if (fd >= 0)
			return fd;
		if (!__atomic_exchange_n(&log_told, true, __ATOMIC_RELAXED))
			hk_say("HAKMEM_LOG=%s can't be opened: messages go to standard error", hk_options.log);
	}
	if (is_first(2))
		return 2;
	return kept_fd >= 0 && is_first(kept_fd) ? kept_fd : -1;
}

void hk_say(const char *format, ...)
{
	char line[LINE_BYTES] = "hakmem: ";
	int saved = errno, n = 8, got;
	bool opened;
	va_list args;
	va_start(args, format);
	got = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, format, args);
	va_end(args);
	n += got < 0 ? 0 : got > LINE_BYTES - 10 ? LINE_BYTES - 10 : got;
	line[n++] = '\n';
	int fd = sink(&opened);
	if (fd >= 0 && syscall(SYS_write, fd, line, (size_t)n) < 0)
		n = 0; /* nowhere left to say so */
	if (opened)
		hk_sys_close(fd);
	errno = saved;
}

void hk_fatal(const char *what, const void *ptr)
{
	hk_say("%s: %p", what, ptr);
	abort();
}
