/* arena.c - arenas and their heaps: born, found, reset, ended. What an arena's memory is made of is lend.c's
 * business; the public face is in src/api/arena.c. */
#include "heap/arena.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "heap/process.h"
#include "tiny/bin.h"
#include "tiny/busy.h"
#include "tiny/loans.h"
#include "tiny/remote.h"
#include "tiny/tiny_slow.h"

#define GROUP 16u /* arenas mapped at once */

HK_AT_START uint32_t hk_heaps_in_arenas;
static struct hk_lock lock;        /* lists of arenas and of their heaps; before any pool's lock */
static struct hk_arena *unused;    /* [L:arenas] */
static struct hk_heap *spare;      /* [L:arenas] heaps of arenas that ended, by arena_next */
static struct hk_arena *groups[HK_HEAPS_MAX / GROUP]; /* [L:arenas] */
static uint32_t made;              /* [L:arenas] */

/* A signal handler's calls wait for no lock of their own thread. */
static uint8_t lists_lock(void)
{
	uint8_t was = hk_busy_begin(hk_heap_ordinary());
	hk_lock(&lock);
	return was;
}

static void lists_unlock(uint8_t was)
{
	hk_unlock(&lock);
	hk_busy_end(hk_heap_ordinary(), was);
}

/* ---- arenas ---- */

static struct hk_arena *make(void)
{
	struct hk_arena **group = &groups[made / GROUP];
	if (made == HK_HEAPS_MAX)
		return NULL;
	if (!*group)
		*group = hk_os_table(hk_align_up(sizeof(struct hk_arena) * GROUP, HK_PAGE_BYTES));
	if (!*group)
		return NULL;
	struct hk_arena *arena = &(*group)[made++ % GROUP];
	arena->pool.arena = true;
	return arena;
}

struct hk_arena *hk_arena_new(bool single)
{
	uint8_t was = lists_lock();
	struct hk_arena *arena = unused;
	if (arena)
		unused = arena->next;
	else
		arena = make();
	lists_unlock(was);
	if (!arena)
		return NULL;
	memset(&arena->pool.lent, 0, sizeof(arena->pool.lent));
	arena->one = NULL;
	arena->pool.lost = arena->absent = arena->kept = arena->touching = arena->inlined = false;
	arena->attached = arena->pushed = 0;
	arena->released = NULL;
	hk_store_rel(&arena->life, arena->life + 1);
	if (single) {
		arena->one = hk_arena_heap_slow(arena);
		if (!arena->one) {
			hk_arena_end(arena);
			return NULL;
		}
	}
	return arena;
}

struct hk_arena *hk_arena_of(const void *p)
{
	struct hk_pool *pool = hk_is_ours(p) ? hk_pool_of(p) : NULL;
	return pool && pool->arena ? (struct hk_arena *)pool : NULL;
}

/* ---- heaps ---- */

/* As new, but for what is its own for good. A new tag: no header in the arena's memory matches it. */
static void clear_locked(struct hk_heap *heap)
{
	heap->tag = heap->pool_tag = hk_heap_new_tag();
	heap->tag_mask = ~0ull;
	heap->orphan = false;
	heap->slow_calls = heap->pending_bytes = heap->pending_chains = 0;
	memset(heap->bins, 0, sizeof(heap->bins));
	memset(heap->slots, 0, sizeof(heap->slots));
	heap->pending_owner = NULL;
	heap->pending_head = heap->pending_tail = NULL;
	heap->cap_bytes = 0;
	hk_loans_give_back(heap);
	heap->slabs = heap->empty_chunks = 0;
	heap->drain_rest = NULL;
	memset(heap->partial_mask, 0, sizeof(heap->partial_mask));
	memset(heap->classes, 0, sizeof(heap->classes));
	heap->long_classes = 0;
	hk_store(&heap->xqueue, NULL);
	hk_store(&heap->xqueued_bytes, 0);
}

static void clear(struct hk_heap *heap)
{
	hk_lock(&heap->lock); /* hak_audit may look at it */
	clear_locked(heap);
	hk_unlock(&heap->lock);
}

static struct hk_heap *take_spare(void)
{
	struct hk_heap *heap = spare;
	if (heap) {
		spare = heap->arena_next;
		return heap;
	}
	heap = hk_heap_make(0);
	if (heap) {
		heap->direct = 1;
		clear(heap); /* written to: no call that comes later faults it in */
		hk_add(&hk_heaps_in_arenas, 1);
	}
	return heap;
}

