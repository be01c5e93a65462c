/* threads_test.c - an arena's heaps come and go with threads: two threads never share one, what a thread left is
 * used by the next, frees from elsewhere arrive, a reset reaches all, a forked child finds what it may use.
 * time limit: 240 s, quick 90 s */
#define _GNU_SOURCE
#include "arena.h"

#include <hakmem/memfd.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static hak_arena *arena;
static pthread_barrier_t both;
static atomic_bool stop;

static void *run_in(void *(*body)(void *), void *arg)
{
	pthread_t t;
	void *result;

	CHECK(pthread_create(&t, NULL, body, arg) == 0, "no thread");
	pthread_join(t, &result);
	return result;
}

static void *one_block(void *size)
{
	test_free(test_malloc(10)); /* has an ordinary heap before it comes to the arena */
	return arena_block(arena, (size_t)(uintptr_t)size);
}

static void *stays(void *arg)
{
	test_free(test_malloc(10));
	*(void **)arg = arena_block(arena, 100);
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both);
	return NULL;
}

/* A thread ends; another goes on with its ordinary heap while a third takes what it left in the arena. */
static void heaps_are_not_shared(void)
{
	pthread_t t;
	void *p;

	arena = arena_make(OPTIONS(.name = "a"));
	pthread_barrier_init(&both, NULL, 2);
	run_in(one_block, (void *)100);
	CHECK(arena_stats(arena).heaps == 1, "%llu heaps", (unsigned long long)arena_stats(arena).heaps);
	CHECK(pthread_create(&t, NULL, stays, &p) == 0, "no thread");
	pthread_barrier_wait(&both);
	arena_block(arena, 100);
	CHECK(arena_stats(arena).heaps == 2, "two threads inside, %llu heaps", (unsigned long long)arena_stats(arena).heaps);
	pthread_barrier_wait(&both);
	pthread_join(t, NULL);
	hak_arena_destroy(arena);
}

/* Heaps don't pile up: one thread after the other. */
static void heaps_are_taken_over(void)
{
	int i;

	arena = arena_make(OPTIONS(.max_bytes = 8 * SUPER));
	for (i = 0; i < 2000; i++) {
		void *p = run_in(one_block, (void *)(uintptr_t)(1 + i * 37 % 30000));

		test_free(p);
	}
	CHECK(arena_stats(arena).heaps <= 3, "%llu heaps", (unsigned long long)arena_stats(arena).heaps);
	hak_arena_destroy(arena);
}

static void *frees_all(void *arg)
{
	void **p = arg;
	int i;

	for (i = 0; i < 1000; i++)
		if (i & 1)
			test_free(p[i]);
		else
			hak_arena_free(arena, p[i]);
	return NULL;
}

/* Frees by threads that never took anything here, and by ones that did, keep the memory within a bound. */
static void frees_from_elsewhere(void)
{
	static void *p[1000];
	int round, i;

	arena = arena_make(OPTIONS(.max_bytes = 8 * SUPER));
	for (round = 0; round < 300; round++) {
		for (i = 0; i < 1000; i++)
			p[i] = arena_block(arena, 1 + (size_t)i * 5 + (i % 100 == 0) * 50000);
		run_in(frees_all, p);
	}
	hak_arena_destroy(arena);
}

static void *works_until_told(void *arg)
{
	enum { SLOTS = 200 };
	void *slot[SLOTS] = {NULL};
	uint64_t rnd = (uintptr_t)arg * 77 + 5, n;

	for (n = 0; !atomic_load(&stop); n++) {
		size_t i = test_rand(&rnd) % SLOTS;

		if (n & 1)
			test_free(slot[i]);
		else
			hak_arena_free(arena, slot[i]);
		slot[i] = hak_arena_alloc(arena, n % 200 ? test_rand_size(&rnd, 1, 2 * KIB) : test_rand_size(&rnd, 2 * KIB, MIB));
		CHECK(slot[i], "alloc");
		*(char *)slot[i] = 1;
	}
	for (n = 0; n < SLOTS; n++)
		test_free(slot[n]);
	return NULL;
}

