/* cache_test.c - a single owner's way past the calls: hak_arena_alloc_from and hak_arena_free_to are the same bins as the
 * calls, however they are mixed; they give back what runs over; they hold in other threads, after resets and in forked
 * children; and a size that is wrong is seen. */
#define _GNU_SOURCE
#include "arena.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BIG ((size_t)512 << 10)

static hak_arena *arena;
static struct hak_arena_cache *cache;

static void make(size_t supers)
{
	arena = arena_make(OPTIONS(.flags = HAK_ARENA_SINGLE, .max_bytes = supers * SUPER));
	cache = hak_arena_cache_of(arena, HAK_ARENA_CACHE_LAYOUT);
	if (!cache && !arena_reset_replaces())
		CHECK(0, "a single owner's arena has no cache");
}

static void end(void)
{
	CHECK(hak_arena_destroy(arena) == 0, "destroy");
}

/* SIZE is the same bin in all ways, and a block of the class that a call gives. */
static void one_size(size_t size)
{
	char *p = hak_arena_alloc_from(arena, cache, size), *q = hak_arena_alloc(arena, size);

	CHECK(p && q && p != q && (uintptr_t)p % 16 == 0 && hak_arena_owner(p) == arena, "%zu: %p %p", size, (void *)p, (void *)q);
	CHECK(hak_arena_usable_size(arena, p) == hak_arena_usable_size(arena, q), "%zu: another class", size);
	memset(p, 0xa5, size);
	hak_arena_free_to(arena, cache, p, size);
	CHECK(hak_arena_alloc(arena, size) == p, "%zu: freed inline, not had by a call", size);
	hak_arena_free(arena, p);
	CHECK(hak_arena_alloc_from(arena, cache, size) == p, "%zu: freed by a call, not had inline", size);
	hak_arena_free_to(arena, cache, p, size);
	hak_arena_free_to(arena, cache, q, size);
}

static void sizes(void)
{
	size_t size, step;

	make(64);
	for (size = 1; size <= HAK_ARENA_CACHE_BYTES + 1; size++)
		one_size(size);
	for (step = 4096; step <= BIG / 4; step *= 2)
		for (size = 4 * step; size <= 8 * step && size <= BIG; size += step) {
			one_size(size - 1);
			one_size(size);
			if (size < BIG)
				one_size(size + 1);
		}
	CHECK(arena_stats(arena).heaps == 1, "heaps");
	end();
}

/* Beyond the bins: zero, large, nothing. */
static void by_calls(void)
{
	size_t sizes[] = {0, BIG + 1, 3 * MIB}, i;

	make(64);
	for (i = 0; i < COUNT_OF(sizes); i++) {
		char *p = hak_arena_alloc_from(arena, cache, sizes[i]);

		CHECK(p && hak_arena_owner(p) == arena, "%zu", sizes[i]);
		memset(p, 1, sizes[i]);
		hak_arena_free_to(arena, cache, p, sizes[i]);
	}
	hak_arena_free_to(arena, cache, NULL, 100);
	CHECK(!hak_arena_alloc_from(arena, cache, SIZE_MAX), "SIZE_MAX");
	end();
}

static void child_has_none(void)
{
	CHECK(hak_arena_alloc_from(arena, NULL, 100), "in the child");
}

static void none(void)
{
	hak_arena *a = arena_make(OPTIONS(.name = "any thread's"));
	char *p;

	CHECK(!hak_arena_cache_of(NULL, HAK_ARENA_CACHE_LAYOUT), "of no arena");
	CHECK(!hak_arena_cache_of(a, HAK_ARENA_CACHE_LAYOUT), "an arena of any thread has one");
	p = hak_arena_alloc_from(a, NULL, 100);
	arena = a;
	in_child(child_has_none, "child of a fork");
	CHECK(p && hak_arena_owner(p) == a, "without one");
	hak_arena_free_to(a, NULL, p, 100);
	CHECK(hak_arena_destroy(a) == 0, "destroy");
	make(4);
	CHECK(!hak_arena_cache_of(arena, HAK_ARENA_CACHE_LAYOUT + 1) && !hak_arena_cache_of(arena, 0), "another layout");
	end();
	CHECK(!hak_arena_cache_of(arena, HAK_ARENA_CACHE_LAYOUT), "of an arena that was destroyed");
}

