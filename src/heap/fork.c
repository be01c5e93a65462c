/* fork.c - what a forked child finds: no lock is held across fork, so it looks.
 *
 * fork is a consistent cut of memory at a moment when other threads were anywhere. The child, which
 * has one thread, does this before it takes its first lock: a heap whose lock was free and whose
 * thread was in no slow path is whole, and parked (its bins are emptied when someone takes it); one
 * in the middle of a change is quarantined: its blocks may be freed, and those that come home are never
 * used again. The pool's lists are derived anew from the side table if its lock was held.
 * Prepare handlers are not used: glibc runs them before it takes stdio's locks, and holding ours
 * there deadlocks against a getline in another thread. That it is a child is seen by a word that
 * the kernel wipes (also after _Fork and clone, which run no handlers); a vfork child shares
 * memory, sees the word, and goes on as its parent. */
#include <errno.h>
#include <pthread.h>

#include "heap/process.h"
#include "os/os.h"

#define FREES_ENOUGH (1u << 31) /* for a heap to be born at the first one */

enum { WIPED, WHOLE = HK_FORK_WHOLE, REPAIRING };

static uint32_t no_word = WHOLE;
uint32_t *hk_fork_word = &no_word;

static void repair_pool(struct hk_pool *pool)
{
	pool->inherited = true;
	pool->promote_due = pool->edge_due = 0;
	if (hk_lock_is_mine(&pool->lock)) /* a signal handler that forks, inside a change of ours */
		return;
	if (!pool->lock.owner && !pool->purging)
		return;
	pool->lock.owner = 0;
	hk_pool_rebuild(pool);
}

static void quarantine(struct hk_heap *heap)
{
	if (hk_heap_states[heap->index] == HK_HEAP_PARKED)
		hk_heaps_parked--;
	hk_store(&hk_heap_states[heap->index], HK_HEAP_QUARANTINED);
	heap->lock.owner = 0;
}

static void repair_shared(struct hk_heap *heap)
{
	struct hk_heap *fresh;
	if (!heap->lock.owner)
		return;
	quarantine(heap);
	fresh = hk_heap_make(heap->node);
	if (!fresh) {
		/* Better used in doubt than a process without memory. */
		hk_store(&hk_heap_states[heap->index], HK_HEAP_SHARED);
		return;
	}
	fresh->shared = 1;
	hk_store(&hk_heap_states[fresh->index], HK_HEAP_SHARED);
	hk_store_rel(&hk_shared_heaps[heap->node], fresh);
}

/* Where the caller is not the thread that forked (a raw clone's child began others before it came
 * here), heaps of living threads can't be told from those of vanished ones: they stay as they are. */
static void repair_heap(struct hk_heap *heap, enum hk_heap_state state, bool alone)
{
	bool whole = !heap->lock.owner && !heap->busy;
	if (state == HK_HEAP_SHARED) {
		repair_shared(heap);
	} else if (state == HK_HEAP_LIVE && whole && !alone) {
		return;
	} else if (state == HK_HEAP_LIVE && whole) {
		heap->orphan = true;
		hk_heaps_parked++;
		hk_store(&hk_heap_states[heap->index], HK_HEAP_PARKED);
	} else if ((state == HK_HEAP_LIVE || state == HK_HEAP_PARKED) && !whole) {
		quarantine(heap);
	}
}

void (*hk_fork_hook)(void);

HK_COLD static void repair(void)
{
	struct hk_heap *me = hk_heap_mine();
	uint32_t made = hk_min(hk_heaps_made, HK_HEAPS_MAX);
	bool alone = hk_os_is_first_thread();
	if (hk_heap_is_born(me) && me->arena) { /* pushed: hk_arenas_repair looks at the arena's heap */
		if (me->lock.owner && !hk_lock_is_mine(&me->lock))
			hk_heap_tls = hk_heap_ordinary(); /* what is still its own stays pushed */
		me = hk_heap_ordinary();
	}
	if (hk_heap_is_born(me) && me->lock.owner && !hk_lock_is_mine(&me->lock)) {
		quarantine(me); /* another thread was draining it */
		hk_heap_take(&hk_heap_unborn);
	}
	hk_start_locks_reset();
	hk_region_repair();
	hk_lent_locks_reset();
	hk_slab_locks_reset();
	hk_arenas_repair(me, alone);
	if (alone && hk_youth_fork(me)) { /* its heap is one of a vanished thread now */
		hk_heap_take(&hk_heap_unborn);
		hk_unborn_frees = FREES_ENOUGH;
		me = NULL;
	}
	for (unsigned i = 0; i < hk_region.stripes; i++)
		repair_pool(&hk_pools[i]);
	for (uint32_t i = 0; i < made; i++)
		if (hk_heap_at(i) && hk_heap_at(i) != me && hk_heap_states[i] != HK_HEAP_QUARANTINED)
			repair_heap(hk_heap_at(i), (enum hk_heap_state)hk_heap_states[i], alone);
	hk_heaps_recount_parked();
	if (hk_fork_hook)
		hk_fork_hook();
}

void hk_fork_repair(void)
{
	int saved = errno;
	uint32_t wiped = WIPED, *word = hk_load_acq(&hk_fork_word);
	uint64_t mine = hk_os_signals_block(); /* a handler would wait for its own thread */
	if (hk_cas_acq(word, &wiped, REPAIRING)) {
		repair();
		hk_store_rel(word, WHOLE); /* pairs with hk_fork_check */
	}
	hk_os_signals_set(mine);
	while (hk_load_acq(word) != WHOLE)
		hk_os_yield();
	errno = saved;
}

static void in_child(void)
{
	hk_store(&no_word, hk_fork_word == &no_word ? WIPED : WHOLE);
	hk_fork_check();
}

void hk_fork_start(void)
{
	uint32_t *word = hk_os_fork_word();
	if (word) {
		*word = WHOLE;
		hk_store_rel(&hk_fork_word, word);
	}
}

/* Not needed where the word is wiped; makes the child's first allocation ordinary, and serves
 * kernels without MADV_WIPEONFORK. Registering allocates, hence not in hk_fork_start. */
__attribute__((constructor)) static void register_handler(void)
{
	pthread_atfork(hk_hugetlb_forked, NULL, in_child);
}
