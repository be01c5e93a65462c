/* loans_test.c - src/tiny/loans.c: what bins may hold beyond a heap's own, its limit, and how heaps share it. */
#include "unit.h"

#include "observe/options.h"
#include "tiny/loans.h"

#define MOST 20000

static void *blocks[MOST];

static void what_is_above_is_borrowed(void **state)
{
	(void)state;
	struct hk_heap *heap = unit_begin("HAKMEM_BIN_KIB=64 HAKMEM_BIN_EXTRA_MIB=1");
	for (unsigned round = 0; round < 40; round++)
		for (unsigned c = 2; c < 6; c++) {
			unit_take(blocks, MOST, hk_classes[c].size);
			unit_give(blocks, MOST);
			assert_true(heap->cap_bytes <= (64u << 10) + heap->borrowed_bytes);
			assert_true(heap->borrowed_bytes <= ARENA_MIB(1));
			assert_int_equal(heap->borrowed_bytes, hk_held_bytes);
			assert_true(heap->classes[c].cap * hk_classes[c].size <= 1u << 20);
		}
	assert_true(heap->borrowed_bytes > 0);
	for (unsigned c = 2; c < 6; c++) {
		hk_lock(&heap->lock);
		hk_bin_quiet(heap, c);
		hk_unlock(&heap->lock);
	}
	hk_loans_give_back(heap);
	assert_int_equal(heap->borrowed_bytes, 0);
	assert_int_equal(hk_held_bytes, 0);
	unit_audit();
}

/* By themselves they follow the machine's memory: a 384th, 32 to 256 MiB, where a sixteenth is not less. */
static void loans_fit_the_machine(void **state)
{
	(void)state;
	size_t limit = hk_os_memory_limit(), all = hk_max(ARENA_MIB(32), hk_min(limit / 384, ARENA_MIB(256)));
	struct hk_heap *heap = unit_begin("HAKMEM_BIN_KIB=64");
	all = hk_min(all, hk_max(limit / 16, ARENA_MIB(8)));
	assert_int_equal(hk_loans_least(), ARENA_MIB(32));
	hk_held_bytes = all; /* others have it */
	for (unsigned round = 0; round < 40; round++) {
		unit_take(blocks, MOST, hk_classes[2].size);
		unit_give(blocks, MOST);
	}
	assert_int_equal(heap->borrowed_bytes, 0);
	hk_held_bytes = all - ARENA_MIB(1); /* one is left */
	for (unsigned round = 0; round < 40; round++) {
		unit_take(blocks, MOST, hk_classes[2].size);
		unit_give(blocks, MOST);
	}
	assert_true(heap->borrowed_bytes > 0);
	assert_int_equal(hk_held_bytes, all - ARENA_MIB(1) + heap->borrowed_bytes);
	hk_held_bytes = heap->borrowed_bytes;
	unit_audit();
}

static void run_over(struct hk_heap *heap, unsigned rounds)
{
	unit_as(heap);
	for (unsigned round = 0; round < rounds; round++)
		for (unsigned c = 2; c < 6; c++) {
			unit_take(blocks, MOST, hk_classes[c].size);
			unit_give(blocks, MOST);
		}
}

/* The first heap leaves a third; what it has more than its share of when another comes goes back. */
static void loans_are_shared(void **state)
{
	(void)state;
	const size_t all = ARENA_MIB(1);
	struct hk_heap *first = unit_begin("HAKMEM_BIN_KIB=64 HAKMEM_BIN_EXTRA_MIB=1"), *second = unit_heap();
	run_over(first, 40);
	size_t alone = first->borrowed_bytes;
	assert_true(alone > all / 4);
	assert_true(alone <= 2 * (all - alone));
	for (unsigned i = 0; i < 10; i++) {
		run_over(second, 4);
		run_over(first, 4);
	}
	assert_int_equal(first->borrowed_bytes + second->borrowed_bytes, hk_held_bytes);
	assert_true(second->borrowed_bytes > 0);
	assert_true(second->borrowed_bytes >= first->borrowed_bytes / 4);
	assert_true(first->borrowed_bytes >= second->borrowed_bytes / 4);
	struct hk_heap *heaps[] = {first, second};
	unit_empty(heaps, 2);
	unit_audit();
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(what_is_above_is_borrowed),
		cmocka_unit_test(loans_fit_the_machine),
		cmocka_unit_test(loans_are_shared),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
