/* counters_test.c - src/observe: refill stages and the free pipeline, counted exactly in sequences
 * that are written out, and equations that hold after any. */
#include "unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hakmem/arena.h"
#include "observe/audit.h"
#include "observe/snapshot.h"
#include "tiny/large.h"
#include "tiny/tiny_slow.h"

#define NO_STARTERS "HAKMEM_STARTER_MIB=0"
#define MOST 5000

static void *blocks[MOST];
static struct hk_snapshot now;

static const struct hk_counters *sum(void)
{
	hk_snapshot(&now);
	return &now.sum;
}

static void empty_bin(struct hk_heap *heap, unsigned c)
{
	hk_lock(&heap->lock);
	hk_bin_cut(heap, c, 0);
	hk_bin_grant(heap, c, 0, (int32_t)heap->classes[c].cap);
	hk_unlock(&heap->lock);
}

static void first_block_of_a_class(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NULL);
	unit_take(blocks, 1, 64);
	const struct hk_counters *n = sum();
	assert_int_equal(n->refill_chunk, 1);
	assert_int_equal(n->refill_carve, 1);
	assert_int_equal(n->refill_blocks, 1 + unit_walk(heap->bins[3].head));
	assert_int_equal(n->refill_slab + n->refill_partial + n->refill_empty + n->refill_remote +
			 n->refill_shared + n->refill_parked + n->refill_failed, 0);
	assert_int_equal(n->tls_pops, 1);
	assert_int_equal(n->tls_sll, 0);
	assert_int_equal(now.malloc_blocks, 1);
	unit_give(blocks, 1);
	n = sum();
	assert_int_equal(n->tls_sll, 1);
	assert_int_equal(now.free_blocks, 1);
	assert_int_equal(now.bin_blocks, unit_walk(heap->bins[3].head));
}

/* Each stage once: the list of the slab used last, another partial slab, an empty one, the queue. */
static void each_refill_stage(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NO_STARTERS), *other = unit_heap();
	enum { C = 31, N = 381, BYTES = 512 }; /* three slabs of 512 B blocks */
	unit_take(blocks, N, BYTES);
	empty_bin(heap, C);
	struct hk_counters was = *sum();
	hak_free(blocks[N - 1]);
	empty_bin(heap, C);
	unit_take(blocks + N - 1, 1, BYTES);
	assert_int_equal(sum()->refill_slab, was.refill_slab + 1);
	empty_bin(heap, C);
	was = *sum();
	hak_free(blocks[0]);
	empty_bin(heap, C);
	/* The first slab is as full as the last one, and later in the list. */
	struct hk_slab *first = hk_slab_of_tiny(blocks[0]);
	if (heap->classes[C].last == first)
		fail_msg("the slab used last is the first");
	unit_take(blocks, 1, BYTES);
	assert_int_equal(sum()->refill_partial + sum()->refill_slab, was.refill_partial + was.refill_slab + 1);
	/* By the queue. */
	empty_bin(heap, C);
	was = *sum();
	unit_as(other);
	other->classes[C].draining = HK_DRAINS_OTHERS;
	unit_give(blocks, 5);
	hk_remote_flush(other, false);
	unit_as(heap);
	unit_take(blocks, 1, BYTES);
	assert_int_equal(sum()->refill_remote, was.refill_remote + 1);
	assert_int_equal(sum()->ss_remote_drained, was.ss_remote_drained + 5);
	assert_int_equal(sum()->refill_blocks, was.refill_blocks + 5);
	unit_audit();
}

static void another_partial_slab(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NO_STARTERS);
	enum { C = 63, SLAB = 63 };
	unit_take(blocks, 2 * SLAB + 10, 1024); /* the third slab is the last one used */
	empty_bin(heap, C);
	struct hk_counters was = *sum();
	unit_give(blocks, 3); /* the first one has three free, the last has more */
	empty_bin(heap, C);
	unit_take(blocks, 1, 1024);
	assert_int_equal(sum()->refill_partial, was.refill_partial + 1);
	assert_int_equal(sum()->refill_slab, was.refill_slab);
	assert_ptr_equal(heap->classes[C].last, hk_slab_of_tiny(blocks[0]));
}

static void an_empty_slab_that_was_kept(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NO_STARTERS);
	unit_take(blocks, 30, 1024);
	heap->classes[63].last = NULL;
	unit_give(blocks, 30);
	empty_bin(heap, 63);
	assert_int_equal(heap->empty_chunks, 1);
	heap->classes[63].last = NULL; /* else it counts as the slab used last */
	unit_take(blocks, 1, 1024);
	assert_int_equal(sum()->refill_empty, 1);
	assert_int_equal(sum()->refill_chunk, 1);
}

static void *take_one(void *arg)
{
	*(void **)arg = hak_malloc(64);
	return NULL;
}

