/* classes.h - size classes: 16-byte steps to 1 KiB, then four to each doubling, to 512 KiB.
 *
 *   size      1..16  17..32 ... 1009..1024 | 1025..1280  ..1536  ..1792  ..2048 | ...
 *   class     0      1          63         | 64          65      66      67     |     .. 99
 *
 * The class of a size up to 1 KiB is one shift (a table of fewer classes was measured 3 % slower).
 * Classes 0-78 (to 14 KiB) live in one-chunk slabs with a header inside; 79-99 in slabs of as many
 * chunks as keep the waste <= 12.5 %, whose headers stand in the side table.
 * Block i of a slab begins at base + i * size. The base is where the chunk begins or, with a header inside, so far
 * behind that the last block ends with the chunk: what is left over lies under the header. Either way a block is
 * aligned to the lowest set bit of its class's size, up to a chunk. The tables are constant.
 */
#ifndef HK_TINY_CLASSES_H
#define HK_TINY_CLASSES_H

#include "base/bits.h"
#include "base/layout.h"

#define HK_CLASSES 100u
#define HK_FINE_CLASSES (HK_FINE_MAX / HK_GRANULE)
#define HK_TINY_CLASSES 79u

struct hk_class {
	uint64_t inverse;    /* ceil(2^40 / size): offset * inverse >> 40 is the block's number */
	uint32_t size;       /* bytes of a block */
	uint32_t blocks;     /* places for blocks in a slab; a tiny slab's header covers some */
	uint32_t quarter;    /* 4 * 2^16 / blocks: live * quarter >> 16 is the fullness, 0..4 */
	uint32_t chunks;     /* of a slab */
};

extern const struct hk_class hk_classes[HK_CLASSES];

/* SIZE 1 .. HK_MEDIUM_MAX. */
HK_INLINE unsigned hk_class_of(size_t size)
{
	if (HK_LIKELY(size <= HK_FINE_MAX))
		return (unsigned)(size - 1) / HK_GRANULE;
	unsigned b = hk_log2(size - 1);
	return HK_FINE_CLASSES + (b - 10) * 4 + ((unsigned)((size - 1) >> (b - 2)) & 3);
}

/* The number of the block at OFFSET bytes into a slab of this class. */
HK_INLINE uint32_t hk_class_index(const struct hk_class *c, size_t offset)
{
	return (uint32_t)((offset * c->inverse) >> 40);
}

#endif