static void *frees_one_and_waits(void *p)
{
	hak_arena_free(arena, p); /* stays in a slot of this thread, on its way to the owner */
	hak_arena_free(arena, arena_block(arena, 100)); /* and one in its bins */
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both); /* here it is reset */
	return arena_block(arena, 100);
}

static void reset_reaches_all_threads(void)
{
	pthread_t t;
	void *p, *q;
	int i;

	arena = arena_make(OPTIONS(.initial_bytes = SUPER, .max_bytes = SUPER));
	pthread_barrier_init(&both, NULL, 2);
	for (i = 0; i < 300; i++) {
		CHECK(pthread_create(&t, NULL, frees_one_and_waits, arena_block(arena, 100)) == 0, "no thread");
		pthread_barrier_wait(&both);
		CHECK(hak_arena_reset(arena) == 0 && arena_stats(arena).used_bytes == 0, "reset");
		p = arena_block(arena, 100);
		pthread_barrier_wait(&both);
		pthread_join(t, &q);
		CHECK(p != q, "two threads have one block");
		CHECK(hak_arena_reset(arena) == 0, "reset");
	}
	hak_arena_destroy(arena);
}

static void *pushes_and_ends(void *p)
{
	CHECK(hak_arena_push(arena) == 0, "push");
	CHECK(hak_arena_owner(test_malloc(100)) == arena, "not directed");
	test_free(p);
	return NULL;
}

static void *starts_afresh(void *arg)
{
	(void)arg;
	CHECK(!hak_arena_owner(test_malloc(100)), "a thread began with another's arena");
	CHECK(hak_arena_pop() == -EINVAL, "a thread began with another's pushes");
	return NULL;
}

static void ends_while_pushed(void)
{
	int i;

	arena = arena_make(OPTIONS(.max_bytes = 8 * SUPER));
	for (i = 0; i < 300; i++) {
		run_in(pushes_and_ends, test_malloc(100));
		run_in(starts_afresh, NULL);
	}
	CHECK(hak_arena_destroy(arena) == 0, "destroy");
	run_in(starts_afresh, NULL);
}

static void *pushes_and_waits(void *arg)
{
	int i, deep = *(int *)arg;

	for (i = 0; i < deep; i++)
		CHECK(hak_arena_push(arena) == 0, "push");
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both); /* here it can't be destroyed */
	CHECK(hak_arena_owner(test_malloc(100)) == arena, "changed by a destroy that was refused");
	if (deep & 1)
		for (i = 0; i < deep; i++)
			CHECK(hak_arena_pop() == 0, "pop");
	return NULL; /* else with all of them */
}

/* An arena does not end under a thread that takes from it, and nothing of it changes. */
static void destroy_while_pushed(void)
{
	pthread_t t;
	char *p;
	int deep, i;

	pthread_barrier_init(&both, NULL, 2);
	for (deep = 1; deep <= 8; deep++) {
		arena = arena_make(OPTIONS(.initial_bytes = SUPER));
		p = arena_block(arena, 1000);
		for (i = 0; i < 20; i++) {
			CHECK(pthread_create(&t, NULL, pushes_and_waits, &deep) == 0, "no thread");
			pthread_barrier_wait(&both);
			CHECK(hak_arena_destroy(arena) == -EBUSY, "destroyed while a thread has it pushed");
			CHECK(hak_arena_owner(p) == arena && p[999] == 0x5a && arena_stats(arena).supers == 1, "changed");
			pthread_barrier_wait(&both);
			pthread_join(t, NULL);
		}
		hak_arena_free(arena, p);
		CHECK(hak_arena_destroy(arena) == 0, "the ends of threads did not give it back, %d deep", deep);
	}
}

static void child_destroys(void)
{
	CHECK(hak_arena_destroy(arena) == 0, "the parent's other threads have it pushed in the child");
	CHECK(hak_arena_pop() == -EINVAL, "pop");
}

