/* capture.c - see capture.h. Judges nothing. */
#define _GNU_SOURCE
#include "capture.h"

#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CASE_SECONDS = 30, OTHER_UID = 54321 };

static void in_child(char *const argv[], const char *const env[], int flags, int out, int err)
{
	for (; env && *env; env++)
		putenv((char *)(uintptr_t)*env);
	dup2(out, 1);
	if (flags & CAPTURE_NO_STDERR)
		close(2);
	else
		dup2(err, 2);
	/* a case that hangs is ended by the kernel: the exec resets handlers, not the alarm */
	alarm(CASE_SECONDS);
	if (flags & CAPTURE_AS_OTHER_USER && (setgid(OTHER_UID) || setuid(OTHER_UID)))
		_exit(126);
	execv(argv[0], argv);
	_exit(127);
}

/* 1 while the pipe is open. What does not fit is read and dropped. */
static int take_from(int fd, char *buf, size_t room)
{
	size_t have = strlen(buf);
	char part[4096];
	ssize_t n = read(fd, part, sizeof(part));

	if (n <= 0)
		return 0;
	if (have + (size_t)n > room - 1)
		n = (ssize_t)(room - 1 - have);
	memcpy(buf + have, part, (size_t)n);
	return 1;
}

void capture_run(struct capture *c, char *const argv[], const char *const env[], int flags)
{
	int out[2], err[2];
	struct pollfd p[2];
	pid_t pid;

	memset(c, 0, sizeof(*c));
	CHECK(pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0, "pipe");
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		in_child(argv, env, flags, out[1], err[1]);
	CHECK(pid > 0, "fork: %s", strerror(errno));
	close(out[1]);
	close(err[1]);
	p[0] = (struct pollfd){out[0], POLLIN, 0};
	p[1] = (struct pollfd){err[0], POLLIN, 0};
	while (p[0].fd >= 0 || p[1].fd >= 0) {
		CHECK(poll(p, 2, -1) > 0 || errno == EINTR, "poll");
		if (p[0].revents && !take_from(p[0].fd, c->out, sizeof(c->out)))
			p[0].fd = -1;
		if (p[1].revents && !take_from(p[1].fd, c->err, sizeof(c->err)))
			p[1].fd = -1;
	}
	close(out[0]);
	close(err[0]);
	CHECK(waitpid(pid, &c->status, 0) == pid, "waitpid");
}

int capture_lines(const char *text)
{
	int lines = 0;

	for (; *text; text++)
		lines += *text == '\n' || text[1] == 0;
	return lines;
}
