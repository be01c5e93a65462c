/* arena_stale.c - the debug build's answer to pointers from before a reset: the arena goes on with other memory, and
 * what it had is kept aside, empty, so that no block stands there and none of it is handed out again.
 * Not where memory can't be replaced: given by the program, of the hugetlb pool, more than 1 GiB, or more than there is
 * just then; there, as in other builds, what was handed out again since is not seen. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "heap/arena.h"

#define REPLACED_MOST 512u /* SuperSlabs of an arena */
#define ASIDE_MOST 4096u   /* then all of them go back */

static void set_aside(void *arg, void *where, size_t bytes)
{
	const struct hk_arena *arena = arg;
	size_t first = hk_super_index(where), end = first + (bytes >> HK_SUPER_SHIFT);
	if (arena->pool.lent.lock)
		hk_os_unlock((uintptr_t)where, bytes);
	hk_os_purge((uintptr_t)where, bytes);
	for (size_t i = first; i < end; i++) { /* nothing is found there, and nobody takes it */
		memset(hk_super_at(i)->code, 0, sizeof(hk_super_at(i)->code));
		hk_store(&hk_super_at(i)->state, HK_SUPER_PURGING);
	}
}

void hk_arena_aside_return(struct hk_arena *arena)
{
	struct hk_lent *lent = &arena->pool.lent;
	struct hk_lent now = *lent;
	if (!arena->aside)
		return;
	lent->all = arena->aside;
	hk_lent_return(&arena->pool);
	*lent = now;
	arena->aside = 0;
	arena->aside_supers = 0;
}

/* The last of the list that begins with AT. */
static struct hk_super *last_of(uint32_t at)
{
	while (hk_super_at(at - 1)->all_next)
		at = hk_super_at(at - 1)->all_next;
	return hk_super_at(at - 1);
}

void hk_arena_replace(struct hk_arena *arena)
{
	struct hk_lent *lent = &arena->pool.lent;
	struct hk_lent was = *lent;
	if (arena->kept || lent->page_shift || !lent->supers || lent->supers > REPLACED_MOST)
		return;
	if (arena->aside_supers + lent->supers > ASIDE_MOST)
		hk_arena_aside_return(arena);
	hk_arena_touch_end(arena);
	hk_lock(&arena->pool.lock);
	lent->all = lent->spare_head = 0;
	lent->supers = lent->spare = 0;
	if (hk_lent_grow(&arena->pool, was.supers, 1)) {
		*lent = was;
		hk_unlock(&arena->pool.lock);
		return;
	}
	uint32_t fresh = lent->all;
	lent->all = was.all;
	hk_lent_each(&arena->pool, set_aside, arena);
	lent->all = fresh;
	hk_unlock(&arena->pool.lock);
	last_of(was.all)->all_next = arena->aside;
	arena->aside = was.all;
	arena->aside_supers += was.supers;
}

void hk_arena_must_be_fresh(const void *p)
{
	char what[128];
	const struct hk_arena *arena = hk_arena_of(p);
	if (!arena || hk_load(&hk_super_at(hk_super_index(p))->state) != HK_SUPER_PURGING)
		return;
	snprintf(what, sizeof(what), "block of arena %s (%p) used after its reset", arena->name[0] ? arena->name : "without a name",
		 (const void *)arena);
	hk_fatal(what, p);
}