static void shared_and_parked(void **state)
{
	(void)state;
	pthread_t t;
	void *p;
	unit_begin(NO_STARTERS);
	assert_int_equal(pthread_create(&t, NULL, take_one, &p), 0);
	pthread_join(t, NULL);
	assert_int_equal(sum()->refill_shared, 1);
	assert_int_equal(sum()->heap_parks, 1);
	assert_int_equal(sum()->heap_births, 1); /* the heap of this case was made by hand */
}

static void memory_exhausted(void **state)
{
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=0 HAKMEM_REGION_MIB=2");
	struct hk_heap *heap = unit_heap();
	uintptr_t top = hk_region.base + hk_region.stripe[0].reserved_bytes, got;
	unit_as(heap);
	assert_int_equal(hk_os_reserve(top, HK_PAGE_BYTES, &got), 0); /* in the way of its growth */
	unsigned n = 0;
	while (n < MOST && (blocks[n] = hak_malloc(10000)))
		n++;
	assert_in_range(n, 100, 300);
	assert_int_equal(sum()->refill_failed, 1);
	assert_true(now.pool.out_of_memory >= 1);
	assert_int_equal(now.malloc_blocks, n);
}

/* tls_sll and tls_pops come from budgets, and are exact at any moment. */
static void blocks_are_counted_exactly(void **state)
{
	(void)state;
	struct hk_heap *heaps[3];
	uint64_t seed = 77, taken = 0, freed = 0, own = 0;
	unit_start(NULL);
	for (unsigned i = 0; i < 3; i++)
		heaps[i] = unit_heap();
	for (unsigned n = 0; n < 60000; n++) {
		unsigned i = (unsigned)(unit_random(&seed) % MOST);
		struct hk_heap *heap = heaps[unit_random(&seed) % 3];
		unit_as(heap);
		if (blocks[i]) {
			struct hk_found f = hk_find(blocks[i]);
			own += f.kind == HK_FOUND_BLOCK && f.slab->heap == heap;
			unit_give(blocks + i, 1);
			freed++;
		} else {
			unit_take(blocks + i, 1, 1 + unit_random(&seed) % (n % 50 ? 500 : 700000));
			taken++;
		}
		if (n % 97 == 0) {
			sum();
			assert_int_equal(now.malloc_blocks, taken);
			assert_int_equal(now.free_blocks, freed);
			assert_true(now.sum.tls_sll >= own && now.sum.tls_sll <= freed);
		}
	}
}

/* What went into bins is in them, was handed out, or went back. */
static void bins_lose_nothing(void **state)
{
	(void)state;
	struct hk_heap *heaps[2];
	uint64_t seed = 78;
	unit_start(NULL);
	for (unsigned i = 0; i < 2; i++)
		heaps[i] = unit_heap();
	for (unsigned n = 0; n < 50000; n++) {
		unsigned i = (unsigned)(unit_random(&seed) % MOST);
		unit_as(heaps[unit_random(&seed) % 2]);
		if (blocks[i])
			unit_give(blocks + i, 1);
		else
			unit_take(blocks + i, 1, 1 + unit_random(&seed) % 2000);
		if (n % 101)
			continue;
		const struct hk_counters *s = sum();
		size_t walked = 0;
		for (unsigned h = 0; h < 2; h++)
			for (unsigned c = 0; c < HK_CLASSES; c++)
				walked += unit_walk(heaps[h]->bins[c].head);
		assert_int_equal(now.bin_blocks, walked);
		assert_int_equal(s->refill_blocks + s->tls_sll,
				 s->tls_pops + s->ss_local + s->flush_remote + walked);
	}
	unit_give(blocks, MOST);
	unit_empty(heaps, 2);
	const struct hk_counters *s = sum();
	assert_int_equal(s->ss_remote, s->ss_remote_drained);
	assert_int_equal(now.malloc_blocks, now.free_blocks);
	assert_int_equal(now.slab_live_bytes, 0);
	assert_int_equal(now.bin_blocks, 0);
}

static void spans_and_callocs(void **state)
{
	(void)state;
	unit_begin(NO_STARTERS);
	void *p = hak_malloc(1000000), *q = hak_malloc(5000000);
	q = hak_realloc(q, 6000000);
	assert_int_equal(sum()->span_made, 2);
	assert_int_equal(sum()->span_resized, 1);
	assert_int_equal(now.spans, 2);
	hak_free(hak_calloc(1, 20000000)); /* beyond what was used: fresh */
	assert_int_equal(sum()->calloc_known_zero, 1);
	hak_free(p);
	hak_free(q);
	assert_int_equal(sum()->span_freed, 3);
	p = hak_calloc(1, 20000000); /* was used */
	assert_int_equal(sum()->calloc_known_zero, 1);
	assert_int_equal(now.malloc_blocks, 4);
	assert_int_equal(now.free_blocks, 3);
}

/* Also of spans, and of those that a signal handler frees. */
static void what_failed_is_no_block(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NO_STARTERS);
	void *p = hak_malloc(5000000);
	for (unsigned i = 0; i < 5; i++)
		assert_null(hak_malloc(1ul << 46));
	sum();
	assert_int_equal(now.malloc_blocks, 1);
	heap->busy = 1; /* as a signal handler finds it */
	hak_free(p);
	heap->busy = 0;
	sum();
	assert_int_equal(now.free_blocks, 1);
}

