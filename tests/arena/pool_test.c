/* pool_test.c - object pools: what is asked for, what is refused, bulks are all or nothing, caches, ends. Races:
 * pool_race_test.c; system calls: kernel_test.c. */
#define _GNU_SOURCE
#include "arena.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define POOL(...)                                           \
	(&(struct hak_pool_options){                        \
		.size_bytes = sizeof(struct hak_pool_options), __VA_ARGS__})

static hak_pool *make(const struct hak_pool_options *options)
{
	hak_pool *pool = NULL;
	int rc = hak_pool_create(options, &pool);

	CHECK(rc == 0 && pool, "hak_pool_create: %s", strerror(-rc));
	return pool;
}

static struct hak_pool_stats stats(hak_pool *pool)
{
	struct hak_pool_stats s = {.size_bytes = sizeof(s)};

	CHECK(hak_pool_stats(pool, &s) == 0, "stats");
	CHECK(s.stored + s.cached + s.used == s.count, "they don't add up");
	return s;
}

#define MUST(rc, ...) CHECK(hak_pool_create(POOL(__VA_ARGS__), &pool) == (rc) && !pool, "%s", #__VA_ARGS__)

static void mistakes(void)
{
	hak_pool *pool = NULL;
	hak_arena *a = arena_make(OPTIONS(.max_bytes = SUPER)), *gone = arena_make(OPTIONS(.max_bytes = SUPER));
	struct hak_pool_options wrong = {.object_bytes = 64, .count = 10};
	struct hak_pool_stats s = {.size_bytes = 0};

	hak_arena_destroy(gone);
	CHECK(hak_pool_create(&wrong, &pool) == -EINVAL, "size_bytes 0");
	MUST(-EINVAL, .count = 10);
	MUST(-EINVAL, .object_bytes = 10);
	MUST(-EINVAL, .object_bytes = 10, .count = (size_t)1 << 26);
	MUST(-EINVAL, .object_bytes = 16, .count = ((size_t)1 << 26) - 64, .cache = 2); /* chunks beyond 26 bits */
	MUST(-EINVAL, .object_bytes = SIZE_MAX, .count = 2);
	MUST(-EINVAL, .object_bytes = (size_t)1 << 62, .count = 4);
	MUST(-EINVAL, .object_bytes = 10, .count = 10, .alignment = 24);
	MUST(-EINVAL, .object_bytes = 10, .count = 10, .alignment = 2 * SUPER);
	MUST(-EINVAL, .object_bytes = 10, .count = 10, .cache = HAK_POOL_CACHE_MAX + 1);
	MUST(-EINVAL, .object_bytes = 10, .count = 10, .threads = 1025);
	MUST(-EINVAL, .object_bytes = 10, .count = 10, .arena = gone);
	MUST(-ENOMEM, .object_bytes = 1000, .count = 10000, .arena = a);
	MUST(-ENOMEM, .object_bytes = (size_t)1 << 50, .count = 2);
	CHECK(arena_stats(a).used_bytes == 0 && arena_stats(a).attached == 0, "something is left in the arena");
	CHECK(hak_arena_destroy(a) == 0, "destroy");
	CHECK(hak_pool_destroy(NULL) == -EINVAL, "no pool");
	pool = make(POOL(.object_bytes = 10, .count = 10));
	CHECK(hak_pool_stats(pool, &s) == -EINVAL, "stats of size 0");
	CHECK(hak_pool_destroy(pool) == 0 && hak_pool_destroy(pool) == -EINVAL, "destroyed twice");
}