/* A heap of ARENA that no thread has, or a new one. The lock is held. */
static struct hk_heap *obtain(struct hk_arena *arena)
{
	struct hk_heap *heap = arena->one ? arena->one : arena->heaps;
	while (heap && heap != arena->one && hk_load(&heap->home))
		heap = heap->arena_next;
	if (heap && heap->orphan) { /* its thread vanished in a fork, perhaps between two stores */
		hk_lock(&heap->lock);
		hk_remote_flush(heap, true);
		for (unsigned c = 0; c < HK_CLASSES; c++)
			hk_bin_recount(heap, c);
		heap->orphan = false;
		hk_unlock(&heap->lock);
	}
	if (heap)
		return heap;
	heap = take_spare();
	if (!heap)
		return NULL;
	heap->arena = arena;
	heap->pool = &arena->pool;
	heap->busy = 0;
	heap->arena_next = arena->heaps;
	arena->heaps = heap;
	hk_store_rel(&hk_heap_states[heap->index], HK_HEAP_ARENA);
	return heap;
}

static void sit_down(struct hk_heap *home, struct hk_heap *heap)
{
	struct hk_arena *arena = heap->arena;
	*hk_arena_seat(home, arena) = (struct hk_seat){arena, heap};
}

/* The thread that had HEAP may go on with other arenas meanwhile: at worst another's seat is looked for again. */
static void stand_up(struct hk_heap *heap)
{
	struct hk_heap *home = heap->home;
	struct hk_seat *seat = home ? hk_arena_seat(home, heap->arena) : NULL;
	if (home && hk_heap_is_born(home) && hk_load(&seat->heap) == heap)
		hk_store(&seat->arena, NULL);
}

static void unlink_guest(struct hk_heap *heap)
{
	if (heap->guest_next)
		heap->guest_next->guest_prev = heap->guest_prev;
	if (heap->guest_prev)
		heap->guest_prev->guest_next = heap->guest_next;
	else if (heap->home && hk_heap_is_born(heap->home))
		heap->home->guests = heap->guest_next;
	heap->guest_next = heap->guest_prev = NULL;
	hk_store(&heap->home, NULL);
}

static struct hk_heap *find_guest(const struct hk_heap *home, const struct hk_arena *arena)
{
	struct hk_heap *heap = arena->heaps;
	while (heap && heap->home != home)
		heap = heap->arena_next;
	return heap;
}

static void settle_in(struct hk_heap *home, struct hk_heap *heap)
{
	hk_store(&heap->home, home);
	heap->guest_prev = NULL;
	heap->guest_next = home->guests;
	if (home->guests)
		home->guests->guest_prev = heap;
	home->guests = heap;
}

struct hk_heap *hk_arena_heap_slow(struct hk_arena *arena)
{
	struct hk_heap *home, *heap;
	hk_fork_check();
	home = hk_heap_ordinary();
	if (arena->pool.lost)
		return NULL;
	if (!hk_heap_is_born(home))
		home = hk_heap_birth();
	if (!home || home->busy || !hk_arena_lives(arena))
		return NULL; /* a thread that has ended, or a signal handler */
	home->busy = 1; /* while the lock is held */
	hk_lock(&lock);
	heap = arena->one && !arena->one->orphan ? arena->one : find_guest(home, arena);
	if (!heap)
		heap = obtain(arena);
	if (heap && heap->home != home) {
		stand_up(heap);
		unlink_guest(heap); /* the owner's work goes on in another thread */
		settle_in(home, heap);
	}
	if (heap)
		sit_down(home, heap);
	hk_unlock(&lock);
	home->busy = 0;
	return heap;
}

struct hk_heap *hk_arena_guest(struct hk_heap *home, const struct hk_pool *pool)
{
	struct hk_arena *arena = (struct hk_arena *)pool;
	const struct hk_seat *seat = hk_arena_seat(home, arena);
	if (seat->arena == arena)
		return seat->heap;
	if (!home->guests || !hk_heap_is_born(home) || home->busy)
		return NULL;
	home->busy = 1;
	hk_lock(&lock);
	struct hk_heap *heap = find_guest(home, arena);
	if (heap)
		sit_down(home, heap);
	hk_unlock(&lock);
	home->busy = 0;
	return heap;
}

