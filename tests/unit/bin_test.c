/* bin_test.c - src/tiny/bin.c: lengths known without walking, cuts, caps and their ceiling, which
 * slab a refill takes from. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "observe/options.h"

#define MOST 20000

static void *blocks[MOST];

static void check_length(const struct hk_heap *heap, unsigned c)
{
	assert_int_equal(hk_bin_length(heap, c), unit_walk(heap->bins[c].head));
}

static void length_is_exact(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NULL);
	uint64_t seed = 31;
	for (unsigned n = 0; n < 100000; n++) {
		unsigned i = (unsigned)(unit_random(&seed) % (n / 10000 % 2 ? 300 : 3000));
		unsigned c;
		if (blocks[i]) {
			c = hk_slab_of_tiny(blocks[i])->class_index;
			unit_give(blocks + i, 1);
		} else {
			size_t size = 1 + unit_random(&seed) % 300;
			c = hk_class_of(size);
			unit_take(blocks + i, 1, size);
		}
		if (n % 8 == 0)
			check_length(heap, c);
	}
	for (unsigned c = 0; c < HK_CLASSES; c++)
		check_length(heap, c);
}

/* COUNT free blocks of class C in the bin, whatever its cap. */
static void stock(struct hk_heap *heap, unsigned c, size_t count)
{
	unit_take(blocks, count, hk_classes[c].size);
	hk_bin_grant(heap, c, hk_bin_length(heap, c), 1 << 30);
	unit_give(blocks, count);
	assert_true(hk_bin_length(heap, c) >= count);
}

static void cut_keeps_what_it_says(void **state)
{
	(void)state;
	static const uint32_t keeps[] = {4000, 1000, 999, 500, 1, 0};
	struct hk_heap *heap = unit_begin(NULL);
	stock(heap, 2, 2000);
	uint32_t n = hk_bin_length(heap, 2);
	uint64_t local = heap->count.ss_local;
	for (size_t i = 0; i < COUNT_OF(keeps); i++) {
		struct hk_block *head = heap->bins[2].head;
		uint32_t keep = keeps[i] < n ? keeps[i] : n;
		hk_lock(&heap->lock);
		hk_bin_cut(heap, 2, keeps[i]);
		hk_bin_grant(heap, 2, keep, 1 << 30);
		hk_unlock(&heap->lock);
		assert_int_equal(unit_walk(heap->bins[2].head), keep);
		assert_int_equal(heap->count.ss_local - local, n - keep);
		if (keep)
			assert_ptr_equal(heap->bins[2].head, head); /* the newest stay */
		unit_audit();
	}
}

static void overflow_halves_or_empties(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NULL);
	for (unsigned taken = 0; taken < 2; taken++) {
		stock(heap, 5, 3000);
		if (taken)
			unit_take(blocks, 1, hk_classes[5].size);
		hk_lock(&heap->lock);
		hk_bin_overflow(heap, 5);
		hk_unlock(&heap->lock);
		uint32_t keep = taken ? heap->classes[5].cap / 2 : 0;
		assert_int_equal(hk_bin_length(heap, 5), keep);
		check_length(heap, 5);
		/* A program that only frees is asked again after few. */
		assert_int_equal(heap->bins[5].budget, taken ? heap->classes[5].cap - keep : 32);
		unit_audit();
	}
}

/* Of a long list that is over its cap, the newest go and the rest stays; after so many caps all of it is walked. */
static void long_lists_shed_their_newest(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin("HAKMEM_BIN_KIB=32 HAKMEM_BIN_EXTRA_MIB=0");
	const struct hk_class_state *cs = &heap->classes[2];
	for (unsigned round = 0; round < 30; round++) { /* the cap grows */
		unit_take(blocks, 4000, 48);
		unit_give(blocks, 4000);
	}
	uint32_t cap = cs->cap, walked = 0;
	assert_in_range(cap, 8 * HK_DRAIN_BLOCKS, MOST / 34);
	unit_take(blocks, MOST, 48);
	for (unsigned i = 0; i < MOST; i++) {
		uint64_t cuts = heap->count.bin_flushed;
		struct hk_block *oldest = heap->bins[2].head;
		for (uint32_t n = HK_DRAIN_BLOCKS; oldest && --n;)
			oldest = oldest->next;
		uint32_t shed = cs->shed, before = hk_bin_length(heap, 2);
		unit_give(blocks + i, 1);
		if (heap->count.bin_flushed == cuts)
			continue;
		check_length(heap, 2);
		if (before <= HK_DRAIN_BLOCKS) {
			assert_int_equal(walked, 1); /* which emptied the bin; short lists since */
		} else if (cs->shed) {
			assert_int_equal(cs->shed, shed + HK_DRAIN_BLOCKS);
			assert_int_equal(hk_bin_length(heap, 2), before + 1 - HK_DRAIN_BLOCKS);
			assert_ptr_equal(heap->bins[2].head, oldest);
		} else {
			walked++;
			assert_in_range(shed, 32 * cap, 33 * cap);
			assert_int_equal(hk_bin_length(heap, 2), 0);
		}
	}
	assert_int_equal(walked, 1);
	unit_audit();
}

