/* region.h - the one stretch of address space that all memory comes from.
 *
 *   base                          committed_bytes           reserved_bytes      4 TiB
 *   | starters (4 KiB pages) | SuperSlabs, huge pages | inaccessible | not ours yet |
 *
 * One mapping is extended upwards, so the number of VMAs does not grow with the heap. The base is
 * random, 1 GiB-aligned, far from where the kernel puts other mappings, so that what is reserved
 * can be small at first (under a finite RLIMIT_AS or RLIMIT_MEMLOCK) and still grow in place.
 *
 * I1  `p - base < committed_bytes` says whether a pointer is ours, for NULL and garbage too.
 * I2  committed memory stays readable, except in strict mode where free SuperSlabs do not.
 * Threads: the two words are read by anyone; written under the lock of the pool.
 */
#ifndef HK_ARENA_REGION_H
#define HK_ARENA_REGION_H

#include "arena/super.h"

struct hk_region {
	uintptr_t base;          /* [C] 0 until the first allocation */
	size_t committed_bytes;  /* [A] grows only */
	size_t reserved_bytes;   /* [L:pool] */
	size_t starter_bytes;    /* [C] on small pages, committed in small steps */
	bool ample;              /* [C] reserved as a whole */
	bool strict;             /* [L:pool] commit is charged: give free memory back inaccessible */
	bool strict_known;
	bool locked;             /* [L:pool] the process locks all its memory */
	int overcommit;          /* [L:pool] vm.overcommit_memory, with strict */
	bool huge;               /* [C] ask for huge pages */
} HK_CACHELINE;

extern struct hk_region hk_region;

HK_INLINE bool hk_region_has(const void *p)
{
	return (uintptr_t)p - hk_region.base < hk_peek(&hk_region.committed_bytes);
}

HK_INLINE size_t hk_super_index(const void *p)
{
	return ((uintptr_t)p - hk_region.base) >> HK_SUPER_SHIFT;
}

HK_INLINE uintptr_t hk_super_base(size_t index)
{
	return hk_region.base + (index << HK_SUPER_SHIFT);
}

HK_INLINE unsigned hk_chunk_index(const void *p)
{
	return (unsigned)((uintptr_t)p >> HK_CHUNK_SHIFT) % HK_SUPER_CHUNKS;
}

/* SuperSlabs that are committed, the last perhaps in part. */
HK_INLINE size_t hk_region_supers(void)
{
	return hk_align_up(hk_load(&hk_region.committed_bytes), HK_SUPER_BYTES) >> HK_SUPER_SHIFT;
}

/* Finds the place and reserves the first part. Once, before any other call; 0 or -ENOMEM. */
int hk_region_init(void);

/* Commits BYTES more at the upper end (and the side table for them); 0 or -ENOMEM. The pool's lock
 * is held. */
int hk_region_extend(size_t bytes);

/* True where committed memory is charged to a limit, found out at the first growth past the
 * starters. The pool's lock is held. */
bool hk_region_is_strict(void);

#endif
