/* node.h - pools by node: how many, which one a thread takes from, where their memory is placed.
 *
 *   HAKMEM_NUMA, the process's own policy, cpuset -> hk_numa (once, at start)
 *   processor -> node -> nearest pool of a mask              (slow paths, no system call)
 *
 * Pools are numbered 0 .. hk_node_count() - 1 inside hakmem, in the order of the OS's ids of their
 * nodes; the last one, where there are several, is for policies over several nodes (interleave) and
 * has no node of its own. With one usable node there is one pool, and no NUMA call is ever made.
 * Threads: any; hk_numa is written at start and, but for its counters, constant afterwards.
 */
#ifndef HK_NUMA_NODE_H
#define HK_NUMA_NODE_H

#include "base/atomic.h"
#include "base/layout.h"

enum hk_numa_kind {
	HK_NUMA_AUTO, /* the process's own policy; where it has none, local */
	HK_NUMA_LOCAL,
	HK_NUMA_INTERLEAVE,
	HK_NUMA_WEIGHTED,
	HK_NUMA_PREFERRED,
	HK_NUMA_BIND,
	HK_NUMA_OFF,
};

/* What a process or a thread asks for. */
struct hk_policy {
	enum hk_numa_kind kind;
	uint64_t mask; /* pools to take from */
};

struct hk_numa {
	unsigned pools;           /* [C] 1 .. HK_NODES_MAX */
	unsigned node_pools;      /* [C] of them with a node of their own: all, or all but the last */
	bool may_ask;             /* [C] NUMA calls were allowed at start */
	bool asked;               /* [C] by HAKMEM_NUMA, whatever filter is in force */
	bool own;                 /* [C] the process has a policy of its own, and policy is that */
	struct hk_policy policy;  /* [C] of the process */
	enum hk_numa_kind spread_kind; /* [A] of the pool over several nodes: weighted, else plain interleave */
	const char *provider;     /* [C] of the table: inherited, file, sysfs, none */
	int16_t os[HK_NODES_MAX]; /* [C] the OS's id of a pool's node, -1: several */
	uint64_t refused;         /* [A] placements that the kernel would not have */
	uint64_t turned_away[HK_NODES_MAX]; /* [C] the kernel's numa_foreign of each node, at start */
};

extern struct hk_numa hk_numa;

HK_INLINE unsigned hk_node_count(void)
{
	return hk_numa.pools;
}

/* Once, before any pool is used. Reads files of /sys and /proc, allocates nothing. */
void hk_node_init(void);

/* The pool of MASK (not 0) that is nearest to the processor the caller is on. */
unsigned hk_node_nearest(uint64_t mask);

/* The pool that this thread's slow path takes from, by the process's policy. */
HK_INLINE unsigned hk_node_here(void)
{
	return HK_LIKELY(hk_numa.pools == 1) ? 0 : hk_node_nearest(hk_numa.policy.mask);
}

/* The Kth nearest pool of POOL's node, itself the 0th; K < node_pools. */
unsigned hk_node_order(unsigned pool, unsigned k);

/* The pool of the node that the OS calls OS; -1: there is none. */
int hk_node_find(int os);

/* TEXT ("auto", "bind=0-1") as a policy; NULL, or why not. */
const char *hk_policy_parse(const char *text, struct hk_policy *out);

/* The words of a kind, for reports. */
const char *hk_policy_word(enum hk_numa_kind kind);

/* Tells the kernel where POOL's memory [WHERE, WHERE + BYTES) comes from, if that is to be said; a
 * refusal is counted, and the first touch decides then. Only before the program runs, or where
 * hk_node_may_call. */
void hk_node_place(unsigned pool, uintptr_t where, size_t bytes);

/* Memory that comes from POOL's node and from no other, or not at all: for what is populated and given back
 * where that fails. */
void hk_node_bind(unsigned pool, uintptr_t where, size_t bytes);

/* Like hk_node_place for the pool without a node, by KIND: interleave or weighted. 0 or -errno. */
int hk_node_spread(enum hk_numa_kind kind, uintptr_t where, size_t bytes);

/* Allocations that were meant for POOL's node and went elsewhere, since boot, by the kernel's count. */
uint64_t hk_node_turned_away(unsigned pool);

/* True if NUMA calls may be made now: a process under a filter might be killed for one. Reads a file. */
bool hk_node_may_call(void);

/* True where hk_node_place says something to the kernel. */
bool hk_node_is_placed(unsigned pool);

#endif