/* Blocks of other heaps stay where they are freed, but for those that may share a line with a neighbour. */
static void others_blocks_stay(void **state)
{
	(void)state;
	struct hk_heap *owner = unit_begin(NULL), *heap = unit_heap();
	static const struct {
		size_t size;
		bool stay;
	} sizes[] = {{48, false}, {49, true}, {64, true}, {1000, true}, {HK_TINY_MAX, true}, {HK_TINY_MAX + 1, false}};
	for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
		void *p;
		unsigned c = hk_class_of(sizes[i].size);
		unit_as(owner);
		unit_take(&p, 1, sizes[i].size);
		struct hk_slab *slab = hk_slab_of(p, c);
		assert_ptr_equal(slab->heap, owner);
		assert_int_equal(slab->tag, hk_slab_tag(slab, owner));
		void *q = p;
		unit_as(heap);
		unit_give(&p, 1);
		assert_int_equal(heap->bins[c].head == q, sizes[i].stay);
		check_length(heap, c);
	}
	struct hk_heap *heaps[] = {owner, heap};
	unit_empty(heaps, 2);
	assert_int_equal(owner->slabs, 0);
	unit_audit();
}

/* A thread that only frees a class keeps what its bin has room for, once, and from then on nothing. The order of the
 * frees stays: the newest first. */
static void who_only_frees_passes_on(void **state)
{
	(void)state;
	struct hk_heap *owner = unit_begin(NULL), *heap = unit_heap();
	unsigned c = hk_class_of(100);
	void *was[500];
	unit_take(blocks, 500, 100);
	memcpy(was, blocks, sizeof(was));
	unit_as(heap);
	unit_give(blocks, 500);
	assert_int_equal(heap->classes[c].draining, HK_DRAINS_OTHERS);
	assert_null(heap->bins[c].head);
	check_length(heap, c);
	const struct hk_block *b = NULL;
	for (unsigned i = 0; i < HK_SLOTS; i++)
		if (heap->slots[i].head == was[499])
			b = heap->slots[i].head;
	for (unsigned i = 499; i > 400; i--, b = b->next)
		assert_ptr_equal(b, was[i]);
	/* One that takes some keeps some. */
	unit_take(blocks, 3, 100);
	unit_give(blocks, 3);
	assert_true(heap->bins[c].head != NULL);
	check_length(heap, c);
	struct hk_heap *heaps[] = {owner, heap};
	unit_empty(heaps, 2);
	assert_int_equal(owner->slabs + heap->slabs, 0);
	unit_audit();
}

/* The same of one whose bin was long before: nothing stays in it. */
static void a_long_list_of_others_goes_too(void **state)
{
	(void)state;
	struct hk_heap *owner = unit_begin(NULL), *heap = unit_heap();
	unsigned c = hk_class_of(100);
	unit_as(heap);
	for (unsigned round = 0; round < 30; round++) { /* the cap grows */
		unit_take(blocks, 2000, 100);
		unit_give(blocks, 2000);
	}
	assert_true(heap->classes[c].cap > 8 * HK_DRAIN_BLOCKS);
	unit_as(owner);
	unit_take(blocks, MOST, 100);
	unit_as(heap);
	unit_give(blocks, MOST);
	assert_int_equal(heap->classes[c].draining, HK_DRAINS_OTHERS);
	assert_null(heap->bins[c].head);
	check_length(heap, c);
	struct hk_heap *heaps[] = {owner, heap};
	unit_empty(heaps, 2);
	assert_int_equal(owner->slabs + heap->slabs, 0);
	unit_audit();
}

