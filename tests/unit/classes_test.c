/* classes_test.c - each line of the table of size classes against its definition in classes.h. */
#include "unit.h"

/* Four to a doubling, the first of them 1024 B. */
static uint32_t step(unsigned i)
{
	return (512u << (i + 3) / 4) / 4 * (5 + (i + 3) % 4);
}

/* 16-byte steps to 1 KiB, then four to a doubling: with a line more, without it, and those that were always without. */
static uint32_t size_by_definition(unsigned c)
{
	if (c < 63)
		return 16 * (c + 1);
	return c < 79 ? step(c - 63) + 64 : step(c - 79);
}

static bool is_plain(unsigned c)
{
	return c >= HK_TINY_CLASSES - HK_PLAIN_CLASSES && c < HK_TINY_CLASSES;
}

/* As many chunks as keep the tail waste at or below an eighth. */
static uint32_t chunks_by_definition(uint32_t size)
{
	for (uint32_t n = 1;; n++) {
		uint32_t bytes = n * (uint32_t)HK_CHUNK_BYTES;
		if (bytes >= size && bytes % size * 8 <= bytes)
			return n;
	}
}

static void each_line_is_as_defined(void **state)
{
	(void)state;
	for (unsigned c = 0; c < HK_CLASSES; c++) {
		const struct hk_class *k = &hk_classes[c];
		uint64_t wide = 1ull << 40;
		assert_int_equal(k->size, size_by_definition(c));
		assert_int_equal(k->chunks, chunks_by_definition(k->size));
		assert_int_equal(k->blocks, k->chunks * HK_CHUNK_BYTES / k->size);
		assert_int_equal(k->inverse, wide / k->size + (wide % k->size != 0));
		assert_int_equal(k->quarter, (4u << 16) / k->blocks);
	}
}

static void bounds_between_kinds(void **state)
{
	(void)state;
	assert_int_equal(hk_classes[HK_FINE_CLASSES - 1].size, HK_FINE_MAX + HK_LINE_BYTES);
	assert_int_equal(hk_classes[HK_TINY_CLASSES - HK_PLAIN_CLASSES - 1].size, HK_TINY_MAX);
	assert_int_equal(hk_classes[HK_CLASSES - 1].size, HK_MEDIUM_MAX);
	for (unsigned c = 0; c < HK_TINY_CLASSES; c++)
		assert_int_equal(hk_classes[c].chunks, 1);
}

static void tail_waste_is_an_eighth_at_most(void **state)
{
	(void)state;
	for (unsigned c = 0; c < HK_CLASSES; c++) {
		const struct hk_class *k = &hk_classes[c];
		uint64_t bytes = k->chunks * HK_CHUNK_BYTES, used = (uint64_t)k->blocks * k->size;
		assert_true(used <= bytes);
		assert_true((bytes - used) * 8 <= bytes);
	}
}

static void blocks_are_aligned(void **state)
{
	(void)state;
	for (unsigned c = 0; c < HK_CLASSES; c++) {
		uint32_t size = hk_classes[c].size;
		assert_int_equal(size % 16, 0);
		/* A power of two up to a chunk: i * size is a multiple of it, and so is the base. */
		if (hk_is_pow2(size) && size <= HK_CHUNK_BYTES)
			assert_int_equal(HK_CHUNK_BYTES % size, 0);
	}
}

static void every_size_has_the_least_class(void **state)
{
	(void)state;
	unsigned c = 0;
	for (size_t size = 1; size <= HK_MEDIUM_MAX; size++) {
		if (size > hk_classes[c].size)
			do
				c++;
			while (is_plain(c));
		assert_int_equal(hk_class_of(size), c);
	}
	assert_int_equal(c, HK_CLASSES - 1);
}

/* Whatever is asked for: its blocks are that large and so aligned, and no other class of such has smaller ones. */
static void every_alignment_has_the_least_class(void **state)
{
	(void)state;
	for (size_t align = 16; align <= HK_CHUNK_BYTES; align *= 2)
		for (size_t size = align; size <= HK_MEDIUM_MAX; size += align) {
			unsigned c = hk_class_aligned(size, align);
			assert_true(hk_classes[c].size >= size);
			assert_true(hk_classes[c].size % align == 0);
			for (unsigned k = 0; k < HK_CLASSES; k++)
				assert_false(hk_classes[k].size >= size && hk_classes[k].size % align == 0 &&
					     hk_classes[k].size < hk_classes[c].size &&
					     (align > HK_LINE_BYTES || !is_plain(k)));
		}
}

/* Sixty-four blocks in a row begin in as many sets of a cache of 64. */
static void blocks_above_1_kib_begin_in_all_sets(void **state)
{
	(void)state;
	for (unsigned c = HK_FINE_CLASSES - 1; c < HK_TINY_CLASSES - HK_PLAIN_CLASSES; c++) {
		unsigned begin[64] = {0}, most = 0;
		for (uint32_t i = 0; i < 64; i++) {
			unsigned set = (unsigned)((size_t)i * hk_classes[c].size / HK_LINE_BYTES % 64);
			most = (unsigned)hk_max(most, ++begin[set]);
		}
		assert_int_equal(most, 1);
	}
}

/* Also for offsets inside a block, as those of a header are. */
static void block_numbers_by_multiplication(void **state)
{
	(void)state;
	for (unsigned c = 0; c < HK_CLASSES; c++) {
		const struct hk_class *k = &hk_classes[c];
		size_t end = k->chunks * HK_CHUNK_BYTES;
		for (size_t at = 0; at < end; at += 16) {
			assert_int_equal(hk_class_index(k, at), at / k->size);
			assert_int_equal(hk_class_index(k, at + 15), (at + 15) / k->size);
		}
	}
}

static void fullness_rises_by_quarters(void **state)
{
	(void)state;
	for (unsigned c = 0; c < HK_CLASSES; c++) {
		const struct hk_class *k = &hk_classes[c];
		for (uint32_t live = 0; live <= k->blocks; live++) {
			uint32_t got = live * k->quarter >> 16, want = 4 * live / k->blocks;
			/* Rounded down: at the edge itself it may still be the quarter below. */
			assert_true(got == want || (got + 1 == want && 4 * live % k->blocks < 4));
		}
	}
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(each_line_is_as_defined),
		cmocka_unit_test(bounds_between_kinds),
		cmocka_unit_test(tail_waste_is_an_eighth_at_most),
		cmocka_unit_test(blocks_are_aligned),
		cmocka_unit_test(every_size_has_the_least_class),
		cmocka_unit_test(every_alignment_has_the_least_class),
		cmocka_unit_test(blocks_above_1_kib_begin_in_all_sets),
		cmocka_unit_test(block_numbers_by_multiplication),
		cmocka_unit_test(fullness_rises_by_quarters),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
