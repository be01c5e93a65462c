/* numa.c - the hak_ functions about nodes. What they answer stands in src/numa, src/heap, src/observe. */
#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "heap/process.h"
#include "observe/audit.h"
#include "tiny/tiny_slow.h"

#define STATS_MS 5u /* to ask the kernel about one pool */

HK_EXPORT void *hak_malloc_onnode(size_t size, int node)
{
	int pool = hk_process_init() ? hk_node_find(node) : -1;
	if (pool < 0) {
		errno = EINVAL;
		return NULL;
	}
	return hk_alloc_at((unsigned)pool, size);
}

HK_EXPORT int hak_node_of(const void *ptr)
{
	if (!hk_region_has(ptr))
		return -1;
	size_t at = (uintptr_t)ptr - hk_region.base;
	return hk_numa.os[hk_stripe_node((unsigned)(at >> hk_region.stripe_shift))];
}

HK_EXPORT int hak_thread_node(void)
{
	struct hk_heap *heap = hk_heap_ordinary();
	if (!hk_process_init())
		return -1;
	return hk_numa.os[hk_heap_is_born(heap) ? heap->node : hk_node_here()];
}

/* All threads share the one pool over several nodes: the last that asks says how it is spread, from here on. */
static void spread(enum hk_numa_kind kind)
{
	unsigned pool = hk_numa.node_pools;
	hk_store(&hk_numa.spread_kind, kind);
	uintptr_t first = hk_super_base(hk_stripe_first(pool));
	size_t bytes = hk_load(&hk_region.stripe[pool].reserved_bytes);
	if (bytes && hk_node_may_call() && hk_node_spread(kind, first, bytes))
		hk_add(&hk_numa.refused, 1);
}

HK_EXPORT int hak_numa_policy_set(const char *policy)
{
	struct hk_policy parsed;
	hk_fork_check();
	struct hk_heap *heap = hk_heap_mine();
	if (!policy || !hk_process_init() || hk_policy_parse(policy, &parsed) || parsed.kind == HK_NUMA_OFF)
		return -EINVAL;
	if (hk_node_count() == 1)
		return 0;
	if (!hk_heap_is_born(heap))
		heap = hk_heap_birth();
	if (!heap || heap->busy || heap->arena)
		return -EAGAIN;
	if (parsed.kind == HK_NUMA_INTERLEAVE || parsed.kind == HK_NUMA_WEIGHTED)
		spread(parsed.kind);
	heap->policy_mask = parsed.kind == HK_NUMA_AUTO ? 0 : parsed.mask;
	unsigned home = hk_heap_home(heap);
	if (home != heap->node && hk_heap_move(heap, home) == heap)
		return -ENOMEM;
	return 0;
}

HK_EXPORT int hak_numa_stats(struct hak_numa_node *nodes, unsigned count)
{
	if (!hk_process_init())
		return -ENOMEM;
	hk_fork_check();
	bool asks = hk_node_count() > 1 && hk_node_may_call(), huge = asks && hk_all_huge();
	for (unsigned i = 0; i < hk_node_count() && i < count; i++) {
		struct hk_placement at = {0};
		struct hk_node_figures f;
		hk_node_figures(i, &f);
		if (asks && hk_placement(i, huge, hk_os_clock_ms() + STATS_MS, &at))
			at = (struct hk_placement){0};
		nodes[i] = (struct hak_numa_node){
			.node = hk_numa.os[i],
			.allowed = hk_numa.policy.mask >> i & 1,
			.supers = f.used_supers,
			.used_bytes = f.used_bytes,
			.warm_bytes = f.warm_bytes,
			.committed_bytes = f.committed_bytes,
			.hugetlb_bytes = f.hugetlb_bytes,
			.fallbacks = f.fallbacks,
			.remote_frees = f.sum.ss_remote,
			.remote_adoptions = f.sum.refill_far,
			.migrations = f.sum.heap_moves,
			.resident_bytes = at.resident_bytes,
			.elsewhere_bytes = at.off_bytes,
		};
	}
	return (int)hk_node_count();
}

HK_EXPORT int hak_numa_audit(struct hak_numa_audit *out, unsigned limit_ms)
{
	struct hk_placement sum = {0};
	struct hak_numa_audit full;
	int rc = 0;
	if (out->size_bytes < sizeof(out->size_bytes))
		return -EINVAL;
	if (!hk_process_init())
		return -ENOMEM;
	hk_fork_check();
	bool huge = hk_all_huge();
	uint32_t until = hk_os_clock_ms() + (uint32_t)hk_min(limit_ms, INT32_MAX);
	for (unsigned i = 0; i < hk_numa.node_pools && !rc; i++)
		rc = hk_placement(i, huge, until, &sum);
	if (rc)
		return rc;
	full = (struct hak_numa_audit){
		.size_bytes = out->size_bytes,
		.pages_asked = sum.pages_asked,
		.resident_bytes = sum.resident_bytes,
		.off_node_bytes = sum.off_bytes,
		.forced_bytes = sum.forced_bytes,
		.supers_seen = sum.supers_seen,
		.supers_skipped = sum.supers_skipped,
	};
	memcpy(out, &full, hk_min(out->size_bytes, sizeof(full)));
	return 0;
}
