/* memory_loop_test.c - the heap does not creep: 1 GiB of mixed sizes allocated, written and freed
 * in random order, again and again; and producer and consumer for a while.
 * time limit: 400 s, quick 120 s
 */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { MOST = 1 << 20, RING = 4096 };

static struct {
	char *p;
	size_t size;
} * blocks;

static void write_pages(char *p, size_t size)
{
	size_t off;

	for (off = 0; off < size; off += 4096)
		p[off] = 1;
	p[size - 1] = 1;
}

/* Half of the memory in blocks up to 4 KiB, half in blocks up to 4 MiB. Returns their number. */
static size_t allocate_all(uint64_t *rnd, size_t total)
{
	size_t got = 0, n;

	for (n = 0; got < total; n++) {
		size_t size = got < total / 2 ? test_rand_size(rnd, 16, 4 * KIB)
					      : test_rand_size(rnd, 4 * KIB, 4 * MIB);

		CHECK(n < MOST, "too many blocks");
		blocks[n].p = malloc(size);
		blocks[n].size = size;
		CHECK(blocks[n].p, "malloc(%zu)", size);
		write_pages(blocks[n].p, size);
		got += size;
	}
	return n;
}

static void free_all(uint64_t *rnd, size_t n)
{
	for (; n > 0; n--) {
		size_t i = test_rand(rnd) % n;

		free(blocks[i].p);
		blocks[i] = blocks[n - 1];
	}
}

static void allocate_and_free(void)
{
	int round, rounds = test_quick() ? 5 : 20;
	long long start, first = 0, last = 0;
	uint64_t rnd = 1;
	size_t n;

	blocks = own_memory(MOST * sizeof(*blocks));
	start = rss_bytes();
	for (round = 0; round < rounds; round++) {
		n = allocate_all(&rnd, GIB);
		last = rss_bytes();
		if (round == 0)
			first = last;
		free_all(&rnd, n);
	}
	CHECK(first - start > (long long)(900 * MIB), "1 GiB written, %lld resident",
	      first - start);
	BOUND("resident in the last round", last, first + first / 20);
	malloc_trim(0);
	BOUND("after malloc_trim, over the start", rss_bytes() - start, 32 * MIB);
}

static void *ring[RING];
static _Atomic size_t head, tail;
static size_t ops;

static void *produce(void *arg)
{
	uint64_t rnd = 5;
	size_t n;

	(void)arg;
	for (n = 0; n < ops; n++) {
		size_t size = n % 256 ? test_rand_size(&rnd, 16, 2 * KIB)
				      : test_rand_size(&rnd, 2 * KIB, 256 * KIB);
		char *p = malloc(size);

		CHECK(p, "malloc(%zu)", size);
		write_pages(p, size);
		while (n - atomic_load_explicit(&tail, memory_order_acquire) >= RING)
			sched_yield();
		ring[n % RING] = p;
		atomic_store_explicit(&head, n + 1, memory_order_release);
	}
	return NULL;
}

static void produce_and_consume(void)
{
	long long early = 0, most = 0, now;
	pthread_t t;
	size_t n;

	ops = test_quick() ? 4000000 : 40000000;
	CHECK(pthread_create(&t, NULL, produce, NULL) == 0, "no thread");
	for (n = 0; n < ops; n++) {
		while (atomic_load_explicit(&head, memory_order_acquire) == n)
			sched_yield();
		free(ring[n % RING]);
		atomic_store_explicit(&tail, n + 1, memory_order_release);
		if (n % (ops / 50) == 0) {
			now = rss_bytes();
			if (n <= ops / 5)
				early = now > early ? now : early;
			else
				most = now > most ? now : most;
		}
	}
	pthread_join(t, NULL);
	BOUND("producer and consumer: most after the first fifth", most,
	      early + early / 10 + 8 * MIB);
}

int main(int argc, char **argv)
{
	static const struct test_part parts[] = {
		{"1 GiB again and again", allocate_and_free},
		{"producer and consumer", produce_and_consume},
	};

	return test_run_parts(argc, argv, parts, COUNT_OF(parts), test_quick() ? 60 : 200);
}
