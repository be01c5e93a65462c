/* arena.c - the public face of arenas: checks what the program asks for, then src/heap/arena.c and
 * src/arena/lend.c do it. */
#include "hakmem/arena.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"
#include "heap/arena.h"
#include "numa/node.h"
#include "tiny/busy.h"
#include "tiny/find.h"
#include "tiny/tiny_slow.h"

#define FLAGS (HAK_ARENA_STRICT | HAK_ARENA_SINGLE | HAK_ARENA_LOCK | HAK_ARENA_NO_DUMP)

static struct hk_arena *inner(hak_arena *arena)
{
	return (struct hk_arena *)arena;
}

static bool is_live(const hak_arena *arena)
{
	return arena && hk_arena_lives((const struct hk_arena *)arena);
}

/* ---- creation ---- */

static int check(const struct hak_arena_options *o)
{
	bool given = o->memory || o->memory_bytes;
	size_t unit = o->pages == HAK_PAGES_HUGETLB_1G ? (size_t)1 << HK_GIB_SHIFT : HK_SUPER_BYTES; /* that an arena grows by */
	if (o->size_bytes != sizeof(*o) || o->pages > HAK_PAGES_SMALL ||
	    o->populate > HAK_POPULATE_BACKGROUND || o->flags & ~FLAGS)
		return -EINVAL;
	if (o->initial_bytes > PTRDIFF_MAX)
		return o->max_bytes && o->max_bytes < o->initial_bytes ? -EINVAL : -ENOMEM;
	if (o->max_bytes && (o->max_bytes < unit || hk_align_up(o->initial_bytes, unit) > o->max_bytes))
		return -EINVAL;
	if (given && (!o->memory || o->pages || o->numa || o->initial_bytes || o->max_bytes))
		return -EINVAL;
	return 0;
}

/* The node's pool that OPTIONS ask for, or a negative errno. */
static int node_of(const struct hak_arena_options *o)
{
	struct hk_policy policy;
	const struct hk_heap *home = hk_heap_ordinary();
	if (!o->numa)
		return hk_heap_is_born(home) ? home->node : (int)hk_node_here();
	if (hk_policy_parse(o->numa, &policy))
		return strpbrk(o->numa, "0123456789") ? -ENODEV : -EINVAL;
	if (policy.kind == HK_NUMA_OFF)
		return -EINVAL;
	return (int)hk_node_nearest(policy.mask);
}

static void set_pages(struct hk_lent *lent, const struct hak_arena_options *o, unsigned node)
{
	struct hk_pool *small = &hk_pools[hk_region.nodes + node];
	bool little = o->initial_bytes < HK_SUPER_BYTES;
	lent->parent = o->pages == HAK_PAGES_SMALL ? small : &hk_pools[node];
	if (o->pages == HAK_PAGES_AUTO && little)
		lent->first = small;
	if (o->pages == HAK_PAGES_HUGETLB_2M)
		lent->page_shift = HK_SUPER_SHIFT;
	if (o->pages == HAK_PAGES_HUGETLB_1G)
		lent->page_shift = HK_GIB_SHIFT;
}

static void ready(void *arg, void *where, size_t bytes)
{
	bool *done = arg;
	*done = hk_slab_headers_ready(hk_super_index(where), bytes >> HK_SUPER_SHIFT) && *done;
}

static void pin(void *arg, void *where, size_t bytes)
{
	int *rc = arg;
	size_t first = hk_super_index(where);
	if (!*rc)
		*rc = hk_os_lock((uintptr_t)where, bytes);
	for (size_t i = first; i < first + (bytes >> HK_SUPER_SHIFT); i++)
		hk_super_at(i)->flags |= HK_SUPER_UNPURGEABLE;
}

/* What the arena has is locked after it was had, so that it is known which of both failed. mlock says EAGAIN for a page
 * that is not there, and ENOMEM or EPERM for the limit. */
