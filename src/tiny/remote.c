/* remote.c - see remote.h. Does not decide who drains a heap whose thread sleeps: that is
 * hk_heap_posted's business (heap/park.c). */
#include "tiny/remote.h"

#include "base/check.h"
#include "tiny/bin.h"

/* Links [HEAD, TAIL], whole chains, onto OWNER's queue. Sequentially consistent, as is the state's
 * load in hk_heap_posted: either it sees the owner parked or the owner's last drain sees the chain. */
static void push(struct hk_heap *owner, struct hk_block *head, struct hk_block *tail)
{
	struct hk_block *old = hk_load(&owner->xqueue);
	do {
		hk_store(&tail->next, old);
		/* pairs with the exchange in hk_remote_drain */
	} while (!__atomic_compare_exchange_n(&owner->xqueue, &old, head, true, __ATOMIC_SEQ_CST,
					      __ATOMIC_RELAXED));
}

static void post(struct hk_heap *owner, struct hk_block *head, struct hk_block *tail, uint32_t bytes)
{
	push(owner, head, tail);
	hk_heap_posted(owner, hk_add(&owner->xqueued_bytes, bytes) + bytes);
}

static void seal(struct hk_slab *slab, struct hk_block *head, struct hk_block *tail, uint32_t count)
{
	struct hk_chain *chain = (struct hk_chain *)head;
	uint32_t at = (uint32_t)(((uintptr_t)tail - hk_align_down(slab->base, HK_CHUNK_BYTES)) / HK_GRANULE);
	chain->count = count;
	chain->tail_and_class = at << 7 | slab->class_index;
}

static void post_pending(struct hk_heap *heap)
{
	struct hk_heap *owner = heap->pending_owner;
	if (!owner)
		return;
	heap->pending_owner = NULL;
	heap->count.ss_remote_posted += heap->pending_chains;
	heap->count.ss_remote_posts++;
	post(owner, heap->pending_head, heap->pending_tail, heap->pending_bytes);
}

/* Moves the slot's chain to the pending ones of its owner. */
static void evict(struct hk_heap *heap, struct hk_slot *slot)
{
	struct hk_slab *slab = slot->slab;
	struct hk_heap *owner = hk_load(&slab->heap);
	uint32_t count = (uint32_t)(slot->room_full - slot->room);
	uint32_t size = hk_classes[slab->class_index].size;
	seal(slab, slot->head, slot->tail, count);
	if (heap->pending_owner != owner) {
		post_pending(heap);
		heap->pending_owner = owner;
		heap->pending_tail = slot->tail;
		heap->pending_bytes = heap->pending_chains = 0;
	} else {
		slot->tail->next = heap->pending_head;
	}
	if (owner->shared) { /* so much less of its own; never nothing again: see wants_shared in bin.c */
		uint32_t *bytes = &heap->classes[slab->class_index].shared_bytes;
		*bytes -= *bytes > count * size ? count * size : *bytes - (*bytes != 0);
	}
	heap->pending_head = slot->head;
	heap->pending_chains++;
	heap->pending_bytes += count * size;
	heap->count.ss_remote += count;
	slot->slab = NULL;
	slot->head = slot->tail = NULL;
	if (heap->pending_bytes >= HK_PENDING_BYTES || heap->pending_chains >= HK_PENDING_CHAINS ||
	    size > HK_TINY_MAX)
		post_pending(heap);
}

void hk_remote_gather(struct hk_heap *heap, struct hk_slab *slab, struct hk_block *block)
{
	struct hk_slot *slot = hk_slot_of(heap, slab);
	if (slot->slab != slab) {
		if (slot->slab)
			evict(heap, slot);
		uint32_t size = hk_classes[slab->class_index].size;
		slot->room_full = size > HK_TINY_MAX ? 1 : (int32_t)(HK_CHAIN_BYTES / size);
		slot->room = slot->room_full;
		slot->head = NULL;
		slot->tail = block;
		slot->slab = slab;
	}
	HK_CHECK(slot->head != block, "double free", block);
	block->next = slot->head;
	slot->head = block;
	if (--slot->room <= 0)
		evict(heap, slot);
}

void hk_remote_post_one(struct hk_slab *slab, struct hk_block *block, bool drains)
{
	struct hk_heap *owner = hk_load(&slab->heap);
	uint32_t bytes = hk_classes[slab->class_index].size;
	seal(slab, block, block, 1);
	if (drains)
		return post(owner, block, block, bytes);
	push(owner, block, block);
	hk_add(&owner->xqueued_bytes, bytes);
}

void hk_remote_flush(struct hk_heap *heap, bool recount)
{
	for (unsigned i = 0; i < HK_SLOTS; i++) {
		struct hk_slot *slot = &heap->slots[i];
		if (!slot->slab)
			continue;
		if (recount) {
			int32_t n = 0;
			for (struct hk_block *b = slot->head; b; b = b->next) {
				slot->tail = b;
				n++;
			}
			slot->room = slot->room_full - n;
		}
		if (slot->head)
			evict(heap, slot);
		slot->slab = NULL;
	}
	post_pending(heap);
}

uint32_t hk_remote_drain(struct hk_heap *heap, uint32_t most, unsigned c, uint32_t want,
			 struct hk_block **list)
{
	uint32_t got = 0;
	struct hk_heap *moved_to = NULL;
	struct hk_block *head = heap->drain_rest;
	heap->drain_rest = NULL;
	if (!head) {
		/* pairs with the CAS in push */
		head = __atomic_exchange_n(&heap->xqueue, NULL, __ATOMIC_SEQ_CST);
		hk_store(&heap->xqueued_bytes, 0);
	}
	for (; head && most; most--) {
		const struct hk_chain *chain = (const struct hk_chain *)head;
		uint32_t count = chain->count, k = chain->tail_and_class & 127;
		HK_CHECK(k < HK_CLASSES && count, "a block was written to after it was freed", head);
		struct hk_slab *slab = hk_slab_of(head, k);
		uintptr_t base = k < HK_TINY_CLASSES ? hk_align_down((uintptr_t)head, HK_CHUNK_BYTES)
						     : slab->base;
		struct hk_block *tail =
			(struct hk_block *)(base + (chain->tail_and_class >> 7) * (size_t)HK_GRANULE);
		struct hk_block *next = tail->next;
		struct hk_heap *owner;
		if (k == c && got < want) {
			tail->next = *list;
			*list = head;
			got += count;
			heap->count.ss_remote_drained += count;
		} else if ((owner = hk_load(&slab->heap)) == heap) {
			hk_slab_put(heap, slab, head, tail, count);
			heap->count.ss_remote_drained += count;
		} else {
			heap->count.ss_remote_moved++;
			push(owner, head, tail);
			if (owner != moved_to && moved_to)
				hk_heap_posted(moved_to, 0); /* it may have no thread */
			moved_to = owner;
		}
		head = next;
		if (!head && most > 1 && hk_load(&heap->xqueue))
			head = __atomic_exchange_n(&heap->xqueue, NULL, __ATOMIC_SEQ_CST);
	}
	heap->drain_rest = head;
	if (moved_to)
		hk_heap_posted(moved_to, 0);
	return got;
}
