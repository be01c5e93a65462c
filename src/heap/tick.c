/* tick.c - what a thread that is awake does now and then, and malloc_trim. A thread that sleeps
 * keeps about HAKMEM_BIN_KIB in its bins, and what it borrowed (HAKMEM_BIN_EXTRA_MIB for all threads);
 * all else of it can be had by others. */
#include "base/check.h"
#include "heap/process.h"
#include "observe/say.h"
#include "tiny/bin.h"
#include "tiny/busy.h"
#include "tiny/loans.h"
#include "tiny/remote.h"

#define STOCK_MS 1000u /* that a parked heap keeps what is in its bins, ... */
#define LOOK_MS 200u   /* ... and how often one thread sees to it */

static bool is_my_turn(uint32_t now)
{
	static uint32_t looked_ms; /* [A] 0: not yet */
	uint32_t last = hk_load(&looked_ms);
	return (!last || hk_ms_since(now, last) >= LOOK_MS) && hk_cas_acq(&looked_ms, &last, now | 1);
}

void hk_heap_tick(struct hk_heap *heap, uint32_t now_ms)
{
	heap->ticked_ms = now_ms;
	heap->count.ticks++;
	hk_lock(&heap->lock);
	hk_youth_tick(heap, now_ms);
	for (unsigned c = 0; c < HK_CLASSES; c++) {
		struct hk_class_state *cs = &heap->classes[c];
		const struct hk_bin *bin = &heap->bins[c];
		if ((cs->cap || bin->head) && !cs->used && cs->quiet_budget == (uint32_t)bin->budget &&
		    cs->quiet_pops == bin->pops)
			hk_bin_quiet(heap, c);
		cs->used = false;
		cs->quiet_budget = (uint32_t)bin->budget;
		cs->quiet_pops = bin->pops;
	}
	hk_loans_give_back(heap);
	hk_remote_flush(heap, false);
	hk_unlock(&heap->lock);
	if (is_my_turn(now_ms))
		hk_heaps_unstock(STOCK_MS);
	for (unsigned i = 0; i < hk_region.stripes; i++) /* perhaps nobody else is awake there */
		hk_pool_tick(&hk_pools[i], now_ms);
}

static void trim_heap(struct hk_heap *heap, bool mine)
{
	if (mine)
		hk_lock(&heap->lock);
	else if (!hk_lock_try(&heap->lock))
		return;
	enum hk_heap_state state = hk_heap_state(heap);
	if (mine) {
		hk_youth_end(heap);
		for (unsigned c = 0; c < HK_CLASSES; c++)
			hk_bin_quiet(heap, c);
		hk_loans_give_back(heap);
		hk_remote_flush(heap, false);
	}
	if (state == HK_HEAP_LIVE || state == HK_HEAP_PARKED || state == HK_HEAP_SHARED)
		hk_heap_settle(heap);
	hk_unlock(&heap->lock);
}

size_t hk_heaps_trim(size_t pad)
{
	struct hk_heap *me = hk_heap_ordinary();
	uint32_t made = hk_min(hk_load(&hk_heaps_made), HK_HEAPS_MAX);
	size_t bytes = 0;
	if ((hk_heap_is_born(me) && me->busy) || hk_pools_are_mine())
		return 0; /* a signal handler, inside of a change */
	uint8_t was = hk_busy_begin(me);
	/* Bins first: what they hold of others goes to queues that are drained next. */
	if (hk_heap_is_born(me))
		trim_heap(me, true);
	hk_heaps_unstock(0);
	for (uint32_t i = 0; i < made; i++)
		if (hk_load_acq(&hk_heap_states[i]) != HK_HEAP_NONE && hk_heap_at(i) != me)
			trim_heap(hk_heap_at(i), false);
	for (unsigned i = 0; i < hk_region.stripes; i++)
		bytes += hk_pool_trim(&hk_pools[i], pad);
	hk_busy_end(me, was);
	return bytes;
}

/* ---- audit ---- */

static int complain(const struct hk_heap *heap, unsigned c, const char *what)
{
	hk_say("audit: heap %u, class %u: %s", heap->index, c, what);
	return 1;
}

static int audit_slab(struct hk_heap *heap, unsigned c, unsigned f, struct hk_slab *slab)
{
	uint32_t free_blocks = 0;
	int bad = 0;
	for (struct hk_block *b = slab->free; b && free_blocks <= slab->carved; b = b->next) {
		free_blocks++;
		if (!hk_slab_has_block(slab, b))
			return complain(heap, c, "a free block is none of its slab");
	}
	if (slab->heap != heap || slab->tag != hk_slab_tag(slab, heap))
		bad += complain(heap, c, "a slab has another owner (I3)");
	if (slab->list != f + 1 || slab->class_index != c)
		bad += complain(heap, c, "a slab is in the wrong list (I4)");
	if (slab->live + free_blocks != hk_slab_carved_blocks(slab))
		bad += complain(heap, c, "live + free != carved (I1)");
	return bad;
}

static int audit_heap(struct hk_heap *heap)
{
	int bad = 0;
	size_t empty = 0, cap_bytes = 0;
	for (unsigned c = 0; c < HK_CLASSES; c++) {
		struct hk_class_state *cs = &heap->classes[c];
		bool any = false;
		for (unsigned f = 0; f < HK_FULLNESS; f++)
			for (struct hk_slab *slab = cs->partial[f]; slab; slab = slab->next) {
				bad += audit_slab(heap, c, f, slab);
				empty += f ? 0 : hk_classes[c].chunks;
				any = true;
			}
		if (any != (heap->partial_mask[c / 64] >> c % 64 & 1))
			bad += complain(heap, c, "the mask of partial slabs is wrong");
		cap_bytes += (size_t)cs->cap * hk_classes[c].size;
	}
	if (empty != heap->empty_chunks)
		bad += complain(heap, 0, "the sum of empty chunks is wrong");
	/* A living thread changes its caps without the lock. */
	bool still = hk_heap_state(heap) != HK_HEAP_LIVE && !hk_load(&heap->home);
	if ((still || hk_heap_is_mine(heap)) && cap_bytes != heap->cap_bytes)
		bad += complain(heap, 0, "the sum of caps is wrong (I1)");
	return bad;
}

int hk_heaps_audit(void)
{
	uint32_t made = hk_min(hk_load(&hk_heaps_made), HK_HEAPS_MAX);
	struct hk_heap *me = hk_heap_ordinary();
	int bad = 0;
	uint8_t was = hk_busy_begin(me);
	for (uint32_t i = 0; i < made; i++) {
		enum hk_heap_state state = (enum hk_heap_state)hk_load_acq(&hk_heap_states[i]);
		if (state == HK_HEAP_NONE || state == HK_HEAP_QUARANTINED)
			continue;
		if (!hk_lock_try(&hk_heap_at(i)->lock))
			continue;
		bad += audit_heap(hk_heap_at(i));
		hk_unlock(&hk_heap_at(i)->lock);
	}
	for (unsigned i = 0; i < hk_region.stripes; i++)
		bad += hk_pool_audit(&hk_pools[i]);
	hk_busy_end(me, was);
	return bad;
}