static int compare(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* All of them are there, apart by a stride, aligned, and no more. */
static void every_object(hak_pool *pool, size_t object, size_t align, size_t count)
{
	char **o = calloc(count + 1, sizeof(*o));
	size_t i, stride = stats(pool).stride_bytes;

	CHECK(stride >= object && stride < object + align && stride % align == 0, "stride %zu for %zu", stride, object);
	for (i = 0; i < count; i++) {
		o[i] = hak_pool_get(pool);
		CHECK(o[i] && (uintptr_t)o[i] % align == 0, "object %zu of %zu", i, count);
		memset(o[i], (int)i, object);
	}
	errno = 0;
	CHECK(!hak_pool_get(pool) && errno == ENOBUFS, "one more than there are");
	CHECK(stats(pool).used == count && stats(pool).failures == 1, "used");
	qsort(o, count, sizeof(*o), compare);
	for (i = 1; i < count; i++)
		CHECK(o[i] == o[i - 1] + stride, "not adjacent");
	for (i = 0; i < count; i++)
		hak_pool_put(pool, o[i]);
	CHECK(stats(pool).used == 0, "put");
	CHECK(hak_pool_get_bulk(pool, (void **)o, count) == 0 && stats(pool).used == count, "bulk of all");
	hak_pool_put_bulk(pool, (void *const *)o, count);
	CHECK(hak_pool_get_bulk(pool, (void **)o, count + 1) == -ENOBUFS && stats(pool).used == 0, "bulk of more");
	CHECK(hak_pool_get_burst(pool, (void **)o, count + 1) == count, "burst of more");
	hak_pool_put_bulk(pool, (void *const *)o, count);
	CHECK(hak_pool_get_bulk(pool, (void **)o, 0) == 0 && hak_pool_get_burst(pool, (void **)o, 0) == 0, "none");
	hak_pool_put_bulk(pool, (void *const *)o, 0);
	free(o);
}

static void sizes(void)
{
	static const size_t objects[] = {1, 8, 64, 100, 2048, 9000, 70000, SUPER + 1};
	static const size_t counts[] = {1, 2, 63, 64, 65, 1000, 3001};
	static const unsigned caches[] = {0, 1, 7, 64, 512, HAK_POOL_NO_CACHE};
	size_t i, c, k;

	for (i = 0; i < COUNT_OF(objects); i++)
		for (c = 0; c < COUNT_OF(counts) && objects[i] * counts[c] < 128 * MIB; c++)
			for (k = 0; k < COUNT_OF(caches); k++) {
				size_t align = i & 1 ? 64 : (size_t)1 << (i + c) % 12;
				hak_pool *pool = make(POOL(.object_bytes = objects[i], .count = counts[c], .cache = caches[k],
							   .alignment = align));

				every_object(pool, objects[i], align, counts[c]);
				CHECK(hak_pool_destroy(pool) == 0, "destroy");
			}
}

static void construct(void *arg, void *object, size_t index)
{
	CHECK(index == *(size_t *)arg, "index %zu", index);
	*(size_t *)arg += 1;
	*(size_t *)object = index;
}

static void look(void *arg, void *object, size_t index)
{
	*(size_t *)arg += *(size_t *)object == index;
}

static void constructed(void)
{
	size_t n = 0, same = 0;
	hak_pool *pool = make(POOL(.object_bytes = 200, .count = 777, .construct = construct, .construct_arg = &n,
				   .name = "a name that is longer than what is kept of it"));
	size_t *o = hak_pool_get(pool);

	CHECK(n == 777 && *o < 777, "%zu", n);
	hak_pool_each(pool, look, &same);
	CHECK(same == 777, "%zu as they were made", same);
	CHECK(strcmp(stats(pool).name, "a name that is longer than what") == 0, "%s", stats(pool).name);
	hak_pool_destroy(pool);
}

static void in_an_arena(void)
{
	hak_arena *a = arena_make(OPTIONS(.initial_bytes = 4 * SUPER, .max_bytes = 4 * SUPER));
	hak_pool *p = make(POOL(.object_bytes = 1000, .count = 2000, .arena = a));
	hak_pool *q = make(POOL(.object_bytes = 1000, .count = 2000, .arena = a));
	void *o = hak_pool_get(p);

	CHECK(hak_arena_owner(o) == a && hak_arena_owner(hak_pool_get(q)) == a, "not in the arena");
	CHECK(hak_arena_reset(a) == -EBUSY && hak_arena_destroy(a) == -EBUSY, "an arena with a pool in it");
	CHECK(hak_pool_destroy(p) == 0 && hak_arena_destroy(a) == -EBUSY, "an arena with a pool in it");
	CHECK(hak_pool_destroy(q) == 0 && arena_stats(a).used_bytes == 0, "memory stays");
	CHECK(hak_arena_push(a) == 0, "push"); /* the pool's own words are not the arena's business */
	p = make(POOL(.object_bytes = 1000, .count = 100));
	hak_pool_put(p, hak_pool_get(p));
	CHECK(hak_arena_pop() == 0 && hak_arena_destroy(a) == 0, "destroy");
	hak_pool_put(p, hak_pool_get(p));
	hak_pool_destroy(p);
}

static hak_pool *shared;

static void *takes_and_ends(void *keep)
{
	void *o[300];
	size_t i, n = hak_pool_get_burst(shared, o, 300);

	for (i = (size_t)(uintptr_t)keep; i < n; i++)
		hak_pool_put(shared, o[i]);
	return NULL;
}

/* What is in the cache of a thread that ends comes back; what it kept does not. */
static void threads_end(void)
{
	pthread_t t;
	int i;

	shared = make(POOL(.object_bytes = 64, .count = 1000, .threads = 1));
	for (i = 0; i < 1000; i++) {
		CHECK(pthread_create(&t, NULL, takes_and_ends, NULL) == 0, "no thread");
		pthread_join(t, NULL);
		CHECK(stats(shared).stored == 1000 && stats(shared).caches == 0, "%llu in the store", (unsigned long long)stats(shared).stored);
	}
	CHECK(pthread_create(&t, NULL, takes_and_ends, (void *)5) == 0, "no thread");
	pthread_join(t, NULL);
	CHECK(stats(shared).used == 5, "used");
	hak_pool_destroy(shared);
}

static void *stays(void *arg)
{
	void *o = hak_pool_get(shared);

	CHECK(o, "get");
	hak_pool_put(shared, o);
	pthread_barrier_wait(arg);
	pthread_barrier_wait(arg);
	return NULL;
}

/* Hundreds of threads at once; each finds its own cache, and those that find no place work without one. */
static void many_threads(void)
{
	enum { MANY = 900 };
	static pthread_t t[MANY];
	pthread_barrier_t b;
	pthread_attr_t attr;
	int i;

	shared = make(POOL(.object_bytes = 64, .count = 20000, .cache = 8));
	pthread_barrier_init(&b, NULL, MANY + 1);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * KIB);
	for (i = 0; i < MANY; i++)
		CHECK(pthread_create(&t[i], &attr, stays, &b) == 0, "no thread");
	pthread_barrier_wait(&b);
	CHECK(stats(shared).caches > MANY / 2 && stats(shared).used == 0, "%llu caches", (unsigned long long)stats(shared).caches);
	pthread_barrier_wait(&b);
	for (i = 0; i < MANY; i++)
		pthread_join(t[i], NULL);
	CHECK(stats(shared).caches == 0 && stats(shared).stored == 20000, "after their end");
	hak_pool_destroy(shared);
}

