/* threads_test.c - what several threads do at once: exchange, exits and adoption, trims, spans. Short;
 * for the builds with a sanitizer above all. The long loops are tests/stress's. */
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "observe/snapshot.h"

#define THREADS 4u
#define SLOTS 512u
#define ROUNDS 30000u

/* Blocks on their way from any thread to any. */
static void *exchange[SLOTS];
static unsigned failures;

static size_t size_for(uint64_t x, uint64_t kind)
{
	return 16 + (kind % 64 ? x % 600 : kind % 512 ? x % 60000 : x % 3000000);
}

/* A block says its size and is marked at both ends. */
static void *make(uint64_t *seed)
{
	size_t size = size_for(unit_random(seed), unit_random(seed));
	size_t *p = hak_malloc(size);
	if (!p)
		return NULL;
	p[0] = size;
	((unsigned char *)p)[size - 1] = (unsigned char)size;
	return p;
}

static void end(size_t *p)
{
	if (!p)
		return;
	if (p[0] < 16 || (p[0] > 16 && ((unsigned char *)p)[p[0] - 1] != (unsigned char)p[0]))
		hk_add(&failures, 1);
	hak_free(p);
}

static void *exchanger(void *arg)
{
	uint64_t seed = (uintptr_t)arg * 7919 + 1;
	for (unsigned n = 0; n < ROUNDS; n++) {
		void *mine = make(&seed);
		void **slot = &exchange[unit_random(&seed) % SLOTS];
		end(__atomic_exchange_n(slot, mine, __ATOMIC_ACQ_REL));
	}
	return NULL;
}

static void run(unsigned count, void *(*f)(void *), unsigned lives)
{
	pthread_t t[16];
	for (unsigned life = 0; life < lives; life++) {
		for (unsigned i = 0; i < count; i++)
			assert_int_equal(pthread_create(&t[i], NULL, f, (void *)(uintptr_t)(life * 16 + i + 1)), 0);
		for (unsigned i = 0; i < count; i++)
			pthread_join(t[i], NULL);
	}
}

/* All that threads left must be reachable: nothing is in use in the end. */
static void expect_empty(void)
{
	for (unsigned i = 0; i < SLOTS; i++)
		end(exchange[i]);
	assert_int_equal(failures, 0);
	hk_heaps_trim(0);
	hk_heaps_trim(0);
	unit_audit();
	static struct hk_snapshot now;
	hk_snapshot(&now);
	assert_int_equal(now.malloc_blocks, now.free_blocks);
	assert_int_equal(now.slab_live_bytes, 0);
	assert_int_equal(now.heaps_live, 1);
	assert_int_equal(POOL->used_supers, 0);
}

static void begin(void)
{
	unit_start(NULL);
	hak_free(hak_malloc(1));
}

static void blocks_go_between_threads(void **state)
{
	(void)state;
	begin();
	run(THREADS, exchanger, 1);
	expect_empty();
}

static void *short_lived(void *arg)
{
	uint64_t seed = (uintptr_t)arg * 104729 + 1;
	for (unsigned n = 0; n < 600; n++) {
		void *mine = make(&seed);
		end(__atomic_exchange_n(&exchange[unit_random(&seed) % SLOTS], mine, __ATOMIC_ACQ_REL));
	}
	return NULL;
}

static void threads_come_and_go(void **state)
{
	(void)state;
	begin();
	run(THREADS, short_lived, 60);
	assert_in_range(hk_heaps_made, 3, 2 + THREADS);
	expect_empty();
}

static void *trimmer(void *arg)
{
	uint64_t seed = (uintptr_t)arg * 31 + 1;
	if ((uintptr_t)arg % 4)
		return exchanger(arg);
	for (unsigned n = 0; n < 150; n++) {
		struct hk_snapshot now;
		hk_heaps_trim(unit_random(&seed) % 3 ? 0 : ARENA_MIB(1));
		hk_snapshot(&now);
		hak_free(hak_malloc(5000000));
	}
	return NULL;
}

static void trims_go_on_beside(void **state)
{
	(void)state;
	begin();
	run(THREADS, trimmer, 1);
	expect_empty();
}

/* One makes, one ends: a ring between them. */
static struct ring {
	void *slot[1024];
	size_t head, tail;
} ring;

static void *producer(void *arg)
{
	uint64_t seed = 3;
	(void)arg;
	for (size_t n = 0; n < 50000; n++) {
		void *p = make(&seed);
		while (n - __atomic_load_n(&ring.tail, __ATOMIC_ACQUIRE) >= COUNT_OF(ring.slot))
			hk_os_yield();
		ring.slot[n % COUNT_OF(ring.slot)] = p;
		__atomic_store_n(&ring.head, n + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void *consumer(void *arg)
{
	(void)arg;
	for (size_t n = 0; n < 50000; n++) {
		while (__atomic_load_n(&ring.head, __ATOMIC_ACQUIRE) == n)
			hk_os_yield();
		end(ring.slot[n % COUNT_OF(ring.slot)]);
		__atomic_store_n(&ring.tail, n + 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void *either(void *arg)
{
	return (uintptr_t)arg % 2 ? producer(arg) : consumer(arg);
}

static void one_makes_one_ends(void **state)
{
	(void)state;
	begin();
	run(2, either, 1);
	expect_empty();
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(blocks_go_between_threads),
		cmocka_unit_test(threads_come_and_go),
		cmocka_unit_test(trims_go_on_beside),
		cmocka_unit_test(one_makes_one_ends),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
