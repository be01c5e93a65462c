/* arena_hakmem.c - hakmem for bench_arena: malloc's heap, an arena of any thread, the same pushed (malloc takes from it),
 * one of a single owner by calls and by its cache, object pools; and what others have no like of: reset against frees,
 * short arenas, stalls across growth. */
#include "arena_subject.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hakmem/arena.h>
#include <hakmem/hakmem.h>
#include <hakmem/pool.h>

enum { BLOCKS = 100000, GROWN = 256 << 20, STEP = 4096 };

static hak_arena *arena, *single;
static struct hak_arena_cache *single_cache;
static hak_pool *pool;

static hak_arena *make(unsigned flags, unsigned populate, size_t initial)
{
	struct hak_arena_options o = {
		.size_bytes = sizeof(o), .initial_bytes = initial, .populate = populate, .flags = flags};
	hak_arena *made;
	int rc = hak_arena_create(&o, &made);
	if (rc) {
		fprintf(stderr, "bench_arena: hak_arena_create: %s\n", strerror(-rc));
		exit(1);
	}
	return made;
}

/* Called as the others are: through a function here. */
static void *heap_alloc(size_t size)
{
	return hak_malloc(size);
}

static void heap_free(void *p, size_t size)
{
	(void)size;
	hak_free(p);
}

static int start_shared(void)
{
	arena = make(0, HAK_POPULATE_NOW, 64 << 20);
	return 0;
}

static int start_single(void)
{
	single = make(HAK_ARENA_SINGLE, HAK_POPULATE_NOW, 64 << 20);
	single_cache = hak_arena_cache_of(single, HAK_ARENA_CACHE_LAYOUT);
	if (!single_cache)
		fprintf(stderr, "bench_arena: a single owner's arena has no cache\n");
	return !single_cache;
}

static void *arena_alloc(size_t size)
{
	return hak_arena_alloc(arena, size);
}

static void arena_free(void *p, size_t size)
{
	(void)size;
	hak_arena_free(arena, p);
}

static void push(void)
{
	if (hak_arena_push(arena)) {
		fprintf(stderr, "bench_arena: the arena can't be pushed\n");
		exit(1);
	}
}

static void pop(void)
{
	hak_arena_pop();
}

static bool arena_owns(void *p)
{
	return hak_arena_owner(p) == arena;
}

static void *single_alloc(size_t size)
{
	return hak_arena_alloc(single, size);
}

static void single_free(void *p, size_t size)
{
	(void)size;
	hak_arena_free(single, p);
}

static void *single_alloc_from(size_t size)
{
	return hak_arena_alloc_from(single, single_cache, size);
}

static void single_free_to(void *p, size_t size)
{
	hak_arena_free_to(single, single_cache, p, size);
}

static bool single_owns(void *p)
{
	return hak_arena_owner(p) == single;
}

static bool owns(void *p)
{
	return hak_owns(p);
}

static int pool_start(size_t bytes, size_t count)
{
	struct hak_pool_options o = {.size_bytes = sizeof(o), .object_bytes = bytes, .count = count, .cache = 512};
	int rc = hak_pool_create(&o, &pool);
	if (rc)
		fprintf(stderr, "bench_arena: hak_pool_create: %s\n", strerror(-rc));
	return rc;
}

static void *get(void)
{
	return hak_pool_get(pool);
}

static void put(void *p)
{
	hak_pool_put(pool, p);
}

static struct hak_pool_cache *cache;

static int kept_start(size_t bytes, size_t count)
{
	int rc = pool_start(bytes, count);
	cache = rc ? NULL : hak_pool_cache_mine(pool);
	return rc;
}

static void *get_from(void)
{
	return hak_pool_get_from(pool, cache);
}

static void put_to(void *p)
{
	hak_pool_put_to(pool, cache, p);
}

static int get_bulk(void **p, unsigned n)
{
	return hak_pool_get_bulk(pool, p, n);
}

static void put_bulk(void **p, unsigned n)
{
	hak_pool_put_bulk(pool, p, n);
}

static void pool_end(void)
{
	hak_pool_destroy(pool);
}

const struct hk_subject hk_subjects[] = {
	{.name = "hak_malloc", .symbol = "hak_malloc", .alloc = heap_alloc, .free = heap_free, .owns = owns},
	{.name = "arena",
	 .symbol = "hak_arena_alloc",
	 .start = start_shared,
	 .alloc = arena_alloc,
	 .free = arena_free,
	 .owns = arena_owns},
	{.name = "arena_pushed",
	 .symbol = "hak_malloc",
	 .alloc = heap_alloc,
	 .free = heap_free,
	 .enter = push,
	 .leave = pop,
	 .owns = arena_owns},
	{.name = "arena_single",
	 .symbol = "hak_arena_alloc",
	 .start = start_single,
	 .alloc = single_alloc,
	 .free = single_free,
	 .owns = single_owns},
	{.name = "arena_cache",
	 .symbol = "hak_arena_cache_of",
	 .alloc = single_alloc_from,
	 .free = single_free_to,
	 .owns = single_owns},
	{.name = "hak_pool",
	 .symbol = "hak_pool_get_bulk",
	 .pool_start = pool_start,
	 .get = get,
	 .put = put,
	 .get_bulk = get_bulk,
	 .put_bulk = put_bulk,
	 .pool_end = pool_end},
	{.name = "hak_pool_cache",
	 .symbol = "hak_pool_cache_mine",
	 .pool_start = kept_start,
	 .get = get_from,
	 .put = put_to,
	 .get_bulk = get_bulk,
	 .put_bulk = put_bulk,
	 .pool_end = pool_end},
	{.name = NULL},
};

