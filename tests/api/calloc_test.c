/* calloc_test.c - calloc gives zeros, also where the memory was used and dirty before: the
 * allocator may skip clearing only what it knows to be fresh. Not overflow (basic_test.c). */
#define _GNU_SOURCE
#include "cm.h"
#include "support.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const size_t sizes[] = {
	1,        8,        16,          24,        100,         256,           1000,
	1024,     1040,     4096,        8 * KIB,   8 * KIB + 1, 12 * KIB,      16 * KIB,
	40 * KIB, 64 * KIB, 100 * KIB,   256 * KIB, 512 * KIB,   512 * KIB + 1, 700 * KIB,
	MIB,      2 * MIB,  2 * MIB + 1, 5 * MIB,   17 * MIB};

enum { MAX_BLOCKS = 512 };
static void *block[MAX_BLOCKS];

static size_t blocks_for(size_t size)
{
	size_t n = 40 * MIB / size;

	return n < 2 ? 2 : n > MAX_BLOCKS ? MAX_BLOCKS : n;
}

static void dirty_and_free(size_t size)
{
	size_t i, n = blocks_for(size);

	for (i = 0; i < n; i++) {
		block[i] = malloc(size);
		CHECK(block[i], "malloc(%zu)", size);
		memset(block[i], 0xa5, malloc_usable_size(block[i]));
	}
	for (i = 0; i < n; i++)
		free(block[i]);
}

static void calloc_and_free(size_t size, const char *what)
{
	size_t i, n = blocks_for(size);

	for (i = 0; i < n; i++) {
		block[i] = i & 1 ? calloc(1, size) : calloc(size, 1);
		CHECK(block[i], "calloc(%zu)", size);
		check_zero(block[i], size, what);
		memset(block[i], 0x5a, malloc_usable_size(block[i]));
	}
	for (i = 0; i < n; i++)
		free(block[i]);
}

static void test_zero_after_dirty_reuse_of_the_size(void **state)
{
	size_t s;

	(void)state;
	for (s = 0; s < COUNT_OF(sizes); s++) {
		dirty_and_free(sizes[s]);
		calloc_and_free(sizes[s], "after dirty reuse");
		calloc_and_free(sizes[s], "after dirty reuse, again");
	}
}

static void test_zero_after_trim(void **state)
{
	size_t s;

	(void)state;
	for (s = 0; s < COUNT_OF(sizes); s++) {
		dirty_and_free(sizes[s]);
		malloc_trim(0);
		calloc_and_free(sizes[s], "after malloc_trim");
	}
}

/* Memory changes its use: what was one large block becomes small ones and the other way round. */
static void test_zero_across_sizes(void **state)
{
	size_t a, b;

	(void)state;
	for (a = 0; a < COUNT_OF(sizes); a += 3)
		for (b = 1; b < COUNT_OF(sizes); b += 4) {
			dirty_and_free(sizes[a]);
			if ((a ^ b) & 1)
				malloc_trim(0);
			calloc_and_free(sizes[b], "after another size");
		}
}

static void test_zero_in_random_order(void **state)
{
	enum { SLOTS = 400 };
	static void *slot[SLOTS];
	uint64_t rnd = 7, n, ops = test_quick() ? 20000 : 200000;

	(void)state;
	for (n = 1; n <= ops; n++) {
		size_t i = test_rand(&rnd) % SLOTS;
		size_t size = n % 16 ? test_rand_size(&rnd, 1, 16 * KIB)
				     : test_rand_size(&rnd, 8 * KIB, 2 * MIB);

		free(slot[i]);
		if (n & 1) {
			slot[i] = calloc(1, size);
			CHECK(slot[i], "calloc(%zu)", size);
			check_zero(slot[i], size, "in random order");
		} else {
			slot[i] = malloc(size);
			CHECK(slot[i], "malloc(%zu)", size);
		}
		memset(slot[i], 0xff, malloc_usable_size(slot[i]));
		if (n % 5000 == 0)
			malloc_trim(0);
	}
	for (n = 0; n < SLOTS; n++)
		free(slot[n]);
}

