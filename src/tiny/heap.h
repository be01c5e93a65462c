/* heap.h - everything of one thread: bins, slabs by class, frees on their way to other heaps.
 *
 *   TLS word --> heap | tag | bins[116] | gather slots | lock, class states | remote queue
 *                hot: the owner alone      owner, slow    [L:heap]            other threads
 *
 * A thread that has none yet points at hk_heap_unborn, one past its exit at hk_heap_dead: constant
 * heaps whose bins are empty and whose tag no slab has, so the fast paths need no test. The word
 * can be swapped (a heap a node, an arena) at any time by its thread.
 * Heaps are type-stable: never unmapped, parked when their thread ends and taken by another.
 *
 * I1  cap_bytes == sum of cap * size over classes that were used.
 * I2  a bin has counted + (grant - budget) - pops blocks.
 * I3  a free fits a slab where slab's tag & tag_mask == tag. Each pool has a random number R. Slabs whose blocks any
 *     thread of the pool may free have R; others have it with the bits inverted that tag_mask of their owner leaves
 *     out: 16 of the lower 32, by the heap's index. All leave out as many, so none lets another's pass. In an arena
 *     each heap has a number of its own and leaves out nothing.
 * Threads: bins and slots belong to the owner; state to whoever wins it by compare-and-swap.
 */
#ifndef HK_TINY_HEAP_H
#define HK_TINY_HEAP_H

#include "numa/node.h"
#include "observe/counters.h"
#include "os/lock.h"
#include "tiny/slab.h"

#define HK_SLOTS 16u          /* slabs whose remote frees are gathered at once */
/* A chain leaves its slot when it is that long. Long ones keep the order in which blocks lie side by side from one
 * trip to the next, and whoever pops them has the next line fetched ahead: `xmalloc` runs 2-3x as fast as with 3 KiB. */
#define HK_CHAIN_BYTES 30720u
#define HK_PENDING_CHAINS 16u    /* are posted at once: each pins a slab ... */
#define HK_PENDING_BYTES 131072u /* ... or so much */
#define HK_FULLNESS 5u        /* partial lists: empty, then quarters */

enum hk_heap_state {
	HK_HEAP_NONE,
	HK_HEAP_LIVE,        /* has a thread */
	HK_HEAP_PARKED,      /* its thread ended */
	HK_HEAP_SHARED,      /* a node's, used under its lock */
	HK_HEAP_ARENA,       /* a thread's, in an arena */
	HK_HEAP_SPARE,       /* of an arena that ended */
	HK_HEAP_QUARANTINED, /* its thread vanished in a fork, in the middle of a slow path */
};

struct hk_bin {
	struct hk_block *head; /* [O] */
	int32_t budget;        /* [O] frees left until the bin is counted */
	uint32_t pops;         /* [O] mallocs since the budget was set */
};

_Static_assert(sizeof(struct hk_bin) == HK_GRANULE, "hk_malloc_fast finds a bin by the size itself");

struct hk_slot {
	struct hk_slab *slab;     /* [O] key; NULL = none */
	struct hk_block *head;    /* [O] chain, newest first */
	struct hk_block *tail;    /* [O] */
	int32_t room;             /* [O] blocks until it is posted */
	int32_t room_full;        /* [O] room when empty */
};

/* A program that frees blocks of a class and takes none. */
enum hk_draining {
	HK_DRAINS_NOT,
	HK_DRAINS_OWN,    /* the thread's: some at a time go to their slabs */
	HK_DRAINS_OTHERS, /* each goes to its owner's slot at once, so that their order stays */
};

