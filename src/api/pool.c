/* pool.c - object pools: include/hakmem/pool.h says what they promise. The objects are one block of an arena; those
 * that no thread keeps are in a store (stock.c). Knows no size classes.
 *
 * A thread's cache is found by its thread word in a small table, not by thread-local storage: the library has 16
 * bytes of that, for good. A hit is one load and one compare. */
#include "hakmem/pool.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "api/api.h"
#include "api/stock.h"
#include "heap/arena.h"
#include "tiny/tiny_slow.h"

#define SLOTS_SHIFT 10
#define SLOTS (1u << SLOTS_SHIFT)
#define WINDOW 16u /* slots that a thread may be in, from the one its word says */
#define CACHE_USUAL 256u
#define CACHES_USUAL 8u
#define ALIGN_USUAL 64u

struct cache {
	uint32_t len;  /* [O] */
	uint32_t room; /* [C] 2 * pool->cache */
	struct cache *next; /* [L:pools] in the list of unused ones */
	struct cache *made; /* [L:pools] in the list of all that were made later */
	void *object[];
};

_Static_assert(sizeof(struct cache) == sizeof(struct hak_pool_cache) &&
	       offsetof(struct cache, room) == offsetof(struct hak_pool_cache, room), "what programs inline");

struct slot {
	uintptr_t owner; /* [A] thread word; written by that thread, or by nobody's when it forked */
	struct cache *cache; /* [O] */
};

struct hak_pool {
	struct slot slots[SLOTS];
	struct hk_stock stock;
	uint64_t failures;           /* [A] */
	uint32_t cache;              /* [C] 0: none */
	size_t stride, count, bytes; /* [C] */
	void *chunks;                /* [C] */
	char *objects;               /* [C] */
	hak_arena *arena;            /* [C] */
	bool own_arena;              /* [C] */
	char name[32];               /* [C] */
	void *first_caches;          /* [C] */
	struct cache *unused;        /* [L:pools] */
	struct cache *made;          /* [L:pools] */
	uint32_t caches;             /* [L:pools] in slots */
	struct hak_pool *next;       /* [L:pools] */
};

static struct hk_lock lock;    /* list of pools, slots that change hands; no other is taken inside */
static struct hak_pool *pools; /* [L:pools] */
static pthread_key_t exit_key;
static bool exit_key_made;     /* [L:pools] */

/* A child of _Fork repairs the lock first. */
static void lock_pools(void)
{
	hk_fork_check();
	hk_lock(&lock);
}

/* ---- caches ---- */

static size_t cache_bytes(const struct hak_pool *pool)
{
	return hk_align_up(sizeof(struct cache) + 2 * (size_t)pool->cache * sizeof(void *), ALIGN_USUAL);
}

/* Memory of malloc's own, whatever the thread has pushed; all of it touched. */
static void *own_memory(size_t bytes)
{
	hk_fork_check();
	void *p = hk_alloc_in(hk_heap_ordinary(), bytes, ALIGN_USUAL, NULL);
	return p ? memset(p, 0, bytes) : NULL;
}

static void cache_flush(struct hak_pool *pool, struct cache *cache)
{
	uint32_t n = cache->len;
	hk_store(&cache->len, 0);
	if (n)
		hk_stock_push(&pool->stock, cache->object, n);
}

static struct slot *slot_at(struct hak_pool *pool, uintptr_t me, unsigned step)
{
	/* Thread words are some MiB apart, and in the same place of a page often. */
	unsigned at = (unsigned)((uint64_t)me * 0x9e3779b97f4a7c15ull >> (64 - SLOTS_SHIFT));
	return &pool->slots[(at + step) % SLOTS];
}

static struct slot *slot_find(struct hak_pool *pool, uintptr_t me)
{
	for (unsigned i = 0; i < WINDOW; i++)
		if (hk_load(&slot_at(pool, me, i)->owner) == me)
			return slot_at(pool, me, i);
	return NULL;
}

static struct slot *slot_free(struct hak_pool *pool, uintptr_t me)
{
	for (unsigned i = 0; i < WINDOW; i++)
		if (!hk_load(&slot_at(pool, me, i)->owner))
			return slot_at(pool, me, i);
	return NULL;
}