static int lock_all(struct hk_arena *arena)
{
	int rc = 0;
	arena->pool.lent.lock = true; /* whoever undoes it unlocks; and what comes later is locked */
	hk_lent_each(&arena->pool, pin, &rc);
	if (!rc)
		return 0;
	return rc == -EAGAIN || hk_os_limit_locked() == SIZE_MAX ? -ENOMEM : -EAGAIN;
}

/* What OPTIONS want to have at once; nobody else knows the arena yet. */
static int fill(struct hk_arena *arena, const struct hak_arena_options *o)
{
	struct hk_lent *lent = &arena->pool.lent;
	size_t supers = hk_align_up(o->initial_bytes, HK_SUPER_BYTES) >> HK_SUPER_SHIFT;
	int rc = 0;
	if (o->memory) {
		arena->kept = true;
		rc = hk_lent_give_memory(&arena->pool, (uintptr_t)o->memory, o->memory_bytes);
		lent->most = lent->supers;
	} else if (supers) {
		uint8_t was = hk_busy_begin(hk_heap_ordinary()); /* a handler's frees must not wait for its own thread */
		hk_lock(&arena->pool.lock);
		rc = hk_lent_grow(&arena->pool, supers, 1);
		hk_unlock(&arena->pool.lock);
		hk_busy_end(hk_heap_ordinary(), was);
	}
	if (!rc && o->flags & HAK_ARENA_LOCK)
		rc = lock_all(arena);
	bool done = true;
	if (!rc && !o->memory && (lent->populate || lent->lock))
		hk_lent_each(&arena->pool, ready, &done);
	return done ? rc : -ENOMEM;
}

static int promise(struct hk_arena *arena, const struct hak_arena_options *o, int node)
{
	struct hk_lent *lent = &arena->pool.lent;
	lent->most = o->max_bytes ? o->max_bytes >> HK_SUPER_SHIFT : SIZE_MAX >> HK_SUPER_SHIFT;
	lent->strict = o->flags & HAK_ARENA_STRICT;
	lent->huge = o->pages == HAK_PAGES_THP;
	lent->no_dump = o->flags & HAK_ARENA_NO_DUMP;
	lent->populate = o->populate == HAK_POPULATE_NOW;
	arena->released = o->released;
	arena->released_arg = o->released_arg;
	if (!o->memory)
		set_pages(lent, o, (unsigned)node);
	if (lent->huge && lent->strict && (!hk_region.huge || !hk_os_has_thp()))
		return -ENOMEM;
	return 0;
}

HK_EXPORT int hak_arena_create(const struct hak_arena_options *options, hak_arena **out)
{
	int rc = options && out ? check(options) : -EINVAL, node;
	if (rc)
		return rc;
	if (!hk_process_init())
		return -ENOMEM;
	hk_fork_check();
	node = node_of(options);
	if (node < 0)
		return node;
	struct hk_arena *arena = hk_arena_new(options->flags & HAK_ARENA_SINGLE);
	if (!arena)
		return -ENOMEM;
	memset(arena->name, 0, sizeof(arena->name));
	if (options->name)
		strncpy(arena->name, options->name, sizeof(arena->name) - 1);
	rc = promise(arena, options, node);
	if (!rc)
		rc = fill(arena, options);
	if (!rc && options->populate == HAK_POPULATE_BACKGROUND)
		rc = hk_arena_touch(arena);
	if (rc) {
		hk_arena_end(arena);
		return rc;
	}
	*out = (hak_arena *)arena;
	return 0;
}

/* ---- blocks ---- */

HK_COLD static void *refuse(int error)
{
	errno = error;
	return NULL;
}

/* Threads that ended, and handlers that interrupted the allocator, have no heap in an arena. */
HK_NOINLINE static void *alloc_slow(struct hk_arena *arena, size_t size, size_t align, bool *zero)
{
	struct hk_heap *heap;
	if (!hk_arena_lives(arena))
		return refuse(EINVAL);
	hk_fork_check();
	if (arena->pool.lost)
		return refuse(ENOMEM);
	heap = hk_arena_heap(arena);
	return heap ? hk_alloc_in(heap, size, align, zero) : refuse(ENOMEM);
}