struct hk_class_state {
	struct hk_slab *partial[HK_FULLNESS]; /* [L:heap] slab.h I4 */
	struct hk_slab *last;  /* [L:heap] refilled from last; may have become full */
	uint32_t cap;          /* [O] blocks that the bin should hold; 0 before the first use */
	uint32_t counted;      /* [O] blocks in the bin when its budget was set */
	int32_t grant;         /* [O] that budget */
	uint32_t refills;      /* [L:heap] since the last cut */
	uint32_t quiet_budget; /* [L:heap] budget and ... */
	uint32_t quiet_pops;   /* [L:heap] ... pops at the last tick */
	uint32_t slabs;        /* [L:heap] of this class */
	uint32_t shared_bytes; /* [L:heap] taken from the shared heap and not sent back, about; 0 only before the first */
	uint32_t shed;         /* [L:heap] newest blocks flushed since all of the bin was walked */
	uint32_t frees;        /* [O] counted since the bin was cut or its cap grew */
	bool used;             /* [L:heap] refilled or flushed since the last tick */
	uint8_t draining;      /* [O] enum hk_draining */
	uint8_t even;          /* [O] budgets in a row under which as many were taken as freed, up to EVEN_LONG */
};

#define HK_SEATS 8u /* arenas that a thread finds its heap of at once */

struct hk_arena;

/* The heap that a thread has in an arena. */
struct hk_seat {
	const struct hk_arena *arena; /* [O] */
	struct hk_heap *heap;         /* [O] */
};

struct hk_heap {
	uint64_t tag;                    /* [C] of a life: pool_tag & tag_mask; see I3 */
	uint64_t tag_mask;               /* [C] of a life */
	struct hk_pool *pool;            /* [C] of a life: that it takes from */
	uint32_t slow_calls;             /* [O] to look at the clock now and then */
	uint32_t ticked_ms;              /* [O] */
	struct hk_arena *arena;          /* [C] of a life: that it is in; NULL: a thread's ordinary heap */
	uint32_t index;                  /* [C] in hk_heap_at; beyond it in the constant ones */
	uint8_t busy;                    /* [O] in a slow path: seen by signal handlers and forks */
	uint8_t shared;                  /* [C] */
	uint8_t direct;                  /* [O] takes slabs of its own at once: the first thread */
	uint8_t exit_rounds;             /* [O] key destructor runs so far */
	uint32_t drift_since_ms;         /* [O] the first of the slow paths below */
	uint8_t drift;                   /* [O] slow paths in a row that ran nearer to another pool */
	uint8_t node;                    /* [C] of a life: number of the node's pool */
	bool orphan;                     /* [L:heap] bins and slots of a thread that a fork left behind */
	bool young;                      /* [O] a forked child's first: see youth.c */
	uint64_t policy_mask;            /* [O] pools that the thread asked for; 0: the process's */
	struct hk_bin bins[HK_CLASSES];  /* [O] 16-byte aligned: none crosses a line */
	struct hk_slot slots[HK_SLOTS];  /* [O] */
	struct hk_heap *pending_owner;   /* [O] chains linked for one post */
	struct hk_block *pending_head;
	struct hk_block *pending_tail;
	uint32_t pending_bytes;
	uint32_t pending_chains;

	struct hk_lock lock HK_CACHELINE;
	size_t cap_bytes;                /* [O] I1 */
	uint8_t long_classes;            /* [O] that have been even for long */
	size_t borrowed_bytes;           /* [O] of hk_held_bytes, for a cap_bytes above HAKMEM_BIN_KIB */
	size_t slabs;                    /* [L:heap] */
	struct hk_block *drain_rest;     /* [L:heap] chains of an earlier, bounded drain */
	size_t empty_chunks;             /* [L:heap] in empty slabs that are kept */
	uint64_t pool_tag;               /* [C] of a life */
	size_t stock_bytes;              /* [A] written under the lock: what the bins of a parked heap may hold; 0: they are empty */
	uint32_t stocked_ms;             /* [A] since when */
	uint64_t partial_mask[2];        /* [A] classes with a partial slab; a hint for adopters */
	struct hk_class_state classes[HK_CLASSES]; /* [L:heap] */
	struct hk_counters count;        /* [S] owner or lock holder */

	struct hk_block *xqueue HK_CACHELINE; /* [A] chains posted by other threads */
	uint64_t xqueued_bytes;               /* [A] posted since the last drain, about */

