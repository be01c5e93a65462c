/* region.h - the one stretch of address space that all memory comes from.
 *
 *   base
 *   | stripe of pool 0                                              | stripe of pool 1 | ... | small ones
 *   | starters (4 KiB pages) | SuperSlabs, huge pages | inaccessible |
 *                                          committed ^             ^ reserved
 *
 * Each node's pool has one stripe, and one more on small pages, of 2 TiB where there is one node, and extends
 * it upwards, so the number of
 * VMAs does not grow with the heap, and a pointer's pool is arithmetic. The base is random, 1 GiB-
 * aligned, far from where the kernel puts other mappings, so that what is reserved can be small at
 * first (under a finite RLIMIT_AS or RLIMIT_MEMLOCK) and still grow in place.
 *
 * I1  `p - base < bound_bytes` for every pointer of ours, and for none that is NULL or foreign. With one
 *     stripe in use the bound is what is committed, so garbage fails too; with several it is their end, and
 *     hk_region_has looks closer (the fast path does not: a pointer into what is not committed yet, which
 *     nobody can have been given, faults there).
 * I2  committed memory stays readable, except in strict mode where free SuperSlabs do not.
 * Threads: bound and committed are read by anyone; a stripe is written under its pool's lock.
 */
#ifndef HK_ARENA_REGION_H
#define HK_ARENA_REGION_H

#include "arena/super.h"

struct hk_stripe {
	size_t committed_bytes;  /* [A] grows only */
	size_t reserved_bytes;   /* [L:pool] */
	size_t intent_bytes;     /* [L:pool] being reserved behind it: a forked child finds out whether it was */
	size_t starter_bytes;    /* [L:pool] at its beginning: on small pages, committed in small steps; may become less */
};

struct hk_region {
	uintptr_t base;          /* [C] 0 until the first allocation */
	size_t bound_bytes;      /* [A] grows only */
	unsigned stripe_shift;   /* [C] log2 of a stripe's bytes */
	unsigned stripes;        /* [C] one a pool: nodes first, then as many on small pages */
	unsigned nodes;          /* [C] of them, before those on small pages */
	bool ample;              /* [C] reserved as a whole */
	bool strict;             /* [A] commit is charged: give free memory back inaccessible */
	bool strict_known;       /* [A] */
	bool locked;             /* [A] the process locks all its memory */
	int overcommit;          /* [A] vm.overcommit_memory, with strict */
	bool huge;               /* [C] ask for huge pages */
	struct hk_stripe stripe[HK_POOLS_MAX];
} HK_CACHELINE;

extern struct hk_region hk_region;

/* False for every pointer that is not ours, NULL too. */
HK_INLINE bool hk_region_may_have(const void *p)
{
	return (uintptr_t)p - hk_region.base < hk_peek(&hk_region.bound_bytes);
}

/* True if P is in committed memory of ours. */
HK_INLINE bool hk_region_has(const void *p)
{
	size_t at = (uintptr_t)p - hk_region.base;
	if (!hk_region_may_have(p))
		return false;
	return at - (at >> hk_region.stripe_shift << hk_region.stripe_shift) <
	       hk_load(&hk_region.stripe[at >> hk_region.stripe_shift].committed_bytes);
}

HK_INLINE size_t hk_super_index(const void *p)
{
	return (uintptr_t)p >> HK_SUPER_SHIFT;
}

HK_INLINE uintptr_t hk_super_base(size_t index)
{
	return index << HK_SUPER_SHIFT;
}

HK_INLINE unsigned hk_chunk_index(const void *p)
{
	return (unsigned)((uintptr_t)p >> HK_CHUNK_SHIFT) % HK_SUPER_CHUNKS;
}

/* The node's pool that a stripe belongs to, or is the one on small pages of. */
HK_INLINE unsigned hk_stripe_node(unsigned stripe)
{
	return stripe < hk_region.nodes ? stripe : stripe - hk_region.nodes;
}

/* Bytes at the beginning of a stripe that are committed in small steps. */
HK_INLINE size_t hk_stripe_starters(unsigned stripe)
{
	return hk_region.stripe[stripe].starter_bytes;
}

/* True for SuperSlabs of STRIPE that begin AT bytes in and are on small pages to begin with. */
HK_INLINE bool hk_stripe_is_small(unsigned stripe, size_t at)
{
	return stripe >= hk_region.nodes || at < hk_stripe_starters(stripe);
}

/* SuperSlabs [first, end) of a stripe are committed, the last perhaps in part. */
HK_INLINE size_t hk_stripe_first(unsigned stripe)
{
	return (hk_region.base + ((size_t)stripe << hk_region.stripe_shift)) >> HK_SUPER_SHIFT;
}

HK_INLINE size_t hk_stripe_end(unsigned stripe)
{
	size_t bytes = hk_load(&hk_region.stripe[stripe].committed_bytes);
	return hk_stripe_first(stripe) + (hk_align_up(bytes, HK_SUPER_BYTES) >> HK_SUPER_SHIFT);
}

/* Where the next byte of a stripe will be committed. */
HK_INLINE uintptr_t hk_stripe_top(unsigned stripe)
{
	return hk_super_base(hk_stripe_first(stripe)) + hk_region.stripe[stripe].committed_bytes;
}

/* The starters of STRIPE end BYTES in: what is behind, nothing of it in use, may be on huge pages. 0 or -errno. */
int hk_stripe_end_starters(unsigned stripe, size_t bytes);

/* In a forked child: takes over what a vanished thread was reserving, if it got so far. */
void hk_region_repair(void);

/* Finds the place and reserves the first part. Once, before any other call; 0 or -ENOMEM. */
int hk_region_init(void);

/* Commits BYTES more at the upper end of a stripe (and the side table for them); 0 or -ENOMEM. The
 * pool's lock is held. */
int hk_stripe_extend(unsigned stripe, size_t bytes);

/* A fresh mapping in place of [WHERE, WHERE + BYTES) of one stripe, as if committed for the first time;
 * 0 or -errno. */
int hk_region_refresh(uintptr_t where, size_t bytes);

/* Says again which pages the kernel should take, and from where, after a range was mapped anew. */
void hk_region_advise(uintptr_t where, size_t bytes, bool huge);

/* Bytes reserved and committed in all stripes. */
size_t hk_region_reserved(void);
size_t hk_region_committed(void);

/* True where committed memory is charged to a limit, found out at the first growth past the starters. */
bool hk_region_is_strict(void);

#endif
