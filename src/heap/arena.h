/* arena.h - explicit arenas: a pool of SuperSlabs of its own, and a heap in it for each thread that uses it.
 *
 *   hak_arena --> pool (lend.c) ; heaps: thread A's, thread B's, ...
 *   a thread's ordinary heap --> seats[8]: arena -> its heap there        (no lock)
 *                            --> guests: all its heaps in arenas          (when it ends, or moves)
 *
 * An arena's heap is an ordinary hk_heap: bins, slabs, queue of remote frees. What differs: it adopts nothing, has
 * no tick, its slabs come from the arena's pool, and its blocks never pass through bins or slots of another
 * pool's heap, so that a reset has all of them at hand. Arena and heap structs are type-stable.
 * Threads: as each function says; `life` is odd while the arena exists, and another number each time.
 */
#ifndef HK_HEAP_ARENA_H
#define HK_HEAP_ARENA_H

#include <pthread.h>

#include "base/check.h"
#include "heap/process.h"

struct hk_arena {
	struct hk_pool pool;     /* first: found from it */
	uint64_t life;           /* [A] */
	struct hk_heap *heaps;   /* [L:arenas] by arena_next */
	struct hk_heap *one;     /* [A] the only heap of an arena with a single owner; else NULL */
	struct hk_arena *next;   /* [L:arenas] in the list of unused ones */
	uint32_t attached;       /* [A] users that must let go before it ends */
	uint32_t pushed;         /* [A] times that threads have it pushed */
	bool kept;               /* [C] made from what the program gave */
	bool absent;             /* [C] its memory is not mapped in a forked child */
	bool inlined;            /* [A] a program has the cache of `one` */
	bool touching;           /* [C] by the thread below, until it is joined */
	bool touch_stop;         /* [A] */
	pthread_t toucher;
	char name[32];           /* [C] */
	void (*released)(void *arg, void *where, size_t bytes); /* [C] or NULL */
	void *released_arg;      /* [C] */
	uint32_t aside;          /* [O] debug build: what it had before resets, a list by all_next, index + 1 ... */
	size_t aside_supers;     /* [O] ... of so many */
} __attribute__((aligned(1024))); /* a number of its own in the higher bits of its address */

HK_INLINE bool hk_arena_lives(const struct hk_arena *arena)
{
	return hk_load_acq(&arena->life) & 1;
}

/* An arena without memory, its pool's `lent` all zero; NULL: none left. SINGLE: one heap for all callers, who see to
 * it that one of them is inside at a time. */
struct hk_arena *hk_arena_new(bool single);

/* Ends it: SuperSlabs, heaps and struct are free for others. Nobody may be using it. */
void hk_arena_end(struct hk_arena *arena);

/* All its blocks free at once; memory stays. As hk_arena_end. */
void hk_arena_reset(struct hk_arena *arena);

/* The calling thread's heap in ARENA, made if need be; NULL: it can't have one. */
struct hk_heap *hk_arena_heap_slow(struct hk_arena *arena);

/* The seat of a thread's ordinary heap that is ARENA's. By its address, not by a word of it: a load less. */
HK_INLINE struct hk_seat *hk_arena_seat(struct hk_heap *home, const struct hk_arena *arena)
{
	return &home->seats[(uintptr_t)arena / sizeof(*arena) % HK_SEATS];
}

/* The same without a call; NULL: that does not know. */
HK_INLINE struct hk_heap *hk_arena_heap_seen(const struct hk_arena *arena)
{
	const struct hk_seat *seat = hk_arena_seat(hk_heap_ordinary(), arena);
	if (HK_UNLIKELY(hk_peek(&seat->arena) != arena)) /* of this life: an arena that ends clears its seats */
		return NULL;
	if (!seat->heap)
		__builtin_unreachable(); /* a seat with an arena has a heap */
	return seat->heap;
}

HK_INLINE struct hk_heap *hk_arena_heap(struct hk_arena *arena)
{
	struct hk_heap *heap = hk_arena_heap_seen(arena);
	return HK_LIKELY(heap) ? heap : hk_arena_heap_slow(arena);
}

/* The calling thread's malloc takes from HEAP, which is its own in an arena; false: as deep as it goes. And back; false:
 * nothing was pushed. */
bool hk_arena_push(struct hk_heap *heap);
bool hk_arena_pop(void);

/* Heaps that threads have in ARENA, or had. */
unsigned hk_arena_heaps(const struct hk_arena *arena);

/* Faults in what ARENA has, from a thread of its own; 0 or -errno. Ends that thread, if there is one. */
int hk_arena_touch(struct hk_arena *arena);
void hk_arena_touch_end(struct hk_arena *arena);

/* The debug build alone: before a reset, other memory for the arena; what was set aside goes back. See
 * hk_arena_must_be_fresh in tiny/heap.h. */
void hk_arena_replace(struct hk_arena *arena);
void hk_arena_aside_return(struct hk_arena *arena);

HK_INLINE bool hk_arena_debugs(void)
{
	bool does = false;
	HK_ASSERT((does = true));
	return does;
}

/* The arena that P's memory is of; NULL: none. */
struct hk_arena *hk_arena_of(const void *p);

#endif
