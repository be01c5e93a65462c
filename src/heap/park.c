/* park.c - heaps without a thread: parked, drained by others, their slabs taken one by one. */
#include "base/check.h"
#include "heap/process.h"
#include "observe/options.h"
#include "tiny/bin.h"
#include "tiny/loans.h"
#include "tiny/remote.h"

#define QUEUED_MAX_BYTES (1u << 20) /* more waits for a live owner: it sleeps, others drain */
#define DRAIN_CHAINS 64u            /* at most, while another heap's lock is held */
#define ADOPT_PROBES 16u
#define STOCK_PART 4u             /* of HAKMEM_BIN_EXTRA_MIB, ... */
#define STOCK_MAX_BYTES (8ul << 20) /* ... and at most: what the bins of all parked heaps may hold */

static size_t stocked_bytes; /* [A] sum of stock_bytes */

static void empty_bins(struct hk_heap *heap)
{
	for (unsigned c = 0; c < HK_CLASSES; c++)
		hk_bin_quiet(heap, c);
	hk_loans_give_back(heap);
}

/* A thread that begins takes a parked heap, with bins like those that it would fill: where threads come and go,
 * emptying and filling them is most of what the allocator does. */
static void stock(struct hk_heap *heap)
{
	size_t bytes = 0;
	for (unsigned c = 0; c < HK_CLASSES; c++)
		if (heap->bins[c].head)
			bytes += (size_t)hk_bin_length(heap, c) * hk_classes[c].size;
	bytes = hk_max(bytes, heap->cap_bytes); /* what is on loan stays with them */
	if (!bytes || hk_add(&stocked_bytes, bytes) + bytes >
			      hk_min(hk_loans_least() / STOCK_PART, STOCK_MAX_BYTES)) {
		hk_sub(&stocked_bytes, bytes);
		return empty_bins(heap);
	}
	hk_store(&heap->stock_bytes, bytes);
	hk_store(&heap->stocked_ms, hk_os_clock_ms());
}

void hk_heap_unpack(struct hk_heap *heap)
{
	hk_sub(&stocked_bytes, heap->stock_bytes);
	hk_store(&heap->stock_bytes, 0);
}

static void unstock(struct hk_heap *heap)
{
	if (!heap->stock_bytes)
		return;
	hk_heap_unpack(heap);
	empty_bins(heap);
	hk_remote_flush(heap, false);
}

bool hk_heaps_unstock(uint32_t age_ms)
{
	uint32_t made = hk_min(hk_load(&hk_heaps_made), HK_HEAPS_MAX), now;
	bool any = false;
	if (HK_LIKELY(!hk_load(&stocked_bytes)))
		return false;
	now = hk_os_clock_ms();
	for (uint32_t i = 0; i < made; i++) {
		struct hk_heap *heap = hk_heap_at(i);
		if (hk_load(&hk_heap_states[i]) != HK_HEAP_PARKED || !hk_load(&heap->stock_bytes) ||
		    (age_ms && hk_ms_since(now, hk_load(&heap->stocked_ms)) < age_ms) ||
		    !hk_lock_try(&heap->lock))
			continue;
		if (hk_load_acq(&hk_heap_states[i]) == HK_HEAP_PARKED) {
			unstock(heap);
			any = true;
		}
		hk_unlock(&heap->lock);
	}
	return any;
}

void hk_heaps_recount_parked(void)
{
	stocked_bytes = hk_held_bytes = 0;
	hk_heaps_parked = 0;
	for (uint32_t i = 0; i < hk_min(hk_heaps_made, HK_HEAPS_MAX); i++) {
		struct hk_heap *heap = hk_heap_at(i);
		if (!heap || hk_heap_states[i] == HK_HEAP_QUARANTINED)
			continue;
		hk_held_bytes += heap->borrowed_bytes;
		if (hk_heap_states[i] == HK_HEAP_PARKED) {
			stocked_bytes += heap->stock_bytes;
			hk_heaps_parked++;
		}
	}
}

void hk_heap_settle(struct hk_heap *heap)
{
	if (heap->orphan) {
		hk_remote_flush(heap, true); /* before anything is gathered: rooms may be wrong */
		for (unsigned c = 0; c < HK_CLASSES; c++)
			hk_bin_recount(heap, c);
		hk_youth_end(heap);
		heap->cap_bytes = 0; /* a cap and their sum are two stores */
		for (unsigned c = 0; c < HK_CLASSES; c++)
			heap->cap_bytes += (size_t)heap->classes[c].cap * hk_classes[c].size;
		empty_bins(heap);
		hk_remote_flush(heap, false);
		heap->orphan = false;
	}
	hk_remote_drain(heap, UINT32_MAX, HK_CLASSES, 0, NULL);
	for (unsigned c = 0; heap->empty_chunks && c < HK_CLASSES; c++)
		hk_slabs_release(heap, c);
}