/* What runs over a bin goes back: the memory can be had in other sizes. */
static void runs_over(void)
{
	enum { BYTES = 56 << 20 };
	size_t sizes[] = {64, 5000}, i, n;

	make(32);
	for (i = 0; i < COUNT_OF(sizes); i++) {
		void **list = NULL, *p;

		for (n = 0; n < BYTES / sizes[i]; n++) {
			p = hak_arena_alloc_from(arena, cache, sizes[i]);
			CHECK(p, "%zu blocks of %zu had", n, sizes[i]);
			*(void **)p = list;
			list = p;
		}
		for (; list; list = p) {
			p = *list;
			hak_arena_free_to(arena, cache, list, sizes[i]);
		}
		p = hak_arena_alloc_from(arena, cache, BYTES / 2);
		CHECK(p, "after %d MiB of %zu-byte blocks no block of half of it", BYTES >> 20, sizes[i]);
		hak_arena_free_to(arena, cache, p, BYTES / 2);
	}
	end();
}

static unsigned long long seed = 88172645463325252ull;

static size_t random_below(size_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (size_t)(seed >> 11) % n;
}

enum { SLOTS = 3000 };

static struct {
	unsigned char *p;
	size_t size;
	bool resized;
	unsigned char fill;
} slot[SLOTS];

static void release(size_t i)
{
	if (slot[i].p) {
		CHECK(slot[i].p[0] == slot[i].fill && slot[i].p[slot[i].size - 1] == slot[i].fill, "slot %zu was written over", i);
		if (slot[i].resized || random_below(4) == 0)
			hak_arena_free(arena, slot[i].p);
		else
			hak_arena_free_to(arena, cache, slot[i].p, slot[i].size);
	}
	slot[i].p = NULL;
}

static void replace(size_t i)
{
	size_t size = 1 + random_below((size_t)16 << random_below(14));
	unsigned char *p;

	release(i);
	p = random_below(4) == 0 ? hak_arena_alloc(arena, size) : hak_arena_alloc_from(arena, cache, size);
	CHECK(p, "no %zu bytes", size);
	slot[i].resized = random_below(16) == 0;
	if (slot[i].resized) {
		size = 1 + random_below(2 * size);
		p = hak_arena_realloc(arena, p, size);
	}
	slot[i].p = p;
	slot[i].size = size;
	slot[i].fill = (unsigned char)(i + size);
	p[0] = p[size - 1] = slot[i].fill;
}

static void *replaces(void *arg)
{
	size_t n = *(size_t *)arg;

	test_free(test_malloc(10));
	while (n--)
		replace(random_below(SLOTS));
	return NULL;
}

static void run_in(void *(*run)(void *), void *arg)
{
	pthread_t t;

	CHECK(pthread_create(&t, NULL, run, arg) == 0, "no thread");
	pthread_join(t, NULL);
}

/* All ways mixed, from thread to thread, through resets. */
static void mixed(void)
{
	size_t n = 100000;
	int round;
	size_t i;

	make(512);
	for (round = 0; round < 6; round++) {
		if (round & 1)
			run_in(replaces, &n);
		else
			replaces(&n);
		if (round == 3) {
			CHECK(hak_arena_reset(arena) == 0, "reset");
			for (i = 0; i < SLOTS; i++)
				slot[i].p = NULL;
		}
		if (round == 4)
			for (i = 0; i < SLOTS; i++)
				release(i);
		CHECK(!cache || hak_arena_cache_of(arena, HAK_ARENA_CACHE_LAYOUT) == cache, "the cache is another");
	}
	for (i = 0; i < SLOTS; i++)
		release(i);
	CHECK(arena_stats(arena).heaps == 1, "heaps");
	end();
}

/* ---- fork ---- */

static atomic_bool stop;

static void *owner(void *arg)
{
	size_t n = 1000;

	while (!atomic_load(&stop))
		replaces(&n);
	return arg;
}

/* With the cache that the parent had, before any other call. Memory may have run out at once. */
static void child_goes_on(void)
{
	enum { N = 2000 };
	static unsigned char *p[N];
	int i, had;

	for (had = 0; had < N; had++) {
		p[had] = hak_arena_alloc_from(arena, cache, 16 + (size_t)had % 64 * 16);
		if (!p[had])
			break;
		memset(p[had], had, 16);
	}
	for (i = 0; i < had; i++) {
		CHECK(p[i][0] == (unsigned char)i && p[i][15] == (unsigned char)i, "block %d was given twice", i);
		hak_arena_free_to(arena, cache, p[i], 16 + (size_t)i % 64 * 16);
	}
}