static void child_pops_first(void)
{
	CHECK(hak_arena_destroy(arena) == -EBUSY, "destroyed while pushed");
	CHECK(hak_arena_pop() == 0 && hak_arena_destroy(arena) == -EBUSY, "destroyed while pushed once more");
	CHECK(hak_arena_pop() == 0 && hak_arena_destroy(arena) == 0, "destroy");
}

static void fork_counts_pushes(void)
{
	int deep = 3;
	pthread_t t;

	arena = arena_make(OPTIONS(.name = "a"));
	pthread_barrier_init(&both, NULL, 2);
	CHECK(pthread_create(&t, NULL, pushes_and_waits, &deep) == 0, "no thread");
	pthread_barrier_wait(&both);
	in_child(child_destroys, "child of a process whose other thread pushed");
	CHECK(hak_arena_push(arena) == 0 && hak_arena_push(arena) == 0, "push");
	in_child(child_pops_first, "child of a thread that pushed twice");
	pthread_barrier_wait(&both);
	pthread_join(t, NULL);
	CHECK(hak_arena_destroy(arena) == -EBUSY, "destroyed while pushed");
	CHECK(hak_arena_pop() == 0 && hak_arena_pop() == 0 && hak_arena_destroy(arena) == 0, "destroy");
}

/* A single owner's arena goes from thread to thread. */
static void *owns_for_a_while(void *arg)
{
	void **p = arg;
	int i;

	test_free(test_malloc(10));
	for (i = 0; i < 100; i++) {
		hak_arena_free(arena, p[i]);
		p[i] = arena_block(arena, 1 + (size_t)i * 50);
	}
	return NULL;
}

static void single_owner(void)
{
	static void *p[100];
	int i;

	arena = arena_make(OPTIONS(.flags = HAK_ARENA_SINGLE, .max_bytes = 4 * SUPER));
	for (i = 0; i < 500; i++)
		if (i & 1)
			run_in(owns_for_a_while, p);
		else
			owns_for_a_while(p);
	CHECK(arena_stats(arena).heaps == 1, "%llu heaps", (unsigned long long)arena_stats(arena).heaps);
	CHECK(hak_arena_push(arena) == 0 && hak_arena_owner(test_malloc(10)) == arena && hak_arena_pop() == 0, "push");
	CHECK(hak_arena_destroy(arena) == 0, "destroy");
	run_in(starts_afresh, NULL);
}

static atomic_int turn;
static unsigned refused_elsewhere;

static void *uses_it_once(void *arg)
{
	test_free(test_malloc(10));
	while (atomic_load(&turn) != 1)
		sched_yield();
	hak_arena_free(arena, hak_arena_alloc(arena, 100));
	atomic_store(&turn, 2);
	while (atomic_load(&turn) != 3) {
		void *p = test_malloc(600 * KIB);
		refused_elsewhere += !p;
		test_free(p);
	}
	return arg;
}

/* A single owner's arena is pushed here and was used there: this thread's slow paths are not that one's. */
static void single_owner_pushed(void)
{
	pthread_t t;
	int i;

	arena = arena_make(OPTIONS(.flags = HAK_ARENA_SINGLE, .max_bytes = 4 * SUPER));
	CHECK(pthread_create(&t, NULL, uses_it_once, NULL) == 0, "no thread");
	CHECK(hak_arena_push(arena) == 0, "push");
	test_free(test_malloc(100));
	atomic_store(&turn, 1);
	while (atomic_load(&turn) != 2)
		sched_yield();
	for (i = 0; i < 100000; i++)
		test_free(test_malloc(600 * KIB));
	atomic_store(&turn, 3);
	CHECK(hak_arena_pop() == 0, "pop");
	pthread_join(t, NULL);
	CHECK(!refused_elsewhere, "malloc failed %u times in another thread", refused_elsewhere);
	CHECK(hak_arena_destroy(arena) == 0, "destroy");
}

/* ---- fork ---- */