/* Above 1 KiB the class takes some arithmetic. */
HK_NOINLINE static void *alloc_coarse(struct hk_arena *arena, struct hk_heap *heap, size_t size)
{
	if (HK_LIKELY(size - 1 < HK_MEDIUM_MAX)) {
		struct hk_block *block = hk_bin_pop(&heap->bins[hk_class_coarse(size)]);
		if (HK_LIKELY(block))
			return block;
	}
	return alloc_slow(arena, size, HK_GRANULE, NULL);
}

/* As hk_malloc_fast, and all calls in it are the last thing it does: no frame. */
HK_EXPORT void *hak_arena_alloc(hak_arena *handle, size_t size)
{
	struct hk_arena *arena = inner(handle);
	struct hk_heap *heap = hk_arena_heap_seen(arena);
	size_t last = size - 1;
	if (HK_UNLIKELY(!heap))
		return alloc_slow(arena, size, HK_GRANULE, NULL);
	if (HK_UNLIKELY(last >= HK_FINE_MAX))
		return alloc_coarse(arena, heap, size);
	struct hk_bin *bin = (struct hk_bin *)((char *)heap->bins + (last & ~(size_t)(HK_GRANULE - 1)));
	HK_IN_REGISTER(bin);
	struct hk_block *block = hk_bin_pop(bin);
	return HK_LIKELY(block) ? block : alloc_slow(arena, size, HK_GRANULE, NULL);
}

HK_EXPORT void *hak_arena_zalloc(hak_arena *handle, size_t size)
{
	bool zero = false;
	void *p = size <= HK_CLEARED_MAX ? hak_arena_alloc(handle, size)
					 : alloc_slow(inner(handle), size, HK_GRANULE, &zero);
	if (!p)
		return NULL;
	if (!zero)
		return memset(p, 0, size);
	if (size <= HK_MEDIUM_MAX)
		((struct hk_block *)p)->next = NULL; /* see hak_calloc */
	return p;
}

HK_EXPORT void *hak_arena_aligned_alloc(hak_arena *handle, size_t alignment, size_t size)
{
	struct hk_arena *arena = inner(handle);
	struct hk_heap *heap = hk_arena_heap_seen(arena);
	if (!hk_is_pow2(alignment))
		return refuse(EINVAL);
	void *p = HK_LIKELY(heap) ? hk_aligned_pop(heap, size, alignment) : NULL;
	return HK_LIKELY(p) ? p : alloc_slow(arena, size, alignment, NULL);
}

static void must_be_of(const struct hk_arena *arena, const void *p, const char *what)
{
	HK_CHECK(hk_is_ours(p) && hk_pool_of(p) == &arena->pool, what, p);
	if (hk_arena_debugs())
		hk_arena_must_be_fresh(p);
}

HK_NOINLINE static void free_slow(struct hk_arena *arena, void *p)
{
	struct hk_heap *heap = hk_arena_heap_seen(arena);
	if (!p || (heap && hk_free_medium(heap, p)))
		return;
	must_be_of(arena, p, "hak_arena_free of a pointer that is not of this arena");
	hk_arena_heap(arena); /* for the next one: its seat may have been another arena's */
	hk_free_slow(p);
}

HK_EXPORT void hak_arena_free(hak_arena *handle, void *ptr)
{
	struct hk_arena *arena = inner(handle);
	struct hk_heap *heap = hk_arena_heap_seen(arena);
	struct hk_slab *slab = hk_slab_of_tiny(ptr);
	if (HK_UNLIKELY(!heap || !(hk_region_may_have(ptr) || (arena->kept && hk_is_ours(ptr)))))
		return free_slow(arena, ptr);
	if (HK_UNLIKELY(hk_peek(&slab->tag) != heap->tag || !hk_slab_divides(slab, ptr)))
		return free_slow(arena, ptr);
	struct hk_bin *bin = (struct hk_bin *)((char *)heap + slab->bin_offset);
	struct hk_block *block = ptr;
	HK_IN_REGISTER(bin);
	block->next = bin->head;
	bin->head = block;
	if (HK_UNLIKELY(--bin->budget < 0))
		hk_free_spent(heap, bin);
}

