/* quiet_test.c - steady state makes no system call: after warm-up a seccomp filter traps mmap,
 * munmap, mremap, madvise, mprotect, brk and futex, in each thread. The threads synchronise by
 * spinning and sched_yield. Mixed sizes up to 64 KiB, without the filter: no page fault.
 * Whether it is fast is the benchmarks' business.
 * time limit: 240 s, quick 90 s
 */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS = 4, SHARED = 300000 };

/* As with memory bounds, another allocator's call shows that the test can fail. */
static bool must_be_quiet;

static void on_forbidden_call(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	if (!must_be_quiet) {
		static const char text[] = "a system call (by this allocator's nature)\n";

		_exit(write(STDOUT_FILENO, text, sizeof(text) - 1) < 0);
	}
	test_fail(__FILE__, __LINE__, "no system call", "system call %d in steady state",
		  info->si_syscall);
}

static void forbid_calls(void)
{
	static const unsigned forbidden[] = {SYS_mmap,     SYS_munmap, SYS_mremap, SYS_madvise,
					     SYS_mprotect, SYS_brk,    SYS_futex};
	struct sock_filter code[2 * COUNT_OF(forbidden) + 2];
	struct sock_fprog prog = {0, code};
	struct sigaction act;
	size_t i;

	memset(&act, 0, sizeof(act));
	act.sa_sigaction = on_forbidden_call;
	act.sa_flags = SA_SIGINFO;
	sigaction(SIGSYS, &act, NULL);
	code[prog.len++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
							offsetof(struct seccomp_data, nr));
	for (i = 0; i < COUNT_OF(forbidden); i++) {
		code[prog.len++] =
			(struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, forbidden[i], 0, 1);
		code[prog.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	}
	code[prog.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "%s", strerror(errno));
	CHECK(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog) == 0,
	      "%s", strerror(errno));
}

static void fifo_rounds(int rounds, size_t size)
{
	char *p[100];
	int i;

	while (rounds-- > 0) {
		for (i = 0; i < 100; i++) {
			p[i] = malloc(size);
			p[i][0] = 1;
		}
		for (i = 0; i < 100; i++)
			free(p[i]);
	}
}

static void check_faults(const char *what, long long before)
{
	BOUND(what, minor_faults() - before, 0);
}

static void fifo(void)
{
	long long faults;

	fifo_rounds(10000, 16);
	fifo_rounds(10000, 1000);
	forbid_calls();
	faults = minor_faults();
	fifo_rounds(test_quick() ? 500000 : 5000000, 16);
	fifo_rounds(test_quick() ? 100000 : 1000000, 1000);
	check_faults("page faults, 100 blocks in order", faults);
}

static void replace(char **slot, size_t slots, uint64_t *rnd, uint64_t ops)
{
	while (ops-- > 0) {
		size_t i = test_rand(rnd) % slots;

		free(slot[i]);
		slot[i] = malloc(16 + (test_rand(rnd) >> 20) % 241);
		slot[i][0] = 1;
	}
}

static void replacement(void)
{
	enum { SLOTS = 30000 };
	char **slot = own_memory(SLOTS * sizeof(*slot));
	uint64_t rnd = 9;

	replace(slot, SLOTS, &rnd, 60 * SLOTS);
	forbid_calls();
	replace(slot, SLOTS, &rnd, test_quick() ? 20000000 : 200000000);
}

/* The same 10,000 sizes each round, freed in another order: nothing new is ever needed. */
static void mixed_round(char **p, size_t *size, uint64_t *rnd)
{
	enum { N = 10000 };
	size_t i;

	for (i = 0; i < N; i++) {
		p[i] = malloc(size[i]);
		p[i][0] = p[i][size[i] - 1] = 1;
	}
	for (i = N; i > 0; i--) {
		size_t k = test_rand(rnd) % i;
		char *one = p[k];

		p[k] = p[i - 1];
		free(one);
	}
	for (i = N - 1; i > 0; i--) {
		size_t k = test_rand(rnd) % (i + 1), one = size[k];

		size[k] = size[i];
		size[i] = one;
	}
}

static void mixed(void)
{
	enum { N = 10000 };
	char **p = own_memory(N * sizeof(*p));
	size_t *size = own_memory(N * sizeof(*size)), i;
	long long faults;
	uint64_t rnd = 21;
	int round;

	for (i = 0; i < N; i++)
		size[i] = i % 100 ? test_rand_size(&rnd, 16, 2 * KIB)
				  : test_rand_size(&rnd, 2 * KIB, 64 * KIB);
	for (round = 0; round < 3000; round++)
		mixed_round(p, size, &rnd);
	faults = minor_faults();
	for (round = 0; round < (test_quick() ? 5000 : 20000); round++)
		mixed_round(p, size, &rnd);
	check_faults("page faults, 10,000 mixed blocks", faults);
}

static _Atomic(char *) shared[SHARED];
static atomic_int warm, finished;
static atomic_bool filtered;
static long long warm_until, run_until;

static void exchange(uint64_t *rnd, uint64_t ops)
{
	while (ops-- > 0) {
		char *p = malloc(16 + (test_rand(rnd) >> 20) % 241);

		p[0] = 1;
		free(atomic_exchange(&shared[test_rand(rnd) % SHARED], p));
	}
}

static void *exchanger(void *arg)
{
	uint64_t rnd = (uintptr_t)arg * 1000 + 1;

	/* past the time after which free memory decays, which the warm-up leaves over */
	while (now_ms() < warm_until)
		exchange(&rnd, 10000);
	exchange(&rnd, 5 * SHARED);
	atomic_fetch_add(&warm, 1);
	while (!atomic_load(&filtered))
		exchange(&rnd, 1000);
	while (now_ms() < run_until)
		exchange(&rnd, 10000);
	atomic_fetch_add(&finished, 1);
	for (;;)
		pause();
	return NULL;
}

static void exchange_among_threads(void)
{
	pthread_t t[THREADS];
	uintptr_t i;

	warm_until = now_ms() + (test_quick() ? 5000 : 10000);
	for (i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, exchanger, (void *)(i + 1)) == 0, "no thread");
	while (atomic_load(&warm) < THREADS)
		usleep(1000);
	run_until = now_ms() + (test_quick() ? 10000 : 60000);
	forbid_calls();
	atomic_store(&filtered, true);
	while (atomic_load(&finished) < THREADS)
		usleep(1000);
}

/* A filter can't be taken away again, so each load runs in a process of its own. */
int main(int argc, char **argv)
{
	static const struct test_part parts[] = {
		{"100 blocks in order", fifo},
		{"random replacement", replacement},
		{"10,000 mixed blocks", mixed},
		{"4 threads, remote frees", exchange_among_threads},
	};

	must_be_quiet = test_served() == SERVED_HAKMEM;
	return test_run_parts(argc, argv, parts, COUNT_OF(parts), test_quick() ? 60 : 150);
}