/* Between others' blocks, its own go to their slabs some at a time, and never more than the cap stay. */
static void own_blocks_among_others(void **state)
{
	static const size_t sizes[] = {100, 1000, 8192};
	(void)state;
	struct hk_heap *owner = unit_begin(NULL), *heap = unit_heap();
	for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
		unsigned c = hk_class_of(sizes[i]);
		unit_as(owner);
		unit_take(blocks, 300, sizes[i]);
		unit_as(heap);
		unit_take(blocks + 300, 300, sizes[i]);
		unit_give(blocks, 300);
		assert_int_equal(heap->classes[c].draining, HK_DRAINS_OTHERS);
		unit_give(blocks + 300, 3);
		assert_ptr_equal(hk_slab_of(heap->bins[c].head, c)->heap, heap);
		for (unsigned n = 303; n < 600; n++) {
			unit_give(blocks + n, 1);
			check_length(heap, c);
			assert_true(hk_bin_length(heap, c) <= hk_min(heap->classes[c].cap, HK_DRAIN_BLOCKS) + 1);
		}
	}
	struct hk_heap *heaps[] = {owner, heap};
	unit_empty(heaps, 2);
	assert_int_equal(owner->slabs + heap->slabs, 0);
	unit_audit();
}

/* Frees alone must never make a bin longer than its cap (a refill may: it takes whole lists). */
static void frees_stay_below_the_cap(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NULL);
	unit_take(blocks, 10000, 48);
	for (unsigned i = 0; i < 10000; i++) {
		unit_give(blocks + i, 1);
		if (heap->count.bin_flushed)
			assert_true(unit_walk(heap->bins[2].head) <= heap->classes[2].cap + 1);
	}
	assert_in_range(heap->count.bin_flushed, 10, 10000 / 32); /* 32 blocks at a time once it only frees */
	assert_true(heap->count.bin_grown <= 1); /* for the refills before */
}

/* Takes and frees two at a time, ROUNDS times; how often that was counted. */
static uint64_t looks_of_even(struct hk_heap *heap, unsigned rounds, size_t size)
{
	uint64_t before = heap->count.bin_granted;
	for (unsigned i = 0; i < rounds; i++) {
		unit_take(blocks, 2, size);
		unit_give(blocks, 2);
	}
	return heap->count.bin_granted - before;
}

/* Blocks of almost 1 KiB: six fit in the first cap, sixteen are freed between two looks, where as many are taken, and
 * 64 after eight such looks. */
static void an_even_class_is_counted_seldom(void **state)
{
	enum { SIZE = 1008, CLASS = 62, ROUNDS = 1600 };
	(void)state;
	struct hk_heap *heap = unit_begin(NULL);
	looks_of_even(heap, 10, SIZE);
	assert_in_range(looks_of_even(heap, 40, SIZE), 4, 6);
	looks_of_even(heap, 50, SIZE);
	assert_in_range(looks_of_even(heap, ROUNDS, SIZE), 2 * ROUNDS / 64 - 1, 2 * ROUNDS / 64 + 1);
	assert_int_equal(heap->classes[CLASS].cap, 6);
	/* one that only frees passes its cap by so many at most, once */
	unit_take(blocks, 200, SIZE);
	uint32_t most = 0;
	for (unsigned i = 0; i < 200; i++) {
		unit_give(blocks + i, 1);
		most = (uint32_t)hk_max(most, hk_bin_length(heap, CLASS));
	}
	assert_true(most <= 2 * heap->classes[CLASS].cap + 64);
	assert_in_range(looks_of_even(heap, 40, SIZE), 4, 9);
	check_length(heap, CLASS);
}

/* What a thread that sleeps keeps by that is bounded: four classes at a time, and a quiet one makes room. */
static void few_classes_are_counted_so_seldom(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NULL);
	for (unsigned c = 56; c < 62; c++)
		looks_of_even(heap, 200, hk_classes[c].size);
	assert_int_equal(heap->long_classes, 4);
	hk_lock(&heap->lock);
	hk_bin_quiet(heap, 56);
	hk_unlock(&heap->lock);
	assert_int_equal(heap->long_classes, 3);
	looks_of_even(heap, 200, hk_classes[61].size);
	assert_int_equal(heap->long_classes, 4);
}

