/* use.c - which nodes this process may use, and the tier of each. Changes no policy. */
#include "machine.h"

#include <numa.h>
#include <numaif.h>
#include <stdlib.h>
#include <string.h>

#define WORD_BITS (8 * sizeof(unsigned long))

static const char *const mode_names[] = {
	"default",        "preferred",           "bind", "interleave", "local",
	"preferred-many", "weighted-interleave",
};

static void set_of_words(hwloc_bitmap_t set, const unsigned long *words)
{
	hwloc_bitmap_zero(set);
	for (unsigned id = 0; id < HK_NODES_LIMIT; id++)
		if (words[id / WORD_BITS] >> id % WORD_BITS & 1)
			hwloc_bitmap_set(set, id);
}

void hk_machine_add_use(struct hk_machine *m)
{
	unsigned long words[HK_NODES_LIMIT / WORD_BITS] = {0};
	hwloc_bitmap_t allowed = hk_need(hwloc_bitmap_alloc());
	int mode;
	/* The policy's nodes are no answer where a filter or a kernel without NUMA gives none. */
	if (!get_mempolicy(&mode, words, HK_NODES_LIMIT, NULL, 0)) {
		mode &= 0xff; /* the rest are flags */
		m->policy = hk_format("%s", mode < 7 ? mode_names[mode] : "unknown");
		set_of_words(m->policy_nodes, words);
	}
	memset(words, 0, sizeof(words));
	bool known = !get_mempolicy(NULL, words, HK_NODES_LIMIT, NULL, MPOL_F_MEMS_ALLOWED);
	set_of_words(allowed, words);
	bool bound = m->policy && !strcmp(m->policy, "bind");
	for (unsigned i = 0; i < m->count; i++) {
		struct hk_tool_node *n = &m->node[i];
		if (known)
			n->use = hwloc_bitmap_isset(allowed, n->os) || !n->memory_bytes
					 ? HK_USE_YES
					 : HK_USE_NOT_BY_CPUSET;
		if (n->use == HK_USE_YES && bound && !hwloc_bitmap_isset(m->policy_nodes, n->os))
			n->use = HK_USE_NOT_BY_POLICY;
	}
	hwloc_bitmap_free(allowed);
}

/* ---- tiers ---- */

typedef uint64_t (*merit_fn)(const struct hk_tool_node *n); /* more is better, 0: not known */

static uint64_t by_bandwidth(const struct hk_tool_node *n)
{
	return n->bandwidth_mib;
}

static uint64_t by_latency(const struct hk_tool_node *n)
{
	return n->latency_ns ? 1000000000u / n->latency_ns : 0;
}

static uint64_t by_cpus(const struct hk_tool_node *n)
{
	return hwloc_bitmap_iszero(n->cpus) ? 1 : 2;
}

static bool known_everywhere(const struct hk_machine *m, merit_fn merit)
{
	for (unsigned i = 0; i < m->count; i++)
		if (m->node[i].memory_bytes && !merit(&m->node[i]))
			return false;
	return true;
}

/* A tier ends where a node has less than 3/4 of the best one in it: sockets of one kind differ by a few
 * percent, DRAM from CXL or HBM by half and more. */
static void set_by(struct hk_machine *m, merit_fn merit)
{
	uint64_t floor = UINT64_MAX;
	for (unsigned tier = 0;; tier++) {
		uint64_t best = 0;
		for (unsigned i = 0; i < m->count; i++)
			if (m->node[i].memory_bytes && merit(&m->node[i]) < floor &&
			    merit(&m->node[i]) > best)
				best = merit(&m->node[i]);
		if (!best)
			return;
		for (unsigned i = 0; i < m->count; i++) {
			uint64_t x = merit(&m->node[i]);
			if (m->node[i].memory_bytes && x < floor && x >= best - best / 4)
				m->node[i].tier = tier;
		}
		floor = best - best / 4;
	}
}

void hk_machine_set_tiers(struct hk_machine *m)
{
	if (known_everywhere(m, by_bandwidth))
		set_by(m, by_bandwidth);
	else if (known_everywhere(m, by_latency))
		set_by(m, by_latency);
	else
		set_by(m, by_cpus);
}
