/* large.c - spans in terms of the pool's chunks and SuperSlabs. */
#include "tiny/large.h"

#include <string.h>

#include "tiny/find.h"

#define ASK_BYTES (1ul << 30)
#define CLEAR_BY_KERNEL_BYTES (32ul << 20) /* the highest of the sizes from which on glibc's calloc takes fresh pages */
#define MOVE_MIN_BYTES (4 * HK_SUPER_BYTES) /* below, copying is as fast as the kernel call */

/* The kernel's heuristic refuses a single mapping beyond all memory and swap; our reserve is not
 * charged, so it falls to us: programs rely on the refusal. */
static bool beyond_memory(size_t bytes)
{
	return bytes > ASK_BYTES && bytes > hk_os_memory_total() && hk_os_overcommit() == 0;
}

static void *alloc_from(struct hk_pool *pool, size_t size, size_t align, bool *zero)
{
	size_t chunks = hk_max(hk_align_up(size, HK_CHUNK_BYTES) >> HK_CHUNK_SHIFT, 1);
	if (chunks < HK_SUPER_CHUNKS && align < HK_SUPER_BYTES) {
		unsigned a = align > HK_CHUNK_BYTES ? (unsigned)(align >> HK_CHUNK_SHIFT) : 0;
		return hk_pool_chunks_alloc(pool, (unsigned)chunks, a, HK_CODE_SPAN, zero);
	}
	chunks = hk_max(chunks, HK_SUPER_CHUNKS);
	if (chunks > HK_REGION_SUPERS * HK_SUPER_CHUNKS || beyond_memory(hk_max(chunks << HK_CHUNK_SHIFT, align)))
		return NULL;
	size_t supers = align > HK_CHUNK_BYTES ? hk_max(align >> HK_SUPER_SHIFT, 1) : 0;
	return hk_pool_span_alloc(pool, chunks, supers, zero);
}

void *hk_span_alloc(struct hk_pool *pool, size_t size, size_t align, bool *zero)
{
	struct hk_pool *other;
	unsigned k = 0;
	void *p = alloc_from(pool, size, align, zero);
	if (HK_LIKELY(p))
		return p;
	while (!p && (other = hk_pool_next(pool, &k)))
		p = alloc_from(other, size, align, zero);
	if (p)
		hk_add(&pool->count.fallbacks, 1);
	return p;
}

void hk_span_free(void *p)
{
	size_t index = hk_super_index(p);
	struct hk_super *s = hk_super_at(index);
	if (hk_load(&s->state) == HK_SUPER_SPAN)
		hk_pool_span_free(hk_pool_of(p), p);
	else
		hk_pool_chunks_free(hk_pool_of(p), p, hk_code_count(hk_load(&s->code[hk_chunk_index(p)])));
}

static void *deferred; /* [A] spans, linked by their first words */

void hk_span_defer(void *p)
{
	struct hk_pool *pool = hk_pool_of(p);
	void *old = hk_load(&deferred);
	if (!hk_lock_is_mine(&pool->lock))
		return hk_span_free(p);
	if (pool->arena)
		return;
	do {
		*(void **)p = old;
	} while (!__atomic_compare_exchange_n(&deferred, &old, p, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
}

void hk_span_free_late(void)
{
	if (HK_LIKELY(!hk_load(&deferred)))
		return;
	void *list = __atomic_exchange_n(&deferred, NULL, __ATOMIC_ACQUIRE); /* pairs with hk_span_defer */
	while (list) {
		void *p = list;
		list = *(void **)p;
		hk_span_free(p);
	}
}

static bool may_purge(size_t first, size_t supers)
{
	if (hk_load(&hk_super_at(first)->state) != HK_SUPER_SPAN || hk_pool_of((void *)hk_super_base(first))->arena)
		return false;
	for (size_t i = first; i < first + supers; i++)
		if (hk_super_at(i)->flags & HK_SUPER_UNPURGEABLE)
			return false;
	return true;
}

void hk_span_clear(void *p, size_t size)
{
	size_t first = hk_super_index(p), supers = size >> HK_SUPER_SHIFT, whole = 0;
	if (size >= CLEAR_BY_KERNEL_BYTES && may_purge(first, supers) &&
	    !hk_os_purge(hk_super_base(first), supers << HK_SUPER_SHIFT))
		whole = supers << HK_SUPER_SHIFT;
	memset((char *)p + whole, 0, size - whole);
}

bool hk_span_resize(void *p, size_t size)
{
	size_t chunks = hk_max(hk_align_up(size, HK_CHUNK_BYTES) >> HK_CHUNK_SHIFT, 1);
	return hk_pool_span_resize(hk_pool_of(p), p, chunks);
}

void hk_span_copy(struct hk_heap *heap, void *to, void *from, size_t old_bytes)
{
	size_t whole = hk_align_down(old_bytes, HK_SUPER_BYTES);
	if (old_bytes >= MOVE_MIN_BYTES && hk_find(to).kind == HK_FOUND_SPAN &&
	    hk_load(&hk_super_at(hk_super_index(to))->state) == HK_SUPER_SPAN &&
	    hk_load(&hk_super_at(hk_super_index(from))->state) == HK_SUPER_SPAN &&
	    hk_pool_span_move(hk_pool_of(to), from, to, whole >> HK_SUPER_SHIFT)) {
		heap->count.span_moved++;
		memcpy((char *)to + whole, (char *)from + whole, old_bytes - whole);
		return;
	}
	memcpy(to, from, old_bytes);
}