/* The cache for thread ME to take; none is made while the lock is held, for that may take others. */
static struct cache *claim_locked(struct hak_pool *pool, uintptr_t me)
{
	struct slot *slot = slot_free(pool, me);
	struct cache *cache = pool->unused;
	if (!slot || !cache)
		return NULL;
	hk_store(&pool->unused, cache->next);
	cache->next = NULL;
	pool->caches++;
	slot->cache = cache;
	hk_store(&slot->owner, me);
	return cache;
}

/* The calling thread's cache, found farther from its place, or new. NULL: it gets none. */
HK_NOINLINE static struct cache *cache_slow(struct hak_pool *pool)
{
	uintptr_t me = hk_os_thread_word();
	struct slot *slot;
	struct cache *cache = NULL;
	if (!pool->cache)
		return NULL;
	slot = slot_find(pool, me);
	if (slot)
		return slot->cache;
	if (!slot_free(pool, me))
		return NULL;
	if (!hk_load(&pool->unused))
		cache = own_memory(cache_bytes(pool));
	lock_pools();
	if (cache) {
		cache->room = 2 * pool->cache;
		cache->made = pool->made;
		pool->made = cache;
		cache->next = pool->unused;
		hk_store(&pool->unused, cache);
	}
	cache = claim_locked(pool, me);
	hk_unlock(&lock);
	if (cache) {
		struct hk_heap *pushed = hk_heap_own_begin();
		pthread_setspecific(exit_key, pool); /* any value; may allocate */
		hk_heap_own_end(pushed);
	}
	return cache;
}

/* The same if it is in its place; NULL: that is not known. */
HK_INLINE struct cache *cache_seen(struct hak_pool *pool)
{
	uintptr_t me = hk_os_thread_word();
	struct slot *slot = slot_at(pool, me, 0);
	if (HK_UNLIKELY(hk_load(&slot->owner) != me))
		return NULL;
	if (!slot->cache)
		__builtin_unreachable(); /* a slot with an owner has a cache */
	return slot->cache;
}

HK_INLINE struct cache *cache_mine(struct hak_pool *pool)
{
	struct cache *cache = cache_seen(pool);
	return HK_LIKELY(cache) ? cache : cache_slow(pool);
}

static void release_locked(struct hak_pool *pool, struct slot *slot)
{
	struct cache *cache = slot->cache;
	hk_store(&slot->owner, (uintptr_t)0);
	__atomic_signal_fence(__ATOMIC_SEQ_CST); /* a fork in between loses the cache; it must not have it twice */
	cache->next = pool->unused;
	hk_store(&pool->unused, cache);
	pool->caches--;
}

static void thread_exit(void *arg)
{
	uintptr_t me = hk_os_thread_word();
	(void)arg;
	lock_pools();
	for (struct hak_pool *pool = pools; pool; pool = pool->next) {
		struct slot *slot = pool->cache ? slot_find(pool, me) : NULL;
		if (!slot)
			continue;
		cache_flush(pool, slot->cache);
		release_locked(pool, slot);
	}
	hk_unlock(&lock);
}

/* What a vanished thread had in its cache may be half changed: nobody uses it any more. */
static void in_child(void)
{
	uintptr_t me = hk_os_thread_word();
	lock.owner = 0;
	for (struct hak_pool *pool = pools; pool; pool = pool->next) {
		pool->stock.moving = 0;
		for (unsigned i = 0; i < SLOTS; i++) {
			struct slot *slot = &pool->slots[i];
			if (!slot->owner || slot->owner == me)
				continue;
			slot->cache->len = 0;
			release_locked(pool, slot);
		}
	}
}

/* ---- get and put ---- */

