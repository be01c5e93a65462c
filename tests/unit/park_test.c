/* park_test.c - src/heap/park.c, birth.c: heaps whose threads ended, their slabs and their queues. */
#include "unit.h"

#include <pthread.h>
#include <string.h>

#define NO_STARTERS "HAKMEM_STARTER_MIB=0"
#define MANY 300

static void *blocks[MANY];
static struct hk_heap *left; /* the heap of the thread that ran last */
static size_t block_size;

static void *take_and_go(void *count)
{
	for (size_t i = 0; i < (size_t)count; i++)
		blocks[i] = hak_malloc(block_size);
	left = hk_heap_mine();
	return NULL;
}

/* A thread takes COUNT blocks and ends. */
static void run_thread(void *(*run)(void *), void *arg)
{
	pthread_t t;
	assert_int_equal(pthread_create(&t, NULL, run, arg), 0);
	assert_int_equal(pthread_join(t, NULL), 0);
}

static void leave(size_t count, size_t size)
{
	block_size = size;
	run_thread(take_and_go, (void *)count);
}

/* The first thread has a heap of its own before others come. */
static void begin(const char *options)
{
	unit_start(options);
	assert_non_null(hak_malloc(1));
}

static void ends_are_parked(void **state)
{
	(void)state;
	begin(NO_STARTERS);
	leave(MANY, 1000);
	assert_ptr_not_equal(left, hk_heap_mine());
	assert_int_equal(hk_heap_state(left), HK_HEAP_PARKED);
	assert_int_equal(hk_heaps_parked, 1);
	assert_int_equal(left->count.heap_parks, 1);
	assert_int_equal(left->lock.owner, 0);
	for (unsigned c = 0; c < HK_CLASSES; c++)
		assert_null(left->classes[c].partial[0]); /* empty slabs go back */
	for (unsigned i = 0; i < HK_SLOTS; i++)
		assert_null(left->slots[i].slab);
	unit_audit();
}

static size_t bytes_in_bins(const struct hk_heap *heap)
{
	size_t bytes = 0;
	for (unsigned c = 0; c < HK_CLASSES; c++)
		for (const struct hk_block *b = heap->bins[c].head; b; b = b->next)
			bytes += hk_classes[c].size;
	return bytes;
}

/* SIZES sizes from 64 B on (shorter blocks of a shared heap go home), TIMES blocks of each: taken, then freed. */
struct load {
	unsigned sizes, times;
};

static void take_and_give(const struct load *l)
{
	for (unsigned i = 4; i < 4 + l->sizes; i++) {
		void *some[64];
		unit_take(some, l->times, i * HK_GRANULE);
		unit_give(some, l->times);
	}
}

static void *load(void *arg)
{
	take_and_give(arg);
	left = hk_heap_mine();
	return NULL;
}

static void bins_wait_for_the_next_thread(void **state)
{
	struct load few = {.sizes = 30, .times = 4};
	(void)state;
	begin(NO_STARTERS);
	run_thread(load, &few);
	struct hk_heap *first = left;
	size_t stock = bytes_in_bins(first);
	uint64_t refilled = first->count.refill_blocks;
	assert_true(stock >= 30 * 31 / 2 * HK_GRANULE);
	assert_int_equal(first->stock_bytes, first->cap_bytes);
	assert_true(stock <= first->stock_bytes);
	unit_audit();
	run_thread(load, &few);
	assert_ptr_equal(left, first);
	assert_int_equal(first->count.refill_blocks, refilled); /* all were there */
	stock = bytes_in_bins(first);
	/* For a second, as long as a thread is awake. */
	hk_heaps_unstock(100000);
	assert_int_equal(bytes_in_bins(first), stock);
	first->stocked_ms -= 100000;
	hk_heaps_unstock(100000);
	assert_int_equal(first->stock_bytes, 0);
	assert_int_equal(bytes_in_bins(first), 0);
	unit_audit();
	run_thread(load, &few);
	assert_true(bytes_in_bins(first) > 0);
	hk_heaps_trim(0);
	assert_int_equal(bytes_in_bins(first), 0);
	unit_audit();
}

#define ENDS 30u

static void *load_together(void *go)
{
	struct load l = {.sizes = 50, .times = 4};
	take_and_give(&l);
	pthread_barrier_wait(go);
	return NULL;
}

