/* denied.c - runs a program under a seccomp filter, as a service manager's sandbox has it.
 *
 *   denied eperm|kill PRELOAD COMMAND [ARG...]
 *
 * eperm: mbind, set_mempolicy, get_mempolicy, move_pages, migrate_pages fail with EPERM.
 * kill:  mbind, set_mempolicy, move_pages, migrate_pages end the process.
 * The filter is there before the program starts. As the program may not ask where its pages are, this
 * process does so for it, through a socket (--ask-fd is added to its arguments). PRELOAD is for the
 * program alone. Its exit status is this one's; a death by signal is said, and a failure.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGS_MOST = 64, CALLS_MOST = 8 };

static void filter_set(bool kill)
{
	static const unsigned calls[] = {SYS_mbind, SYS_set_mempolicy, SYS_move_pages,
					 SYS_migrate_pages, SYS_get_mempolicy};
	/* asking for the policy is not what sandboxes kill for */
	unsigned count = kill ? COUNT_OF(calls) - 1 : COUNT_OF(calls), n = 0, i;
	struct sock_filter code[CALLS_MOST + 3];
	struct sock_fprog program = {.filter = code};

	code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						 offsetof(struct seccomp_data, nr));
	for (i = 0; i < count; i++)
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i],
							 (unsigned char)(count - i), 0);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, kill ? SECCOMP_RET_KILL_PROCESS
								       : SECCOMP_RET_ERRNO | EPERM);
	program.len = (unsigned short)n;
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
		      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0,
	      "no seccomp filter: %s", strerror(errno));
}

/* The filter must bite, or the program's success says nothing. */
static void filter_try(bool kill)
{
	int status, pid = fork();

	CHECK(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		filter_set(kill);
		_exit(syscall(SYS_set_mempolicy, 0, NULL, 0) == -1 && errno == EPERM ? 3 : 0);
	}
	waitpid(pid, &status, 0);
	CHECK(kill ? WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS
		   : WIFEXITED(status) && WEXITSTATUS(status) == 3,
	      "the filter does not bite");
}

static void run(bool kill, const char *preload, char **command, int fd)
{
	char *args[ARGS_MOST + 3], number[16];
	int n;

	for (n = 0; command[n]; n++) {
		CHECK(n < ARGS_MOST, "too many arguments");
		args[n] = command[n];
	}
	snprintf(number, sizeof(number), "%d", fd);
	args[n++] = "--ask-fd";
	args[n++] = number;
	args[n] = NULL;
	setenv("LD_PRELOAD", preload, 1);
	filter_set(kill);
	execvp(args[0], args);
	probe_fail("%s: %s", args[0], strerror(errno));
}

int main(int argc, char **argv)
{
	int pair[2], pid, status;
	bool kill;

	probe_begin("denied", 250);
	CHECK(argc > 3 && (!strcmp(argv[1], "eperm") || !strcmp(argv[1], "kill")),
	      "usage: denied eperm or kill, PRELOAD, COMMAND");
	kill = !strcmp(argv[1], "kill");
	filter_try(kill);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair: %s", strerror(errno));
	pid = fork();
	CHECK(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		close(pair[0]);
		run(kill, argv[2], argv + 3, pair[1]);
	}
	close(pair[1]);
	probe_answer(pair[0], pid);
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		probe_fail("the program was ended by signal %d (%s)", WTERMSIG(status),
			   WTERMSIG(status) == SIGSYS ? "a denied call"
						      : strsignal(WTERMSIG(status)));
	return WEXITSTATUS(status);
}