static void *many_blocks(void *arg)
{
	enum { SLOTS = 500 };
	void *p[SLOTS];
	int round, i;

	(void)arg;
	for (round = 0; round < 20; round++) {
		for (i = 0; i < SLOTS; i++) {
			p[i] = hak_arena_alloc(arena, 1 + (size_t)(i * 61 % 3000));
			if (!p[i])
				return (void *)(uintptr_t)errno;
			memset(p[i], 1, 1 + (size_t)(i * 61 % 3000));
		}
		for (i = 0; i < SLOTS; i++)
			test_free(p[i]);
	}
	return NULL;
}

static void child_uses_it(void)
{
	void *said = many_blocks(NULL);

	CHECK(!said || said == (void *)ENOMEM, "errno %d", (int)(uintptr_t)said);
	run_in(many_blocks, NULL);
	run_in(many_blocks, NULL);
	arena = arena_make(OPTIONS(.initial_bytes = SUPER));
	CHECK(!many_blocks(NULL) && !run_in(many_blocks, NULL), "a new arena in the child");
	CHECK(hak_arena_destroy(arena) == 0, "destroy");
}

static void fork_under_load(void)
{
	enum { BUSY = 3 };
	pthread_t t[BUSY];
	uintptr_t i;
	int n, total = test_quick() ? 60 : 600;

	arena = arena_make(OPTIONS(.name = "a"));
	for (i = 0; i < BUSY; i++)
		CHECK(pthread_create(&t[i], NULL, works_until_told, (void *)(i + 1)) == 0, "no thread");
	for (n = 0; n < total; n++)
		in_child(child_uses_it, "child of a fork under load");
	atomic_store(&stop, true);
	for (i = 0; i < BUSY; i++)
		pthread_join(t[i], NULL);
	CHECK(!many_blocks(NULL), "the parent");
	hak_arena_destroy(arena);
}

static void *pops_and_mallocs(void *arg)
{
	void *p[300];
	int i;

	(void)arg;
	for (i = 0; i < 300; i++)
		memset(p[i] = test_malloc(1 + (size_t)i * 10), 1, 1 + (size_t)i * 10);
	pthread_barrier_wait(&both);
	for (i = 0; i < 300; i++)
		test_free(p[i]);
	return NULL;
}