/* All parked heaps together keep 1 of 4 MiB. */
static void stocks_have_a_limit(void **state)
{
	pthread_t t[ENDS];
	pthread_barrier_t go;
	size_t stock = 0, stocked = 0;
	(void)state;
	begin("HAKMEM_BIN_EXTRA_MIB=4");
	pthread_barrier_init(&go, NULL, ENDS);
	for (unsigned i = 0; i < ENDS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, load_together, &go), 0);
	for (unsigned i = 0; i < ENDS; i++)
		pthread_join(t[i], NULL);
	for (unsigned i = 0; i < hk_heaps_made; i++) {
		if (hk_heap_state(hk_heap_at(i)) != HK_HEAP_PARKED)
			continue;
		assert_true(bytes_in_bins(hk_heap_at(i)) <= hk_heap_at(i)->stock_bytes);
		stocked += hk_heap_at(i)->stock_bytes != 0;
		stock += hk_heap_at(i)->stock_bytes;
	}
	assert_int_equal(hk_heaps_parked, ENDS);
	assert_true(stocked > 0 && stocked < ENDS);
	assert_true(stock <= 1u << 20);
	unit_audit();
	hk_heaps_trim(0);
	unit_audit();
}

/* A living thread that wants a slab gets the one that has room once a parked heap's bin is emptied. */
static void the_living_take_from_the_stock(void **state)
{
	uint32_t n;
	(void)state;
	begin(NO_STARTERS);
	leave(40, 1000);
	struct hk_slab *slab = hk_slab_of_tiny(blocks[39]);
	assert_ptr_equal(slab->heap, left);
	assert_true(bytes_in_bins(left) > 0);
	hk_lock(&left->lock);
	while (slab->list)
		assert_non_null(hk_slabs_take(left, slab->class_index, 1, &n));
	hk_unlock(&left->lock);
	assert_non_null(hak_malloc(1000));
	assert_int_equal(bytes_in_bins(left), 0);
	assert_int_equal(hk_heap_mine()->count.refill_parked, 1);
	assert_ptr_equal(slab->heap, hk_heap_mine());
	unit_audit();
}

/* Rather than fail, malloc takes what ended threads left. */
static void a_stock_is_no_reason_to_fail(void **state)
{
	struct load some = {.sizes = 20, .times = 2};
	uintptr_t got;
	unsigned n = 0;
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=0 HAKMEM_REGION_MIB=2");
	assert_non_null(hak_malloc(1));
	assert_int_equal(hk_os_reserve(hk_region.base + hk_region.stripe[0].reserved_bytes, HK_PAGE_BYTES, &got), 0);
	run_thread(load, &some);
	assert_true(left->stock_bytes > 0);
	assert_true(POOL->free_chunks <= HK_SUPER_CHUNKS - 20);
	while (hak_malloc(HK_CHUNK_BYTES * 9))
		n++;
	assert_int_equal(n, 3); /* 27 chunks of 32 */
	assert_int_equal(left->stock_bytes, 0);
	unit_audit();
}

static void their_frees_are_drained_at_once(void **state)
{
	(void)state;
	begin(NO_STARTERS);
	leave(MANY, 1000);
	assert_true(left->slabs > 0);
	unit_give(blocks, MANY);
	hk_remote_flush(hk_heap_mine(), false);
	assert_null(left->xqueue);
	assert_int_equal(left->slabs, 1); /* of the blocks in its bin */
	hk_heaps_trim(0);
	assert_int_equal(left->slabs, 0);
	unit_audit();
}

static void the_next_thread_takes_the_heap(void **state)
{
	(void)state;
	begin(NO_STARTERS);
	leave(MANY, 100);
	struct hk_heap *first = left;
	uint32_t made = hk_heaps_made;
	for (unsigned i = 0; i < 50; i++) {
		leave(10, 200);
		assert_ptr_equal(left, first);
		unit_give(blocks, 10);
	}
	assert_int_equal(hk_heaps_made, made);
	assert_int_equal(first->count.heap_births, 51);
	assert_int_equal(first->count.heap_parks, 51);
	assert_int_equal(hk_heaps_parked, 1);
	unit_audit();
}