HK_EXPORT void hak_arena_free_sized(hak_arena *handle, void *ptr, size_t size)
{
	if (ptr) {
		must_be_of(inner(handle), ptr, "hak_arena_free_sized of a pointer that is not of this arena");
		size_t bytes = hk_usable_bytes(ptr);
		bool fits = size > HK_MEDIUM_MAX ? size <= bytes : bytes == hk_classes[hk_class_of(size ? size : 1)].size;
		HK_CHECK(fits, "hak_arena_free_sized of a block of another size", ptr);
	}
	hak_arena_free(handle, ptr);
}

HK_EXPORT void *hak_arena_realloc(hak_arena *handle, void *ptr, size_t size)
{
	if (!ptr)
		return hak_arena_alloc(handle, size);
	must_be_of(inner(handle), ptr, "hak_arena_realloc of a pointer that is not of this arena");
	if (!size) {
		hak_arena_free(handle, ptr);
		return NULL;
	}
	return hk_realloc_slow(ptr, size);
}

HK_EXPORT size_t hak_arena_usable_size(hak_arena *handle, const void *ptr)
{
	if (!ptr)
		return 0;
	must_be_of(inner(handle), ptr, "hak_arena_usable_size of a pointer that is not of this arena");
	return hk_usable_bytes(ptr);
}

/* ---- what programs inline ---- */

_Static_assert(sizeof(struct hak_arena_bin) == sizeof(struct hk_bin) &&
	       offsetof(struct hak_arena_bin, head) == offsetof(struct hk_bin, head) &&
	       offsetof(struct hak_arena_bin, budget) == offsetof(struct hk_bin, budget) &&
	       offsetof(struct hak_arena_bin, pops) == offsetof(struct hk_bin, pops), "another layout gets another number");
_Static_assert(offsetof(struct hak_arena_cache, bins) == offsetof(struct hk_heap, bins) &&
	       sizeof(((struct hak_arena_cache *)0)->bins) == (HK_TINY_CLASSES - HK_PLAIN_CLASSES) * sizeof(struct hk_bin) &&
	       HAK_ARENA_CACHE_BYTES == HK_TINY_MAX && HK_FINE_MAX == 1024 && HK_GRANULE == 16 && HK_LINE_BYTES == 64,
	       "as above");

HK_EXPORT struct hak_arena_cache *hak_arena_cache_of(hak_arena *handle, unsigned layout)
{
	struct hk_arena *arena = inner(handle);
	if (!is_live(handle) || layout != HAK_ARENA_CACHE_LAYOUT || hk_arena_debugs())
		return NULL;
	hk_fork_check();
	hk_store(&arena->inlined, arena->one != NULL);
	return (struct hak_arena_cache *)arena->one;
}

/* ---- the whole ---- */

HK_EXPORT int hak_arena_reset(hak_arena *handle)
{
	struct hk_arena *arena = inner(handle);
	if (!is_live(handle))
		return -EINVAL;
	hk_fork_check();
	if (hk_load(&arena->attached))
		return -EBUSY;
	hk_arena_reset(arena);
	return 0;
}

static void tell(void *arg, void *where, size_t bytes)
{
	struct hk_arena *arena = arg;
	arena->released(arena->released_arg, where, bytes);
}

HK_EXPORT int hak_arena_destroy(hak_arena *handle)
{
	struct hk_arena *arena = inner(handle);
	if (!is_live(handle))
		return -EINVAL;
	hk_fork_check();
	if (hk_load(&arena->attached) || hk_load(&arena->pushed))
		return -EBUSY;
	hk_arena_touch_end(arena);
	if (arena->released)
		hk_lent_each(&arena->pool, tell, arena);
	hk_arena_end(arena);
	return 0;
}

