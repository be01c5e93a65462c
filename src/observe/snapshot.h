/* snapshot.h - one reading of the whole process, for reports and the figures of the libc family.
 *
 * Sums over heaps and the side table. Each pool's lock is held for its part; bins of other threads
 * change meanwhile, so figures may be off by what was in flight. Threads: any.
 */
#ifndef HK_OBSERVE_SNAPSHOT_H
#define HK_OBSERVE_SNAPSHOT_H

#include "arena/pool.h"
#include "observe/counters.h"

struct hk_snapshot {
	size_t region_bytes, committed_bytes;
	size_t chunk_bytes;      /* in slabs and spans */
	size_t span_bytes, spans;
	size_t slab_live_bytes;  /* blocks out of slabs */
	size_t bin_bytes, bin_blocks;
	size_t free_chunk_bytes; /* in partial SuperSlabs */
	size_t dirty_chunk_bytes;
	size_t warm_bytes;
	size_t hugetlb_bytes;
	size_t used_supers, slabs, partial_slabs;
	uint64_t malloc_blocks, free_blocks;
	uint32_t heaps, heaps_live, heaps_parked, heaps_quarantined;
	struct hk_counters sum;
	struct hk_pool_counters pool;
};

void hk_snapshot(struct hk_snapshot *out);

/* SUM += MORE, field by field. */
void hk_counters_add(struct hk_counters *sum, const struct hk_counters *more);

/* One line for each counter that is not 0 and for the figures above, by hk_say; or to LINE with ARG. */
void hk_report(void (*line)(void *arg, const char *text), void *arg);

/* Bytes of the region on huge pages now and bytes that could be, as the kernel's smaps says; false
 * where there is no /proc. */
bool hk_report_huge(size_t *huge_bytes, size_t *resident_bytes);

#endif
