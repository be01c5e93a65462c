/* pool.h - a node's SuperSlabs: chunks and whole SuperSlabs handed out and taken back.
 *
 *   chunk_alloc   fullest SuperSlab with a fitting run -> warm SuperSlab -> free one -> commit
 *   chunk_free    -> SuperSlab all free -> warm, up to the cap -> purged in merged ranges
 *
 * I1  bucket[b][n] lists the CHUNKED SuperSlabs with n free chunks, b = 1 for broken ones.
 * I2  dirty_chunks = sum over CHUNKED SuperSlabs that may be purged of popcount(free & ~zero).
 * I3  warm_supers + kept_supers = number of bits set in warm_bits; kept ones are UNPURGEABLE.
 * Threads: any; each function takes the pool's lock itself and no other. Kernel calls that give
 * memory back are made outside it.
 */
#ifndef HK_ARENA_POOL_H
#define HK_ARENA_POOL_H

#include "arena/region.h"
#include "os/lock.h"

struct hk_pool_counters {
	uint64_t warm_supers_reused; /* [L:pool] SuperSlabs taken from the warm cache */
	uint64_t free_supers_reused; /* purged ones taken again */
	uint64_t supers_committed;   /* new ones from the OS */
	uint64_t purges;             /* kernel calls that gave memory back */
	uint64_t purge_failures;
	uint64_t purged_bytes;
	uint64_t broken_supers;      /* SuperSlabs that lost their huge page to a partial purge */
	uint64_t spans_moved;        /* by mremap */
	uint64_t promoted;           /* starters that were given a huge page */
	uint64_t spans_grown;        /* in place */
	uint64_t hugetlb_refused;    /* SuperSlabs asked of the hugetlb pool and not had */
	uint64_t out_of_memory;
	uint64_t fallbacks;          /* requests that another pool served, because this one had no memory */
};

/* What sets an arena's pool apart: it has SuperSlabs from a node's pool for a time, or from the program. */
struct hk_lent {
	struct hk_pool *parent;   /* [C] where they come from; NULL: only what the program gave */
	struct hk_pool *first;    /* [C] where the first one comes from, if it is asked for alone; or NULL */
	size_t most;              /* [C] SuperSlabs */
	size_t supers;            /* [L:pool] had */
	size_t spare;             /* [L:pool] of them, free */
	uint32_t all;             /* [L:pool] list of all by all_next, index + 1 */
	uint32_t spare_head;      /* [L:pool] list of free ones, index + 1 */
	uint8_t page_shift;       /* [C] of hugetlb pages; 0: none are asked for */
	bool strict;              /* [C] these pages on this node, or nothing */
	bool huge;                /* [C] transparent huge pages are asked for by name */
	bool populate, lock, no_dump; /* [C] before anyone gets a block of it */
	bool touched;             /* [C] by a thread of its own */
	uint64_t fallbacks;       /* [L:pool] SuperSlabs that came from another node or on other pages than asked */
	void (*watcher)(void *arg, void *where, size_t bytes); /* [L:pool] told of what is new; or NULL */
	void *watcher_arg;
};

struct hk_pool {
	struct hk_lock lock;
	bool arena;           /* [C] an arena's; `lent` is in use, warm and kept SuperSlabs are not */
	bool lost;            /* [A] an arena's, in a forked child: it was in the middle of a change, or is not mapped there */
	bool inherited;       /* [L:pool] by a forked child: starters are shared with its parent */
	uint32_t bucket[2][HK_SUPER_CHUNKS + 1]; /* [L:pool] index + 1 of the first; 0 = none */
	uint64_t filled[2];                  /* [L:pool] bit n: bucket[][n] is not empty */
	size_t used_supers;   /* [L:pool] CHUNKED or SPAN */
	size_t warm_supers;   /* [L:pool] I3 */
	size_t kept_supers;   /* [L:pool] I3 */
	size_t free_chunks;   /* [L:pool] in CHUNKED SuperSlabs */
	size_t dirty_chunks;  /* [L:pool] I2 */
	size_t span_chunks;   /* [L:pool] in spans */
	size_t moved_spans;   /* [L:pool] live ones */
	size_t hugetlb_supers; /* [L:pool] on pages of the hugetlb pool, used or not */
	size_t purging;       /* [L:pool] threads between taking memory out and putting it back */
	size_t lowest_free_gib; /* [L:pool] no bit in free_bits of its stripe before it */
	size_t used_peak_bytes; /* [L:pool] most in use since ... */
	size_t used_peak_before; /* [L:pool] ... and in the decay time before */
	size_t memory_limit;    /* [L:pool] this pool's share of it; 0: not asked for yet */
	uint32_t hugetlb_refused_ms; /* [L:pool] when the kernel last had no page; 0 = never */
	uint32_t gib_refused_ms;     /* [L:pool] the same of 1 GiB pages */
	uint32_t peak_since_ms;  /* [L:pool] ... this; 0 = not yet */
	uint32_t refused_ms;     /* [L:pool] when the kernel last refused to take memory; 0 = never */
	uint32_t dirty_since_ms; /* [L:pool] when dirty chunks passed their bound; 0 = below it */
	unsigned promote_misses; /* [L:pool] starters that got no huge page */
	unsigned promote_turn;   /* [L:pool] starters looked at */
	unsigned promote_due;    /* [L:pool] so many starters are to be promoted ... */
	unsigned promote_asked;  /* [L:pool] ... of so many so far */
	unsigned edge_due;       /* [L:pool] the starters may end behind the first so many; 0: not to be looked at */
	unsigned edge_asked;     /* [L:pool] the most that were looked at */
	uint32_t ticked_ms;      /* [A] time of the last hk_pool_tick, claimed by compare-and-swap */
	struct hk_pool_counters count;
	struct hk_lent lent;
} HK_CACHELINE;

