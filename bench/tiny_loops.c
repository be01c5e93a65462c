/* tiny_loops.c - see tiny_loops.h. Measures nothing itself: the caller takes the times.
 *
 * Built with -fno-builtin-malloc and -fno-builtin-free: the compiler may neither drop a pair nor
 * know what the calls do, so each goes through the PLT as in any program. */
#include "tiny_loops.h"

#include <sched.h>
#include <stdlib.h>

/* One specialisation for each kind of loop, so that the hot ones hold no test of the kind. */
static inline __attribute__((always_inline)) void
batch_rounds(struct hk_batch *b, uint64_t rounds, enum hk_order order, int mixed)
{
	char **const slots = b->slots, **const end = slots + b->batch;
	const size_t size = b->size, batch = b->batch;

	for (; rounds; rounds--, b->turn++) {
		const uint32_t *sizes = mixed ? b->sizes + b->turn % b->size_sets * batch : NULL;

		for (char **s = slots; s < end; s++) {
			char *p = malloc(mixed ? *sizes++ : size);

			*s = p;
			*p = 1;
		}
		if (order == HK_FIFO) {
			for (char **s = slots; s < end; s++)
				free(*s);
		} else if (order == HK_LIFO) {
			for (char **s = end; s > slots;)
				free(*--s);
		} else {
			const uint32_t *at = b->orders + b->turn % b->order_sets * batch;

			for (const uint32_t *last = at + batch; at < last; at++)
				free(slots[*at]);
		}
	}
}

void hk_batch_run(struct hk_batch *b, uint64_t rounds)
{
	switch (b->order * 2 + !!b->sizes) {
	case HK_FIFO * 2:
		batch_rounds(b, rounds, HK_FIFO, 0);
		break;
	case HK_FIFO * 2 + 1:
		batch_rounds(b, rounds, HK_FIFO, 1);
		break;
	case HK_LIFO * 2:
		batch_rounds(b, rounds, HK_LIFO, 0);
		break;
	case HK_LIFO * 2 + 1:
		batch_rounds(b, rounds, HK_LIFO, 1);
		break;
	case HK_SHUFFLED * 2:
		batch_rounds(b, rounds, HK_SHUFFLED, 0);
		break;
	case HK_SHUFFLED * 2 + 1:
		batch_rounds(b, rounds, HK_SHUFFLED, 1);
		break;
	}
}

/* A multiply-add step: its latency runs beside the calls, since the next state needs no block. */
static inline uint64_t set_random(uint64_t *state)
{
	return *state = *state * 6364136223846793005u + 1442695040888963407u;
}

static inline size_t set_size(const struct hk_set *s, uint64_t random)
{
	return s->size_lo + ((((random >> 8) & 0xffffff) * s->size_span) >> 24);
}

void hk_set_fill(struct hk_set *s)
{
	for (uint32_t i = 0; i < s->count; i++) {
		s->slots[i] = malloc(set_size(s, set_random(&s->random)));
		*s->slots[i] = 1;
	}
}

void hk_set_run(struct hk_set *s, uint64_t steps)
{
	char **const slots = s->slots;
	const uint64_t count = s->count;
	uint64_t random = s->random;

	for (; steps; steps--) {
		uint64_t r = set_random(&random);
		char **at = &slots[((r >> 32) * count) >> 32];

		free(*at);
		*at = malloc(set_size(s, r));
		**at = 1;
	}
	s->random = random;
}

void hk_set_empty(struct hk_set *s)
{
	for (uint32_t i = 0; i < s->count; i++)
		free(s->slots[i]);
}

/* Spins a little, then lets the other side have the core: pairs may outnumber the cores. */
static inline void ring_wait(unsigned int *tries)
{
	if (++*tries > 50) {
		*tries = 0;
		sched_yield();
	} else {
#if defined(__x86_64__)
		__builtin_ia32_pause();
#else
		__asm__ volatile("" ::: "memory");
#endif
	}
}

void hk_ring_produce(struct hk_ring *r, uint64_t count, const uint32_t *sizes, size_t sizes_mask)
{
	unsigned int tries = 0;

	for (uint64_t head = 0; head < count;) {
		uint64_t stop = r->tail_seen + HK_RING_SLOTS;

		if (head == stop) {
			/* acquire pairs with hk_ring_consume's release: the slot was read before it
			 * is written again */
			r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
			if (r->tail_seen + HK_RING_SLOTS == stop)
				ring_wait(&tries);
			continue;
		}
		stop = stop < count ? stop : count;
		stop = stop < head + HK_RING_PUBLISH ? stop : head + HK_RING_PUBLISH;
		for (; head < stop; head++) {
			char *p = malloc(sizes[head & sizes_mask]);

			*p = 1;
			r->slots[head % HK_RING_SLOTS] = p;
		}
		/* release pairs with hk_ring_consume's acquire: slots are seen before the index */
		atomic_store_explicit(&r->head, head, memory_order_release);
	}
}

void hk_ring_consume(struct hk_ring *r, uint64_t count)
{
	unsigned int tries = 0;

	for (uint64_t tail = 0; tail < count;) {
		uint64_t stop = r->head_seen;

		if (tail == stop) {
			/* acquire pairs with hk_ring_produce's release */
			r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
			if (r->head_seen == stop)
				ring_wait(&tries);
			continue;
		}
		stop = stop < tail + HK_RING_PUBLISH ? stop : tail + HK_RING_PUBLISH;
		for (; tail < stop; tail++)
			free(r->slots[tail % HK_RING_SLOTS]);
		/* release pairs with hk_ring_produce's acquire */
		atomic_store_explicit(&r->tail, tail, memory_order_release);
	}
}