/* Of 256 KiB a bin has room for one at most: two are freed between looks nevertheless. */
static void large_blocks_too(void **state)
{
	enum { SIZE = 256 << 10, ROUNDS = 300 };
	(void)state;
	struct hk_heap *heap = unit_begin(NULL);
	for (unsigned i = 0; i < 100 + ROUNDS; i++) {
		if (i == 100)
			heap->count.bin_granted = heap->count.bin_flushed = 0;
		unit_take(blocks, 1, SIZE);
		unit_give(blocks, 1);
	}
	assert_true(heap->classes[hk_class_of(SIZE)].cap <= 1);
	assert_int_equal(heap->count.bin_flushed, 0);
	assert_true(heap->count.bin_granted > 0 && heap->count.bin_granted <= ROUNDS / 3 + 1);
	check_length(heap, hk_class_of(SIZE));
}

/* Runs over and empties in turn: the cap doubles, up to a MiB a class and the heap's ceiling. */
static void caps_grow_up_to_the_ceiling(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin("HAKMEM_BIN_KIB=64 HAKMEM_BIN_EXTRA_MIB=0");
	const struct hk_class_state *cs = &heap->classes[3];
	uint32_t first = 0;
	for (unsigned round = 0; round < 30; round++) {
		unit_take(blocks, 8000, 64);
		first = first ? first : cs->cap;
		unit_give(blocks, 8000);
		assert_true(heap->cap_bytes <= 64u << 10);
	}
	assert_true(cs->cap > first);
	assert_true(heap->cap_bytes > 32u << 10); /* another doubling does not fit */
	assert_int_equal(heap->borrowed_bytes, 0);
	assert_true(heap->count.bin_grown > 0);
	unit_audit();
}

/* Over its cap once in more than 32 caps of frees, or twice in fewer. */
static void what_seldom_runs_over_does_not_grow(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NULL);
	const struct hk_class_state *cs = &heap->classes[3];
	unit_take(blocks, 400, 64);
	unit_give(blocks, 400);
	for (unsigned often = 0; often < 2; often++) {
		unit_take(blocks, 2000, 64); /* empties it */
		unit_give(blocks, 2000);
		hk_bin_quiet(heap, 3);
		uint32_t cap = cs->cap;
		uint64_t cuts = heap->count.bin_flushed;
		assert_int_equal(cap, 96);
		for (unsigned round = 0; round < (often ? 31 : 33) * cap; round++) {
			unit_take(blocks, 1, 64);
			unit_give(blocks, 1);
		}
		assert_true(cs->refills);
		assert_int_equal(cs->cap, cap);
		unit_take(blocks, 3 * cap, 64);
		unit_give(blocks, 3 * cap / 2);
		assert_int_equal(cs->cap, often ? 2 * cap : cap);
		assert_true(often || heap->count.bin_flushed > cuts);
		unit_give(blocks + 3 * cap / 2, 3 * cap - 3 * cap / 2);
	}
	unit_audit();
}

static void quiet_bins_go_back_to_the_first_cap(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NULL);
	unit_take(blocks, 1, 64);
	uint32_t first = heap->classes[3].cap;
	for (unsigned round = 0; round < 10; round++) {
		unit_take(blocks + 1, 5000, 64);
		unit_give(blocks + 1, 5000);
	}
	assert_true(heap->classes[3].cap > first);
	uint32_t now = hk_os_clock_ms();
	hk_heap_tick(heap, now); /* was used since the last tick */
	assert_non_null(heap->bins[3].head);
	hk_heap_tick(heap, now + 100);
	assert_null(heap->bins[3].head);
	assert_int_equal(heap->classes[3].cap, first);
	assert_int_equal(heap->count.bin_quiet, 1);
	unit_audit();
}

static void bins_in_use_are_not_quiet(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NULL);
	uint32_t now = hk_os_clock_ms();
	unit_take(blocks, 20, 64);
	for (unsigned i = 0; i < 10; i++) {
		unit_give(blocks + i, 1); /* traffic within the budget: no slow path sees it */
		hk_heap_tick(heap, now + 100 * i);
		assert_non_null(heap->bins[3].head);
	}
}