static void after_fork(void)
{
	size_t few = 1000;
	pthread_t t;
	int i;

	make(512);
	replaces(&few);
	in_child(child_goes_on, "child of the owner");
	in_plain_child(child_goes_on, "child of the owner by _Fork");
	CHECK(pthread_create(&t, NULL, owner, NULL) == 0, "no thread");
	for (i = 0; i < 60; i++)
		in_child(child_goes_on, "child of another thread");
	atomic_store(&stop, true);
	pthread_join(t, NULL);
	end();
}

/* The thread that the library knows of forks while another one, which it was handed to and which made no call, is between
 * two stores of the inline way. */
static void *live[50000];

static void child_frees_all(void)
{
	size_t i;

	for (i = 0; i < COUNT_OF(live); i++)
		hak_arena_free(arena, live[i]);
}

static void between_two_stores(void)
{
	struct hak_arena_bin *bin;
	void *block;
	size_t i;

	make(64);
	if (!cache)
		return end();
	for (i = 0; i < COUNT_OF(live); i++)
		live[i] = hak_arena_alloc(arena, 64);
	for (i = COUNT_OF(live) - 50; i < COUNT_OF(live); i++) {
		hak_arena_free(arena, live[i]);
		live[i] = NULL;
	}
	bin = hak_arena_cache_bin(cache, 64);
	block = bin->head;
	bin->head = *(void **)block; /* popped, not counted */
	in_child(child_frees_all, "child of a fork between two stores");
	bin->head = block;
	end();
}

/* ---- sizes that are wrong ---- */

static const struct {
	size_t was, said;
} wrong[] = {{64, 48}, {64, 5000}, {5000, 64}, {MIB, 64}, {64, MIB}, {MIB, 2 * MIB}, {100, 0}};

/* Some thousand are enough for the inline way to ask, whatever the bin had; by a call one is. */
static void wrong_size(size_t number)
{
	static void *p[10000];
	size_t i, n = wrong[number / 2].was < MIB ? COUNT_OF(p) : 1;

	make(64);
	hak_arena_free(arena, hak_arena_alloc(arena, wrong[number / 2].said));
	for (i = 0; i < n; i++)
		p[i] = hak_arena_alloc_from(arena, cache, wrong[number / 2].was);
	if (number & 1 || n == 1)
		hak_arena_free_sized(arena, p[0], wrong[number / 2].said);
	for (i = 0; i < n; i++)
		hak_arena_free_to(arena, cache, p[i], wrong[number / 2].said);
}

static void wrong_sizes(void)
{
	size_t number;

	for (number = 0; number < 2 * COUNT_OF(wrong); number++)
		must_abort("wrong_size", (int)number, "hak_arena_free_sized of a block of another size");
}

static void right_sizes(void)
{
	size_t sizes[] = {0, 1, 16, 17, 1024, 1025, 14 << 10, 15 << 10, BIG, BIG + 1, MIB, 5 * MIB}, i;
	hak_arena *a = arena_make(OPTIONS(.name = "any thread's"));

	for (i = 0; i < COUNT_OF(sizes); i++) {
		hak_arena_free_sized(a, hak_arena_alloc(a, sizes[i]), sizes[i]);
		hak_arena_free_sized(a, hak_arena_zalloc(a, sizes[i]), sizes[i]);
	}
	hak_arena_free_sized(a, NULL, 100);
	CHECK(hak_arena_destroy(a) == 0, "destroy");
}

int main(int argc, char **argv)
{
	static const struct test_part parts[] = {
		{"sizes", sizes}, {"by_calls", by_calls}, {"none", none}, {"runs_over", runs_over},
		{"mixed", mixed}, {"after_fork", after_fork}, {"between_two_stores", between_two_stores},
		{"right_sizes", right_sizes}, {"wrong_sizes", wrong_sizes},
	};

	if (argc == 3) {
		wrong_size((size_t)atoi(argv[2]));
		return 0;
	}
	return test_run_parts(argc, argv, parts, COUNT_OF(parts), 60);
}
