/* arena_hakmem.c - hakmem for bench_arena: malloc's heap, an arena of any thread, one of a single owner, object pools;
 * and what others have no like of: reset against frees, stalls across growth. */
#include "arena_subject.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hakmem/arena.h>
#include <hakmem/hakmem.h>
#include <hakmem/pool.h>

enum { BLOCKS = 100000, GROWN = 256 << 20, STEP = 4096 };

static hak_arena *arena;
static hak_pool *pool;

static hak_arena *make(unsigned flags, unsigned populate, size_t initial)
{
	struct hak_arena_options o = {.size_bytes = sizeof(o), .initial_bytes = initial, .populate = populate, .flags = flags};
	hak_arena *made;
	int rc = hak_arena_create(&o, &made);
	if (rc) {
		fprintf(stderr, "bench_arena: hak_arena_create: %s\n", strerror(-rc));
		exit(1);
	}
	return made;
}

static int start_shared(void)
{
	arena = make(0, HAK_POPULATE_NOW, 64 << 20);
	return 0;
}

static int start_single(void)
{
	hak_arena_destroy(arena);
	arena = make(HAK_ARENA_SINGLE, HAK_POPULATE_NOW, 64 << 20);
	return 0;
}

static void *arena_alloc(size_t size)
{
	return hak_arena_alloc(arena, size);
}

static void arena_free(void *p)
{
	hak_arena_free(arena, p);
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
	{.name = "hak_malloc", .alloc = hak_malloc, .free = hak_free},
	{.name = "arena", .start = start_shared, .alloc = arena_alloc, .free = arena_free},
	{.name = "arena_single", .start = start_single, .alloc = arena_alloc, .free = arena_free},
	{.name = "hak_pool", .pool_start = pool_start, .get = get, .put = put, .get_bulk = get_bulk, .put_bulk = put_bulk,
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

static void resets(unsigned rounds)
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
	hk_subject_row("free_100k", "arena", frees, "ns");
	hk_subject_row("reset_100k", "arena", reset, "ns");
	hk_subject_row("reset_ratio", "arena", frees / reset, "x");
}

/* ---- stalls ---- */

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;
	return *x < *y ? -1 : *x > *y;
}

/* Takes and touches all, in steps of a page; the first half was had at creation. */
static void stalls(unsigned populate, const char *name, FILE *out)
{
	enum { N = GROWN / STEP };
	static uint32_t ns[N];
	hak_arena *a = make(0, populate, GROWN / 8 * 5); /* blocks and what slabs want beside them */
	char row[40];
	for (size_t i = 0; i < N; i++) {
		unsigned long long begin = hk_subject_now();
		char *p = hak_arena_alloc(a, STEP);
		if (!p)
			exit(1);
		*(volatile char *)p = 1;
		ns[i] = (uint32_t)(hk_subject_now() - begin);
	}
	hak_arena_destroy(a);
	for (size_t i = 0; out && i < N; i++)
		fprintf(out, "%s %zu %u\n", name, i * STEP, ns[i]);
	qsort(ns, N / 2, sizeof(*ns), compare);
	qsort(ns + N / 2, N / 2, sizeof(*ns), compare);
	for (unsigned half = 0; half < 2; half++) {
		const uint32_t *of = ns + half * (N / 2);
		const char *what = half ? "growth" : "initial";
		snprintf(row, sizeof(row), "stall_%s_p99.9", what);
		hk_subject_row(row, name, of[N / 2 - N / 2000], "ns");
		snprintf(row, sizeof(row), "stall_%s_max", what);
		hk_subject_row(row, name, of[N / 2 - 1], "ns");
	}
}

static int more(unsigned rounds, const char *latencies)
{
	FILE *out = latencies ? fopen(latencies, "w") : NULL;
	if (latencies && !out) {
		fprintf(stderr, "bench_arena: %s can't be written\n", latencies);
		return 2;
	}
	resets(rounds);
	stalls(HAK_POPULATE_NOW, "now", out);
	stalls(HAK_POPULATE_BACKGROUND, "background", out);
	stalls(HAK_POPULATE_NEVER, "never", out);
	return out && fclose(out) ? 1 : 0;
}

int (*const hk_subject_more)(unsigned rounds, const char *latencies) = more;