extern struct hk_pool hk_pools[HK_POOLS_MAX];

/* The pool's number: of its stripe, and of its node in hk_numa. */
HK_INLINE unsigned hk_pool_index(const struct hk_pool *pool)
{
	return (unsigned)(pool - hk_pools);
}

/* The pool that P's SuperSlab belongs to; P is ours. */
HK_INLINE struct hk_pool *hk_pool_of(const void *p)
{
	return hk_load(&hk_super_at(hk_super_index(p))->pool);
}

/* True if P lies in memory of ours, in that which a program gave to an arena too. */
HK_INLINE bool hk_is_ours(const void *p)
{
	size_t index = hk_super_index(p);
	return hk_region_has(p) || (hk_super_is_there(index) && hk_load(&hk_super_at(index)->state) != HK_SUPER_NONE &&
				    (uintptr_t)p - hk_region.base >= (size_t)hk_region.stripes << hk_region.stripe_shift);
}

/* Free bytes that layers above keep for themselves (bins beyond each thread's own share); they come
 * off what the pools may keep resident. */
extern size_t hk_held_bytes; /* [A] */

/* The pools that may serve where POOL has no memory, nearest first: *K is 0 before the first call. NULL: no more. */
struct hk_pool *hk_pool_next(struct hk_pool *pool, unsigned *k);

/* COUNT (1..31) chunks in one SuperSlab, aligned to ALIGN chunks (a power of two, <= 32), marked
 * with code KIND; with ALIGN 0 a span may go on in the next SuperSlab. *ZERO says whether they read as zero. NULL: out of memory. */
void *hk_pool_chunks_alloc(struct hk_pool *pool, unsigned count, unsigned align,
			   enum hk_code_kind kind, bool *zero);

/* Takes back the COUNT chunks at P, in one SuperSlab or two. */
void hk_pool_chunks_free(struct hk_pool *pool, void *p, unsigned count);

/* CHUNKS chunks from a SuperSlab's base on, whole SuperSlabs and then the first chunks of one more;
 * the base aligned to ALIGN SuperSlabs (a power of two). With ALIGN 0 it may be as in
 * hk_pool_chunks_alloc, from the end of one SuperSlab into the next. */
void *hk_pool_span_alloc(struct hk_pool *pool, size_t chunks, size_t align, bool *zero);
void hk_pool_span_free(struct hk_pool *pool, void *p);

/* Makes a span of either kind CHUNKS long where it stands; false if what follows is in use. */
bool hk_pool_span_resize(struct hk_pool *pool, void *p, size_t chunks);

/* Moves the pages of FROM's first COUNT SuperSlabs to those of TO, of which nothing is kept (move.c); false: copy
 * instead, TO is as it was or empty. */
bool hk_pool_span_move(struct hk_pool *pool, void *from, void *to, size_t supers);

/* Decay: purges what was free for longer than HAKMEM_DECAY_MS. Cheap when called too early. */
void hk_pool_tick(struct hk_pool *pool, uint32_t now_ms);

/* Gives all free memory but PAD bytes back; bytes that went. */
size_t hk_pool_trim(struct hk_pool *pool, size_t pad);

