/* environment_test.c - the same small load in surroundings that break assumptions: descriptors
 * closed, no /proc and /sys, huge pages switched off, a filter that kills on resource calls, small
 * stacks, no environment. Each is a process of its own. Limits of memory: limits_test.c. */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *load(void *arg)
{
	enum { SLOTS = 500 };
	struct {
		void *p;
		size_t size;
	} slot[SLOTS];
	uint64_t rnd = (uintptr_t)arg + 1, n;

	memset(slot, 0, sizeof(slot));
	for (n = 0; n < 40000; n++) {
		size_t i = test_rand(&rnd) % SLOTS;

		if (slot[i].p)
			pat_check(slot[i].p, slot[i].size, i);
		free(slot[i].p);
		slot[i].size = n % 100 ? test_rand_size(&rnd, 1, 4 * KIB)
				       : test_rand_size(&rnd, 4 * KIB, 3 * MIB);
		slot[i].p = malloc(slot[i].size);
		CHECK(slot[i].p, "malloc(%zu)", slot[i].size);
		pat_fill(slot[i].p, slot[i].size, i);
	}
	for (n = 0; n < SLOTS; n++)
		free(slot[n].p);
	return NULL;
}

/* What the started program does. "3" and "0" first close descriptors. */
static int loaded_program(const char *what)
{
	pthread_t t[3];
	uintptr_t i;

	if (strcmp(what, "3") == 0)
		closefrom(3);
	if (strcmp(what, "0") == 0)
		closefrom(0);
	load(NULL);
	for (i = 0; i < 3; i++)
		CHECK(pthread_create(&t[i], NULL, load, (void *)(i + 1)) == 0, "no thread");
	for (i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	malloc_trim(0);
	load(NULL);
	return test_end();
}

/* 0, or -1 where it is not permitted here. */
static int prepare_nothing(void)
{
	return 0;
}

static int prepare_no_proc(void)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -1;
	umount2("/sys", MNT_DETACH);
	if (umount2("/proc", MNT_DETACH))
		return -1;
	return access("/proc/self", F_OK) == 0 ? -1 : 0;
}

static int prepare_no_thp(void)
{
	return prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

static int prepare_small_stack(void)
{
	struct rlimit r = {512 * KIB, 512 * KIB};

	return setrlimit(RLIMIT_STACK, &r);
}

static int prepare_few_files(void)
{
	struct rlimit r = {5, 5};

	return setrlimit(RLIMIT_NOFILE, &r);
}

static int prepare_locked(void)
{
	struct rlimit r = {8 * MIB, 8 * MIB};

	return setrlimit(RLIMIT_MEMLOCK, &r);
}

/* The calls that service units forbid with SystemCallFilter=~@resources. */
static int prepare_filter(void)
{
	static const unsigned forbidden[] = {
		SYS_ioprio_set,        SYS_mbind,
		SYS_migrate_pages,     SYS_move_pages,
		SYS_sched_setaffinity, SYS_sched_setattr,
		SYS_sched_setparam,    SYS_sched_setscheduler,
		SYS_set_mempolicy,     SYS_setpriority,
		SYS_setrlimit,
	};
	struct sock_filter code[3 * COUNT_OF(forbidden)];
	struct sock_fprog prog = {0, code};
	size_t i;

	code[prog.len++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
							offsetof(struct seccomp_data, nr));
	for (i = 0; i < COUNT_OF(forbidden); i++) {
		code[prog.len++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, forbidden[i], 0, 1);
		code[prog.len++] =
			(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	}
	code[prog.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

static const struct surroundings {
	const char *name, *arg;
	int (*prepare)(void);
} all[] = {
	{"nothing special", "plain", prepare_nothing},
	{"closefrom(3) at start", "3", prepare_nothing},
	{"closefrom(0) at start", "0", prepare_nothing},
	{"no /proc, no /sys", "plain", prepare_no_proc},
	{"huge pages off by prctl", "plain", prepare_no_thp},
	{"stack of 512 KiB", "plain", prepare_small_stack},
	{"5 descriptors at most", "plain", prepare_few_files},
	{"8 MiB of lockable memory", "plain", prepare_locked},
	{"filter kills on resource calls", "plain", prepare_filter},
};

static void run_in(const struct surroundings *s, const char *self)
{
	char name[128];
	int status_fd[2];
	char refused = 0;
	pid_t pid;

	snprintf(name, sizeof(name), "%s", s->name);
	printf("%s\n", name);
	fflush(stdout);
	CHECK(pipe2(status_fd, O_CLOEXEC) == 0, "pipe");
	pid = fork();
	if (pid == 0) {
		if (s->prepare()) {
			if (write(status_fd[1], "r", 1) != 1)
				_exit(8);
			_exit(0);
		}
		/* the proof of the preload needs /proc only where realpath does */
		execl(self, self, "child", s->arg, (char *)NULL);
		_exit(9);
	}
	close(status_fd[1]);
	if (read(status_fd[0], &refused, 1) == 1) {
		snprintf(name, sizeof(name), "%s is not permitted here", s->name);
		test_skip_part(name);
	}
	close(status_fd[0]);
	child_must_pass(pid, s->name);
}

int main(int argc, char **argv)
{
	size_t i;

	test_begin();
	test_watchdog(80);
	if (argc > 2)
		return loaded_program(argv[2]);
	for (i = 0; i < COUNT_OF(all); i++)
		run_in(&all[i], argv[0]);
	return test_end();
}