static void the_living_take_slabs_one_by_one(void **state)
{
	(void)state;
	begin(NO_STARTERS);
	struct hk_heap *me = hk_heap_mine();
	leave(MANY, 1000);
	/* Every other one is freed: the parked heap's slabs have room. */
	size_t slabs = left->slabs, mine = 0;
	for (unsigned i = 0; i < MANY; i += 2)
		unit_give(blocks + i, 1);
	hk_remote_flush(me, false);
	unit_drain(left);
	for (unsigned i = 0; i < MANY; i += 2) {
		unit_take(blocks + i, 1, 1000);
		memset(blocks[i], 1, 1000);
	}
	assert_true(me->count.refill_parked > 0);
	assert_int_equal(left->slabs, slabs - me->count.refill_parked);
	for (unsigned i = 0; i < MANY; i++) {
		struct hk_slab *slab = hk_slab_of_tiny(blocks[i]);
		assert_true(slab->heap == me || slab->heap == left || slab->heap->shared);
		assert_int_equal(slab->tag, hk_slab_tag(slab, slab->heap));
		mine += slab->heap == me;
	}
	assert_true(mine > MANY / 2);
	unit_audit();
	unit_give(blocks, MANY);
	hk_heaps_trim(0);
	unit_audit();
}

static void *sleeper(void *go)
{
	for (unsigned i = 0; i < MANY; i++)
		blocks[i] = hak_malloc(1000);
	left = hk_heap_mine();
	pthread_barrier_wait(go);
	pthread_barrier_wait(go);
	return NULL;
}

/* The queue of a thread that sleeps is emptied by malloc_trim, its slabs too. */
static void sleepers_are_trimmed(void **state)
{
	(void)state;
	pthread_t t;
	pthread_barrier_t go;
	begin(NO_STARTERS);
	pthread_barrier_init(&go, NULL, 2);
	assert_int_equal(pthread_create(&t, NULL, sleeper, &go), 0);
	pthread_barrier_wait(&go);
	assert_int_equal(hk_heap_state(left), HK_HEAP_LIVE);
	unit_give(blocks, MANY);
	size_t slabs = left->slabs;
	assert_true(hk_heaps_trim(0) > 0);
	assert_null(left->xqueue);
	assert_true(left->slabs + 2 < slabs); /* what its bin holds keeps one or two */
	pthread_barrier_wait(&go);
	pthread_join(t, NULL);
	unit_audit();
}

static void *after_the_end(void *arg)
{
	void *p = hak_malloc(100);
	hk_heap_park(unit_as(&hk_heap_dead));
	assert_ptr_equal(hk_heap_mine(), &hk_heap_dead);
	void *q = hak_malloc(100), *r = hak_malloc(100000), *s = hak_malloc(3000000);
	bool ok = q && r && s && hk_slab_of_tiny(q)->heap->shared;
	hak_free(p);
	hak_free(q);
	hak_free(r);
	hak_free(s);
	q = hak_calloc(10, 10);
	ok = ok && q && !memcmp(q, "\0\0\0\0\0\0\0\0", 8);
	hak_free(q);
	*(bool *)arg = ok;
	return NULL;
}

static void calls_after_the_end_are_served(void **state)
{
	(void)state;
	bool ok = false;
	begin(NO_STARTERS);
	run_thread(after_the_end, &ok);
	assert_true(ok);
	hk_heaps_trim(0);
	unit_audit();
}

static void first_blocks_are_shared(void **state)
{
	(void)state;
	begin(NO_STARTERS);
	leave(1, 64);
	assert_int_equal(hk_slab_of_tiny(blocks[0])->heap->shared, 1);
	assert_int_equal(left->count.refill_shared, 1);
	assert_int_equal(left->count.refill_chunk, 0);
	assert_int_equal(hk_heap_mine()->count.refill_shared, 0); /* the first thread has no one to share with */
}

/* A thousand threads with blocks of 25 classes: what they leave serves the living. */
static void *all_classes(void *arg)
{
	(void)arg;
	for (unsigned c = 0; c < 75; c += 3)
		hak_free(hak_malloc(hk_classes[c].size));
	return NULL;
}