/* From the store and CACHE, which has fewer than MOST; how many, 0 if fewer than LEAST. */
HK_NOINLINE static size_t get_slow(struct hak_pool *pool, struct cache *cache, void **out, size_t least, size_t most)
{
	size_t have = cache ? cache->len : 0, need = least > have ? least - have : 0, got;
	if (cache && most <= pool->cache) {
		got = hk_stock_pop(&pool->stock, cache->object + have, need, most - have + pool->cache);
		hk_store(&cache->len, (uint32_t)(have + got));
		most = hk_min(most, have + got);
	} else {
		got = hk_stock_pop(&pool->stock, out + have, need, most - have);
		most = have + got;
	}
	if (need && !got) {
		hk_add(&pool->failures, 1);
		return 0;
	}
	if (cache) {
		size_t from_cache = cache->len < most ? cache->len : most;
		hk_store(&cache->len, cache->len - (uint32_t)from_cache);
		memcpy(out, cache->object + cache->len, from_cache * sizeof(*out));
	}
	return most;
}

HK_NOINLINE static void *get_one_slow(struct hak_pool *pool)
{
	void *object;
	if (!hak_pool_get_bulk(pool, &object, 1))
		return object;
	errno = ENOBUFS;
	return NULL;
}

/* Its calls are the last thing it does: no frame. */
HK_EXPORT void *hak_pool_get(hak_pool *pool)
{
	struct cache *cache = cache_seen(pool);
	uint32_t left;
	if (HK_UNLIKELY(!cache || !cache->len))
		return get_one_slow(pool);
	left = cache->len - 1;
	hk_store(&cache->len, left);
	return cache->object[left];
}

HK_EXPORT size_t hak_pool_get_burst(hak_pool *pool, void **objects, size_t count)
{
	struct cache *cache = cache_mine(pool);
	if (HK_LIKELY(cache && count <= cache->len)) {
		hk_store(&cache->len, cache->len - (uint32_t)count);
		memcpy(objects, cache->object + cache->len, count * sizeof(*objects));
		return count;
	}
	return count ? get_slow(pool, cache, objects, 1, count) : 0;
}

HK_EXPORT int hak_pool_get_bulk(hak_pool *pool, void **objects, size_t count)
{
	struct cache *cache = cache_mine(pool);
	if (HK_LIKELY(cache && count <= cache->len)) {
		hk_store(&cache->len, cache->len - (uint32_t)count);
		memcpy(objects, cache->object + cache->len, count * sizeof(*objects));
		return 0;
	}
	return !count || get_slow(pool, cache, objects, count, count) ? 0 : -ENOBUFS;
}

/* CACHE has no room for COUNT more. */
HK_NOINLINE static void put_slow(struct hak_pool *pool, struct cache *cache, void *const *objects, size_t count)
{
	if (!cache || count > pool->cache)
		return hk_stock_push(&pool->stock, objects, count);
	/* The newest go: the oldest would leave a gap, and closing it took 6 % of a round trip through the store. */
	uint32_t rest = cache->len - pool->cache;
	hk_stock_push(&pool->stock, cache->object + rest, pool->cache);
	memcpy(cache->object + rest, objects, count * sizeof(*objects));
	hk_store(&cache->len, rest + (uint32_t)count);
}

HK_NOINLINE static void put_one_slow(struct hak_pool *pool, void *object)
{
	hak_pool_put_bulk(pool, &object, 1);
}

HK_EXPORT void hak_pool_put(hak_pool *pool, void *object)
{
	struct cache *cache = cache_seen(pool);
	uint32_t len;
	if (HK_UNLIKELY(!cache || cache->len == cache->room))
		return put_one_slow(pool, object);
	len = cache->len;
	cache->object[len] = object;
	hk_store(&cache->len, len + 1);
}

HK_EXPORT void hak_pool_put_bulk(hak_pool *pool, void *const *objects, size_t count)
{
	struct cache *cache = cache_mine(pool);
	if (HK_UNLIKELY(!cache || count > cache->room - cache->len)) {
		if (count)
			put_slow(pool, cache, objects, count);
		return;
	}
	memcpy(cache->object + cache->len, objects, count * sizeof(*objects));
	hk_store(&cache->len, cache->len + (uint32_t)count);
}

HK_EXPORT struct hak_pool_cache *hak_pool_cache_mine(hak_pool *pool)
{
	return (struct hak_pool_cache *)cache_mine(pool);
}

