/* youth.c - a forked child's first heap: a new one, while its parent's waits, parked.
 *
 * The child's memory is its parent's as well: the kernel copies each page that the child writes to, 1.5 times as dear
 * as a fresh one, and the holes in them lie apart. Most children live shortly. So while it is young,
 *   - the heap takes slabs that nobody touched yet, on small pages: no bin, slab or list of the parent's;
 *   - its tag is a number of its own, so that blocks of the parent's take the slow path when they are freed; they are
 *     noted here, not written to (jemalloc's caches are arrays of pointers too, which spares its children the same);
 *   - nobody looks into what the parent left.
 * Youth ends with so many chunks, notes or milliseconds, with malloc_trim, and with the thread. Then the notes go to
 * their owners, the heap gets its pool's tag, and the parent's slabs are adopted like those of any thread that ended.
 * Threads: the child's first one has the only young heap of the process. */
#include "base/check.h"
#include "heap/process.h"
#include "tiny/find.h"
#include "tiny/remote.h"

#define YOUNG_CHUNKS 256u /* a slab of each class, and some */
#define YOUNG_MS 1000u
#define NOTES 8192u

static struct hk_heap *forked;     /* [O] the heap that a child's thread had, until it has another one */
static void *notes[NOTES];         /* [O] blocks that were freed */
static uint32_t noted;             /* [O] */
static uint32_t chunks;            /* [L:heap] taken */
static uint32_t since_ms;          /* [O] */

bool hk_youth_fork(struct hk_heap *me)
{
	if (!hk_heap_is_born(me) || me != hk_heap_mine() || me->busy || me->lock.owner || me->guests)
		return false;
	forked = me;
	return true;
}

bool hk_youth_is_due(void)
{
	return HK_UNLIKELY(forked) && hk_os_is_first_thread();
}

void hk_youth_begin(struct hk_heap *heap)
{
	heap->pool_tag = heap->tag = hk_heap_new_tag();
	heap->tag_mask = ~0ull;
	heap->direct = heap->young = true;
	heap->policy_mask = forked->policy_mask;
	heap->exit_rounds = forked->exit_rounds;
	forked = NULL;
	chunks = 0;
	since_ms = hk_os_clock_ms();
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

bool hk_youth_note(struct hk_heap *heap, const struct hk_slab *slab, void *p)
{
	enum hk_heap_state state = hk_heap_state(hk_load(&slab->heap));
	if (state == HK_HEAP_LIVE || state == HK_HEAP_ARENA)
		return false;
	HK_CHECK(!noted || notes[noted - 1] != p, "double free", p);
	bool room = noted < NOTES;
	heap->busy = 1; /* a signal handler's frees go elsewhere */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (room) {
		notes[noted] = p;
		hk_store(&noted, noted + 1);
	} else {
		hk_lock(&heap->lock);
		hk_youth_end(heap);
		hk_unlock(&heap->lock);
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	heap->busy = 0;
	return room;
}

uint32_t hk_youth_noted(void)
{
	return hk_load(&noted);
}

/* HEAP and its slabs get the tags that others of its pool have. */
void hk_youth_retag(struct hk_heap *heap)
{
	unsigned stripe = hk_region.nodes + heap->node;
	struct hk_pool *pool = &hk_pools[stripe];
	if (!heap->young)
		return;
	hk_heap_tag(heap);
	heap->young = false;
	hk_lock(&pool->lock);
	for (size_t i = hk_stripe_first(stripe); i < hk_stripe_end(stripe); i++) {
		struct hk_super *s = hk_super_at(i);
		for (unsigned k = 0; s->state == HK_SUPER_CHUNKED && k < HK_SUPER_CHUNKS; k++) {
			enum hk_code_kind kind = hk_code_kind(s->code[k]);
			const char *p = (const char *)hk_super_base(i) + k * HK_CHUNK_BYTES;
			if (kind != HK_CODE_TINY && (kind != HK_CODE_MEDIUM || hk_code_back(s->code[k])))
				continue;
			struct hk_slab *slab = kind == HK_CODE_TINY ? hk_slab_of_tiny(p) : hk_slab_at(i, k);
			if (slab && slab->heap == heap && slab->tag)
				hk_store_rel(&slab->tag, hk_slab_tag(slab, heap));
		}
	}
	hk_unlock(&pool->lock);
}

void hk_youth_end(struct hk_heap *heap)
{
	uint32_t n = noted;
	if (!heap->young)
		return;
	hk_youth_retag(heap);
	hk_store(&noted, 0);
	while (n) {
		void *p = notes[--n];
		hk_remote_gather(heap, hk_find(p).slab, p);
	}
	hk_remote_flush(heap, false);
}

void hk_youth_tick(struct hk_heap *heap, uint32_t now_ms)
{
	if (HK_UNLIKELY(heap->young) && now_ms - since_ms >= YOUNG_MS)
		hk_youth_end(heap);
}
