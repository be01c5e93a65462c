/* node.h - which node a thread is on and how many there are.
 *
 * Nodes are numbered 0 .. hk_node_count() - 1 inside hakmem (a pool each), whatever the OS calls
 * them. One node today: the table has one entry, and no system call is made. Threads: any.
 */
#ifndef HK_NUMA_NODE_H
#define HK_NUMA_NODE_H

#include "base/layout.h"

/* Nodes with a pool, 1 .. HK_NODES_MAX. */
HK_INLINE unsigned hk_node_count(void)
{
	return 1;
}

/* The pool that this thread's slow path takes from. */
HK_INLINE unsigned hk_node_here(void)
{
	return 0;
}

#endif