static void child(void)
{
	void *o[400];
	uint64_t lost = stats(shared).used;
	size_t n = hak_pool_get_burst(shared, o, 400);
	pthread_t t;

	CHECK(n > 100 && lost > 0, "%zu, %llu lost with a thread", n, (unsigned long long)lost);
	hak_pool_put_bulk(shared, o, n);
	CHECK(pthread_create(&t, NULL, takes_and_ends, NULL) == 0, "no thread");
	pthread_join(t, NULL);
	CHECK(stats(shared).used == lost, "what a vanished thread had is used again");
	CHECK(hak_pool_destroy(shared) == 0, "destroy");
}

/* Nobody told the library: it finds out by itself. */
static void plain_child(void)
{
	void *o[400];
	uint64_t lost = stats(shared).used;
	size_t n = hak_pool_get_burst(shared, o, 400), i;

	CHECK(n > 100 && lost > 0, "%zu, %llu lost with a thread", n, (unsigned long long)lost);
	for (i = 0; i < n; i++)
		hak_pool_put(shared, o[i]);
	CHECK(stats(shared).used == lost, "what a vanished thread had is used again");
	free(test_hide(malloc(100000)));
	CHECK(hak_pool_destroy(shared) == 0, "destroy");
}

static void forked(void)
{
	pthread_barrier_t b;
	pthread_t t;

	shared = make(POOL(.object_bytes = 64, .count = 2000));
	pthread_barrier_init(&b, NULL, 2);
	CHECK(pthread_create(&t, NULL, stays, &b) == 0, "no thread");
	pthread_barrier_wait(&b);
	hak_pool_put(shared, hak_pool_get(shared));
	in_child(child, "child");
	in_plain_child(plain_child, "child of _Fork");
	pthread_barrier_wait(&b);
	pthread_join(t, NULL);
	CHECK(stats(shared).used == 0, "the parent's");
	hak_pool_destroy(shared);
}

/* ---- through the thread's cache, inline ---- */

static void *other_cache(void *arg)
{
	return hak_pool_cache_mine(arg);
}