void *hk_arena_alloc_in(struct hk_pool *pool, size_t size)
{
	struct hk_heap *heap = hk_arena_heap((struct hk_arena *)pool);
	if (!heap) {
		errno = ENOMEM;
		return NULL;
	}
	return hk_alloc_in(heap, size, HK_GRANULE, NULL);
}

/* ---- pushed ---- */

/* home->pushed[i] is what malloc takes from at depth i + 1: a thread's word is the last of them, but when it ends. */
bool hk_arena_push(struct hk_heap *heap)
{
	struct hk_heap *home = heap->home;
	if (home->pushes == HK_SEATS)
		return false;
	hk_add(&heap->arena->pushed, 1);
	home->pushed[home->pushes++] = heap;
	hk_heap_tls = heap;
	return true;
}

bool hk_arena_pop(void)
{
	struct hk_heap *home = hk_heap_ordinary();
	if (!hk_heap_is_born(home) || !home->pushes)
		return false;
	hk_sub(&home->pushed[--home->pushes]->arena->pushed, 1);
	hk_heap_tls = home->pushes ? home->pushed[home->pushes - 1] : home;
	return true;
}

static void give_pushes_back(struct hk_heap *home)
{
	while (home->pushes)
		hk_sub(&home->pushed[--home->pushes]->arena->pushed, 1);
}

/* In a child that HOME's thread is alone in: vanished threads have nothing pushed. */
static void recount_pushes(const struct hk_heap *home)
{
	for (uint32_t i = 0; i < made; i++)
		groups[i / GROUP][i % GROUP].pushed = 0;
	if (hk_heap_is_born(home) && hk_heap_ordinary() == home)
		for (uint32_t i = 0; i < home->pushes; i++)
			home->pushed[i]->arena->pushed++;
}

/* ---- threads that end or move ---- */

/* Another thread may work with a single owner's heap by now, without a call: its bins stay as they are. */
static bool may_empty(const struct hk_heap *heap)
{
	return heap != heap->arena->one && !heap->arena->pool.lost && !heap->orphan;
}

/* Under each heap's lock: a fork takes what is half done for lost. */
void hk_arenas_leave(struct hk_heap *home, struct hk_heap *to)
{
	give_pushes_back(home);
	memset(home->seats, 0, sizeof(home->seats));
	if (!home->guests)
		return;
	uint8_t was = lists_lock();
	for (struct hk_heap *heap = home->guests, *next; heap; heap = next) {
		next = heap->guest_next;
		hk_lock(&heap->lock);
		for (unsigned c = 0; !to && may_empty(heap) && c < HK_CLASSES; c++)
			hk_bin_quiet(heap, c);
		if (!to)
			hk_loans_give_back(heap);
		hk_remote_flush(heap, false);
		unlink_guest(heap);
		if (to)
			settle_in(to, heap);
		else if (may_empty(heap))
			hk_heap_settle(heap); /* what was posted before others saw that it has no thread */
		hk_unlock(&heap->lock);
		if (!to && may_empty(heap))
			hk_heap_posted(heap, 0); /* and by those that could not have its lock meanwhile */
	}
	home->guests = NULL;
	lists_unlock(was);
}

struct hk_slab *hk_arena_adopt(struct hk_heap *heap, unsigned c)
{
	struct hk_arena *arena = heap->arena;
	struct hk_slab *slab = NULL;
	if (heap == arena->one || arena->pool.lost || !hk_lock_try(&lock)) /* its own lock is held: the order is the other way */
		return NULL;
	for (struct hk_heap *left = arena->heaps; left && !slab; left = left->arena_next) {
		if (hk_load(&left->home) || !hk_lock_try(&left->lock))
			continue;
		slab = hk_heap_give_slab(left, c, heap);
		hk_unlock(&left->lock);
	}
	hk_unlock(&lock);
	return slab;
}

unsigned hk_arena_heaps(const struct hk_arena *arena)
{
	unsigned n = 0;
	uint8_t was = lists_lock();
	for (const struct hk_heap *heap = arena->heaps; heap; heap = heap->arena_next)
		n++;
	lists_unlock(was);
	return n;
}

/* ---- reset and end ---- */

void hk_arena_reset(struct hk_arena *arena)
{
	uint8_t was = lists_lock();
	for (struct hk_heap *heap = arena->heaps; heap; heap = heap->arena_next)
		clear(heap);
	hk_unlock(&lock);
	if (hk_arena_debugs())
		hk_arena_replace(arena);
	hk_lent_reset(&arena->pool);
	hk_busy_end(hk_heap_ordinary(), was);
}

