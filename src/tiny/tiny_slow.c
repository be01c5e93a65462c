/* tiny_slow.c - the cold tails of tiny_fast.h: medium and large blocks, empty bins, frees of other
 * threads' blocks. Each begins by saying that it is inside (busy), so that a signal handler that
 * mallocs meanwhile is told apart, and a fork in another thread can see a heap in the middle of a
 * change. */
#include "tiny/tiny_slow.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "numa/node.h"
#include "tiny/bin.h"
#include "tiny/busy.h"
#include "tiny/find.h"
#include "tiny/large.h"
#include "tiny/reentry.h"
#include "tiny/remote.h"

#define CLOCK_EVERY 32u
#define TICK_MS 100u
#define UNBORN_FREES 8u /* served one by one before the thread gets a heap */

/* ---- the frame of every slow path ---- */

/* The fork check comes before the heap is looked up: in a child it may be another one. */
HK_INLINE void enter(struct hk_heap *heap)
{
	heap->busy = 1;
	if (HK_UNLIKELY(heap->arena))
		hk_heap_ordinary()->busy = 1; /* a signal handler comes by there */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

HK_INLINE void leave(struct hk_heap *heap)
{
	if (HK_UNLIKELY(heap->arena)) {
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		heap->busy = hk_heap_ordinary()->busy = 0;
		return;
	}
	if (HK_UNLIKELY(++heap->slow_calls % CLOCK_EVERY == 0)) {
		uint32_t now = hk_os_clock_ms();
		if (now - heap->ticked_ms >= TICK_MS)
			hk_heap_tick(heap, now);
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	heap->busy = 0;
	if (HK_UNLIKELY(hk_node_count() > 1))
		hk_heap_follow(heap);
}

HK_INLINE bool is_busy(const struct hk_heap *heap)
{
	return heap->busy || (heap->arena && hk_heap_ordinary()->busy);
}

HK_COLD static void *out_of_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

/* ---- malloc ---- */

/* The class whose blocks hold SIZE bytes at ALIGN; HK_CLASSES: a span. */
static unsigned class_for(size_t size, size_t align)
{
	size = size ? size : 1;
	if (size > HK_MEDIUM_MAX || align > HK_CHUNK_BYTES)
		return HK_CLASSES;
	if (align <= HK_GRANULE)
		return hk_class_of(size);
	return hk_class_aligned(hk_align_up(size, align), align);
}

/* A block of pool NODE from its shared heap, or a span. */
static void *alloc_from(unsigned node, size_t size, size_t align, unsigned c, bool *zero)
{
	uint32_t n;
	if (c == HK_CLASSES)
		return hk_span_alloc(&hk_pools[node], size, align, zero);
	return hk_shared_take(node, c, 1, &n);
}

/* A block of pool NODE for threads that have ended, and where no heap can be made. */
HK_COLD static void *alloc_without_heap(unsigned node, size_t size, size_t align, unsigned c, bool *zero)
{
	struct hk_heap *shared = hk_load_acq(&hk_shared_heaps[node]);
	if (!shared || hk_lock_is_mine(&shared->lock) || hk_lock_is_mine(&hk_pools[node].lock)) {
		void *p = hk_reentry_alloc(size, align); /* a signal handler: during the start, or in here */
		return p ? p : out_of_memory();
	}
	hk_add(&shared->count.early_no_heap, 1);
	void *p = alloc_from(node, size, align, c, zero);
	hk_add(&shared->count.tls_pops, p != NULL);
	return p ? p : out_of_memory();
}

HK_COLD void *hk_alloc_at(unsigned node, size_t size)
{
	bool zero;
	hk_fork_check();
	struct hk_heap *heap = hk_heap_mine();
	if (!hk_heap_is_born(heap))
		heap = hk_heap_birth();
	if (!heap && size > PTRDIFF_MAX)
		return out_of_memory();
	if (!heap) /* past the thread's end */
		return alloc_without_heap(node, size, HK_GRANULE, class_for(size, HK_GRANULE), &zero);
	if (heap->arena)
		heap = hk_heap_ordinary();
	if (heap->node == node || is_busy(heap) || size > PTRDIFF_MAX)
		return hk_alloc_in(heap, size, HK_GRANULE, NULL); /* not from an arena that was pushed */
	enter(heap);
	void *p = alloc_from(node, size, HK_GRANULE, class_for(size, HK_GRANULE), &zero);
	heap->count.tls_pops += p != NULL;
	leave(heap);
	return p ? p : out_of_memory();
}

HK_NOINLINE static void *refill_and_pop(struct hk_heap *heap, unsigned c, bool *zero)
{
	struct hk_bin *bin = &heap->bins[c];
	enter(heap);
	hk_lock(&heap->lock);
	bool filled = hk_bin_refill(heap, c, zero);
	hk_unlock(&heap->lock);
	struct hk_block *block = filled ? hk_bin_pop(bin) : NULL;
	leave(heap);
	return filled ? block : out_of_memory();
}

HK_NOINLINE static void *span(struct hk_heap *heap, size_t size, size_t align, bool *zero)
{
	enter(heap);
	void *p = hk_span_alloc(hk_heap_pool(heap), size, align, zero);
	heap->count.span_made += p != NULL;
	leave(heap);
	return p ? p : out_of_memory();
}

void *hk_alloc_slow(size_t size, size_t align, bool *zero)
{
	hk_fork_check();
	return hk_alloc_in(hk_heap_mine(), size, align, zero);
}

void *hk_alloc_in(struct hk_heap *heap, size_t size, size_t align, bool *zero)
{
	bool none;
	zero = zero ? zero : &none;
	*zero = false;
	if (HK_UNLIKELY(size > PTRDIFF_MAX || align > PTRDIFF_MAX)) {
		if (hk_heap_is_born(heap))
			heap->count.early_size++;
		return out_of_memory();
	}
	unsigned c = class_for(size, align);
	struct hk_block *block = c < HK_CLASSES ? hk_bin_pop(&heap->bins[c]) : NULL;
	if (HK_LIKELY(block))
		return block;
	/* Or in a handler that came while its thread held the pool's lock: an arena was being made, say. */
	if (HK_UNLIKELY(is_busy(heap) || (heap->pool && hk_lock_is_mine(&heap->pool->lock)))) {
		heap->count.early_reentry++;
		if (heap->arena)
			return out_of_memory(); /* what is kept for such calls is in no arena */
		void *p = hk_reentry_alloc(size, align);
		return p ? p : out_of_memory();
	}
	if (HK_UNLIKELY(!hk_heap_is_born(heap))) {
		heap = hk_heap_birth();
		if (!heap)
			return alloc_without_heap(hk_node_here(), size, align, c, zero);
		return hk_alloc_in(heap, size, align, zero); /* its bins may have some */
	}
	void *p = c == HK_CLASSES ? span(heap, size, align, zero) : refill_and_pop(heap, c, zero);
	if (HK_LIKELY(p != NULL) || heap->arena)
		return p;
	heap = hk_heap_ordinary(); /* the thread may have moved to another one, and that one may be another thread's */
	bool noted = hk_heap_is_born(heap) && heap->young;
	if (noted)
		hk_youth_stop(heap);
	uint8_t was = hk_busy_begin(heap);
	bool more = hk_heaps_unstock(0);
	hk_busy_end(heap, was);
	if (!more && !noted)
		return p;
	/* What ended threads left may do; and the heap's bins may have some blocks. */
	return hk_alloc_in(hk_heap_ordinary(), size, align, zero);
}

HK_NOINLINE static void *malloc_slower(size_t size)
{
	return hk_alloc_slow(size, HK_GRANULE, NULL);
}

/* Above 1 KiB the class takes some arithmetic; a bin that has a block is still all it needs, and no frame. */
HK_NOINLINE void *hk_malloc_slow(size_t size)
{
	if (HK_LIKELY(size - 1 - HK_FINE_MAX < HK_MEDIUM_MAX - HK_FINE_MAX)) {
		struct hk_block *block = hk_bin_pop(&hk_heap_mine()->bins[hk_class_coarse(size)]);
		if (HK_LIKELY(block))
			return block;
	}
	return malloc_slower(size);
}

/* ---- free ---- */

/* Another thread's block goes into the slot of its slab, if that has one: it was looked up then. */
HK_INLINE bool to_slot(struct hk_heap *heap, struct hk_slab *slab, struct hk_block *block)
{
	struct hk_slot *slot = hk_slot_of(heap, slab);
	if (slot->slab != slab || slot->room <= 1 || slot->head == block)
		return false;
	block->next = slot->head;
	slot->head = block;
	slot->room--;
	return true;
}

/* Takes the block that was freed last out of the bin of a thread that only frees this class, and passes it on. False:
 * it is none of another thread's. */
static bool pass_on(struct hk_heap *heap, unsigned c)
{
	struct hk_bin *bin = &heap->bins[c];
	struct hk_block *block = bin->head;
	struct hk_slab *slab = hk_slab_of(block, c);
	if (hk_load(&slab->heap) == heap)
		return false;
	bin->head = block->next;
	bin->budget++;
	if (HK_LIKELY(to_slot(heap, slab, block)))
		return true;
	HK_CHECK(hk_slab_has_block(slab, block), "free of a pointer inside a block, or of none", block);
	int saved = errno;
	enter(heap);
	hk_remote_gather(heap, slab, block);
	leave(heap);
	errno = saved;
	return true;
}

HK_NOINLINE void hk_free_spent(struct hk_heap *heap, struct hk_bin *bin)
{
	unsigned c = (unsigned)(bin - heap->bins);
	hk_fork_check();
	if (HK_UNLIKELY(is_busy(heap) || !hk_heap_is_mine(heap)))
		return; /* a signal handler: the next free counts */
	struct hk_class_state *cs = &heap->classes[c];
	if (cs->draining == HK_DRAINS_OTHERS && !bin->pops && bin->head) {
		cs->used = true;
		if (HK_LIKELY(pass_on(heap, c)))
			return;
		cs->draining = HK_DRAINS_OWN; /* like those that come next, perhaps */
		return hk_bin_grant(heap, c, hk_bin_length(heap, c), (int32_t)hk_min(cs->cap, HK_DRAIN_BLOCKS));
	}
	if (HK_LIKELY(hk_bin_spent(heap, c))) {
		/* A thread whose bins serve all it asks for comes by nowhere else. */
		if (HK_UNLIKELY(heap->young))
			hk_youth_look(heap);
		if (HK_UNLIKELY(hk_node_count() > 1) && !heap->arena)
			hk_heap_follow(heap);
		return;
	}
	int saved = errno;
	enter(heap);
	hk_lock(&heap->lock);
	hk_bin_overflow(heap, c);
	hk_unlock(&heap->lock);
	leave(heap);
	errno = saved;
}

static void push_own(struct hk_heap *heap, unsigned c, struct hk_block *block)
{
	struct hk_bin *bin = &heap->bins[c];
	block->next = bin->head;
	bin->head = block;
	if (--bin->budget < 0)
		hk_free_spent(heap, bin);
}

/* Another heap's block may stay in this thread's bin, rather than travel home and be replaced by one
 * of its own, if the thread takes such blocks itself (a consumer does not), on the same node, and
 * if no line of it is shared with a neighbour that the owner hands out. */
static bool keeps(const struct hk_heap *heap, const struct hk_slab *slab, const void *p)
{
	unsigned c = slab->class_index;
	return heap->bins[c].pops && hk_classes[c].size >= HK_LINE_BYTES && hk_pool_of(p) == heap->pool;
}

/* The heap of this thread that blocks of POOL go through: an arena's blocks are never in the bins and slots of
 * another pool's heap, or a reset would leave them there. NULL: it has none there. */
static struct hk_heap *host(struct hk_heap *heap, const struct hk_pool *pool)
{
	if (HK_LIKELY(pool == heap->pool))
		return heap;
	struct hk_heap *home = heap->arena ? hk_heap_ordinary() : heap;
	return HK_UNLIKELY(pool->arena) ? hk_arena_guest(home, pool) : home;
}

static void free_block(struct hk_heap *heap, struct hk_slab *slab, void *p)
{
	HK_CHECK(hk_load(&slab->tag) && hk_slab_has_block(slab, p),
		 "free of a pointer inside a block, or of none", p);
	struct hk_heap *through = host(heap, hk_pool_of(p));
	heap = through ? through : heap;
	if (HK_UNLIKELY(!through || !hk_heap_is_born(heap) || is_busy(heap))) {
		struct hk_heap *counting = hk_heap_is_born(heap) ? heap : hk_shared_heaps[0];
		hk_add(&counting->count.tls_sll, through != NULL); /* an arena's blocks are not counted here */
		/* Draining takes locks, which what a handler interrupted may have. */
		bool inside = (hk_heap_is_born(heap) && is_busy(heap)) || hk_lock_is_mine(&hk_pool_of(p)->lock);
		hk_remote_post_one(slab, p, !inside);
		return;
	}
	if (hk_load(&slab->heap) == heap)
		return push_own(heap, slab->class_index, p);
	if (HK_UNLIKELY(heap->young) && hk_youth_note(heap, slab, p))
		return;
	if (keeps(heap, slab, p))
		return push_own(heap, slab->class_index, p);
	enter(heap);
	hk_remote_gather(heap, slab, p);
	leave(heap);
}

static void free_span(struct hk_heap *heap, void *p)
{
	struct hk_heap *through = host(heap, hk_pool_of(p)); /* an arena's has no tick: that enters the kernel */
	heap = through ? through : heap;
	if (!hk_heap_is_born(heap) || is_busy(heap)) {
		hk_add(&(hk_heap_is_born(heap) ? heap : hk_shared_heaps[0])->count.span_freed, through != NULL);
		hk_span_defer(p);
	} else {
		enter(heap);
		heap->count.span_freed += through != NULL; /* an arena's blocks are not counted here */
		hk_span_free(p);
		if (!heap->arena)
			hk_span_free_late();
		leave(heap);
	}
}

static void free_found(void *p)
{
	hk_fork_check();
	struct hk_heap *heap = hk_heap_mine();
	/* A thread may make its first call here when it ends: a heap then would outlive it. */
	if (HK_UNLIKELY(heap == &hk_heap_unborn) && ++hk_unborn_frees > UNBORN_FREES) {
		struct hk_heap *born = hk_heap_birth();
		heap = born ? born : heap;
		hk_unborn_frees = 0; /* where none can be made, not to ask each time */
	}
	struct hk_found f = hk_find(p);
	if (HK_LIKELY(f.kind == HK_FOUND_BLOCK))
		return free_block(heap, f.slab, p);
	HK_ASSERT((hk_arena_must_be_fresh(p), true));
	HK_CHECK(f.kind != HK_FOUND_INNER, "free of a pointer inside a block", p);
	HK_CHECK(f.kind == HK_FOUND_SPAN, "free of a pointer that is no live block", p);
	free_span(heap, p);
}

HK_NOINLINE static void free_other(void *p)
{
	int saved = errno;
	free_found(p);
	errno = saved;
}

/* Frees a medium block of HEAP, which is the calling thread's; false: P is none. One word of the side table says
 * all: what kind of chunk it is, its slab's class and where it begins, whose it is. */
HK_INLINE bool free_medium(struct hk_heap *heap, void *p)
{
	size_t index = hk_super_index(p);
	if (!hk_super_is_there(index))
		return false;
	uint32_t code = hk_load(&hk_super_at(index)->code[hk_chunk_index(p)]);
	if (hk_code_kind(code) != HK_CODE_MEDIUM || code >> 16 != heap->index || is_busy(heap))
		return false;
	const struct hk_class *c = &hk_classes[hk_code_count(code)];
	size_t offset = (uintptr_t)p % HK_CHUNK_BYTES + hk_code_back(code) * HK_CHUNK_BYTES;
	uint32_t i = hk_class_index(c, offset);
	if ((size_t)i * c->size != offset || i >= c->blocks)
		return false;
	push_own(heap, hk_code_count(code), p);
	return true;
}

bool hk_free_medium(struct hk_heap *heap, void *p)
{
	return free_medium(heap, p);
}

/* NULL, memory that a program gave to an arena, or none of ours. */
HK_COLD static void free_outside(struct hk_heap *heap, void *p)
{
	if (!p)
		return;
	if (hk_is_ours(p))
		return free_other(p);
	if (hk_heap_is_born(heap) && !hk_reentry_has(p))
		heap->count.early_foreign++;
	hk_foreign_free(p);
}

HK_NOINLINE void hk_free_slow(void *p)
{
	struct hk_heap *heap = hk_heap_mine();
	struct hk_slab *slab = hk_slab_of_tiny(p);
	if (!hk_region_may_have(p))
		return free_outside(heap, p);
	if (free_medium(heap, p))
		return;
	/* With an empty slot the header may be none. */
	if (hk_slot_of(heap, slab)->slab == slab && !is_busy(heap) && hk_slab_divides(slab, p) && to_slot(heap, slab, p))
		return;
	if (HK_LIKELY(hk_is_ours(p)))
		return free_other(p);
	free_outside(heap, p);
}

/* ---- the rest ---- */

size_t hk_usable_bytes(const void *p)
{
	if (!p)
		return 0;
	if (HK_UNLIKELY(!hk_is_ours(p)))
		return hk_foreign_usable(p);
	struct hk_found f = hk_find(p);
	HK_ASSERT((hk_arena_must_be_fresh(p), true));
	HK_CHECK(f.kind != HK_FOUND_NOTHING, "realloc or malloc_usable_size of no live block", p);
	HK_CHECK(f.kind == HK_FOUND_SPAN || (f.kind == HK_FOUND_BLOCK && hk_slab_has_block(f.slab, p)),
		 "realloc or malloc_usable_size of a pointer inside a block", p);
	return f.bytes;
}

static bool resize_span(struct hk_heap *heap, void *p, size_t size)
{
	struct hk_heap *through = host(heap, hk_pool_of(p));
	heap = through ? through : heap;
	if (!hk_heap_is_born(heap) || is_busy(heap))
		return false;
	enter(heap);
	bool done = hk_span_resize(p, size);
	heap->count.span_resized += done;
	leave(heap);
	return done;
}

void *hk_realloc_slow(void *p, size_t size)
{
	if (HK_UNLIKELY(!hk_is_ours(p)))
		return hk_foreign_realloc(p, size);
	size_t old = hk_usable_bytes(p);
	hk_fork_check();
	struct hk_heap *heap = hk_heap_mine();
	if (size <= old && size + old / 4 + HK_GRANULE > old)
		return p; /* shrinks by less than a smaller class would save */
	if (size > PTRDIFF_MAX)
		return out_of_memory();
	if (old > HK_MEDIUM_MAX && size > HK_MEDIUM_MAX && resize_span(heap, p, size))
		return p;
	struct hk_pool *pool = hk_pool_of(p);
	void *to = HK_UNLIKELY(pool->arena) ? hk_arena_alloc_in(pool, size) : hk_malloc_fast(size);
	if (!to)
		return size <= old ? p : NULL;
	heap = hk_heap_mine();
	if (old > HK_MEDIUM_MAX && size > old && hk_heap_is_born(heap)) {
		uint8_t was = hk_busy_begin(hk_heap_ordinary()); /* no frame of a slow path: an arena's has no ticks */
		hk_span_copy(heap, to, p, old);
		hk_busy_end(hk_heap_ordinary(), was);
	} else {
		memcpy(to, p, size < old ? size : old);
	}
	hk_free_fast(p);
	return to;
}
