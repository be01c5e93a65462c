/* nores.c - runs a program under a filter that kills on the calls of systemd's @resources set.
 *
 *   nores program [argument...]
 *   nores -t            tries one filtered call in a child; 0 if it was killed for it
 *
 * As a service unit with SystemCallFilter=~@resources has it, with the calls that alter limits, and with mincore, which
 * @system-service lacks.
 * prlimit64 serves getrlimit too, so it is killed only where a new limit is given (its third
 * argument), which a filter can see. Needs no privilege: no_new_privs is set first.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_set_mempolicy_home_node
#define SYS_set_mempolicy_home_node 450
#endif

#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define KILL_IF(value) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, 1), \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#else
#error "name the audit architecture of this machine here"
#endif

static struct sock_filter filter[] = {
	LOAD(offsetof(struct seccomp_data, arch)),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	LOAD(offsetof(struct seccomp_data, nr)),
	KILL_IF(SYS_mincore),
	KILL_IF(SYS_mbind),
	KILL_IF(SYS_set_mempolicy),
	KILL_IF(SYS_set_mempolicy_home_node),
	KILL_IF(SYS_move_pages),
	KILL_IF(SYS_migrate_pages),
	KILL_IF(SYS_sched_setaffinity),
	KILL_IF(SYS_sched_setscheduler),
	KILL_IF(SYS_sched_setparam),
	KILL_IF(SYS_sched_setattr),
	KILL_IF(SYS_setpriority),
	KILL_IF(SYS_ioprio_set),
	KILL_IF(SYS_setrlimit),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_prlimit64, 0, 5),
	LOAD(offsetof(struct seccomp_data, args[2])),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2),
	LOAD(offsetof(struct seccomp_data, args[2]) + 4),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static int filter_install(void)
{
	struct sock_fprog program = {
		.len = sizeof(filter) / sizeof(filter[0]),
		.filter = filter,
	};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -errno;
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		return -errno;
	return 0;
}

static int filter_try(void)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		if (filter_install() != 0)
			_exit(2);
		syscall(SYS_prlimit64, 0, 7, NULL, NULL);
		syscall(SYS_set_mempolicy, 0, NULL, 0);
		_exit(1);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return 1;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS ? 0 : 1;
}

int main(int argc, char **argv)
{
	int rc;

	if (argc == 2 && strcmp(argv[1], "-t") == 0)
		return filter_try();
	if (argc < 2) {
		fprintf(stderr, "usage: nores program [argument...]\n");
		return 2;
	}
	rc = filter_install();
	if (rc != 0) {
		fprintf(stderr, "nores: no filter: %s\n", strerror(-rc));
		return 77;
	}
	execvp(argv[1], argv + 1);
	fprintf(stderr, "nores: %s: %s\n", argv[1], strerror(errno));
	return 127;
}
