/* youth.c - a forked child's first heap: a new one, while its parent's waits, parked.
 *
 * The child's memory is its parent's as well: the kernel copies each page that the child writes to, 1.5 times as dear
 * as a fresh one, and the holes in them lie apart. Most children live shortly. So while it is young,
 *   - the heap takes slabs that nobody touched yet, on small pages: no bin, slab or list of the parent's;
 *   - its tag is a number of its own, so that blocks of the parent's take the slow path when they are freed; they are
 *     noted here, not written to (jemalloc's caches are arrays of pointers too, which spares its children the same);
 *   - nobody looks into what the parent left.
 * Youth ends with so many chunks, notes or bytes noted, at the first look after YOUNG_MS, with malloc_trim, where memory
 * is exhausted, and with the thread. Then the notes go to their owners, the heap gets its pool's tag, and the parent's
 * slabs are adopted like those of any thread that ended. A child's child goes on with a heap that is young still.
 * Threads: the child's first one has the only young heap of the process. */
#include <errno.h>

#include "base/check.h"
#include "heap/process.h"
#include "tiny/busy.h"
#include "tiny/find.h"
#include "tiny/remote.h"

#define YOUNG_CHUNKS 256u /* a slab of each class, and some */
#define YOUNG_MS 1000u
#define NOTES 8192u
#define NOTES_BYTES (2u << 20)
#define LOOK_NOTES 32u
#define GENERATIONS 4u    /* each leaves a heap behind: a process that goes on in its child again and again must not */

HK_AT_START static bool due; /* [A] in a child whose first heap is yet to come */
static uint8_t generation;   /* [O] */
static uint64_t policy_mask; /* [O] of its thread in the parent */
static uint8_t exit_rounds;  /* [O] likewise */
static void *notes[NOTES];   /* [O] blocks that were freed */
static uint32_t noted;       /* [A] written by the young heap's thread */
static size_t noted_bytes;   /* [O] */
static uint32_t chunks;      /* [L:heap] taken */
static uint32_t since_ms;    /* [O] */
static struct hk_heap *noting; /* [O] whose the notes are; an older young heap of the process may wait as an orphan */

bool hk_youth_fork(struct hk_heap *me)
{
	due = false;
	if (!hk_heap_is_born(me) || me != hk_heap_mine() || me->busy || me->lock.owner || me->guests || me->young || noted ||
	    generation == GENERATIONS)
		return false;
	policy_mask = me->policy_mask;
	exit_rounds = me->exit_rounds;
	generation++;
	due = true;
	return true;
}

bool hk_youth_take(void)
{
	return HK_UNLIKELY(hk_load(&due)) && hk_os_is_first_thread() && __atomic_exchange_n(&due, false, __ATOMIC_RELAXED);
}

void hk_youth_begin(struct hk_heap *heap)
{
	heap->pool_tag = heap->tag = hk_heap_new_tag();
	heap->tag_mask = ~0ull;
	heap->policy_mask = policy_mask;
	heap->exit_rounds = exit_rounds;
	chunks = 0;
	noting = heap;
	since_ms = hk_os_clock_ms();
	heap->direct = heap->young = true;
}

struct hk_slab *hk_youth_slab(struct hk_heap *heap, unsigned c)
{
	struct hk_slab *slab = NULL;
	if (chunks < YOUNG_CHUNKS)
		slab = hk_slab_new(&hk_pools[hk_region.nodes + heap->node], c, heap);
	chunks += hk_classes[c].chunks;
	if (!slab)
		hk_youth_end(heap);
	return slab;
}

/* From outside of every slow path. */
void hk_youth_stop(struct hk_heap *heap)
{
	int saved = errno;
	uint8_t was = hk_busy_begin(heap);
	hk_lock(&heap->lock);
	hk_youth_end(heap);
	hk_unlock(&heap->lock);
	hk_busy_end(heap, was);
	errno = saved;
}

static bool is_of_age(uint32_t now_ms)
{
	return now_ms - since_ms >= YOUNG_MS;
}

void hk_youth_look(struct hk_heap *heap)
{
	if (is_of_age(hk_os_clock_ms()))
		hk_youth_stop(heap);
}

static bool note(const struct hk_slab *slab, void *p)
{
	uint32_t n = noted, size = hk_classes[slab->class_index].size;
	HK_CHECK(!n || notes[n - 1] != p, "double free", p);
	if (n == NOTES || noted_bytes + size > NOTES_BYTES)
		return false;
	notes[n] = p;
	noted_bytes += size;
	hk_store(&noted, n + 1);
	return true;
}

bool hk_youth_note(struct hk_heap *heap, const struct hk_slab *slab, void *p)
{
	enum hk_heap_state state = hk_heap_state(hk_load(&slab->heap));
	if (state == HK_HEAP_LIVE || state == HK_HEAP_ARENA)
		return false;
	uint8_t was = hk_busy_begin(heap);
	bool kept = note(slab, p);
	hk_busy_end(heap, was);
	if (HK_UNLIKELY(!kept))
		hk_youth_stop(heap);
	else if (noted % LOOK_NOTES == 0)
		hk_youth_look(heap);
	return kept;
}

uint32_t hk_youth_noted(void)
{
	return hk_load(&noted);
}

/* HEAP and its slabs get the tags that others of its pool have. */
static void retag(struct hk_heap *heap)
{
	unsigned stripe = hk_region.nodes + heap->node;
	struct hk_pool *pool = &hk_pools[stripe];
	hk_heap_tag(heap);
	heap->young = false;
	hk_lock(&pool->lock);
	for (size_t i = hk_stripe_first(stripe); i < hk_stripe_end(stripe); i++) {
		struct hk_super *s = hk_super_at(i);
		for (unsigned k = 0; s->state == HK_SUPER_CHUNKED && k < HK_SUPER_CHUNKS; k++) {
			struct hk_slab *slab = hk_slab_from_chunk(i, k);
			if (slab && slab->heap == heap && slab->tag)
				hk_store_rel(&slab->tag, hk_slab_tag(slab, heap));
		}
	}
	hk_unlock(&pool->lock);
}

void hk_youth_end(struct hk_heap *heap)
{
	if (!heap->young)
		return;
	retag(heap);
	if (heap != noting)
		return;
	uint32_t n = noted;
	noted_bytes = 0;
	hk_store(&noted, 0);
	while (n) {
		void *p = notes[--n];
		struct hk_found f = hk_find(p);
		HK_CHECK(f.kind == HK_FOUND_BLOCK && hk_load(&f.slab->tag) && hk_slab_has_block(f.slab, p), "double free", p);
		hk_remote_gather(heap, f.slab, p);
	}
	hk_remote_flush(heap, false);
}

void hk_youth_tick(struct hk_heap *heap, uint32_t now_ms)
{
	if (HK_UNLIKELY(heap->young) && is_of_age(now_ms))
		hk_youth_end(heap);
}