void hk_heap_park(struct hk_heap *heap)
{
	hk_fork_check();
	hk_lock(&heap->lock);
	hk_youth_end(heap);
	stock(heap);
	hk_remote_flush(heap, false);
	heap->count.heap_parks++;
	hk_add(&hk_heaps_parked, 1);
	/* Sequentially consistent: a poster sees the state, or this drain sees its chain (remote.c). */
	__atomic_store_n(&hk_heap_states[heap->index], HK_HEAP_PARKED, __ATOMIC_SEQ_CST);
	do {
		hk_heap_settle(heap);
		hk_unlock(&heap->lock);
		/* A poster that could not have the lock meanwhile left its chain to us: the queue is read after the lock is free. */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	} while (hk_load(&heap->xqueue) && hk_heap_state(heap) == HK_HEAP_PARKED &&
		 hk_lock_try(&heap->lock));
}

void hk_heap_posted(struct hk_heap *owner, uint64_t queued)
{
	uint8_t state = __atomic_load_n(&hk_heap_states[owner->index], __ATOMIC_SEQ_CST);
	bool awake = state == HK_HEAP_LIVE || (state == HK_HEAP_ARENA && hk_load(&owner->home));
	if (state == HK_HEAP_QUARANTINED || (awake && queued < QUEUED_MAX_BYTES))
		return;
	do {
		if (!hk_lock_try(&owner->lock))
			return; /* its holder drains, or looks again below */
		hk_remote_drain(owner, DRAIN_CHAINS, HK_CLASSES, 0, NULL);
		hk_unlock(&owner->lock);
		/* A poster that could not have the lock meanwhile left its chain to us, where there is no thread to take it. */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	} while (!awake && hk_load(&owner->xqueue));
}

struct hk_slab *hk_heap_give_slab(struct hk_heap *parked, unsigned c, struct hk_heap *heap)
{
	struct hk_class_state *cs = &parked->classes[c];
	if (parked->orphan || hk_load(&parked->xqueue) || parked->drain_rest)
		hk_heap_settle(parked);
	/* Of blocks that may share a line, none stays behind when the slab goes. */
	if (parked->stock_bytes && parked->bins[c].head &&
	    (!(parked->partial_mask[c / 64] >> c % 64 & 1) || hk_classes[c].size < HK_LINE_BYTES)) {
		hk_bin_quiet(parked, c);
		hk_remote_flush(parked, false);
	}
	for (unsigned f = HK_FULLNESS; f--;) {
		struct hk_slab *slab = cs->partial[f];
		if (!slab)
			continue;
		hk_slab_unlink(parked, slab);
		if (cs->last == slab)
			cs->last = NULL;
		cs->slabs--;
		parked->slabs--;
		hk_slab_own(slab, heap);
		return slab;
	}
	return NULL;
}

struct hk_slab *hk_heap_adopt(struct hk_heap *heap, unsigned c, bool far)
{
	static uint32_t cursor;
	uint32_t made = hk_min(hk_load(&hk_heaps_made), HK_HEAPS_MAX), i, seen = 0;
	struct hk_slab *slab = NULL;
	if (HK_LIKELY(!hk_load(&hk_heaps_parked)))
		return NULL;
	i = hk_load(&cursor);
	for (uint32_t n = 0; n < made && seen < ADOPT_PROBES && !slab; n++, i++) {
		i = i < made ? i : 0;
		if (hk_load(&hk_heap_states[i]) != HK_HEAP_PARKED || hk_heap_at(i) == heap)
			continue;
		struct hk_heap *parked = hk_heap_at(i);
		seen++;
		if ((parked->node == heap->node) == far ||
		    !(hk_load(&parked->partial_mask[c / 64]) >> c % 64 & 1 ||
		      parked->orphan || hk_load(&parked->stock_bytes) || hk_load(&parked->xqueue) ||
		      hk_load(&parked->drain_rest)))
			continue;
		if (!hk_lock_try(&parked->lock))
			continue;
		if (hk_load_acq(&hk_heap_states[i]) == HK_HEAP_PARKED)
			slab = hk_heap_give_slab(parked, c, heap);
		hk_unlock(&parked->lock);
	}
	hk_store(&cursor, i);
	return slab;
}

struct hk_block *hk_shared_take(unsigned node, unsigned c, uint32_t want, uint32_t *count)
{
	struct hk_heap *shared = hk_load_acq(&hk_shared_heaps[node]);
	hk_lock(&shared->lock);
	if (hk_load(&shared->xqueue) || shared->drain_rest)
		hk_remote_drain(shared, DRAIN_CHAINS, HK_CLASSES, 0, NULL);
	struct hk_block *list = hk_slabs_take(shared, c, want, count);
	hk_unlock(&shared->lock);
	return list;
}
