/* super.h - the side table: what every SuperSlab and every chunk is.
 *
 *   memory   | SuperSlab i | SuperSlab i + 1 | ...         2 MiB each; i is its address / 2 MiB
 *   hk_gibs  [address / 1 GiB] -> supers[0..511], free and warm bitmaps, medium slabs
 *
 * The index is absolute, so that memory which a program gives to an arena can be described as well.
 * All facts stand here and none in the memory itself but the headers of tiny slabs, so purging
 * cannot destroy them, all 32 chunks of a SuperSlab are usable, and a reader outside the process
 * finds everything by index.
 *
 * I1  state FREE      free == ~0, bit set in free_bits; warm_bits as well iff it is resident: a chunk is not
 *                     zero, or it is UNPURGEABLE.
 * I2  state CHUNKED   at least one chunk in use; in the pool's bucket of popcount(free), or in none
 *                     if that is 0.
 * I3  state SPAN      whole SuperSlabs of one span: the first has span_chunks != 0.
 * I4  zero is a subset of free: chunks that read as zero.
 * I5  a chunk's code is HK_CODE_FREE iff its bit in free is set, or it is not committed.
 * Threads: written under the pool's lock; code and state are also read without it (a live block's
 * own codes do not change, but for a medium slab's owner where another heap adopts it).
 */
#ifndef HK_ARENA_SUPER_H
#define HK_ARENA_SUPER_H

#include "base/atomic.h"
#include "base/bits.h"
#include "base/layout.h"

enum hk_super_state {
	HK_SUPER_NONE,    /* not committed yet */
	HK_SUPER_FREE,
	HK_SUPER_CHUNKED,
	HK_SUPER_SPAN,
	HK_SUPER_PURGING, /* free, its pages on their way to the kernel, outside the lock */
};

enum hk_super_flags {
	HK_SUPER_SMALL = 1,       /* on small pages: the first ones of a process, until it outgrows or fills them */
	HK_SUPER_BROKEN = 2,      /* chunks were purged: no longer one huge page */
	HK_SUPER_UNPURGEABLE = 4, /* someone holds its pages: for memory registered with a device */
	HK_SUPER_DECOMMITTED = 8, /* inaccessible while free */
	HK_SUPER_HUGETLB = 32,    /* on pages of the hugetlb pool, resident for good; also UNPURGEABLE */
	HK_SUPER_MOVED = 16,      /* head of a span that mremap put here: a mapping of its own */
};

enum hk_code_kind {
	HK_CODE_FREE,
	HK_CODE_TINY,      /* a one-chunk slab with its header inside */
	HK_CODE_MEDIUM,    /* chunk of a slab whose header is in the side table; see hk_code_of_slab */
	HK_CODE_SPAN,      /* first chunk of a span of count chunks, some of them in the next SuperSlab perhaps */
	HK_CODE_CONT,      /* chunk of the span, or of the medium slab to be, that begins `back` chunks before */
	HK_CODE_TAIL,      /* chunk at the end of a span that began in a SuperSlab before */
	HK_CODE_PURGING,
};

/* kind in bits 0-2, chunks back to the first one in 3-7, count in 8-15. */
HK_INLINE uint32_t hk_code(enum hk_code_kind kind, unsigned back, unsigned count)
{
	return (uint32_t)kind | back << 3 | count << 8;
}

HK_INLINE enum hk_code_kind hk_code_kind(uint32_t code)
{
	return (enum hk_code_kind)(code & 7);
}

HK_INLINE unsigned hk_code_back(uint32_t code)
{
	return code >> 3 & 31;
}

HK_INLINE unsigned hk_code_count(uint32_t code)
{
	return code >> 8 & 255;
}

/* Of a chunk of a medium slab that lives: its class in place of the count, and above it the owner's index. A free
 * by the owner needs no other line of the side table. */
HK_INLINE uint32_t hk_code_of_slab(unsigned back, unsigned class_index, uint32_t owner)
{
	return hk_code(HK_CODE_MEDIUM, back, class_index) | owner << 16;
}

struct hk_super {
	uint32_t free;          /* [L:pool] chunks that are free and committed */
	uint32_t zero;          /* [L:pool] see I4 */
	uint8_t state;          /* [A] written under the pool's lock; enum hk_super_state */
	uint8_t flags;          /* [L:pool] enum hk_super_flags */
	uint8_t spare0[2];
	uint32_t idle_since_ms; /* [L:pool] when it became FREE, hk_os_clock_ms */
	uint32_t next, prev;    /* [L:pool] bucket links, index + 1, 0 = none */
	uint32_t span_chunks;   /* [A] first SuperSlab of a span: chunks in all; else 0 */
	struct hk_pool *pool;   /* [A] whose it is: a node's, or the arena's that has it for now */
	uint32_t all_next;      /* [L:pool] of an arena's SuperSlabs, index + 1, 0 = none */
	uint32_t spare[5];      /* to the line's end */
	uint32_t code[HK_SUPER_CHUNKS]; /* [A] written under the pool's lock; a medium slab's also under its heap's */
};

_Static_assert(sizeof(struct hk_super) == 192, "three cache lines");

struct hk_slab;
struct hk_pool;

#define HK_MEDIUM_GROUP 32u /* SuperSlabs whose medium slabs share a table of headers: 64 KiB */

/* The side table of 1 GiB. */
struct hk_gib {
	uint64_t free_bits[HK_GIB_SUPERS / 64]; /* [L:pool] I1 */
	uint64_t warm_bits[HK_GIB_SUPERS / 64]; /* [L:pool] I1 */
	struct hk_slab *medium[HK_GIB_SUPERS / HK_MEDIUM_GROUP]; /* [A] headers of the medium slabs in
	                          * HK_MEDIUM_GROUP SuperSlabs, a chunk each; made with the first */
	struct hk_super supers[HK_GIB_SUPERS];
};

extern struct hk_gib *hk_gibs[HK_GIBS];

/* True if something is known of SuperSlab INDEX. */
HK_INLINE bool hk_super_is_there(size_t index)
{
	return index / HK_GIB_SUPERS < HK_GIBS && hk_load_acq(&hk_gibs[index / HK_GIB_SUPERS]);
}

HK_INLINE struct hk_super *hk_super_at(size_t index)
{
	return &hk_load_acq(&hk_gibs[index / HK_GIB_SUPERS])->supers[index % HK_GIB_SUPERS];
}

#endif
