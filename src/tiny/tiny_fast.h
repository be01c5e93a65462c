/* tiny_fast.h - the hot path: malloc and free in the common case. No lock, no call, no loop.
 *
 * malloc: TLS heap -> bin by size -> pop.
 * free:   region compare (NULL and foreign pointers fall out) -> header by mask -> tag compare (see heap.h, I3) ->
 *         push -> budget. The budget bounds the bin; with malloc's pops it gives its exact length
 *         (counting it by walking instead was measured: 5 % slower on bench_tiny, 20 % where the
 *         blocks are cold).
 * What limits both is the chain head -> next -> head through memory, hence HK_IN_REGISTER and
 * 32-bit counters (16-bit ones cost 2.6 cycles; tests/codegen guards the machine code).
 */
#ifndef HK_TINY_TINY_FAST_H
#define HK_TINY_TINY_FAST_H

#include "tiny/heap.h"

/* The cold tails, tiny_slow.c. */
void *hk_malloc_slow(size_t size);
void hk_free_slow(void *p);
void hk_free_spent(struct hk_heap *heap, struct hk_bin *bin);

/* SIZE bytes aligned to ALIGN, a power of two. Where ZERO is not NULL, *ZERO says whether the block
 * reads as zero already. NULL and ENOMEM. */
void *hk_alloc_slow(size_t size, size_t align, bool *zero);

/* The bin's block that was freed last, or NULL. The next one is asked for ahead: in a list that a refill brought it is
 * in no near cache, and its link is what the next pop waits for. */
HK_INLINE struct hk_block *hk_bin_pop(struct hk_bin *bin)
{
	struct hk_block *block = bin->head;
	if (HK_LIKELY(block)) {
		struct hk_block *next = block->next;
		bin->head = next;
		__builtin_prefetch(next);
		bin->pops++;
	}
	return block;
}

HK_INLINE void *hk_malloc_fast(size_t size)
{
	struct hk_heap *heap = hk_heap_tls;
	size_t last = size - 1;
	if (HK_UNLIKELY(last >= HK_FINE_MAX)) /* 0 as well */
		return hk_malloc_slow(size);
	/* A bin is as large as a granule: the class's number need not be computed. */
	struct hk_bin *bin = (struct hk_bin *)((char *)heap->bins + (last & ~(size_t)(HK_GRANULE - 1)));
	HK_IN_REGISTER(bin);
	struct hk_block *block = hk_bin_pop(bin);
	return HK_LIKELY(block) ? block : hk_malloc_slow(size);
}

/* A block from HEAP's bin, or NULL. What overflows becomes 0. */
HK_INLINE void *hk_aligned_pop(struct hk_heap *heap, size_t size, size_t align)
{
	size_t bytes = (size + align - 1) & -align;
	if (HK_LIKELY(bytes - 1 < HK_MEDIUM_MAX && align <= HK_CHUNK_BYTES))
		return hk_bin_pop(&heap->bins[hk_class_aligned(bytes, align)]);
	return NULL;
}

HK_INLINE void *hk_aligned_fast(size_t size, size_t align)
{
	void *p = hk_aligned_pop(hk_heap_tls, size, align);
	return HK_LIKELY(p) ? p : hk_alloc_slow(size, align, NULL);
}

HK_INLINE void hk_free_fast(void *p)
{
	struct hk_heap *heap = hk_heap_tls;
	if (HK_UNLIKELY(!hk_region_may_have(p)))
		return hk_free_slow(p);
	/* May be user data of a larger block: then the tag does not match. */
	struct hk_slab *slab = hk_slab_of_tiny(p);
	if (HK_UNLIKELY((hk_peek(&slab->tag) & heap->tag_mask) != heap->tag || !hk_slab_divides(slab, p)))
		return hk_free_slow(p);
	struct hk_bin *bin = (struct hk_bin *)((char *)heap + slab->bin_offset);
	struct hk_block *block = p;
	HK_IN_REGISTER(bin);
	block->next = bin->head;
	bin->head = block;
	if (HK_UNLIKELY(--bin->budget < 0))
		hk_free_spent(heap, bin);
}

#endif
