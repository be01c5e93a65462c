/* pool_race_test.c - four threads on object pools for seconds: no object is had by two, none is lost, none is refused
 * while there are some. Also linked with the sanitizers' objects.
 * time limit: 120 s, quick 60 s */
#define _GNU_SOURCE
#include "arena.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { THREADS = 4, COUNT = 2000, BULK = 200 };

struct object {
	atomic_int used;
	long plain; /* a race detector looks at it */
};

static hak_pool *pool;
static long long until;
static atomic_ulong got, refused;
static struct object *_Atomic box[64];

static void mine_now(struct object *o)
{
	CHECK(atomic_exchange(&o->used, 1) == 0, "%p is had by two", (void *)o);
	o->plain++;
}

static void give(struct object *o)
{
	o->plain++;
	CHECK(atomic_exchange(&o->used, 0) == 1, "%p was nobody's", (void *)o);
}

static size_t get_some(struct object **o, uint64_t *rnd)
{
	size_t want = 1 + test_rand(rnd) % (test_rand(rnd) % 8 ? 8 : BULK), n;

	switch (test_rand(rnd) % 3) {
	case 0:
		o[0] = hak_pool_get(pool);
		n = o[0] != NULL;
		break;
	case 1:
		n = hak_pool_get_bulk(pool, (void **)o, want) == 0 ? want : 0;
		break;
	default:
		n = hak_pool_get_burst(pool, (void **)o, want);
		break;
	}
	atomic_fetch_add(n ? &got : &refused, 1);
	for (size_t i = 0; i < n; i++)
		mine_now(o[i]);
	return n;
}

static void put_some(struct object **o, size_t n, uint64_t *rnd)
{
	for (size_t i = 0; i < n; i++)
		give(o[i]);
	if (n == 1 || test_rand(rnd) % 4 == 0)
		for (size_t i = 0; i < n; i++)
			hak_pool_put(pool, o[i]);
	else
		hak_pool_put_bulk(pool, (void *const *)o, n);
}

static void exchange(uint64_t *rnd, unsigned n)
{
	struct object *o[BULK];

	while (n--) {
		size_t have = get_some(o, rnd);

		if (have) { /* one goes to another thread */
			struct object *other = atomic_exchange(&box[test_rand(rnd) % COUNT_OF(box)], o[have - 1]);

			have--;
			if (other)
				o[have++] = other;
		}
		put_some(o, have, rnd);
	}
}

static void *lives_shortly(void *arg)
{
	uint64_t rnd = (uintptr_t)arg | 1;

	exchange(&rnd, 50);
	return NULL;
}

static void *works(void *arg)
{
	uint64_t rnd = (uintptr_t)arg * 7919 + 1;
	pthread_t t;

	while (now_ms() < until) {
		exchange(&rnd, 500);
		if (test_rand(&rnd) % 16 == 0) {
			CHECK(pthread_create(&t, NULL, lives_shortly, (void *)(uintptr_t)test_rand(&rnd)) == 0, "no thread");
			pthread_join(t, NULL);
		}
	}
	hak_pool_flush(pool);
	return NULL;
}

static void run(void *(*body)(void *), unsigned seconds)
{
	pthread_t t[THREADS];
	uintptr_t i;

	until = now_ms() + seconds * 1000;
	for (i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, body, (void *)(i + 1)) == 0, "no thread");
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

/* Each object once, none had by anyone. */
static void all_there(void)
{
	static void *o[COUNT + 1];
	struct hak_pool_stats s = {.size_bytes = sizeof(s)};
	size_t i;

	for (i = 0; i < COUNT_OF(box); i++)
		if (box[i]) {
			give(box[i]);
			hak_pool_put(pool, atomic_exchange(&box[i], NULL));
		}
	CHECK(hak_pool_stats(pool, &s) == 0 && s.used == 0 && s.stored + s.cached == COUNT, "%llu are lost",
	      (unsigned long long)s.used);
	CHECK(hak_pool_get_bulk(pool, o, COUNT + 1) == -ENOBUFS, "more than there are");
	CHECK(hak_pool_get_bulk(pool, o, COUNT) == 0, "fewer than there are");
	for (i = 0; i < COUNT; i++)
		mine_now(o[i]);
	for (i = 0; i < COUNT; i++)
		give(o[i]);
	hak_pool_put_bulk(pool, o, COUNT);
}

static void with_cache(unsigned cache)
{
	struct hak_pool_options o = {.size_bytes = sizeof(o), .object_bytes = 100, .count = COUNT, .cache = cache};

	CHECK(hak_pool_create(&o, &pool) == 0, "create");
	run(works, test_quick() ? 2 : 8);
	all_there();
	CHECK(hak_pool_destroy(pool) == 0, "destroy");
	printf("cache %d: %lu times got, %lu refused\n", (int)cache, atomic_load(&got), atomic_load(&refused));
}

static void caches(void)
{
	with_cache(0);
	with_cache(8);
	with_cache(100);
	with_cache(HAK_POOL_NO_CACHE);
}

/* As many as threads want at once, without caches: nobody may ever be refused. */
static void *never_refused(void *arg)
{
	struct object *o[BULK];
	uint64_t rnd = (uintptr_t)arg + 1;

	while (now_ms() < until)
		for (int i = 0; i < 100; i++) {
			size_t n = 1 + test_rand(&rnd) % (COUNT / THREADS / 10);

			CHECK(hak_pool_get_bulk(pool, (void **)o, n) == 0, "refused, though there are some");
			for (size_t k = 0; k < n; k++)
				mine_now(o[k]);
			put_some(o, n, &rnd);
		}
	return NULL;
}

static void to_the_last_one(void)
{
	struct hak_pool_options o = {.size_bytes = sizeof(o), .object_bytes = 64, .count = COUNT / 10,
				     .cache = HAK_POOL_NO_CACHE};

	CHECK(hak_pool_create(&o, &pool) == 0, "create");
	run(never_refused, test_quick() ? 4 : 20);
	CHECK(hak_pool_destroy(pool) == 0, "destroy");
}

int main(int argc, char **argv)
{
	static const struct test_part parts[] = {{"caches", caches}, {"to_the_last_one", to_the_last_one}};

	return test_run_parts(argc, argv, parts, COUNT_OF(parts), 110);
}
