/* exchange_test.c - 8 threads swap blocks of 1 byte to 4 MiB through shared slots, so that most
 * frees are another thread's; each block's pattern is checked when it is freed. Then pairs of
 * producer and consumer through a ring. Memory bounds of such loads: memory_*_test.c.
 * time limit: 300 s, quick 90 s
 */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { THREADS = 8, SLOTS = 1024, RING = 1024, PAIRS = 2 };

struct held {
	char *p;
	size_t size;
	uint64_t id;
};

static struct slot {
	atomic_flag busy;
	struct held held;
} slots[SLOTS];

static struct held swap_held(size_t i, struct held with)
{
	struct held old;

	while (atomic_flag_test_and_set_explicit(&slots[i].busy, memory_order_acquire))
		sched_yield();
	old = slots[i].held;
	slots[i].held = with;
	atomic_flag_clear_explicit(&slots[i].busy, memory_order_release);
	return old;
}

static struct held make(uint64_t *rnd, size_t size, uint64_t id)
{
	struct held h = {NULL, size, id};

	switch (test_rand(rnd) % 8) {
	case 0:
		h.p = calloc(1, size);
		CHECK(h.p, "calloc(%zu)", size);
		check_zero(h.p, size, "calloc");
		break;
	case 1:
		h.p = aligned_alloc((size_t)16 << (test_rand(rnd) % 9), size);
		break;
	case 2:
		h.p = malloc(size / 2 + 1);
		CHECK(h.p, "malloc(%zu)", size / 2 + 1);
		pat_fill_moved(h.p, size / 2 + 1, id);
		h.p = realloc(h.p, size);
		CHECK(h.p, "realloc(%zu)", size);
		pat_check_moved(h.p, size / 2 + 1, size < size / 2 + 1 ? size : size / 2 + 1, id);
		break;
	default:
		h.p = malloc(size);
	}
	CHECK(h.p, "no block of %zu", size);
	pat_fill(h.p, size, id);
	return h;
}

static void unmake(struct held h)
{
	if (!h.p)
		return;
	pat_check(h.p, h.size, h.id);
	free(h.p);
}

static void *swapper(void *arg)
{
	uint64_t me = (uintptr_t)arg, rnd = me * 7919 + 1, n;
	uint64_t ops = test_quick() ? 60000 : 600000;

	for (n = 0; n < ops; n++) {
		/* most are small, as in programs; every 64th of any magnitude */
		size_t size = n % 64 ? test_rand_size(&rnd, 1, 16 * KIB)
				     : test_rand_size(&rnd, 1, 4 * MIB);

		unmake(swap_held(test_rand(&rnd) % SLOTS, make(&rnd, size, me << 32 | n)));
	}
	return NULL;
}

static void swap_among_threads(void)
{
	static const struct held none;
	pthread_t t[THREADS];
	uintptr_t i;

	for (i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, swapper, (void *)(i + 1)) == 0, "no thread");
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	for (i = 0; i < SLOTS; i++)
		unmake(swap_held(i, none));
}

static struct ring {
	_Atomic size_t head;
	char gap[64];
	_Atomic size_t tail;
	struct held at[RING];
	uint64_t ops;
} rings[PAIRS];

static void *producer(void *arg)
{
	struct ring *r = arg;
	uint64_t rnd = (uintptr_t)arg | 1, n;

	for (n = 0; n < r->ops; n++) {
		size_t size = n % 4096 == 0 ? MIB
			      : n % 64 == 0 ? test_rand_size(&rnd, 8 * KIB, 64 * KIB)
					    : test_rand_size(&rnd, 16, 2 * KIB);
		struct held h = {malloc(size), size, n};

		CHECK(h.p, "malloc(%zu)", size);
		pat_fill(h.p, size, n);
		while (n - atomic_load_explicit(&r->tail, memory_order_acquire) >= RING)
			sched_yield();
		r->at[n % RING] = h;
		atomic_store_explicit(&r->head, n + 1, memory_order_release);
	}
	return NULL;
}

static void *consumer(void *arg)
{
	struct ring *r = arg;
	uint64_t n;

	for (n = 0; n < r->ops; n++) {
		while (atomic_load_explicit(&r->head, memory_order_acquire) == n)
			sched_yield();
		CHECK(r->at[n % RING].id == n, "out of order");
		unmake(r->at[n % RING]);
		atomic_store_explicit(&r->tail, n + 1, memory_order_release);
	}
	return NULL;
}

static void produce_and_consume(void)
{
	pthread_t t[PAIRS][2];
	int i;

	for (i = 0; i < PAIRS; i++) {
		rings[i].ops = test_quick() ? 300000 : 5000000;
		CHECK(pthread_create(&t[i][0], NULL, producer, &rings[i]) == 0, "no thread");
		CHECK(pthread_create(&t[i][1], NULL, consumer, &rings[i]) == 0, "no thread");
	}
	for (i = 0; i < PAIRS; i++) {
		pthread_join(t[i][0], NULL);
		pthread_join(t[i][1], NULL);
	}
}

int main(void)
{
	test_begin();
	test_watchdog(test_quick() ? 85 : 290);
	swap_among_threads();
	produce_and_consume();
	return test_end();
}