/* ---- reset ---- */

static void fill(hak_arena *a, void **p)
{
	for (size_t i = 0; i < BLOCKS; i++) {
		p[i] = hak_arena_alloc(a, 16 + i * 37 % 1000);
		if (!p[i]) {
			fprintf(stderr, "bench_arena: the arena has no memory\n");
			exit(1);
		}
	}
}

static int resets(unsigned rounds, const char *latencies)
{
	static void *p[BLOCKS];
	double frees = 0, reset = 0;
	hak_arena *a = make(0, HAK_POPULATE_NOW, 256 << 20);
	for (unsigned r = 0; r < rounds; r++) {
		unsigned long long begin, took;
		fill(a, p);
		begin = hk_subject_now();
		for (size_t i = 0; i < BLOCKS; i++)
			hak_arena_free(a, p[i]);
		took = hk_subject_now() - begin;
		frees = !r || took < frees ? (double)took : frees;
		fill(a, p);
		begin = hk_subject_now();
		hak_arena_reset(a);
		took = hk_subject_now() - begin;
		reset = !r || took < reset ? (double)took : reset;
	}
	hak_arena_destroy(a);
	hk_subject_row("release_100k", "reset", reset, "ns");
	hk_subject_row("release_100k", "one_by_one", frees, "ns");
	(void)latencies;
	return 0;
}

/* ---- short arenas ---- */

static double short_ones(unsigned n)
{
	unsigned long long begin = hk_subject_now();
	for (unsigned i = 0; i < n; i++) {
		hak_arena *a = make(0, HAK_POPULATE_NEVER, 0);
		for (size_t k = 0; k < 100; k++)
			*(volatile char *)hak_arena_alloc(a, 16 + k * 40) = 1;
		hak_arena_destroy(a);
	}
	return (double)(hk_subject_now() - begin) / 1e3 / n;
}

/* Memory is warm: the first thousand don't count. */
static int shorts(unsigned rounds, const char *latencies)
{
	double best = 0;
	short_ones(1000);
	for (unsigned r = 0; r < rounds; r++) {
		double us = short_ones(2000);
		best = !r || us < best ? us : best;
	}
	hk_subject_row("short_arena", "arena", best, "us");
	(void)latencies;
	return 0;
}

/* ---- stalls ---- */

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

static uint64_t supers(hak_arena *a)
{
	struct hak_arena_stats stats = {.size_bytes = sizeof(stats)};
	hak_arena_stats(a, &stats);
	return stats.supers;
}

static void stall_rows(const char *what, const char *name, uint32_t *ns, size_t n)
{
	char row[40];
	if (!n)
		return;
	qsort(ns, n, sizeof(*ns), compare);
	snprintf(row, sizeof(row), "stall_%s_p99.9", what);
	hk_subject_row(row, name, ns[n - 1 - n / 1000], "ns");
	snprintf(row, sizeof(row), "stall_%s_max", what);
	hk_subject_row(row, name, ns[n - 1], "ns");
}

/* Takes and touches all, in steps of a page; the first half was had at creation, and nothing is warm. */
static void stalls(unsigned populate, const char *name, FILE *out)
{
	enum { N = GROWN / STEP };
	static uint32_t ns[N];
	hak_malloc_trim(0);
	hak_arena *a = make(0, populate, GROWN / 2);
	uint64_t had = supers(a);
	size_t edge = N;
	for (size_t i = 0; i < N; i++) {
		unsigned long long begin = hk_subject_now();
		char *p = hak_arena_alloc(a, STEP);
		if (!p)
			exit(1);
		*(volatile char *)p = 1;
		ns[i] = (uint32_t)(hk_subject_now() - begin);
		if (edge == N && supers(a) > had)
			edge = i;
	}
	hak_arena_destroy(a);
	for (size_t i = 0; out && i < N; i++)
		fprintf(out, "%s %zu %u\n", name, i * STEP, ns[i]);
	hk_subject_row("stall_edge", name, (double)edge * STEP / (1 << 20), "MiB");
	stall_rows("initial", name, ns, edge);
	stall_rows("growth", name, ns + edge, N - edge);
}

static int growth(unsigned rounds, const char *latencies)
{
	FILE *out = latencies ? fopen(latencies, "w") : NULL;
	if (latencies && !out) {
		fprintf(stderr, "bench_arena: %s can't be written\n", latencies);
		return 2;
	}
	stalls(HAK_POPULATE_NOW, "now", out);
	stalls(HAK_POPULATE_BACKGROUND, "background", out);
	stalls(HAK_POPULATE_NEVER, "never", out);
	(void)rounds;
	return out && fclose(out) ? 1 : 0;
}

const struct hk_subject_part hk_subject_parts[] = {
	{"reset", resets}, {"short", shorts}, {"stalls", growth}, {.name = NULL}};