void hk_arena_end(struct hk_arena *arena)
{
	uint8_t was = lists_lock();
	hk_store_rel(&arena->life, arena->life + 1);
	for (struct hk_heap *heap = arena->heaps, *next; heap; heap = next) {
		next = heap->arena_next;
		stand_up(heap);
		unlink_guest(heap);
		clear(heap);
		heap->arena = NULL;
		heap->pool = &hk_pools[0];
		hk_store_rel(&hk_heap_states[heap->index], HK_HEAP_SPARE);
		heap->arena_next = spare;
		spare = heap;
	}
	arena->heaps = NULL;
	arena->one = NULL;
	hk_unlock(&lock);
	if (hk_arena_debugs())
		hk_arena_aside_return(arena);
	hk_lent_return(&arena->pool);
	hk_lock(&lock);
	arena->next = unused;
	unused = arena;
	lists_unlock(was);
}

/* ---- fork ---- */

/* Where a heap that HOME has pushed is not its own any more, or gives out nothing, malloc goes back to what came before. */
static void cut_pushes(struct hk_heap *home)
{
	if (!hk_heap_is_born(home) || hk_heap_ordinary() != home)
		return;
	for (uint32_t i = 0; i < home->pushes; i++)
		if (home->pushed[i]->home != home || home->pushed[i]->pool->lost) {
			home->pushes = i;
			hk_heap_tls = i ? home->pushed[i - 1] : home;
		}
}

/* The arena's memory is not mapped in the child: its heaps hold nothing that may be looked at. */
static void forget_absent(struct hk_arena *arena)
{
	arena->pool.lost = true;
	for (struct hk_heap *heap = arena->heaps; heap; heap = heap->arena_next) {
		stand_up(heap);
		clear_locked(heap);
	}
}

/* A program may go on with the cache that it has: its bins must be right before any call. Memory of the program's own may
 * not be there to be walked. */
static void repair_one(struct hk_arena *arena, bool whole)
{
	struct hk_heap *heap = arena->one;
	arena->pool.lost |= !whole;
	if (!whole || arena->absent)
		memset(heap->bins, 0, sizeof(heap->bins));
	else if (!arena->kept)
		for (unsigned c = 0; c < HK_CLASSES; c++)
			hk_bin_recount(heap, c);
}

/* In the child: heaps of vanished threads are free for others if they were whole, else lost with what they hold;
 * an arena whose pool was being changed gives out no more. */
void hk_arenas_repair(struct hk_heap *home, bool alone)
{
	lock.owner = 0;
	for (uint32_t i = 0; i < made; i++) {
		struct hk_arena *arena = &groups[i / GROUP][i % GROUP];
		if (!(arena->life & 1))
			continue;
		arena->touching = false;
		if (arena->pool.lock.owner && !hk_lock_is_mine(&arena->pool.lock)) {
			arena->pool.lock.owner = 0;
			arena->pool.lost = true;
		}
		for (struct hk_heap *heap = arena->heaps; heap; heap = heap->arena_next) {
			bool mine = heap->home == home;
			if (mine && alone && heap == arena->one && arena->inlined && !heap->busy && !heap->lock.owner)
				repair_one(arena, true); /* whose it is is known from calls: another thread may have had it since */
			if (mine ? !heap->lock.owner || hk_lock_is_mine(&heap->lock) : !alone)
				continue;
			bool whole = !heap->lock.owner && !heap->busy;
			if (mine)
				unlink_guest(heap); /* another thread was draining it */
			else if (heap->home && hk_heap_is_born(heap->home))
				heap->home->guests = NULL;
			if (mine || (heap->home && hk_heap_is_born(heap->home)))
				memset((mine ? home : heap->home)->seats, 0, sizeof(home->seats));
			heap->lock.owner = 0;
			heap->orphan = whole;
			if (!whole)
				hk_store(&hk_heap_states[heap->index], HK_HEAP_QUARANTINED);
			if (heap == arena->one)
				repair_one(arena, whole);
			heap->guest_next = heap->guest_prev = NULL;
			hk_store(&heap->home, whole ? NULL : &hk_heap_dead);
		}
		if (arena->absent)
			forget_absent(arena);
	}
	cut_pushes(home);
	if (alone)
		recount_pushes(home);
}
