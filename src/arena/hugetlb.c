/* hugetlb.c - SuperSlabs on pages of the kernel's hugetlb pool, where HAKMEM_HUGE asks for them.
 *
 * A reservation is global while pages are per node, and the touch of a page that is not there kills
 * the process: so a range is mapped with a reservation, bound to its node, and populated, in this order,
 * before anyone sees it; on any error it goes back to what it was, on transparent huge pages. Pages that
 * are had stay until the process ends. A fork shares them with the child, and whichever of the two
 * writes first needs new ones, which there may not be: from the first fork on no more are taken. */
#include "arena/pool.h"
#include "numa/node.h"
#include "observe/options.h"
#include "observe/say.h"

#define RETRY_MS 1000u  /* after the kernel's pool was found empty; a time is kept odd, perhaps 1 ms ahead */
#define BATCH_PART 8u   /* as much again as an eighth of what is there, and ... */
#define BATCH_MAX 32u   /* ... at most so many at once: each batch is a mapping, populated under the lock */

static bool over; /* [A] this process has forked */

static bool is_on(uint32_t refused_ms)
{
	return hk_options.huge >= HK_HUGE_HUGETLB && !hk_load(&over) &&
	       (!refused_ms || hk_ms_since(hk_os_clock_ms(), refused_ms) >= RETRY_MS);
}

bool hk_hugetlb_map_locked(struct hk_pool *pool, size_t first, size_t count, unsigned shift)
{
	uintptr_t where = hk_super_base(first);
	size_t bytes = count << HK_SUPER_SHIFT;
	int rc = hk_os_hugetlb(where, bytes, shift);
	if (!rc && hk_node_is_placed(hk_stripe_node(hk_pool_index(pool))) && hk_node_may_call())
		hk_node_bind(hk_stripe_node(hk_pool_index(pool)), where, bytes);
	if (!rc)
		rc = hk_os_populate(where, bytes);
	if (rc) {
		hk_region_refresh(where, bytes);
		pool->count.hugetlb_refused += count;
		return false;
	}
	for (size_t i = first; i < first + count; i++) {
		hk_super_at(i)->flags = HK_SUPER_HUGETLB | HK_SUPER_UNPURGEABLE;
		hk_super_set_free_locked(pool, i, true); /* resident from here on */
	}
	pool->hugetlb_supers += count;
	return true;
}

/* Free SuperSlabs of the pool from FIRST on that nothing is in, up to MOST. */
static size_t empty_run(struct hk_pool *pool, size_t first, size_t most)
{
	size_t end = hk_min(first + most, hk_stripe_end(hk_pool_index(pool))), i = first;
	while (i < end && hk_super_at(i)->state == HK_SUPER_FREE && hk_super_at(i)->pool == pool &&
	       hk_super_at(i)->zero == ~0u && !hk_super_at(i)->flags)
		i++;
	return i - first;
}

void hk_hugetlb_convert_locked(struct hk_pool *pool, size_t first, size_t count)
{
	size_t batch = hk_max(count, hk_min(pool->hugetlb_supers / BATCH_PART, BATCH_MAX));
	if (!is_on(pool->hugetlb_refused_ms))
		return;
	batch = empty_run(pool, first, batch);
	if (batch < count)
		return;
	if (hk_hugetlb_map_locked(pool, first, batch, HK_SUPER_SHIFT) || (batch > count && hk_hugetlb_map_locked(pool, first, count, HK_SUPER_SHIFT)))
		return;
	pool->hugetlb_refused_ms = hk_os_clock_ms() | 1;
}

void hk_hugetlb_extend_locked(struct hk_pool *pool)
{
	size_t first = hk_align_up(hk_stripe_end(hk_pool_index(pool)), HK_GIB_SUPERS);
	if (hk_options.huge != HK_HUGE_HUGETLB_1G || !is_on(pool->gib_refused_ms))
		return;
	if (!hk_supers_grow_locked(pool, first + HK_GIB_SUPERS, 0) || !hk_hugetlb_map_locked(pool, first, HK_GIB_SUPERS, HK_GIB_SHIFT))
		pool->gib_refused_ms = hk_os_clock_ms() | 1;
}

void hk_hugetlb_forked(void)
{
	size_t supers = 0;
	for (unsigned i = 0; i < hk_node_count(); i++)
		supers += hk_load(&hk_pools[i].hugetlb_supers);
	if (supers && !__atomic_exchange_n(&over, true, __ATOMIC_RELAXED))
		hk_say("fork with %zu MiB on hugetlb pages: a child that goes on and writes to them may be killed "
		       "when the pool has no more; none are taken from here on",
		       supers << HK_SUPER_SHIFT >> 20);
}
