/* race_test.c - four threads on arenas for seconds: blocks go from thread to thread, threads end and begin, arenas are
 * made, reset and destroyed beside them. Content tells a block that two have. Also linked with the sanitizers' objects.
 * time limit: 120 s, quick 60 s */
#define _GNU_SOURCE
#include "arena.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { THREADS = 4, SLOTS = 4096 };

static hak_arena *arena;
static void *_Atomic slots[SLOTS]; /* each block begins with its size */
static long long until;
static atomic_ulong calls;

static void check(const size_t *p)
{
	size_t size = p[0];

	CHECK(size >= 16 && size <= 4 * MIB, "block %p: size %zu", (const void *)p, size);
	CHECK(p[1] == (uintptr_t)p && p[size / 8 - 1] == (size > 16 ? size ^ (uintptr_t)p : (uintptr_t)p), "block %p of %zu was written to",
	      (const void *)p, size);
}

static size_t *block(uint64_t *rnd)
{
	size_t size = test_rand(rnd) % 64 ? test_rand_size(rnd, 16, 2 * KIB) : test_rand_size(rnd, 2 * KIB, 3 * MIB), *p;

	size = size / 8 * 8;
	p = test_rand(rnd) % 8 ? hak_arena_alloc(arena, size) : hak_arena_aligned_alloc(arena, 256, size);
	if (!p)
		return NULL;
	CHECK(hak_arena_owner(p) == arena, "owner");
	p[size / 8 - 1] = size ^ (uintptr_t)p;
	p[0] = size;
	p[1] = (uintptr_t)p;
	return p;
}

static size_t *resize(size_t *p, uint64_t *rnd)
{
	size_t old = p[0], size = old / 2 + test_rand(rnd) % (old + 64);
	size_t *q;

	size = size < 32 ? 32 : size > 3 * MIB ? 3 * MIB : size / 8 * 8;
	q = test_rand(rnd) & 1 ? hak_arena_realloc(arena, p, size) : test_realloc(p, size);
	if (!q)
		return p;
	CHECK(q[0] == old && q[1] == (uintptr_t)p, "realloc lost the content");
	q[size / 8 - 1] = size ^ (uintptr_t)q;
	q[0] = size;
	q[1] = (uintptr_t)q;
	return q;
}

static void release(size_t *p, uint64_t *rnd)
{
	if (!p)
		return;
	check(p);
	p[1] = 0;
	if (test_rand(rnd) & 1)
		test_free(p);
	else
		hak_arena_free(arena, p);
}

static void exchange(uint64_t *rnd, unsigned n)
{
	while (n--) {
		size_t *p = block(rnd);

		if (p && p[0] > 16 && test_rand(rnd) % 16 == 0)
			p = resize(p, rnd);
		release(atomic_exchange(&slots[test_rand(rnd) % SLOTS], p), rnd);
	}
}

static void *lives_shortly(void *arg)
{
	uint64_t rnd = (uintptr_t)arg | 1;

	test_free(test_malloc(100));
	exchange(&rnd, 300);
	return NULL;
}

static void *works(void *arg)
{
	uint64_t rnd = (uintptr_t)arg * 7919 + 1;
	pthread_t t;

	while (now_ms() < until) {
		exchange(&rnd, 500);
		atomic_fetch_add(&calls, 500);
		if (test_rand(&rnd) % 8 == 0) {
			CHECK(pthread_create(&t, NULL, lives_shortly, (void *)(uintptr_t)test_rand(&rnd)) == 0, "no thread");
			pthread_join(t, NULL);
		}
		if (test_rand(&rnd) % 16 == 0) {
			CHECK(hak_arena_push(arena) == 0, "push");
			void *p = test_malloc(300);
			CHECK(!p || hak_arena_owner(p) == arena, "push");
			CHECK(hak_arena_pop() == 0, "pop");
			test_free(p);
		}
	}
	return NULL;
}

static void run(void *(*body)(void *), unsigned seconds)
{
	pthread_t t[THREADS];
	uintptr_t i;

	until = now_ms() + seconds * 1000;
	for (i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, body, (void *)(i + 1)) == 0, "no thread");
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

static void one_arena(void)
{
	unsigned round, i;

	for (round = 0; round < 3; round++) {
		arena = arena_make(OPTIONS(.max_bytes = 128 * SUPER));
		run(works, test_quick() ? 2 : 8);
		for (i = 0; i < SLOTS; i++)
			if (slots[i])
				check(atomic_exchange(&slots[i], NULL));
		CHECK(hak_arena_reset(arena) == 0 && arena_stats(arena).used_bytes == 0, "reset");
		CHECK(arena_stats(arena).supers <= 128, "beyond the maximum");
		CHECK(hak_arena_destroy(arena) == 0, "destroy");
		CHECK(hak_audit() == 0, "audit");
	}
	printf("%lu calls\n", atomic_load(&calls));
}

/* Each thread its own short arenas; structs, heaps and SuperSlabs go from one to the other. */
static void *makes_arenas(void *arg)
{
	uint64_t rnd = (uintptr_t)arg * 31 + 1;
	size_t n, i;

	for (n = 0; now_ms() < until; n++) {
		hak_arena *mine = arena_make(OPTIONS(.flags = n % 3 ? 0 : HAK_ARENA_SINGLE, .max_bytes = 16 * SUPER));
		size_t count = 1 + test_rand(&rnd) % 300;
		static __thread size_t *p[300];

		for (i = 0; i < count; i++) {
			size_t size = test_rand_size(&rnd, 16, i % 100 ? 4 * KIB : MIB) / 8 * 8;

			p[i] = hak_arena_alloc(mine, size);
			CHECK(p[i] && hak_arena_owner(p[i]) == mine, "alloc");
			p[i][0] = size;
			p[i][size / 8 - 1] = size;
		}
		for (i = 0; i < count; i++) {
			CHECK(p[i][0] == p[i][p[i][0] / 8 - 1], "written to");
			if (i & 1)
				test_free(p[i]);
		}
		if (n % 5 == 0)
			CHECK(hak_arena_reset(mine) == 0, "reset");
		CHECK(hak_arena_destroy(mine) == 0, "destroy"); /* from here on another thread's arena may be the same struct */
		test_free(test_malloc(test_rand_size(&rnd, 16, 8 * MIB)));
	}
	atomic_fetch_add(&calls, n);
	return NULL;
}

static void many_arenas(void)
{
	run(makes_arenas, test_quick() ? 4 : 20);
	printf("%lu arenas\n", atomic_load(&calls));
	CHECK(hak_audit() == 0, "audit");
}

int main(int argc, char **argv)
{
	static const struct test_part parts[] = {{"one_arena", one_arena}, {"many_arenas", many_arenas}};

	return test_run_parts(argc, argv, parts, COUNT_OF(parts), 110);
}