/* ---- arenas' pools ---- */

/* COUNT more SuperSlabs, adjacent, the first aligned to ALIGN. The lock is held. 0, -ENOMEM (beyond `most` as well), or what the
 * kernel said to populate or lock. */
int hk_lent_grow(struct hk_pool *pool, size_t count, size_t align);

/* The whole 2 MiB of [WHERE, WHERE + BYTES), which the program mapped and keeps mapped, become the pool's.
 * -EINVAL: none, or beyond the address space that can be described; -EEXIST: given before. */
int hk_lent_give_memory(struct hk_pool *pool, uintptr_t where, size_t bytes);

/* All chunks free at once. Nobody may be using the pool or its blocks. */
void hk_lent_reset(struct hk_pool *pool);

/* Calls FUNCTION for each stretch of adjacent SuperSlabs. The lock is held, or nobody else uses the pool. */
void hk_lent_each(struct hk_pool *pool, void (*function)(void *arg, void *where, size_t bytes), void *arg);

/* All SuperSlabs back to where they came from; memory of the program's is forgotten. As hk_lent_reset. */
void hk_lent_return(struct hk_pool *pool);

/* In a forked child: opens a lock whose holder may have vanished. */
void hk_lent_locks_reset(void);

/* Before a fork of the process: the last that may take hugetlb pages. */
void hk_hugetlb_forked(void);

/* Derives lists and sums anew from the side table, after a fork took the lock's holder. */
void hk_pool_rebuild(struct hk_pool *pool);

/* True in a signal handler that interrupted its thread inside one of the nodes' pools: what takes their locks would wait
 * for ever. */
bool hk_pools_are_mine(void);

/* Checks I1-I3 and the side table's invariants; the number of violations, each said. */
int hk_pool_audit(struct hk_pool *pool);

/* For the files of this folder. The lock is held. */
/* SuperSlab INDEX was taken: it may be the last starter, or one behind them for which some are to be promoted. */
void hk_pool_outgrows_locked(struct hk_pool *pool, size_t index);
/* Gives starters huge pages, or ends them, where that is due; the lock is dropped meanwhile. */
void hk_pool_promote_locked(struct hk_pool *pool);
/* CHUNKS more, within one SuperSlab, at the region's end. */
bool hk_starters_extend_locked(struct hk_pool *pool, unsigned chunks);
void hk_bucket_insert(struct hk_pool *pool, size_t index);
void hk_bucket_remove(struct hk_pool *pool, size_t index);
/* Where free memory counts against a limit of the process's (strict mode): gives the pool's warm SuperSlabs back, so that
 * others can be committed. True if some went; the lock was dropped meanwhile. */
bool hk_pool_relieve_locked(struct hk_pool *pool);
/* COUNT adjacent free SuperSlabs, the first one's index a multiple of ALIGN, ready for use. HUGE: none of the starters,
 * whose small pages suit small programs; HK_NO_SUPER: no memory. */
size_t hk_supers_take_locked(struct hk_pool *pool, size_t count, size_t align, bool huge);
/* SuperSlab INDEX, a free one; false: no memory. */
bool hk_super_take_locked(struct hk_pool *pool, size_t index);
void hk_supers_give_locked(struct hk_pool *pool, size_t first, size_t count);
void hk_super_set_free_locked(struct hk_pool *pool, size_t index, bool is_free);
void hk_pool_shed_locked(struct hk_pool *pool);
void hk_lent_set_free(struct hk_pool *pool, size_t index, bool is_free);
size_t hk_lent_take_locked(struct hk_pool *pool, size_t count, size_t align);
/* Maps COUNT free SuperSlabs from FIRST on, nothing in them, anew on pages of 2^SHIFT bytes. */
bool hk_hugetlb_map_locked(struct hk_pool *pool, size_t first, size_t count, unsigned shift);
/* Commits SuperSlabs up to END, and up to EXTRA more if that is easy. */
bool hk_supers_grow_locked(struct hk_pool *pool, size_t end, size_t extra);
/* Where HAKMEM_HUGE asks for it: COUNT free SuperSlabs from FIRST on, or more, onto hugetlb pages, if nothing is
 * in them and the kernel has pages; a GiB more at the stripe's end on a page of that size. */
void hk_hugetlb_convert_locked(struct hk_pool *pool, size_t first, size_t count);
void hk_hugetlb_extend_locked(struct hk_pool *pool);

#define HK_NO_SUPER ((size_t)-1)

#endif