/* A span that realloc moved or grew leaves memory behind that is not fresh for certain. */
static void test_zero_after_realloc_moves(void **state)
{
	int round;

	(void)state;
	for (round = 0; round < 8; round++) {
		size_t first = (size_t)(round + 2) * MIB, grown = first * 5;
		char *p = malloc(first), *fence = malloc(3 * MIB), *q;

		CHECK(p && fence, "malloc");
		memset(p, 0xee, first);
		memset(fence, 0xdd, 3 * MIB);
		q = realloc(p, grown);
		CHECK(q, "realloc to %zu", grown);
		memset(q, 0xee, grown);
		calloc_and_free(first, "where a moved span was");
		q = realloc(q, MIB);
		CHECK(q, "realloc down");
		calloc_and_free(first, "behind a span that shrank");
		free(q);
		free(fence);
		calloc_and_free(grown, "after the grown span");
	}
}

/* MADV_DONTNEED of locked memory fails and keeps what was there. */
static void test_zero_after_locked_memory(void **state)
{
	static const size_t locked[] = {600 * KIB, 2 * MIB, 4 * MIB};
	size_t s;

	(void)state;
	for (s = 0; s < COUNT_OF(locked); s++) {
		size_t size = locked[s];
		char *p = malloc(size);
		int round;

		CHECK(p, "malloc(%zu)", size);
		memset(p, 0x77, size);
		if (mlock(p, size)) {
			test_skip_part("mlock is not permitted");
			free(p);
			return;
		}
		free(p);
		malloc_trim(0);
		for (round = 0; round < 3; round++)
			calloc_and_free(size, "after locked memory");
		munlockall();
	}
}

/* Programs take more than they use, and count on it: what is known to be zero is not written to. */
static void test_spans_stay_untouched(void **state)
{
	long long there = 0;
	size_t i;

	(void)state;
	if (test_served() != SERVED_HAKMEM)
		return;
	for (i = 0; i < 200; i++) {
		block[i] = calloc(1, MIB);
		CHECK(block[i], "calloc(1 MiB)");
		there += resident_bytes(block[i], MIB);
	}
	CHECK(there < (long long)(64 * MIB), "%lld bytes of 200 MiB are resident", there);
	for (i = 0; i < 200; i++)
		free(block[i]);
}

/* The same of a large block where another one was. */
static void test_large_ones_come_back_untouched(void **state)
{
	const size_t sizes_large[] = {64 * MIB, 65 * MIB + 4096 + 1, 33 * MIB};
	size_t i, round;

	(void)state;
	for (i = 0; i < COUNT_OF(sizes_large); i++)
		for (round = 0; round < 3; round++) {
			char *p = calloc(1, sizes_large[i]);
			CHECK(p, "calloc(%zu)", sizes_large[i]);
			if (test_served() == SERVED_HAKMEM) {
				long long there = resident_bytes(p, sizes_large[i]);
				CHECK(there < (long long)(8 * MIB), "%lld bytes are resident", there);
			}
			check_zero(p, sizes_large[i], "a large block where another was");
			memset(p, 0x5a, sizes_large[i]);
			free(p);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spans_stay_untouched), /* first: nothing was freed yet */
		cmocka_unit_test(test_large_ones_come_back_untouched),
		cmocka_unit_test(test_zero_after_dirty_reuse_of_the_size),
		cmocka_unit_test(test_zero_after_trim),
		cmocka_unit_test(test_zero_across_sizes),
		cmocka_unit_test(test_zero_in_random_order),
		cmocka_unit_test(test_zero_after_realloc_moves),
		cmocka_unit_test(test_zero_after_locked_memory),
	};

	test_begin();
	if (cmocka_run_group_tests(tests, NULL, NULL))
		return 1;
	return test_end();
}
