/* signal_test.c - a handler of a fatal signal that allocates, as crash reporters do: after a bad
 * access, and at a random moment, in the midst of malloc and free too. It must get memory and not
 * hang. The process ends in the handler: malloc is not async-signal-safe beyond that.
 * glibc by nature hangs when the signal hits inside of malloc.
 */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static const size_t sizes[] = {16, 100, 1000, 5000, 20000, 100 * KIB};

/* From before the signal, for the handler to free: of a thread that ended, and spans. */
static void *old_block[4000], *old_span[8];

static void crash_report(int sig)
{
	char *p[COUNT_OF(sizes)];
	size_t s;

	(void)sig;
	for (s = 0; s < COUNT_OF(old_block); s++)
		free(old_block[s]);
	for (s = 0; s < COUNT_OF(old_span); s++)
		free(old_span[s]);
	for (s = 0; s < COUNT_OF(sizes); s++) {
		p[s] = malloc(sizes[s]);
		CHECK(p[s], "malloc(%zu) in the handler", sizes[s]);
		memset(p[s], 0x42, sizes[s]);
	}
	for (s = 0; s < COUNT_OF(sizes); s++)
		free(p[s]);
	_exit(0);
}

static void on(int sig)
{
	struct sigaction act;

	memset(&act, 0, sizeof(act));
	act.sa_handler = crash_report;
	CHECK(sigaction(sig, &act, NULL) == 0, "sigaction");
}

/* Each refills, spills, makes slabs and spans: the slow paths are where a lock is held. */
static void *allocate_for_ever(void *arg)
{
	enum { SLOTS = 5000 };
	void **slot = own_memory(SLOTS * sizeof(void *));
	uint64_t rnd = (uintptr_t)arg + 3, n;

	for (n = 0;; n++) {
		size_t i = test_rand(&rnd) % SLOTS;

		free(slot[i]);
		slot[i] = malloc(n % 16 ? test_rand_size(&rnd, 16, 8 * KIB)
					: test_rand_size(&rnd, 8 * KIB, 2 * MIB));
		CHECK(slot[i], "malloc");
		if (n % 1024 == 0) {
			slot[i] = realloc(slot[i], 16 * MIB);
			slot[i] = realloc(slot[i], 40 * MIB);
			CHECK(slot[i], "realloc");
		}
	}
	return NULL;
}

static void *makes_old_blocks(void *arg)
{
	size_t i;

	for (i = 0; i < COUNT_OF(old_block); i++)
		old_block[i] = malloc(48);
	return arg;
}

/* Nearly always under the pool's lock. */
static void spans_for_ever(void)
{
	for (;;) {
		void *p = malloc(700 * KIB);

		CHECK(p, "malloc");
		free(p);
	}
}

static void child_hit_at_random(unsigned delay_us, bool threads, int old)
{
	struct itimerval timer = {{0, 0}, {0, (suseconds_t)delay_us}};
	pthread_t t;
	size_t i;

	if (old) {
		CHECK(pthread_create(&t, NULL, makes_old_blocks, NULL) == 0, "no thread");
		pthread_join(t, NULL);
		for (i = 0; i < COUNT_OF(old_span); i++)
			old_span[i] = malloc(700 * KIB);
	}
	on(SIGALRM);
	if (threads)
		CHECK(pthread_create(&t, NULL, allocate_for_ever, (void *)1) == 0, "no thread");
	setitimer(ITIMER_REAL, &timer, NULL);
	if (old > 1)
		spans_for_ever();
	allocate_for_ever((void *)2);
}

/* The child's own alarm is in use, so its parent watches it. */
static void wait_for(pid_t pid, const char *what)
{
	long long give_up = now_ms() + 10000;
	int status;

	for (;;) {
		pid_t got = waitpid(pid, &status, WNOHANG);

		if (got == pid)
			break;
		if (now_ms() > give_up) {
			kill(pid, SIGKILL);
			test_fail(__FILE__, __LINE__, what, "the handler hangs");
		}
		usleep(500);
	}
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: status 0x%x", what, status);
}

int main(void)
{
	int n, total = test_quick() ? 150 : 1000;
	volatile int *nowhere = test_hide((void *)8);
	uint64_t rnd = 11;
	pid_t pid;

	test_begin();
	for (n = 0; n < 4; n++) {
		pid = fork();
		if (pid == 0) {
			free(malloc(test_hide_size(100)));
			on(SIGSEGV);
			on(SIGABRT);
			if (n & 1)
				abort();
			*nowhere = 1;
			_exit(3);
		}
		wait_for(pid, "handler of a crash");
	}
	if (test_served() == SERVED_GLIBC) {
		test_skip_part("a signal inside of malloc: glibc holds its lock then");
		return test_end();
	}
	for (n = 0; n < total; n++) {
		pid = fork();
		if (pid == 0)
			child_hit_at_random(200 + (unsigned)(test_rand(&rnd) % 20000), n % 3 == 0, n % 3);
		test_rand(&rnd);
		wait_for(pid, "handler at a random moment");
	}
	return test_end();
}
