/* tiny_loops.h - the measured loops of bench_tiny.
 *
 * A loop is an array of pointers, a call, a store: about 14 instructions for a malloc and its free
 * with the two PLT jumps. All that costs more (sizes, orders, random numbers) is made before, or
 * is a few independent instructions.
 */
#ifndef HK_BENCH_TINY_LOOPS_H
#define HK_BENCH_TINY_LOOPS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum hk_order { HK_FIFO, HK_LIFO, HK_SHUFFLED };

/* BATCH mallocs, then BATCH frees. */
struct hk_batch {
	char **slots;             /* batch entries */
	size_t batch;
	size_t size;              /* of each block, where sizes is NULL */
	const uint32_t *sizes;    /* size_sets rows of batch sizes, taken in turn */
	size_t size_sets;
	const uint32_t *orders;   /* order_sets rows of batch indices, for HK_SHUFFLED */
	size_t order_sets;
	size_t turn;              /* rows taken so far */
	enum hk_order order;
};
void hk_batch_run(struct hk_batch *b, uint64_t rounds);

/* A set of live blocks; a step frees a random one and puts a new one into its place. */
struct hk_set {
	char **slots;
	uint32_t count;
	uint32_t size_lo;
	uint32_t size_span;       /* sizes size_lo .. size_lo + size_span - 1 */
	uint64_t random;
};
void hk_set_fill(struct hk_set *s);
void hk_set_run(struct hk_set *s, uint64_t steps);
void hk_set_empty(struct hk_set *s);

/* One producer, one consumer, no lock. Each side keeps its last view of the other's index and
 * tells its own after 32 blocks, not after each: else the lines that travel between the cores
 * are what is measured (10 ns a block and more), not the allocator. */
enum { HK_RING_SLOTS = 4096, HK_RING_PUBLISH = 32 };
struct hk_ring {
	_Alignas(128) _Atomic uint64_t head;   /* written by the producer */
	uint64_t tail_seen;
	_Alignas(128) _Atomic uint64_t tail;   /* written by the consumer */
	uint64_t head_seen;
	_Alignas(128) char *slots[HK_RING_SLOTS];
};

/* COUNT blocks of sizes[0 .. sizes_mask] in turn through the ring. */
void hk_ring_produce(struct hk_ring *r, uint64_t count, const uint32_t *sizes, size_t sizes_mask);
void hk_ring_consume(struct hk_ring *r, uint64_t count);

#endif