/* Two slabs: the fuller one is taken from, so that the other can drain. */
static void refills_take_the_fullest(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin("HAKMEM_STARTER_MIB=0");
	enum { C = 31, BYTES = 512 };
	unsigned n = 2 * 127, of[2] = {0, 0};
	unit_take(blocks, n, BYTES);
	struct hk_slab *slabs[2] = {hk_slab_of_tiny(blocks[0]), hk_slab_of_tiny(blocks[n - 1])};
	assert_ptr_not_equal(slabs[0], slabs[1]);
	for (unsigned fuller = 0; fuller < 2; fuller++) {
		hk_lock(&heap->lock);
		hk_bin_quiet(heap, C);
		hk_unlock(&heap->lock);
		of[fuller] = 8;
		of[!fuller] = 40;
		for (unsigned i = 0, k; i < n; i++) {
			k = hk_slab_of_tiny(blocks[i]) == slabs[1];
			if (of[k] && of[k]--)
				unit_give(blocks + i, 1);
		}
		hk_lock(&heap->lock);
		hk_bin_quiet(heap, C);
		hk_unlock(&heap->lock);
		for (unsigned i = 0, got = 0; i < n; i++) {
			if (blocks[i])
				continue;
			unit_take(blocks + i, 1, BYTES);
			if (got++ < 8)
				assert_ptr_equal(hk_slab_of_tiny(blocks[i]), slabs[fuller]);
		}
	}
	unit_audit();
}

static void few_empty_slabs_are_kept(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin("HAKMEM_STARTER_MIB=0");
	unit_take(blocks, 4000, 1024);
	size_t most = heap->slabs;
	unit_give(blocks, 4000);
	assert_true(heap->empty_chunks <= 1 + most / 2);
	assert_true(heap->count.slab_released > 0);
	hk_lock(&heap->lock);
	hk_bin_quiet(heap, 63);
	hk_unlock(&heap->lock);
	assert_int_equal(heap->empty_chunks, 0);
	assert_int_equal(heap->slabs, 0);
	assert_int_equal(POOL->used_supers, 0);
}

static void recount_walks(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NULL);
	stock(heap, 4, 100);
	uint32_t n = hk_bin_length(heap, 4);
	/* A fork between the store of the head and that of the count. */
	heap->bins[4].head = heap->bins[4].head->next;
	assert_int_not_equal(hk_bin_length(heap, 4), unit_walk(heap->bins[4].head));
	hk_bin_recount(heap, 4);
	assert_int_equal(hk_bin_length(heap, 4), n - 1);
	check_length(heap, 4);
}

static void flush_all(void *heap)
{
	hk_bin_cut(heap, 3, 0);
}

static void broken_lists_are_fatal(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin(NULL);
	stock(heap, 3, 50);
	struct hk_block *head = heap->bins[3].head, *second = head->next;
	hak_free(head); /* the head again: a cycle of one */
	unit_must_abort(flush_all, heap, "double free, or a corrupt list");
	head->next = second;
	hk_bin_recount(heap, 3);
	hak_free(second->next); /* a longer cycle */
	unit_must_abort(flush_all, heap, "double free, or a corrupt list");
	heap->bins[3].head = head;
	head->next = NULL; /* cut short by a stray store */
	unit_must_abort(flush_all, heap, "double free, or a corrupt list");
	head->next = (struct hk_block *)((char *)second + 16);
	unit_must_abort(flush_all, heap, "free of a pointer inside a block");
	exit(0);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(length_is_exact),
		cmocka_unit_test(cut_keeps_what_it_says),
		cmocka_unit_test(overflow_halves_or_empties),
		cmocka_unit_test(long_lists_shed_their_newest),
		cmocka_unit_test(others_blocks_stay),
		cmocka_unit_test(who_only_frees_passes_on),
		cmocka_unit_test(a_long_list_of_others_goes_too),
		cmocka_unit_test(own_blocks_among_others),
		cmocka_unit_test(frees_stay_below_the_cap),
		cmocka_unit_test(an_even_class_is_counted_seldom),
		cmocka_unit_test(few_classes_are_counted_so_seldom),
		cmocka_unit_test(large_blocks_too),
		cmocka_unit_test(caps_grow_up_to_the_ceiling),
		cmocka_unit_test(what_seldom_runs_over_does_not_grow),
		cmocka_unit_test(quiet_bins_go_back_to_the_first_cap),
		cmocka_unit_test(bins_in_use_are_not_quiet),
		cmocka_unit_test(refills_take_the_fullest),
		cmocka_unit_test(few_empty_slabs_are_kept),
		cmocka_unit_test(recount_walks),
		cmocka_unit_test(broken_lists_are_fatal),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
