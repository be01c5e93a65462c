/* pool.h - a program run with larger hugetlb pools than the machine has.
 *
 * Each node's pool grows by so many pages before the program starts, and shrinks by what it grew when
 * the program has ended, however it ended: hakmem stays as its parent, hands signals on and ends as the
 * program did. Only SIGKILL of the parent leaves the pools as they are.
 */
#ifndef HK_TOOL_POOL_H
#define HK_TOOL_POOL_H

#include "machine.h"

/* Ends with a line unless this may set pools. */
void hk_pool_may(void);

/* Runs ARGV with PAGES more pages of KIND on each node of NODES (a list, or NULL: each that may be used).
 * Returns the exit status, or ends by the signal that ended the program. */
int hk_pool_run(const struct hk_machine *m, const char *nodes, uint64_t pages, enum hk_page_kind kind,
		char **argv);

#endif