HK_EXPORT void hak_pool_flush(hak_pool *pool)
{
	struct slot *slot = pool->cache ? slot_find(pool, hk_os_thread_word()) : NULL;
	if (slot)
		cache_flush(pool, slot->cache);
}

HK_EXPORT void hak_pool_each(hak_pool *pool, void (*function)(void *arg, void *object, size_t index), void *arg)
{
	for (size_t i = 0; i < pool->count; i++)
		function(arg, pool->objects + i * pool->stride, i);
}

/* ---- creation and end ---- */

/* Stride, count and bytes of POOL as OPTIONS ask for. */
static int measure(struct hak_pool *pool, const struct hak_pool_options *o)
{
	size_t align = o->alignment ? o->alignment : ALIGN_USUAL;
	if (o->size_bytes != sizeof(*o) || !o->object_bytes || !o->count || o->count > HK_STOCK_MAX)
		return -EINVAL;
	if (!hk_is_pow2(align) || align > HK_SUPER_BYTES || o->object_bytes > PTRDIFF_MAX)
		return -EINVAL;
	if (o->cache > HAK_POOL_CACHE_MAX && o->cache != HAK_POOL_NO_CACHE)
		return -EINVAL;
	pool->stride = hk_align_up(o->object_bytes, align);
	pool->count = o->count;
	if (__builtin_mul_overflow(pool->stride, pool->count, &pool->bytes) || pool->bytes > PTRDIFF_MAX)
		return -EINVAL;
	pool->cache = o->cache == HAK_POOL_NO_CACHE ? 0 : o->cache ? o->cache : CACHE_USUAL;
	return o->arena && !hk_arena_lives((const struct hk_arena *)o->arena) ? -EINVAL : 0;
}

static int make_arena(struct hak_pool *pool, const struct hak_pool_options *o)
{
	size_t bytes = hk_align_up(pool->bytes, HK_SUPER_BYTES);
	struct hak_arena_options mine = {.size_bytes = sizeof(mine), .name = o->name, .initial_bytes = bytes,
					 .max_bytes = bytes, .populate = HAK_POPULATE_NOW};
	pool->own_arena = !o->arena;
	pool->arena = o->arena;
	return o->arena ? 0 : hak_arena_create(&mine, &pool->arena);
}

static int make_caches(struct hak_pool *pool, unsigned count)
{
	size_t bytes = cache_bytes(pool);
	count = count ? count : CACHES_USUAL;
	if (!pool->cache)
		return 0;
	if (count > SLOTS)
		return -EINVAL;
	pool->first_caches = own_memory(count * bytes);
	if (!pool->first_caches)
		return -ENOMEM;
	for (unsigned i = count; i--;) {
		struct cache *cache = (struct cache *)((char *)pool->first_caches + i * bytes);
		cache->room = 2 * pool->cache;
		cache->next = pool->unused;
		pool->unused = cache;
	}
	return 0;
}

/* Objects in the order of their addresses: the first that are got are adjacent. */
static void fill(struct hak_pool *pool)
{
	void *some[HK_STOCK_CHUNK];
	for (size_t left = pool->count; left;) {
		size_t n = hk_min(left, HK_STOCK_CHUNK);
		for (size_t i = 0; i < n; i++)
			some[i] = pool->objects + (left - 1 - i) * pool->stride;
		hk_stock_push(&pool->stock, some, n);
		left -= n;
	}
	pool->stock.pushes = 0;
}

