/* pool.h - object pools: a fixed number of objects of one size, made and filled at creation, got and put one by one
 * or many at once.
 *
 *   thread A's cache \                                              memory: one block of an arena
 *   thread B's cache  > store of all the rest: chunks of objects    objects: count * stride bytes
 *   no cache         /  (no lock)
 *
 * After hak_pool_create with an arena that is populated, get and put make no system call and take no page fault, in
 * threads up to `threads` (each has a cache from its first call on).
 *
 * There are never more than `count` objects. A thread that finds its cache and the store empty fails, though others
 * may have some in their caches: an object that must be had at any time wants count >= used at most + threads * cache.
 * Caches of threads that end go back to the store.
 * A worker that gets and puts often asks for its cache once (hak_pool_cache_mine), keeps it, and goes through it without
 * a call: hak_pool_get_from, hak_pool_put_to.
 * Threads: get and put of any kind from any thread at any time, but not from a signal handler; create any time;
 * destroy, each and the arena's reset only while nobody uses the pool. In the child of a fork it may be used like
 * other private memory; what was in caches of other threads is lost there.
 * Errors: functions that return int return 0 or a negative errno; pointers are NULL with errno set. A pointer that is
 * no object of the pool ends the process with one line, when its chunk reaches the store at the latest.
 */
#ifndef HAKMEM_POOL_H
#define HAKMEM_POOL_H

#include <hakmem/arena.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hak_pool hak_pool;

/* In `cache`: threads keep none; for pools whose objects are few and must be had to the last one. */
#define HAK_POOL_NO_CACHE 0xffffffffu
#define HAK_POOL_CACHE_MAX 4096u

struct hak_pool_options {
	size_t size_bytes;   /* sizeof(struct hak_pool_options) */
	const char *name;    /* at most 31 bytes are kept; NULL: none */
	hak_arena *arena;    /* where the objects are; NULL: one of the pool's own, populated, as large as is needed */
	size_t object_bytes; /* 1 at least */
	size_t alignment;    /* a power of two up to 2 MiB; 0: 64 */
	size_t count;        /* of objects, 1 at least, 2^26 - 128 at most */
	unsigned cache;      /* objects that a thread keeps, and as many again before it gives some back; 0: 256 */
	unsigned threads;    /* caches made at creation, 1024 at most; 0: 8. One more is a system call, then */
	/* Called once for each object, at creation. */
	void (*construct)(void *arg, void *object, size_t index);
	void *construct_arg;
};

/* A new pool to *OUT, all objects in the store. -EINVAL: wrong size_bytes, no arena, sizes or alignment out of range
 * or in overflow; -ENOMEM: not to be had, also where the arena's maximum would be passed. The arena counts as attached
 * until the pool is destroyed: it can't be reset or destroyed before. */
int hak_pool_create(const struct hak_pool_options *options, hak_pool **out);

/* Gives the memory back, objects that are in use too. -EINVAL: no pool, or destroyed before; -EBUSY, and nothing changed:
 * something else is attached to the arena that the pool made, or a thread has it pushed. */
int hak_pool_destroy(hak_pool *pool);

/* One object; NULL and ENOBUFS. */
void *hak_pool_get(hak_pool *pool);

/* NULL is not allowed. */
void hak_pool_put(hak_pool *pool, void *object);

/* COUNT objects to OBJECTS, or none: -ENOBUFS. */
int hak_pool_get_bulk(hak_pool *pool, void **objects, size_t count);

/* As many as there are, COUNT at most. */
size_t hak_pool_get_burst(hak_pool *pool, void **objects, size_t count);

/* Always has room. */
void hak_pool_put_bulk(hak_pool *pool, void *const *objects, size_t count);

/* What a thread keeps; the objects follow. Its thread alone may use it, through the functions below. */
struct hak_pool_cache {
	uint32_t length; /* objects in it */
	uint32_t room;   /* that it may have */
	void *reserved[2];
};

/* The calling thread's cache: the same until the thread ends (destructors of pthread keys must not use it any more) or the
 * pool is destroyed. NULL: it has none, for the pool was made with HAK_POOL_NO_CACHE, or no memory or place is left. */
struct hak_pool_cache *hak_pool_cache_mine(hak_pool *pool);

/* As hak_pool_get and hak_pool_put. CACHE is what hak_pool_cache_mine returned in this thread; may be NULL. */
static inline void *hak_pool_get_from(hak_pool *pool, struct hak_pool_cache *cache)
{
	uint32_t left = cache ? cache->length : 0;
	if (__builtin_expect(!left, 0))
		return hak_pool_get(pool);
	__atomic_store_n(&cache->length, --left, __ATOMIC_RELAXED); /* hak_pool_stats reads it */
	return ((void **)(cache + 1))[left];
}

static inline void hak_pool_put_to(hak_pool *pool, struct hak_pool_cache *cache, void *object)
{
	if (__builtin_expect(!cache || cache->length == cache->room, 0)) {
		hak_pool_put(pool, object);
		return;
	}
	((void **)(cache + 1))[cache->length] = object;
	__atomic_store_n(&cache->length, cache->length + 1, __ATOMIC_RELAXED);
}

/* Gives the calling thread's cache back to the store, as its end does. */
void hak_pool_flush(hak_pool *pool);

/* Calls FUNCTION for each object, in use or not, by address. */
void hak_pool_each(hak_pool *pool, void (*function)(void *arg, void *object, size_t index), void *arg);

struct hak_pool_stats {
	size_t size_bytes;
	char name[32];
	uint64_t count;        /* objects there are */
	uint64_t stride_bytes; /* from one to the next */
	uint64_t stored;       /* in the store */
	uint64_t cached;       /* in threads' caches; with `stored`, exact while nobody uses the pool */
	uint64_t used;         /* the rest */
	uint64_t caches;       /* threads that have one */
	uint64_t refills;      /* chunks of objects from the store to caches, or past them, and ... */
	uint64_t flushes;      /* ... back */
	uint64_t failures;     /* gets that found too few */
};

/* 0 or -EINVAL. Set size_bytes first. */
int hak_pool_stats(hak_pool *pool, struct hak_pool_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