/* The child's thread has two heaps, and is the one whose word points at the arena's. */
static void child_of_a_pushed_one(void)
{
	pthread_t t[3];
	struct hak_stats s = {.size_bytes = sizeof(s)};
	int i;

	CHECK(hak_arena_owner(test_malloc(100)) == arena, "not pushed in the child");
	CHECK(hak_arena_pop() == 0 && !hak_arena_owner(test_malloc(100)), "pop");
	CHECK(hak_stats_get(&s) == 0 && s.heaps_parked == 0, "%llu heaps without a thread: one is this thread's",
	      (unsigned long long)s.heaps_parked);
	pthread_barrier_init(&both, NULL, 3);
	for (i = 0; i < 3; i++)
		CHECK(pthread_create(&t[i], NULL, pops_and_mallocs, NULL) == 0, "no thread");
	for (i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	CHECK(hak_audit() == 0, "audit");
}

static void fork_while_pushed(void)
{
	arena = arena_make(OPTIONS(.name = "a"));
	CHECK(hak_arena_push(arena) == 0, "push");
	test_free(test_malloc(100));
	in_child(child_of_a_pushed_one, "child of a thread that pushed");
	CHECK(hak_arena_pop() == 0 && hak_arena_destroy(arena) == 0, "destroy");
}

/* An arena that the child lacks: malloc goes back to its own there. */
static void child_has_malloc(void)
{
	void *p = test_malloc(100);

	CHECK(p && hak_arena_owner(p) != arena, "malloc(100) = %p in the child", p);
}

static void fork_while_memfd_pushed(void)
{
	struct hak_memfd memfd;

	CHECK(hak_arena_memfd(OPTIONS(.initial_bytes = 4 * SUPER), &arena, &memfd) == 0, "memfd");
	CHECK(hak_arena_push(arena) == 0, "push");
	test_free(test_malloc(100));
	in_child(child_has_malloc, "child of a thread that pushed an arena on a memfd");
	CHECK(hak_arena_pop() == 0 && hak_arena_destroy(arena) == 0 && hak_memfd_unmap(&memfd) == 0, "destroy");
}

/* ---- what libc keeps ---- */

/* Nothing that libc allocates for a call of ours is in the arena that is pushed. */
static void libc_keeps_nothing_here(void)
{
	struct hak_pool_options o = {.size_bytes = sizeof(o), .object_bytes = 64, .count = 1000};
	hak_arena *second;
	hak_pool *pool;
	pthread_key_t key[40];
	unsigned i;

	for (i = 0; i < COUNT_OF(key); i++) /* more than a thread has room for in itself */
		CHECK(pthread_key_create(&key[i], NULL) == 0, "key");
	arena = arena_make(OPTIONS(.name = "pushed"));
	CHECK(hak_pool_create(&o, &pool) == 0, "pool");
	CHECK(hak_arena_push(arena) == 0, "push");
	hak_pool_put(pool, hak_pool_get(pool));
	second = arena_make(OPTIONS(.initial_bytes = SUPER, .populate = HAK_POPULATE_BACKGROUND));
	CHECK(arena_stats(arena).used_bytes == 0, "%llu bytes in the pushed arena",
	      (unsigned long long)arena_stats(arena).used_bytes);
	CHECK(hak_arena_pop() == 0 && hak_arena_destroy(second) == 0 && hak_arena_destroy(arena) == 0, "destroy");
	CHECK(hak_pool_destroy(pool) == 0, "pool");
}

/* ---- signals ---- */

static atomic_uint handled, refused;

static void handler(int sig)
{
	void *p = hak_arena_alloc(arena, 100);

	(void)sig;
	atomic_fetch_add(&handled, 1);
	if (!p)
		atomic_fetch_add(&refused, 1);
	else
		CHECK(hak_arena_owner(p) == arena, "a handler was given %p, none of the arena's", p);
}

static void *sends(void *target)
{
	while (!atomic_load(&stop)) {
		pthread_kill(*(pthread_t *)target, SIGUSR1);
		usleep(50);
	}
	return NULL;
}

/* Handlers interrupt slow paths: they get a block of the arena, or nothing. */
static void signal_handlers(void)
{
	pthread_t t, me = pthread_self();
	long long until = now_ms() + (test_quick() ? 1000 : 10000);
	static void *p[64];
	uint64_t n;

	arena = arena_make(OPTIONS(.name = "a"));
	signal(SIGUSR1, handler);
	CHECK(pthread_create(&t, NULL, sends, &me) == 0, "no thread");
	/* a busy machine may take its time to deliver them: the part's own limit ends it */
	for (n = 0; now_ms() < until || atomic_load(&handled) <= 100; n++) {
		hak_arena_free(arena, p[n % 64]);
		p[n % 64] = hak_arena_alloc(arena, 600 * KIB); /* a span: always a slow path */
	}
	atomic_store(&stop, true);
	pthread_join(t, NULL);
	CHECK(atomic_load(&handled) > 100, "%u signals", atomic_load(&handled));
	printf("%u handlers, %u refused\n", atomic_load(&handled), atomic_load(&refused));
}

int main(int argc, char **argv)
{
	static const struct test_part parts[] = {
		{"heaps_are_not_shared", heaps_are_not_shared}, {"heaps_are_taken_over", heaps_are_taken_over},
		{"frees_from_elsewhere", frees_from_elsewhere}, {"reset_reaches_all_threads", reset_reaches_all_threads},
		{"ends_while_pushed", ends_while_pushed}, {"destroy_while_pushed", destroy_while_pushed},
		{"fork_counts_pushes", fork_counts_pushes}, {"single_owner", single_owner}, {"single_owner_pushed", single_owner_pushed},
		{"fork_under_load", fork_under_load}, {"fork_while_pushed", fork_while_pushed},
		{"fork_while_memfd_pushed", fork_while_memfd_pushed}, {"libc_keeps_nothing_here", libc_keeps_nothing_here},
		{"signal_handlers", signal_handlers},
	};

	return test_run_parts(argc, argv, parts, COUNT_OF(parts), 80);
}