	/* Arenas: of a thread's ordinary heap ... */
	struct hk_seat seats[HK_SEATS];       /* [O] by the arena's address */
	struct hk_heap *guests;               /* [L:arenas] its heaps in arenas, by guest_next */
	struct hk_heap *pushed[HK_SEATS];     /* [O] what malloc takes from at depth 1, 2, .. of hak_arena_push */
	uint32_t pushes;                      /* [O] */
	/* ... and of one in an arena. */
	struct hk_heap *guest_next, *guest_prev; /* [L:arenas] */
	struct hk_heap *arena_next;           /* [L:arenas] of all heaps of the arena */
	struct hk_heap *home;                 /* [A] the ordinary heap of the thread that has it, of a single owner's arena
	                                       * of the last that called in; or NULL. A thread's own is hk_heap_ordinary() */
};

_Static_assert(offsetof(struct hk_heap, bins) % HK_GRANULE == 0, "no bin crosses a line");

#define HK_HEAPS_MAX 65536u
_Static_assert(HK_HEAPS_MAX <= 1u << 16, "hk_code_of_slab has 16 bits for the owner");
#define HK_HEAP_GROUP 8u /* heaps mapped at once; the first ones stand in .bss */

extern struct hk_heap hk_heap_unborn, hk_heap_dead; /* [C] after the start */
extern struct hk_heap *hk_heap_groups[HK_HEAPS_MAX / HK_HEAP_GROUP]; /* [A] published before a state */
extern uint8_t hk_heap_states[HK_HEAPS_MAX];    /* [A] enum hk_heap_state */
extern struct hk_heap *hk_shared_heaps[HK_NODES_MAX]; /* [A] by node; NULL before the first birth */
extern uint32_t hk_heaps_made;                  /* [A] indices below it may be in use */
extern uint32_t hk_heaps_in_arenas;             /* [A] of these, states ARENA and SPARE */
extern HK_TLS struct hk_heap *hk_heap_tls; /* that malloc takes from: in an arena between push and pop */
extern HK_TLS struct hk_heap *hk_home_tls; /* the ordinary one, always */
extern HK_TLS uint32_t hk_unborn_frees; /* [O] frees of a thread that has no heap yet */

/* INDEX < hk_heaps_made; NULL until its memory was found. */
HK_INLINE struct hk_heap *hk_heap_at(uint32_t index)
{
	struct hk_heap *group = hk_load_acq(&hk_heap_groups[index / HK_HEAP_GROUP]);
	return group ? &group[index % HK_HEAP_GROUP] : NULL;
}

HK_INLINE enum hk_heap_state hk_heap_state(const struct hk_heap *heap)
{
	return (enum hk_heap_state)hk_load_acq(&hk_heap_states[heap->index]);
}

/* The calling thread's: never NULL, perhaps a constant one. */
HK_INLINE struct hk_heap *hk_heap_mine(void)
{
	return hk_heap_tls;
}

/* HEAP is the calling thread's from now on. */
HK_INLINE void hk_heap_take(struct hk_heap *heap)
{
	hk_home_tls = heap;
	hk_heap_tls = heap;
}

/* True for a heap that may be written: not one of the two constants. */
HK_INLINE bool hk_heap_is_born(const struct hk_heap *heap)
{
	return heap != &hk_heap_unborn && heap != &hk_heap_dead;
}

HK_INLINE struct hk_pool *hk_heap_pool(const struct hk_heap *heap)
{
	return heap->pool;
}

/* The tag_mask of heap INDEX of a node: leaves out the index's bits, and those of its inverse above them. */
HK_INLINE uint64_t hk_heap_mask(uint32_t index)
{
	return ~(uint64_t)(index | (~index & 0xffff) << 16);
}

/* The tag of a slab of HEAP. Blocks of 64 bytes and more from the heap's own pool may be freed into the bin of any
 * thread of that pool; others, which may share a line with a neighbour that the owner hands out, or are of another
 * node, go home. In an arena all have the heap's own tag. */
HK_INLINE uint64_t hk_slab_tag(const struct hk_slab *slab, const struct hk_heap *heap)
{
	bool any = hk_classes[slab->class_index].size >= HK_LINE_BYTES && hk_pool_of((void *)slab->base) == heap->pool;
	return any ? heap->pool_tag : heap->pool_tag ^ ~heap->tag_mask;
}

