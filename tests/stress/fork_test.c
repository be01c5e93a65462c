/* fork_test.c - children of a threaded parent: by fork while other threads allocate, by _Fork and
 * raw clone (no handler runs), by vfork and posix_spawn. A child allocates all sizes at once, frees
 * blocks of its parent, starts threads. Forks against stdio's locks: fork_stdio_test.c.
 * glibc by nature cannot serve a _Fork or clone child while other threads are in malloc.
 * time limit: 240 s, quick 180 s
 */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { BUSY = 4, LEFT = 600, CHILD_SECONDS = 30 };

static const size_t sizes[] = {1,       48,       100,       700,       1024,      3000,
			       8 * KIB, 16 * KIB, 100 * KIB, 512 * KIB, 600 * KIB, 3 * MIB};

/* Blocks that threads of the parent made before they became busy: anyone may free them. */
static struct {
	void *p;
	size_t size;
} left[BUSY + 1][LEFT];
static atomic_bool stop;
static atomic_int ready;

static void leave_blocks(int who)
{
	uint64_t rnd = (uint64_t)who + 1;
	int i;

	for (i = 0; i < LEFT; i++) {
		size_t size = i % 50 ? test_rand_size(&rnd, 1, 8 * KIB)
				     : test_rand_size(&rnd, 8 * KIB, MIB);

		left[who][i].p = malloc(size);
		left[who][i].size = size;
		CHECK(left[who][i].p, "malloc(%zu)", size);
		pat_fill(left[who][i].p, size, (uint64_t)who);
	}
}

static void free_left(void)
{
	int who, i;

	for (who = 0; who <= BUSY; who++)
		for (i = 0; i < LEFT; i++) {
			pat_check(left[who][i].p, left[who][i].size, (uint64_t)who);
			free(left[who][i].p);
		}
}

static void *busy(void *arg)
{
	enum { SLOTS = 300 };
	void *slot[SLOTS] = {NULL};
	uint64_t rnd = (uintptr_t)arg * 77 + 5, n;

	leave_blocks((int)(uintptr_t)arg);
	atomic_fetch_add(&ready, 1);
	for (n = 0; !atomic_load_explicit(&stop, memory_order_relaxed); n++) {
		size_t i = test_rand(&rnd) % SLOTS;

		free(slot[i]);
		slot[i] = malloc(n % 100 ? test_rand_size(&rnd, 1, 2 * KIB)
					 : test_rand_size(&rnd, 2 * KIB, 2 * MIB));
		CHECK(slot[i], "malloc");
		*(char *)slot[i] = 1;
	}
	for (n = 0; n < SLOTS; n++)
		free(slot[n]);
	return NULL;
}

static void use_all_sizes(uint64_t id)
{
	void *p[COUNT_OF(sizes)][4];
	size_t s;
	int i;

	for (s = 0; s < COUNT_OF(sizes); s++)
		for (i = 0; i < 4; i++) {
			p[s][i] = i & 1 ? calloc(1, sizes[s]) : malloc(sizes[s]);
			CHECK(p[s][i], "malloc(%zu) in a child", sizes[s]);
			if (i & 1)
				check_zero(p[s][i], sizes[s], "calloc in a child");
			pat_fill(p[s][i], sizes[s], id);
		}
	for (s = 0; s < COUNT_OF(sizes); s++)
		for (i = 0; i < 4; i++) {
			pat_check(p[s][i], sizes[s], id);
			free(p[s][i]);
		}
}

static void *child_thread(void *arg)
{
	int round;

	for (round = 0; round < 20; round++)
		use_all_sizes((uintptr_t)arg);
	return NULL;
}

static void forked_child(int n)
{
	pthread_t t[2];
	uintptr_t i;

	test_watchdog(CHILD_SECONDS);
	use_all_sizes(1);
	free_left();
	use_all_sizes(2);
	if (n % 4 == 0) {
		for (i = 0; i < 2; i++)
			CHECK(pthread_create(&t[i], NULL, child_thread, (void *)(i + 3)) == 0,
			      "no thread in the child");
		for (i = 0; i < 2; i++)
			pthread_join(t[i], NULL);
	}
	if (n % 8 == 0) {
		pid_t grandchild = fork();

		if (grandchild == 0) {
			test_watchdog(CHILD_SECONDS);
			use_all_sizes(5);
			_exit(0);
		}
		child_must_pass(grandchild, "grandchild");
	}
	if (n % 16 == 0)
		_exit(test_end());
	_exit(0);
}

static void fork_under_load(void)
{
	int n, total = test_quick() ? 32 : 400;

	for (n = 0; n < total; n++) {
		pid_t pid = fork();

		if (pid == 0)
			forked_child(n);
		child_must_pass(pid, "fork");
	}
}

/* libc's notion of the child is stale after these: no threads, no stdio in it. */
static void raw_child(void)
{
	use_all_sizes(6);
	free_left();
	use_all_sizes(7);
	_exit(0);
}

static pid_t raw_clone(void)
{
	return (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, NULL, NULL, NULL, NULL);
}

static void fork_without_handlers(const char *when)
{
	pid_t (*quiet_fork)(void) = (pid_t(*)(void))test_symbol("_Fork");
	int n, total = test_quick() ? 32 : 400;

	if (!quiet_fork)
		test_skip_part("_Fork is not in this libc");
	for (n = 0; n < total; n++) {
		pid_t pid = n & 1 || !quiet_fork ? raw_clone() : quiet_fork();

		if (pid == 0) {
			alarm(CHILD_SECONDS);
			raw_child();
		}
		child_must_pass(pid, when);
	}
}

static void spawn_programs(void)
{
	char *args[] = {"true", NULL};
	int n, total = test_quick() ? 40 : 200;

	for (n = 0; n < total; n++) {
		pid_t pid = -1;

		if (n & 1) {
			CHECK(posix_spawn(&pid, "/bin/true", NULL, NULL, args, environ) == 0,
			      "posix_spawn");
		} else {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
			pid = vfork();
#pragma GCC diagnostic pop
			if (pid == 0) {
				/* the heap is the parent's own: what is freed here is freed there */
				free(malloc(test_hide_size(100)));
				execv("/bin/true", args);
				_exit(9);
			}
		}
		child_must_pass(pid, "spawned program");
	}
	use_all_sizes(8);
}

int main(void)
{
	pthread_t t[BUSY];
	uintptr_t i;

	test_begin();
	test_watchdog(test_quick() ? 170 : 230);
	leave_blocks(0);
	for (i = 0; i < BUSY; i++)
		CHECK(pthread_create(&t[i], NULL, busy, (void *)(i + 1)) == 0, "no thread");
	while (atomic_load(&ready) < BUSY)
		sched_yield();
	fork_under_load();
	spawn_programs();
	if (test_served() == SERVED_GLIBC)
		test_skip_part("_Fork and clone under load: glibc's arenas may be locked then");
	else
		fork_without_handlers("_Fork or clone under load");
	atomic_store(&stop, true);
	for (i = 0; i < BUSY; i++)
		pthread_join(t[i], NULL);
	fork_without_handlers("_Fork or clone");
	free_left();
	return test_end();
}
