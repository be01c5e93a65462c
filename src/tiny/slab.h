/* slab.h - blocks of one size class, carved from chunks of one SuperSlab.
 *
 *  tiny: chunk (64 KiB-aligned)                                  chunk + 64 KiB
 *  | left over | uncarved | header | blk i | blk i + 1 | ... | carved up to here | uncarved |
 *              base = chunk + what a whole number of blocks leaves over, where no block is lost if the header fits in
 *  header at chunk + 64 * (chunk number mod 32): all headers at one offset would share 32 L2 lines
 *  (random replacement of 200 k blocks and more is 1.2x slower then). Carving goes from the header on, in a
 *  ring, or the first blocks of all slabs would share a line of the caches.
 *  medium: the same struct in the side table, the chunks hold blocks alone.
 *
 * I1  live + |free| == hk_slab_carved_blocks; blocks in bins, slots and queues are live.
 * I2  a block is on at most one list.
 * I3  tag == hk_slab_tag of the owner while the slab is live, 0 otherwise; it changes under the heap's lock.
 * I4  the slab is in its owner's partial list unless it has neither free nor uncarved blocks.
 */
#ifndef HK_TINY_SLAB_H
#define HK_TINY_SLAB_H

#include "arena/pool.h"
#include "tiny/classes.h"

struct hk_heap;

struct hk_block {
	struct hk_block *next;
};

/* The head of a chain of remote frees; blocks are 16 bytes at least. */
struct hk_chain {
	struct hk_block *next;   /* in the chain; the last one's next is the next chain's head */
	uint32_t count;
	uint32_t tail_and_class; /* tail's offset from the slab's first chunk / 16, << 7 | class */
};

struct hk_slab {
	uint64_t tag;            /* [A] I3; owner writes, any thread compares it: see heap.h, I3 */
	uint32_t bin_offset;     /* [C] of the class's bin in a heap */
	uint32_t exact;          /* [C] ceil(2^32 / block size): see hk_slab_divides */
	struct hk_heap *heap;    /* [A] owner; written under both locks when it moves */
	struct hk_block *free;   /* [L:heap] last in, first out */
	uint16_t live;           /* [L:heap] I1; at most 4096, as carved */
	uint16_t carved;         /* [L:heap] places, from the header on; only grows; as many as there are: all */
	uint8_t class_index;     /* [C] */
	uint8_t list;            /* [L:heap] partial list that it is in + 1, 0 = none */
	uint8_t zero;            /* [L:heap] the uncarved part reads as zero */
	uint8_t spare;
	struct hk_slab *next;    /* [L:heap] in the partial list */
	struct hk_slab *prev;
	uintptr_t base;          /* [C] of block 0 */
};

_Static_assert(sizeof(struct hk_slab) == 64, "a header is one line");

HK_INLINE struct hk_slab *hk_slab_of_tiny(const void *p)
{
	uintptr_t at = (uintptr_t)p;
	return (struct hk_slab *)((at & ~(HK_CHUNK_BYTES - 1)) + (at >> (HK_CHUNK_SHIFT - 6) & 31 << 6));
}

HK_INLINE struct hk_slab **hk_medium_group(size_t index)
{
	return &hk_gibs[index / HK_GIB_SUPERS]->medium[index % HK_GIB_SUPERS / HK_MEDIUM_GROUP];
}

/* True if P is a whole number of blocks behind its tiny slab's base, so no pointer into the middle
 * of one. For offset and size below 2^16: offset * exact mod 2^32 < exact (D. Lemire, O. Kaser,
 * N. Kurz: Faster remainder by direct computation, 2019). Before the base, P is less than a block away, by a multiple
 * of 16: there it is false as well. */
HK_INLINE bool hk_slab_divides(const struct hk_slab *slab, const void *p)
{
	uint32_t exact = slab->exact;
	return ((uint32_t)(uintptr_t)p - (uint32_t)slab->base) * exact < exact;
}

/* The header of the medium slab that begins at chunk CHUNK of SuperSlab INDEX. */
HK_INLINE struct hk_slab *hk_slab_at(size_t index, unsigned chunk)
{
	struct hk_slab *group = hk_load_acq(hk_medium_group(index));
	return group ? &group[index % HK_MEDIUM_GROUP * HK_SUPER_CHUNKS + chunk] : NULL;
}

/* The slab whose first chunk CHUNK is; NULL: none, or its header is yet to be made. Under the pool's lock, for who
 * walks through a SuperSlab in chunks. */
struct hk_slab *hk_slab_from_chunk(size_t index, unsigned chunk);

/* The slab of a block that is known to be of class C. */
HK_INLINE struct hk_slab *hk_slab_of(const void *p, unsigned c)
{
	if (HK_LIKELY(c < HK_TINY_CLASSES))
		return hk_slab_of_tiny(p);
	size_t index = hk_super_index(p);
	unsigned chunk = hk_chunk_index(p);
	return hk_slab_at(index, chunk - hk_code_back(hk_load(&hk_super_at(index)->code[chunk])));
}

/* Places that a tiny slab's header covers: [*first, *end). None in a medium slab. */
HK_INLINE void hk_slab_covered(const struct hk_slab *slab, uint32_t *first, uint32_t *end)
{
	const struct hk_class *c = &hk_classes[slab->class_index];
	uintptr_t at = (uintptr_t)slab, last = at + sizeof(*slab) - 1;
	if (slab->class_index >= HK_TINY_CLASSES || last < slab->base) {
		*first = *end = 0;
		return;
	}
	*first = at < slab->base ? 0 : hk_class_index(c, at - slab->base);
	*end = hk_class_index(c, last - slab->base) + 1;
}

/* Place I (below the class's blocks) was carved: they are from the header on, in a ring. */
HK_INLINE bool hk_slab_was_carved(const struct hk_slab *slab, uint32_t i)
{
	const struct hk_class *c = &hk_classes[slab->class_index];
	uint32_t first, end, carved = hk_load(&slab->carved);
	hk_slab_covered(slab, &first, &end);
	return (i >= end ? i - end : i + c->blocks - end) < carved && (i < first || i >= end);
}

/* True if P is where a block of SLAB begins that was carved. */
bool hk_slab_has_block(const struct hk_slab *slab, const void *p);

/* Blocks that were carved. */
uint32_t hk_slab_carved_blocks(const struct hk_slab *slab);

/* Links up to BYTES' worth (one at least) of uncarved blocks, to the end of a page where there is one; their number
 * to *COUNT. NULL and 0 if all are carved. The heap's lock is held; the blocks are not counted as live. */
struct hk_block *hk_slab_carve(struct hk_slab *slab, size_t bytes, uint32_t *count);

/* A new slab of class C from POOL for HEAP: in no list, nothing carved. NULL: out of memory. */
struct hk_slab *hk_slab_new(struct hk_pool *pool, unsigned c, struct hk_heap *heap);

/* Makes what medium slabs in these SuperSlabs will want, and faults it in: none of them enters the kernel then. */
bool hk_slab_headers_ready(size_t first, size_t count);

/* In a forked child: opens a lock whose holder may have vanished. */
void hk_slab_locks_reset(void);

/* Gives an empty slab's chunks back. Takes the pool's lock. */
void hk_slab_release(struct hk_slab *slab);

#endif
