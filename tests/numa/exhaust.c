/* exhaust.c - one node is filled up by memory of the program's own; then a thread there allocates on.
 *
 *   exhaust [NODE]     default: the last node that has CPUs and memory
 *
 * Every request is served; what is off node is counted by the library as forced or as a fallback. When
 * the node is free again and the heap was trimmed, new blocks are local again.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MPOL_BIND_MODE = 2, BLOCKS_MOST = 4096 };

static struct {
	void *p;
	size_t size;
} blocks[BLOCKS_MOST];
static int block_count;

/* Takes memory of NODE until LEFT bytes of it are free. */
static void *hog_take(int node, size_t left, size_t *size)
{
	size_t most = probe_node_free(node), step = 2 * MIB;
	unsigned long mask = 1ul << node;
	char *hog = probe_own(most);
	long rc = syscall(SYS_mbind, hog, most, MPOL_BIND_MODE, &mask,
			  (unsigned long)NODES_MOST + 1, 0);

	CHECK(rc == 0, "mbind to node %d: %s", node, strerror(errno));
	*size = most;
	for (; most >= step && probe_node_free(node) > left; most -= step, hog += step)
		probe_touch(hog, step);
	return hog - (*size - most);
}

static void allocate(size_t bytes, uint64_t wanted, struct probe_tally *tally)
{
	uint64_t rnd = 4101842887655102017ull;
	size_t taken = 0;

	while (taken < bytes) {
		size_t size =
			block_count % 2 ? probe_rand_size(&rnd, 64 * KIB, 512 * KIB) : 1 * MIB;
		void *p = malloc(size);

		CHECK(p, "no block of %zu after %zu bytes", size, taken);
		CHECK(block_count < BLOCKS_MOST, "too many blocks");
		probe_touch(p, size);
		probe_ask(p, size, wanted, tally);
		blocks[block_count].p = p;
		blocks[block_count++].size = size;
		taken += size;
	}
}

static void give_back(void)
{
	while (block_count)
		free(blocks[--block_count].p);
	if (probe_hak.trim)
		probe_hak.trim(0);
}

static int node_choose(int argc, char **argv)
{
	int nodes[NODES_MOST], count = probe_cpu_nodes(nodes), id, usable = 0, chosen = -1;

	for (id = 0; id < NODES_MOST; id++)
		usable += probe_nodes[id].usable;
	if (usable < 2)
		probe_skip("one node with memory: none to fall back to");
	while (count-- && chosen < 0)
		if (probe_nodes[nodes[count]].usable)
			chosen = nodes[count];
	if (argc > 1)
		chosen = atoi(argv[1]);
	CHECK(chosen >= 0 && chosen < NODES_MOST && probe_nodes[chosen].usable, "no such node");
	return chosen;
}

int main(int argc, char **argv)
{
	struct probe_result result = {.may_be_forced = true};
	struct probe_tally later = {0};
	size_t hog_size;
	void *hog;
	int node;

	probe_begin("exhaust", 120);
	node = node_choose(argc, argv);
	result.report = !probe_judges();
	probe_pin(node);
	hog = hog_take(node, 40 * MIB, &hog_size);
	allocate(72 * MIB, (uint64_t)1 << node, &result.tally);
	CHECK(result.tally.off > 0, "the node was never full: the test proves nothing");
	if (probe_hak.audit)
		CHECK(probe_hak.audit() == 0, "hak_audit found violations");

	int status = probe_end(&result);

	if (status || result.report)
		return status;
	munmap(hog, hog_size);
	give_back();
	allocate(32 * MIB, (uint64_t)1 << node, &later);
	CHECK(later.off == 0, "%llu bytes off node when it was free again",
	      (unsigned long long)later.off);
	return 0;
}