static void by_cache(void)
{
	hak_pool *pool = make(POOL(.object_bytes = 64, .count = 100, .cache = 4)),
		 *bare = make(POOL(.object_bytes = 64, .count = 2, .cache = HAK_POOL_NO_CACHE));
	struct hak_pool_cache *cache = hak_pool_cache_mine(pool);
	void *o[100], *other;
	pthread_t t;
	size_t i;

	CHECK(cache && cache->length == 0 && cache->room == 8, "a new cache");
	CHECK(hak_pool_cache_mine(pool) == cache, "it is the same");
	for (i = 0; i < 100; i++) {
		o[i] = hak_pool_get_from(pool, cache);
		CHECK(o[i] && stats(pool).used == i + 1, "object %zu", i);
	}
	CHECK(!hak_pool_get_from(pool, cache) && errno == ENOBUFS, "one more than there are");
	for (i = 0; i < 100; i++) {
		hak_pool_put_to(pool, cache, o[i]);
		CHECK(stats(pool).used == 99 - i && cache->length <= cache->room, "put %zu", i);
	}
	CHECK(hak_pool_get_from(pool, cache) == o[99], "the last one put comes first");
	hak_pool_put_to(pool, NULL, o[99]);
	CHECK(hak_pool_get(pool) == o[99], "without a cache at hand, the same one");
	hak_pool_put_to(pool, cache, o[99]);
	hak_pool_flush(pool);
	CHECK(cache->length == 0 && stats(pool).stored == 100, "flush");
	pthread_create(&t, NULL, other_cache, pool);
	pthread_join(t, &other);
	CHECK(other && other != cache, "another thread's");
	CHECK(!hak_pool_cache_mine(bare), "a pool without caches");
	hak_pool_put_to(bare, NULL, hak_pool_get_from(bare, NULL));
	CHECK(stats(bare).stored == 2, "goes on without");
	hak_pool_destroy(bare);
	hak_pool_destroy(pool);
}

/* ---- misuse ---- */

static void put_foreign(hak_pool *pool)
{
	char local;

	hak_pool_put(pool, &local);
	hak_pool_flush(pool);
}

static void put_inner(hak_pool *pool)
{
	hak_pool_put(pool, (char *)hak_pool_get(pool) + 16);
	hak_pool_flush(pool);
}

static void put_behind(hak_pool *pool)
{
	struct hak_pool_stats s = stats(pool);
	char *o[100];

	CHECK(hak_pool_get_bulk(pool, (void **)o, 100) == 0, "bulk");
	qsort(o, 100, sizeof(*o), compare);
	hak_pool_put(pool, o[99] + s.stride_bytes);
	hak_pool_flush(pool);
}

static void put_before(hak_pool *pool)
{
	char *o[100];

	CHECK(hak_pool_get_bulk(pool, (void **)o, 100) == 0, "bulk");
	qsort(o, 100, sizeof(*o), compare);
	hak_pool_put(pool, o[0] - stats(pool).stride_bytes);
	hak_pool_flush(pool);
}

static void put_twice(hak_pool *pool)
{
	void *o = hak_pool_get(pool);

	hak_pool_put(pool, o);
	hak_pool_put(pool, o);
	hak_pool_flush(pool);
}

static const struct {
	void (*run)(hak_pool *pool);
	const char *says;
} misuses[] = {
	{put_foreign, "hak_pool_put of a pointer that is no object of the pool"},
	{put_inner, "hak_pool_put of a pointer that is no object of the pool"},
	{put_behind, "hak_pool_put of a pointer that is no object of the pool"},
	{put_before, "hak_pool_put of a pointer that is no object of the pool"},
	{put_twice, "hak_pool_put of an object that is in the pool already"},
};

static int misuse_one(size_t number)
{
	static const unsigned caches[] = {0, HAK_POOL_NO_CACHE};
	static const size_t sizes_of[] = {136, 128}; /* a power of two is looked at in another way */

	test_begin();
	misuses[number / 4].run(make(POOL(.object_bytes = sizes_of[number / 2 % 2], .alignment = 8, .count = 100,
					  .cache = caches[number % 2])));
	return 0;
}

static void misuse(void)
{
	size_t i;

	for (i = 0; i < 4 * COUNT_OF(misuses); i++)
		must_abort("misuse_one", (int)i, misuses[i / 4].says);
}

int main(int argc, char **argv)
{
	static const struct test_part parts[] = {
		{"mistakes", mistakes}, {"sizes", sizes}, {"constructed", constructed}, {"in_an_arena", in_an_arena},
		{"threads_end", threads_end}, {"many_threads", many_threads}, {"forked", forked}, {"by_cache", by_cache},
		{"misuse", misuse},
	};

	if (argc == 3)
		return misuse_one((size_t)atoi(argv[2]));
	return test_run_parts(argc, argv, parts, COUNT_OF(parts), 60);
}
