/* remote.h - frees by a thread that is not the owner.
 *
 *   free -> slot of the slab (chain) -> full, or slot wanted -> pending (at most 16 chains of one owner)
 *        -> one compare-and-swap onto the owner's xqueue -> drained by exchange
 *
 *   xqueue -> [head: next, count, tail|class] -> .. -> tail -> [next chain's head] -> .. -> NULL
 *
 * Push is a compare-and-swap and drain takes all by exchange, so there is no ABA. The poster reads
 * the owner once and touches nothing of it after its CAS but the state; a drain that meets a chain
 * whose slab has moved posts it on. (The gathering is what snmalloc calls BatchIt.)
 */
#ifndef HK_TINY_REMOTE_H
#define HK_TINY_REMOTE_H

#include "tiny/heap.h"

HK_INLINE struct hk_slot *hk_slot_of(struct hk_heap *heap, const struct hk_slab *slab)
{
	return &heap->slots[((uintptr_t)slab >> HK_CHUNK_SHIFT) % HK_SLOTS];
}

/* Gathers a block of a slab that HEAP does not own. HEAP's thread alone. */
void hk_remote_gather(struct hk_heap *heap, struct hk_slab *slab, struct hk_block *block);

/* Posts one block at once, without a heap of one's own. DRAINS: it may be for this thread to drain the owner then. */
void hk_remote_post_one(struct hk_slab *slab, struct hk_block *block, bool drains);

/* Posts all that HEAP gathered. HEAP's thread, or its lock's holder when it has none. RECOUNT: do
 * not trust the rooms (a fork may have stopped the thread between two stores). */
void hk_remote_flush(struct hk_heap *heap, bool recount);

/* Drains HEAP's queue into its slabs, at most MOST chains (the rest goes back). Lock held. Where
 * C < HK_CLASSES, chains of class C go into *LIST instead, up to WANT blocks; returns how many. */
uint32_t hk_remote_drain(struct hk_heap *heap, uint32_t most, unsigned c, uint32_t want,
			 struct hk_block **list);

#endif
