/* classes.h - size classes: 16-byte steps to 1 KiB, then four to each doubling, to 512 KiB.
 *
 *   size      1..16  ... 993..1008  1009..1088 | 1089..1344  ..1600  ..1856  ..2112 | ...  ..14400 | ..16384 | ...
 *   class     0          62         63         | 64          65      66      67     |      78      | 95      |  .. 115
 *
 * The class of a size up to 1 KiB is one shift (a table of fewer classes was measured 3 % slower).
 * A block of the classes 63-78 is a line longer than the step says, so it has an odd number of lines, and the blocks of
 * a slab begin in all sets of the first cache: in steps of 1024 B they would in 4 sets of 64, in steps of 4 KiB in one,
 * and a hundred blocks of which little is touched fell out of it. What is left over of a chunk, and the block that lies
 * under the header, pay for most of the lines. (J. Bonwick's slabs, 1994, begin at offsets of their own for the same
 * reason.) Classes 79-94 have the same steps without the line, for who asks to have blocks aligned to more than a line.
 *
 * Classes 0-94 (to 14 KiB) live in one-chunk slabs with a header inside; 95-115 in slabs of as many
 * chunks as keep the waste <= 12.5 %, whose headers stand in the side table.
 * Block i of a slab begins at base + i * size. The base is where the chunk begins or, with a header inside, so far
 * behind that the last block ends with the chunk: what is left over lies under the header. Either way a block is
 * aligned to the lowest set bit of its class's size, up to a chunk. The tables are constant.
 */
#ifndef HK_TINY_CLASSES_H
#define HK_TINY_CLASSES_H

#include "base/bits.h"
#include "base/layout.h"

#define HK_CLASSES 116u
#define HK_FINE_CLASSES (HK_FINE_MAX / HK_GRANULE)
#define HK_PLAIN_CLASSES 16u /* those without the line */
#define HK_TINY_CLASSES 95u

_Static_assert(HK_CLASSES <= 128, "a chain has 7 bits for a class, a heap's mask two words");

struct hk_class {
	uint64_t inverse;    /* ceil(2^40 / size): offset * inverse >> 40 is the block's number */
	uint32_t size;       /* bytes of a block */
	uint32_t blocks;     /* places for blocks in a slab; a tiny slab's header covers some */
	uint32_t quarter;    /* 4 * 2^16 / blocks: live * quarter >> 16 is the fullness, 0..4 */
	uint32_t chunks;     /* of a slab */
};

extern const struct hk_class hk_classes[HK_CLASSES];

/* Four to each doubling, from the one of 1024 B on: LAST is a size less one, 512 at least. */
HK_INLINE unsigned hk_class_step(size_t last)
{
	unsigned b = hk_log2(last);
	return (unsigned)(last >> (b - 2)) + b * 4 + HK_FINE_CLASSES - 44;
}

/* SIZE HK_FINE_MAX + 1 .. HK_MEDIUM_MAX. Without a jump: sizes to both sides of 14 KiB would have it guessed wrong. */
HK_INLINE unsigned hk_class_coarse(size_t size)
{
	size_t tiny = size <= HK_TINY_MAX;
	return hk_class_step(size - 1 - tiny * HK_LINE_BYTES) + HK_PLAIN_CLASSES - (unsigned)tiny * HK_PLAIN_CLASSES;
}

/* SIZE 1 .. HK_MEDIUM_MAX. */
HK_INLINE unsigned hk_class_of(size_t size)
{
	return HK_LIKELY(size <= HK_FINE_MAX) ? (unsigned)(size - 1) / HK_GRANULE : hk_class_coarse(size);
}

/* The class of SIZE bytes aligned to ALIGN, a power of two up to a chunk, that SIZE is a multiple of. Classes from 2^b
 * on are multiples of 2^(b-2), and the multiples of 2^(b-1) there are classes, but for the line that some have more.
 * Masks instead of jumps: who asks for many sizes and alignments would have them guessed wrong. */
HK_INLINE unsigned hk_class_aligned(size_t size, size_t align)
{
	size_t last = size - 1, line = align <= HK_LINE_BYTES;
	size_t fine = 0 - (size_t)(last < HK_FINE_MAX - HK_LINE_BYTES + line * HK_LINE_BYTES);
	size_t odd = (0 - (size_t)(last < HK_TINY_MAX)) & (0 - line) & ~fine;
	last -= odd & HK_LINE_BYTES;
	unsigned b = hk_log2(last | HK_FINE_MAX / 2);
	return (unsigned)((last >> (b - 2 - (fine & 3))) + ((b * 4 + HK_FINE_CLASSES - 44) & ~fine) +
			  (HK_PLAIN_CLASSES & ~(fine | odd)));
}

/* The number of the block at OFFSET bytes into a slab of this class. */
HK_INLINE uint32_t hk_class_index(const struct hk_class *c, size_t offset)
{
	return (uint32_t)((offset * c->inverse) >> 40);
}

#endif
