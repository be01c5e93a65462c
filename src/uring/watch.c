/* watch.c - one watcher an arena, shared by its rings: it writes down the stretches of memory that the arena tells of,
 * under the arena's lock, and registers none. Each ring takes them from there in its own thread, where an error has
 * somebody to be told to, and where rings of a single issuer allow it.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include "uring/inner.h"

static pthread_mutex_t lists_lock = PTHREAD_MUTEX_INITIALIZER; /* comes before an arena's lock */
static struct hk_watched *lists;                               /* [L:lists] */

/* ---- fork: the child gets the lists whole ---- */

static void lock_lists(void)
{
	pthread_mutex_lock(&lists_lock);
}

static void unlock_lists(void)
{
	pthread_mutex_unlock(&lists_lock);
}

/* Not at the first attach: pthread_atfork may call malloc (I4). */
__attribute__((constructor)) static void prepare(void)
{
	pthread_atfork(lock_lists, unlock_lists, unlock_lists);
}

/* ---- the watcher ---- */

static void note(void *arg, void *where, size_t bytes)
{
	struct hk_watched *w = arg;
	if (w->count == HK_STRETCHES) {
		__atomic_store_n(&w->lost, w->lost + 1, __ATOMIC_RELAXED);
		return;
	}
	w->stretch[w->count] = (struct hk_stretch){(uintptr_t)where, bytes};
	__atomic_store_n(&w->count, w->count + 1, __ATOMIC_RELEASE); /* pairs with table.c: take */
}

void *hk_uring_memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	madvise(p, bytes, MADV_NOHUGEPAGE); /* sparse: a huge page would be one entry */
	return p;
}

static struct hk_watched *find(const hak_arena *arena)
{
	struct hk_watched *w = lists;
	while (w && w->arena != arena)
		w = w->next;
	return w;
}

static int start(hak_arena *arena, struct hk_watched **out)
{
	struct hk_watched *w = hk_uring_memory(sizeof(*w));
	int rc;
	if (!w)
		return hk_uring_fail(-ENOMEM, "no memory for the list of the arena's stretches");
	w->arena = arena;
	rc = hak_arena_watch(arena, note, w);
	if (rc) {
		munmap(w, sizeof(*w));
		return hk_uring_fail(rc, rc == -EBUSY ? "the arena has a watcher that is not of this library"
						      : "not an arena, or destroyed");
	}
	w->next = lists;
	lists = w;
	*out = w;
	return 0;
}

/* Slots of a ring's table are one attachment's: where a later one begins, an earlier one that has not come so far ends. One
 * that detaches has emptied its own. */
static int share_slots(struct hak_uring *uring)
{
	for (struct hk_watched *w = lists; w; w = w->next)
		for (struct hak_uring *o = w->urings; o; o = o->next) {
			if (o->ring != uring->ring || !o->map->alive || o->detaching || o->first + o->most <= uring->first ||
			    uring->first + uring->most <= o->first)
				continue;
			if (uring->first < o->first)
				uring->most = o->first - uring->first;
			else if (uring->first < o->first + o->used || uring->first == o->first)
				return hk_uring_fail(-EEXIST, "slot %u is another arena's: it has those from %u to %u",
						     uring->first, o->first, o->first + o->used - !!o->used);
			else
				o->most = uring->first - o->first;
		}
	return 0;
}

int hk_uring_watch(struct hak_uring *uring, hak_arena *arena)
{
	lock_lists();
	struct hk_watched *w = find(arena);
	int rc = share_slots(uring);
	if (!w && !rc)
		rc = start(arena, &w);
	if (!rc) {
		uring->watched = w;
		uring->next = w->urings;
		w->urings = uring;
	}
	unlock_lists();
	return rc;
}

bool hk_uring_table_passed_on(struct hak_uring *uring)
{
	struct hak_uring *to = NULL;
	lock_lists();
	for (struct hk_watched *w = lists; w && !to; w = w->next)
		for (to = w->urings; to && (to == uring || to->ring != uring->ring || !to->map->alive);)
			to = to->next;
	if (to) {
		to->own_table = true;
		to->table_first = uring->table_first;
	}
	unlock_lists();
	return to != NULL;
}

void hk_uring_unwatch(struct hak_uring *uring)
{
	struct hk_watched *w = uring->watched, **at = &lists;
	lock_lists();
	struct hak_uring **from = &w->urings;
	while (*from != uring)
		from = &(*from)->next;
	*from = uring->next;
	if (!w->urings) {
		while (*at != w)
			at = &(*at)->next;
		*at = w->next;
		hak_arena_unwatch(w->arena);
		munmap(w, sizeof(*w));
	}
	unlock_lists();
}