/* Makes HEAP the slab's owner: tag last, for the fast path. */
void hk_slab_own(struct hk_slab *slab, struct hk_heap *heap);

/* ---- provided by the heap layer (src/heap) ---- */

/* The calling thread's heap: born, or taken from a thread that ended. NULL past the thread's exit,
 * or where none can be made. Also notices a fork. */
struct hk_heap *hk_heap_birth(void);

extern uint32_t *hk_fork_word; /* [A] reads HK_FORK_WHOLE, but in a child that has not looked yet */
#define HK_FORK_WHOLE 1u
void hk_fork_repair(void);

/* Must be called before a slow path takes a lock: repairs a forked child's locks once. */
HK_INLINE void hk_fork_check(void)
{
	/* pairs with the store in hk_fork_repair */
	if (HK_UNLIKELY(hk_load_acq(hk_load_acq(&hk_fork_word)) != HK_FORK_WHOLE))
		hk_fork_repair();
}

/* A slab with room of class C from a parked heap of the same node, or of another (FAR), now HEAP's; or
 * NULL. HEAP's lock is held. */
struct hk_slab *hk_heap_adopt(struct hk_heap *heap, unsigned c, bool far);

/* The same for a heap in an arena, from one there whose thread has ended. */
struct hk_slab *hk_arena_adopt(struct hk_heap *heap, unsigned c);

/* For a young heap, whose lock is held: a slab of class C of its own, in no list. NULL: its youth is over, or memory. */
struct hk_slab *hk_youth_slab(struct hk_heap *heap, unsigned c);

/* Takes a block of SLAB that a young heap's thread frees, and does not touch it. False: it is of a thread of the child's,
 * or there were too many. */
bool hk_youth_note(struct hk_heap *heap, const struct hk_slab *slab, void *p);

/* Ends a young heap's youth, from outside of its slow paths; if it was long enough. */
void hk_youth_stop(struct hk_heap *heap);
void hk_youth_look(struct hk_heap *heap);

/* Up to WANT blocks of class C from the node's shared heap, linked; their number to *COUNT. */
struct hk_block *hk_shared_take(unsigned node, unsigned c, uint32_t want, uint32_t *count);

/* After a post to OWNER: drains it where no thread of its own will. QUEUED is what waits there. */
void hk_heap_posted(struct hk_heap *owner, uint64_t queued);

/* The calling thread's ordinary heap: never an arena's; perhaps a constant one. */
HK_INLINE struct hk_heap *hk_heap_ordinary(void)
{
	return hk_home_tls;
}

/* True if HEAP is the calling thread's, ordinary or in an arena. */
HK_INLINE bool hk_heap_is_mine(const struct hk_heap *heap)
{
	return heap == hk_heap_tls || heap == hk_heap_ordinary() || hk_load(&heap->home) == hk_heap_ordinary();
}

/* The calling thread's heap in the arena that POOL is of; NULL: it has none. HOME is its ordinary one. */
struct hk_heap *hk_arena_guest(struct hk_heap *home, const struct hk_pool *pool);

/* A block of SIZE bytes in the arena that POOL is of. NULL and ENOMEM. */
void *hk_arena_alloc_in(struct hk_pool *pool, size_t size);

/* The debug build alone: ends the process with a line that names the arena if P is from before its reset. */
void hk_arena_must_be_fresh(const void *p);

/* The pool that HEAP's thread should take from, where it is now. */
HK_INLINE unsigned hk_heap_home(const struct hk_heap *heap)
{
	return HK_UNLIKELY(heap->policy_mask) ? hk_node_nearest(heap->policy_mask) : hk_node_here();
}

/* At the end of a slow path, with several pools: lets the thread go on with a heap of another one once
 * it has been there for a while. */
void hk_heap_follow(struct hk_heap *heap);

/* Empties the bins of heaps that were parked AGE_MS ago or before; true if there were any. No lock is held. */
bool hk_heaps_unstock(uint32_t age_ms);

/* Regular work, every 100 ms or more of a thread that is awake: quiet bins, decay. */
void hk_heap_tick(struct hk_heap *heap, uint32_t now_ms);

#endif
