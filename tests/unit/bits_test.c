/* bits_test.c - src/base/bits.h against definitions written out the slow way. */
#include "unit.h"

#include "base/bits.h"

static void aligns_up_and_down(void **state)
{
	(void)state;
	for (uint64_t align = 1; align <= 1u << 21; align *= 2)
		for (uint64_t x = 0; x < 3 * align; x += align / 3 + 1) {
			assert_int_equal(hk_align_down(x, align), x / align * align);
			assert_int_equal(hk_align_up(x, align), (x + align - 1) / align * align);
		}
}

static void knows_powers_of_two(void **state)
{
	(void)state;
	assert_false(hk_is_pow2(0));
	for (unsigned b = 0; b < 64; b++) {
		uint64_t x = 1ull << b;
		assert_true(hk_is_pow2(x));
		assert_int_equal(hk_log2(x), b);
		if (b < 2)
			continue;
		assert_false(hk_is_pow2(x + 1));
		assert_false(hk_is_pow2(x - 1));
		assert_int_equal(hk_log2(x + 1), b);
		assert_int_equal(hk_log2(x - 1), b - 1);
	}
}

static void least_and_greatest(void **state)
{
	(void)state;
	assert_int_equal(hk_min(3, 5), 3);
	assert_int_equal(hk_min(5, 3), 3);
	assert_int_equal(hk_max(3, 5), 5);
	assert_int_equal(hk_max(UINT64_MAX, 5), UINT64_MAX);
}

static void masks_are_exact(void **state)
{
	(void)state;
	for (unsigned first = 0; first < 32; first++)
		for (unsigned count = 0; first + count <= 32; count++) {
			uint32_t want = 0;
			for (unsigned i = first; i < first + count; i++)
				want |= 1u << i;
			assert_int_equal(hk_mask32(first, count), want);
		}
}

static uint32_t slow_run_starts(uint32_t mask, unsigned count)
{
	uint32_t starts = 0;
	for (unsigned at = 0; at + count <= 32; at++) {
		uint32_t run = count == 32 ? ~0u : ((1u << count) - 1) << at;
		if ((mask & run) == run)
			starts |= 1u << at;
	}
	return starts;
}

static void finds_every_run(void **state)
{
	(void)state;
	uint64_t seed = 7;
	for (unsigned i = 0; i < 4000; i++) {
		uint32_t mask = (uint32_t)unit_random(&seed);
		if (i & 1)
			mask |= (uint32_t)unit_random(&seed); /* denser: longer runs */
		if (i & 2)
			mask |= (uint32_t)unit_random(&seed);
		mask = i == 0 ? 0 : i == 1 ? ~0u : mask;
		for (unsigned count = 1; count <= 32; count++)
			assert_int_equal(hk_run_starts(mask, count), slow_run_starts(mask, count));
	}
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(aligns_up_and_down), cmocka_unit_test(knows_powers_of_two),
		cmocka_unit_test(least_and_greatest), cmocka_unit_test(masks_are_exact),
		cmocka_unit_test(finds_every_run),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
