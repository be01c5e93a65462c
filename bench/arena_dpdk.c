/* arena_dpdk.c - DPDK's rte_malloc and rte_mempool for bench_arena, on the first processor that the process may run on:
 * without hugetlb pages, devices and shared files (22.11 takes --in-memory together with hugetlb pages alone).
 * With BENCH_DPDK_ARGS in the environment its words are taken in place of --no-huge --no-shconf. */
#define _GNU_SOURCE
#include "arena_subject.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_malloc.h>
#include <rte_mempool.h>

static struct rte_mempool *pool;

static int first_cpu(void)
{
	cpu_set_t may;
	int cpu = 0;
	if (sched_getaffinity(0, sizeof(may), &may))
		return 0;
	while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET(cpu, &may))
		cpu++;
	return cpu;
}

static int start(void)
{
	static char text[512];
	const char *given = getenv("BENCH_DPDK_ARGS");
	char *argv[32], *save, *word;
	int argc = 0;
	snprintf(text, sizeof(text), "bench -l %d -m 512 --no-pci --no-telemetry --log-level=error %s", first_cpu(),
		 given ? given : "--no-huge --no-shconf");
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

static void release(void *p, size_t size)
{
	(void)size;
	rte_free(p);
}

static int pool_start(size_t bytes, size_t count)
{
	pool = rte_mempool_create("bench", (unsigned)count, (unsigned)bytes, 512, 0, NULL, NULL, NULL, NULL,
				  SOCKET_ID_ANY, 0);
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
	{.name = "rte_malloc", .symbol = "rte_malloc", .start = start, .alloc = alloc, .free = release},
	{.name = "rte_mempool",
	 .symbol = "rte_mempool_create",
	 .pool_start = pool_start,
	 .get = get,
	 .put = put,
	 .get_bulk = get_bulk,
	 .put_bulk = put_bulk,
	 .pool_end = pool_end},
	{.name = NULL},
};
const struct hk_subject_part hk_subject_parts[] = {{.name = NULL}};