static void nothing_is_stranded(void **state)
{
	(void)state;
	begin(NO_STARTERS);
	for (unsigned i = 0; i < 200; i++)
		run_thread(all_classes, NULL);
	hk_heaps_trim(0);
	unit_audit();
	assert_int_equal(hk_heaps_made, 3); /* shared, first, one for all the others */
	/* The block of begin() alone: one slab. */
	assert_int_equal(POOL->used_supers, 1);
	assert_int_equal(POOL->free_chunks, HK_SUPER_CHUNKS - 1);
}

static void *tags(void *arg)
{
	(void)arg;
	hak_malloc(1);
	left = hk_heap_mine();
	return NULL;
}

HK_NOINLINE static bool fits(const struct hk_heap *heap, uint64_t tag)
{
	return (tag & heap->tag_mask) == heap->tag;
}

static void tags_tell_heaps_apart(void **state)
{
	(void)state;
	begin(NULL);
	run_thread(tags, NULL);
	const struct hk_heap *me = hk_heap_mine(), *heaps[] = {me, left, &hk_heap_unborn, &hk_heap_dead, hk_shared_heaps[0]};
	uint64_t pools = me->pool_tag, mine = pools ^ ~me->tag_mask, its = pools ^ ~left->tag_mask;
	assert_int_equal(left->pool_tag, pools);
	for (unsigned i = 0; i < COUNT_OF(heaps); i++) {
		bool born = heaps[i] != &hk_heap_unborn && heaps[i] != &hk_heap_dead;
		assert_int_equal(fits(heaps[i], pools), born);
		assert_int_equal(fits(heaps[i], mine), heaps[i] == me);
		assert_int_equal(fits(heaps[i], its), heaps[i] == left);
		/* What a program may have where a header would be. */
		assert_false(fits(heaps[i], 0));
		assert_false(fits(heaps[i], ~0ull));
		assert_false(fits(heaps[i], (uintptr_t)me));
		assert_false(fits(heaps[i], ~me->tag_mask));
		assert_false(fits(heaps[i], pools >> 32 << 32));
	}
	/* Any two heaps: */
	for (uint32_t i = 0; i < 3000; i++) {
		uint32_t a = i * 40503 % HK_HEAPS_MAX, b = (i * 7 + 1) % HK_HEAPS_MAX;
		struct hk_heap one = {.tag = pools & hk_heap_mask(a), .tag_mask = hk_heap_mask(a)};
		assert_true(fits(&one, pools));
		assert_true(fits(&one, pools ^ ~hk_heap_mask(a)));
		assert_int_equal(fits(&one, pools ^ ~hk_heap_mask(b)), a == b);
	}
}

/* A bin of blocks above 64 KiB opens with a cap of 0; when it is quiet, what a refill left in it goes as well. */
static void a_quiet_bin_without_a_cap(void **state)
{
	bool zero;
	(void)state;
	begin(NULL);
	struct hk_heap *heap = hk_heap_mine();
	unsigned c = hk_class_of(80000);
	uint32_t now = hk_os_clock_ms();
	hk_lock(&heap->lock);
	assert_true(hk_bin_refill(heap, c, &zero));
	assert_non_null(heap->bins[c].head);
	hk_unlock(&heap->lock);
	heap->cap_bytes -= (size_t)heap->classes[c].cap * hk_classes[c].size;
	heap->classes[c].cap = 0;
	for (unsigned i = 0; i < 3; i++)
		hk_heap_tick(heap, now + 100 * i);
	assert_null(heap->bins[c].head);
	unit_audit();
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(ends_are_parked),
		cmocka_unit_test(a_quiet_bin_without_a_cap),
		cmocka_unit_test(bins_wait_for_the_next_thread),
		cmocka_unit_test(stocks_have_a_limit),
		cmocka_unit_test(the_living_take_from_the_stock),
		cmocka_unit_test(a_stock_is_no_reason_to_fail),
		cmocka_unit_test(their_frees_are_drained_at_once),
		cmocka_unit_test(the_next_thread_takes_the_heap),
		cmocka_unit_test(the_living_take_slabs_one_by_one),
		cmocka_unit_test(sleepers_are_trimmed),
		cmocka_unit_test(calls_after_the_end_are_served),
		cmocka_unit_test(first_blocks_are_shared),
		cmocka_unit_test(nothing_is_stranded),
		cmocka_unit_test(tags_tell_heaps_apart),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
