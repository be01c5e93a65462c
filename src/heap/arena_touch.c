/* arena_touch.c - faults an arena's first memory in from a thread of its own, by a write that changes nothing. */
#include <errno.h>
#include <pthread.h>

#include "heap/arena.h"

static void touch(void *arg, void *where, size_t bytes)
{
	struct hk_arena *arena = arg;
	for (size_t at = 0; at < bytes && !hk_load(&arena->touch_stop); at += HK_PAGE_BYTES)
		__atomic_fetch_or((char *)where + at, 0, __ATOMIC_RELAXED);
}

/* The list may grow meanwhile, at its head alone: what is walked is a tail of it that stays as it is. */
static void *run(void *arg)
{
	struct hk_arena *arena = arg;
	hk_lent_each(&arena->pool, touch, arena);
	return NULL;
}

int hk_arena_touch(struct hk_arena *arena)
{
	arena->touch_stop = false;
	arena->pool.lent.touched = true;
	uint64_t mine = hk_os_signals_block(); /* the program's handlers are not for the new thread */
	struct hk_heap *pushed = hk_heap_own_begin(); /* glibc keeps a thread's memory for the next one */
	int rc = pthread_create(&arena->toucher, NULL, run, arena);
	hk_heap_own_end(pushed);
	hk_os_signals_set(mine);
	arena->touching = !rc;
	return rc ? -ENOMEM : 0;
}

void hk_arena_touch_end(struct hk_arena *arena)
{
	if (!arena->touching)
		return;
	hk_store(&arena->touch_stop, true);
	pthread_join(arena->toucher, NULL);
	arena->touching = false;
}
