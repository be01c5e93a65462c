/* audit.h - a pool's figures, and where its pages really are. Threads: any. */
#ifndef HK_OBSERVE_AUDIT_H
#define HK_OBSERVE_AUDIT_H

#include "arena/pool.h"
#include "observe/counters.h"

struct hk_node_figures {
	size_t used_supers, used_bytes, warm_bytes, committed_bytes, hugetlb_bytes;
	uint64_t fallbacks;
	struct hk_counters sum; /* of the heaps that are this pool's now */
};

void hk_node_figures(unsigned node, struct hk_node_figures *out);

struct hk_placement {
	uint64_t pages_asked, resident_bytes, off_bytes, forced_bytes;
	uint64_t supers_seen, supers_skipped;
};

/* True if all memory that is not on small pages for a known reason is on huge ones: then one page of a SuperSlab tells
 * of all. Reads the process's smaps, which may take some milliseconds. */
bool hk_all_huge(void);

/* Adds what the kernel says of the pages of NODE's pools, until UNTIL_MS of hk_os_clock_ms; one of each SuperSlab if
 * all are HUGE. 0 or -errno. */
int hk_placement(unsigned node, bool huge, uint32_t until_ms, struct hk_placement *sum);

/* A line for each pool and one for the policy, to LINE with ARG. */
void hk_report_nodes(void (*line)(void *arg, const char *text), void *arg);

#endif