static int make(struct hak_pool *pool, const struct hak_pool_options *o)
{
	int rc = measure(pool, o);
	if (!rc)
		rc = make_arena(pool, o);
	if (!rc)
		rc = make_caches(pool, o->threads);
	if (rc)
		return rc;
	uint32_t per_chunk = pool->cache ? (uint32_t)hk_min(pool->cache, HK_STOCK_CHUNK) : 1;
	pool->chunks = own_memory(hk_stock_bytes(pool->count, per_chunk));
	if (!pool->chunks)
		return -ENOMEM;
	pool->objects = hak_arena_aligned_alloc(pool->arena, o->alignment ? o->alignment : ALIGN_USUAL, pool->bytes);
	if (!pool->objects)
		return -ENOMEM;
	hk_stock_init(&pool->stock, pool->chunks, (uintptr_t)pool->objects, pool->stride, pool->count, per_chunk);
	hk_add(&((struct hk_arena *)pool->arena)->attached, 1);
	if (o->name)
		strncpy(pool->name, o->name, sizeof(pool->name) - 1);
	if (o->construct)
		hak_pool_each(pool, o->construct, o->construct_arg);
	fill(pool);
	return 0;
}

static void unmake(struct hak_pool *pool)
{
	for (struct cache *cache = pool->made, *next; cache; cache = next) {
		next = cache->made;
		hk_free_fast(cache);
	}
	if (pool->objects) {
		hk_sub(&((struct hk_arena *)pool->arena)->attached, 1);
		hak_arena_free(pool->arena, pool->objects);
	}
	if (pool->own_arena && pool->arena)
		hak_arena_destroy(pool->arena);
	hk_free_fast(pool->first_caches);
	hk_free_fast(pool->chunks);
	hk_free_fast(pool);
}

static bool make_key(void)
{
	lock_pools();
	if (!exit_key_made && !pthread_key_create(&exit_key, thread_exit)) {
		hk_fork_hook = in_child;
		exit_key_made = true;
	}
	bool made = exit_key_made;
	hk_unlock(&lock);
	return made;
}

HK_EXPORT int hak_pool_create(const struct hak_pool_options *options, hak_pool **out)
{
	struct hak_pool *pool;
	if (!options || !out)
		return -EINVAL;
	if (!hk_process_init() || !make_key())
		return -ENOMEM;
	pool = own_memory(sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	int rc = make(pool, options);
	if (rc) {
		unmake(pool);
		return rc;
	}
	lock_pools();
	pool->next = pools;
	pools = pool;
	hk_unlock(&lock);
	*out = pool;
	return 0;
}

/* The program may have got hold of the arena that the pool made, by hak_arena_owner. */
static bool arena_is_used(const struct hak_pool *pool)
{
	const struct hk_arena *arena = (const struct hk_arena *)pool->arena;
	return pool->own_arena && (hk_load(&arena->attached) > 1 || hk_load(&arena->pushed));
}

/* Takes POOL out of the list, or says why not. */
static int unlist(struct hak_pool *pool)
{
	struct hak_pool **at = &pools;
	lock_pools();
	while (*at && *at != pool)
		at = &(*at)->next;
	int rc = !*at ? -EINVAL : arena_is_used(pool) ? -EBUSY : 0;
	if (!rc)
		*at = pool->next;
	hk_unlock(&lock);
	return rc;
}

HK_EXPORT int hak_pool_destroy(hak_pool *pool)
{
	int rc = unlist(pool);
	if (!rc)
		unmake(pool);
	return rc;
}

HK_EXPORT int hak_pool_stats(hak_pool *pool, struct hak_pool_stats *stats)
{
	struct hak_pool_stats s = {.size_bytes = stats->size_bytes};
	if (stats->size_bytes < sizeof(stats->size_bytes))
		return -EINVAL;
	lock_pools();
	memcpy(s.name, pool->name, sizeof(s.name));
	s.count = pool->count;
	s.stride_bytes = pool->stride;
	s.stored = hk_min(hk_load(&pool->stock.objects), pool->count);
	for (unsigned i = 0; i < SLOTS; i++)
		if (hk_load(&pool->slots[i].owner))
			s.cached += hk_load(&pool->slots[i].cache->len);
	s.cached = hk_min(s.cached, pool->count - s.stored);
	s.used = pool->count - s.stored - s.cached;
	s.caches = pool->caches;
	hk_unlock(&lock);
	s.refills = hk_load(&pool->stock.pops);
	s.flushes = hk_load(&pool->stock.pushes);
	s.failures = hk_load(&pool->failures);
	memcpy(stats, &s, hk_min(stats->size_bytes, sizeof(s)));
	return 0;
}