HK_EXPORT hak_arena *hak_arena_owner(const void *ptr)
{
	return (hak_arena *)hk_arena_of(ptr);
}

HK_EXPORT int hak_arena_push(hak_arena *handle)
{
	struct hk_heap *heap;
	if (!is_live(handle))
		return -EINVAL;
	hk_fork_check();
	heap = inner(handle)->pool.lost ? NULL : hk_arena_heap(inner(handle));
	if (!heap)
		return -ENOMEM;
	return hk_arena_push(heap) ? 0 : -ENOSPC;
}

HK_EXPORT int hak_arena_pop(void)
{
	hk_fork_check();
	return hk_arena_pop() ? 0 : -EINVAL;
}

HK_EXPORT int hak_arena_stats(hak_arena *handle, struct hak_arena_stats *stats)
{
	struct hk_arena *arena = inner(handle);
	struct hk_pool *pool = &arena->pool;
	struct hak_arena_stats s = {.size_bytes = stats->size_bytes, .node = -1};
	if (!is_live(handle) || stats->size_bytes < sizeof(stats->size_bytes))
		return -EINVAL;
	hk_fork_check();
	memcpy(s.name, arena->name, sizeof(s.name));
	uint8_t was = hk_busy_begin(hk_heap_ordinary());
	hk_lock(&pool->lock);
	s.supers = pool->lent.supers;
	s.free_supers = pool->lent.spare;
	s.used_bytes = ((pool->used_supers << HK_SUPER_SHIFT) - (pool->free_chunks << HK_CHUNK_SHIFT));
	s.max_bytes = pool->lent.most >= SIZE_MAX >> HK_SUPER_SHIFT ? UINT64_MAX : pool->lent.most << HK_SUPER_SHIFT;
	s.fallbacks = pool->lent.fallbacks;
	for (uint32_t at = pool->lent.all; at; at = hk_super_at(at - 1)->all_next)
		s.hugetlb_supers += (hk_super_at(at - 1)->flags & HK_SUPER_HUGETLB) != 0;
	if (pool->lent.parent)
		s.node = hk_numa.os[hk_stripe_node(hk_pool_index(pool->lent.parent))];
	hk_unlock(&pool->lock);
	hk_busy_end(hk_heap_ordinary(), was);
	s.heaps = hk_arena_heaps(arena);
	s.attached = hk_load(&arena->attached);
	memcpy(stats, &s, hk_min(stats->size_bytes, sizeof(s)));
	return 0;
}

HK_EXPORT int hak_arena_watch(hak_arena *handle, hak_arena_watcher *function, void *arg)
{
	struct hk_arena *arena = inner(handle);
	struct hk_lent *lent = &arena->pool.lent;
	if (!is_live(handle) || !function)
		return -EINVAL;
	hk_fork_check();
	hk_lock(&arena->pool.lock);
	bool busy = lent->watcher != NULL;
	if (!busy) {
		hk_add(&arena->attached, 1);
		lent->watcher_arg = arg;
		lent->watcher = function;
		lent->touched = true; /* who watches registers: pages may be there that no block was in */
		hk_lent_each(&arena->pool, function, arg);
	}
	hk_unlock(&arena->pool.lock);
	return busy ? -EBUSY : 0;
}

HK_EXPORT int hak_arena_unwatch(hak_arena *handle)
{
	struct hk_arena *arena = inner(handle);
	if (!is_live(handle))
		return -EINVAL;
	hk_fork_check();
	hk_lock(&arena->pool.lock);
	bool watched = arena->pool.lent.watcher != NULL;
	arena->pool.lent.watcher = NULL;
	if (watched)
		hk_sub(&arena->attached, 1);
	hk_unlock(&arena->pool.lock);
	return watched ? 0 : -EINVAL;
}
