/* policies.c - the policy of one thread, set through the library, and blocks asked for on a named node.
 *
 * On every node with CPUs a thread goes through the words that HAKMEM_NUMA knows; where its blocks are
 * is asked each time. hak_malloc_onnode is tried for every node that has memory, from every thread, and
 * refused for nodes that are not there.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCKS = 32 };

static struct probe_result result;
static uint64_t usable_mask;

/* Blocks of a size that nothing else uses, so that none is left of another policy. */
static struct probe_tally allocate(uint64_t wanted, size_t size, int node)
{
	struct probe_tally tally = {0};
	void *blocks[BLOCKS];
	int i;

	for (i = 0; i < BLOCKS; i++) {
		blocks[i] = node < 0 ? malloc(size) : probe_hak.malloc_onnode(size, node);
		CHECK(blocks[i], "no block of %zu", size);
		probe_touch(blocks[i], size);
		probe_ask(blocks[i], size, wanted, &tally);
		if (node >= 0 && probe_hak.node_of(blocks[i]) != node)
			result.wrong_node_of++;
	}
	for (i = 0; i < BLOCKS; i++)
		free(blocks[i]);
	return tally;
}

static void try_policy(const char *word, uint64_t wanted, bool spread, size_t size)
{
	struct probe_tally tally;
	int rc = probe_hak.policy_set(word), id;

	CHECK(rc == 0, "hak_numa_policy_set(\"%s\") is %d", word, rc);
	tally = allocate(wanted, size, -1);
	probe_tally_add(&result.tally, &tally);
	CHECK(tally.off == 0, "policy %s: %llu of %llu bytes off", word,
	      (unsigned long long)tally.off, (unsigned long long)tally.asked);
	for (id = 0; spread && id < NODES_MOST; id++)
		CHECK(!(wanted >> id & 1) || tally.on[id] > 0, "policy %s: nothing on node %d",
		      word, id);
}

static void try_bad(void)
{
	static const char *const bad[] = {"",           "bind=",        "bind=63",     "bind=0-",
					  "preferred=", "preferred=63", "preferred=x", "nearby",
					  "local ",     "bind=1-0"};
	size_t i;
	int rc;

	for (i = 0; i < COUNT_OF(bad); i++) {
		rc = probe_hak.policy_set(bad[i]);
		CHECK(rc == -EINVAL, "hak_numa_policy_set(\"%s\") is %d, not -EINVAL", bad[i], rc);
	}
	errno = 0;
	CHECK(!probe_hak.malloc_onnode(100, 63) && errno == EINVAL, "a block on node 63");
	errno = 0;
	CHECK(!probe_hak.malloc_onnode(100, -1) && errno == EINVAL, "a block on node -1");
	for (i = 0; i < NODES_MOST; i++) {
		errno = 0;
		if (probe_nodes[i].online && !probe_nodes[i].usable)
			CHECK(!probe_hak.malloc_onnode(100, (int)i) && errno == EINVAL,
			      "a block on node %zu, which has no memory", i);
	}
}

static void *tour(void *arg)
{
	int node = *(int *)arg, id, home = probe_home(node);
	size_t size = 40 * KIB;
	char word[32];

	probe_pin(node);
	for (id = 0; id < NODES_MOST; id++) {
		struct probe_tally tally;

		if (!probe_nodes[id].usable)
			continue;
		snprintf(word, sizeof(word), "bind=%d", id);
		try_policy(word, (uint64_t)1 << id, false, size += 4 * KIB);
		snprintf(word, sizeof(word), "preferred=%d", id);
		try_policy(word, (uint64_t)1 << id, false, size += 4 * KIB);
		tally = allocate((uint64_t)1 << id, size += 4 * KIB, id);
		probe_tally_add(&result.tally, &tally);
		tally = allocate((uint64_t)1 << id, 1 * MIB + 100, id);
		probe_tally_add(&result.tally, &tally);
	}
	try_policy("interleave", usable_mask, true, 1 * MIB);
	try_policy("local", (uint64_t)1 << home, false, size += 4 * KIB);
	try_policy("auto", (uint64_t)1 << home, false, size += 4 * KIB);
	CHECK(probe_hak.thread_node() == home, "hak_thread_node is %d, not %d",
	      probe_hak.thread_node(), home);
	try_bad();
	return NULL;
}

int main(void)
{
	int nodes[NODES_MOST], count, i;

	probe_begin("policies", 120);
	if (!probe_judges())
		probe_skip("not hakmem");
	CHECK(probe_hak.policy_set && probe_hak.malloc_onnode,
	      "no hak_numa_policy_set, hak_malloc_onnode");
	for (i = 0; i < NODES_MOST; i++)
		usable_mask |= (uint64_t)probe_nodes[i].usable << i;
	count = probe_cpu_nodes(nodes);
	for (i = 0; i < count; i++) {
		pthread_t thread;

		CHECK(pthread_create(&thread, NULL, tour, &nodes[i]) == 0, "no thread");
		pthread_join(thread, NULL);
	}
	return probe_end(&result);
}
