/* arena_dpdk.c - DPDK's rte_malloc and rte_mempool for bench_arena: without hugetlb pages, devices and shared
 * files (22.11 takes --in-memory together with hugetlb pages alone).
 * With BENCH_DPDK_ARGS in the environment its words are the arguments instead. */
#include "arena_subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_malloc.h>
#include <rte_mempool.h>

static struct rte_mempool *pool;

static int start(void)
{
	static char usual[] = "bench --no-huge --no-shconf --no-pci --no-telemetry -l 0 -m 512 --log-level=error", given[512];
	char *argv[32], *save, *text = usual, *word;
	int argc = 0;
	if (getenv("BENCH_DPDK_ARGS")) {
		snprintf(given, sizeof(given), "bench %s", getenv("BENCH_DPDK_ARGS"));
		text = given;
	}
	for (word = strtok_r(text, " ", &save); word && argc < 31; word = strtok_r(NULL, " ", &save))
		argv[argc++] = word;
	argv[argc] = NULL;
	if (rte_eal_init(argc, argv) < 0) {
		fprintf(stderr, "bench_arena: DPDK does not start\n");
		return 1;
	}
	return 0;
}

static void *alloc(size_t size)
{
	return rte_malloc(NULL, size, 0);
}

static int pool_start(size_t bytes, size_t count)
{
	pool = rte_mempool_create("bench", (unsigned)count, (unsigned)bytes, 512, 0, NULL, NULL, NULL, NULL, SOCKET_ID_ANY, 0);
	if (!pool)
		fprintf(stderr, "bench_arena: DPDK makes no mempool\n");
	return !pool;
}

static void *get(void)
{
	void *p;
	return rte_mempool_get(pool, &p) ? NULL : p;
}

static void put(void *p)
{
	rte_mempool_put(pool, p);
}

static int get_bulk(void **p, unsigned n)
{
	return rte_mempool_get_bulk(pool, p, n);
}

static void put_bulk(void **p, unsigned n)
{
	rte_mempool_put_bulk(pool, p, n);
}

static void pool_end(void)
{
	rte_mempool_free(pool);
}

const struct hk_subject hk_subjects[] = {
	{.name = "rte_malloc", .start = start, .alloc = alloc, .free = rte_free},
	{.name = "rte_mempool", .pool_start = pool_start, .get = get, .put = put, .get_bulk = get_bulk,
	 .put_bulk = put_bulk, .pool_end = pool_end},
	{.name = NULL},
};
int (*const hk_subject_more)(unsigned rounds, const char *latencies) = NULL;