/* They have figures of their own. */
static void arenas_are_not_counted(void **state)
{
	struct hak_arena_options o = {.size_bytes = sizeof(o), .initial_bytes = 8 << 20};
	hak_arena *arena;
	(void)state;
	unit_begin(NO_STARTERS);
	assert_int_equal(hak_arena_create(&o, &arena), 0);
	struct hk_snapshot before = (sum(), now);
	for (unsigned i = 0; i < 1000; i++)
		assert_non_null(hak_arena_alloc(arena, 500));
	void *p = hak_arena_alloc(arena, 1000000);
	sum();
	assert_int_equal(now.spans, before.spans);
	assert_int_equal(now.slabs, before.slabs);
	assert_int_equal(now.slab_live_bytes, before.slab_live_bytes);
	assert_int_equal(now.malloc_blocks, before.malloc_blocks);
	struct hk_heap *had = unit_as(unit_heap()); /* a thread that has no heap there */
	hak_free(p);
	unit_as(had);
	sum();
	assert_int_equal(now.free_blocks, before.free_blocks);
	assert_int_equal(hak_arena_destroy(arena), 0);
}

/* A handler that came while its thread had the pool's lock is served apart, and waits for nothing. */
static void a_pool_that_is_locked(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NO_STARTERS);
	hk_lock(&POOL->lock);
	void *p = hak_malloc(3000), *q = hak_malloc(100);
	hk_unlock(&POOL->lock);
	assert_true(p && q);
	assert_int_equal(heap->count.early_reentry, 2);
}

static void early_returns_have_names(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NO_STARTERS);
	void *p = hak_malloc(64);
	volatile size_t beyond = (size_t)PTRDIFF_MAX + 1;
	assert_null(hak_malloc(beyond));
	assert_int_equal(sum()->early_size, 1);
	heap->busy = 1; /* as a signal handler finds it */
	void *q = hak_malloc(3000);
	heap->busy = 0;
	assert_non_null(q);
	assert_int_equal(sum()->early_reentry, 1);
	hak_free(q);
	assert_int_equal(sum()->early_foreign, 0); /* the emergency span's is ours */
	q = malloc(100);
	hak_free(q);
	assert_int_equal(sum()->early_foreign, 1);
	hak_free(p);
}

static void threads_past_their_end(void **state)
{
	(void)state;
	unit_begin(NO_STARTERS);
	hak_free(hak_malloc(64));
	unit_as(&hk_heap_dead);
	void *p = hak_malloc(64);
	assert_non_null(p);
	assert_int_equal(sum()->early_no_heap, 1);
	hak_free(p);
}

/* Between the moment when the chunks of a medium slab are marked and that when its header is made,
 * another thread may ask for figures, or whether a pointer is ours. */
static void figures_may_be_asked_at_any_moment(void **state)
{
	(void)state;
	bool zero;
	unit_begin(NO_STARTERS);
	void *p = hk_pool_chunks_alloc(POOL, 2, 1, HK_CODE_MEDIUM, &zero);
	assert_non_null(p);
	sum();
	assert_int_equal(now.slab_live_bytes, 0);
	assert_int_equal(hak_owns(p), 0);
}

/* A crash handler asks for them while its thread is inside the allocator: it gets none, and no deadlock. */
static void figures_in_a_handler(void **state)
{
	(void)state;
	struct hk_node_figures figures;
	struct hk_heap *heap = unit_begin(NO_STARTERS);
	hak_free(hak_malloc(64));
	alarm(20);
	hk_lock(&POOL->lock);
	sum();
	assert_int_equal(now.committed_bytes, 0);
	hk_node_figures(0, &figures);
	assert_int_equal(figures.committed_bytes, 0);
	assert_int_equal(hak_malloc_trim(0), 0);
	hk_unlock(&POOL->lock);
	hk_lock(&heap->lock);
	heap->busy = 1;
	assert_int_equal(hak_malloc_trim(0), 0);
	heap->busy = 0;
	hk_unlock(&heap->lock);
	sum();
	assert_true(now.committed_bytes);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(first_block_of_a_class),
		cmocka_unit_test(each_refill_stage),
		cmocka_unit_test(another_partial_slab),
		cmocka_unit_test(an_empty_slab_that_was_kept),
		cmocka_unit_test(shared_and_parked),
		cmocka_unit_test(memory_exhausted),
		cmocka_unit_test(blocks_are_counted_exactly),
		cmocka_unit_test(bins_lose_nothing),
		cmocka_unit_test(spans_and_callocs),
		cmocka_unit_test(what_failed_is_no_block),
		cmocka_unit_test(arenas_are_not_counted),
		cmocka_unit_test(a_pool_that_is_locked),
		cmocka_unit_test(early_returns_have_names),
		cmocka_unit_test(threads_past_their_end),
		cmocka_unit_test(figures_may_be_asked_at_any_moment),
		cmocka_unit_test(figures_in_a_handler),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
