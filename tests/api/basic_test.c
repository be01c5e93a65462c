/* basic_test.c - malloc, free, usable sizes and impossible sizes. Not realloc, calloc's zeros or
 * alignments above 16: they have files of their own. */
#define _GNU_SOURCE
#include "cm.h"
#include "support.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static int by_address(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;

	return x < y ? -1 : x > y;
}

static void test_malloc_zero_is_distinct(void **state)
{
	enum { N = 2000 };
	static char *p[N];
	int i;

	(void)state;
	for (i = 0; i < N; i++) {
		p[i] = malloc(test_hide_size(0));
		CHECK(p[i], "malloc(0) gave NULL at %d", i);
		CHECK((uintptr_t)p[i] % 16 == 0, "malloc(0) gave %p", (void *)p[i]);
	}
	qsort(p, N, sizeof(p[0]), by_address);
	for (i = 1; i < N; i++)
		CHECK(p[i] != p[i - 1], "malloc(0) gave %p twice", (void *)p[i]);
	for (i = 0; i < N; i++)
		free(p[i]);
	free(test_hide(NULL));
}

static size_t next_size(size_t size)
{
	if (size < 4096)
		return size + 1;
	return size + (size < 64 * KIB ? 61 : size < 2 * MIB - 8 * KIB ? 4099 : 509);
}

/* The last 64 blocks stay live, so that an overlap is seen by the pattern. */
static void test_alignment_of_all_sizes(void **state)
{
	enum { LIVE = 64 };
	struct {
		void *p;
		size_t size;
	} live[LIVE];
	size_t size, i, n = 0;

	(void)state;
	memset(live, 0, sizeof(live));
	for (size = 0; size <= 2 * MIB + 4 * KIB; size = next_size(size), n++) {
		void *p = malloc(size);

		i = n % LIVE;
		CHECK(p, "malloc(%zu) gave NULL", size);
		CHECK((uintptr_t)p % 16 == 0, "malloc(%zu) gave %p", size, p);
		CHECK(malloc_usable_size(p) >= size, "usable %zu of %zu", malloc_usable_size(p),
		      size);
		pat_check(live[i].p, live[i].size, n - LIVE);
		free(live[i].p);
		live[i].p = p;
		live[i].size = size;
		pat_fill(p, size, n);
	}
	for (i = 0; i < LIVE; i++)
		free(live[i].p);
}

static void test_impossible_sizes(void **state)
{
	static const size_t sizes[] = {
		PTRDIFF_MAX,     (size_t)PTRDIFF_MAX + 1, SIZE_MAX,          SIZE_MAX - 8,
		SIZE_MAX - 4096, SIZE_MAX - 2 * MIB,      SIZE_MAX / 2 + 64, PTRDIFF_MAX - 4096};
	void *keep = malloc(100);
	size_t i;

	(void)state;
	for (i = 0; i < COUNT_OF(sizes); i++) {
		size_t n = test_hide_size(sizes[i]);

		errno = 0;
		CHECK(!malloc(n) && errno == ENOMEM, "malloc(%zu): errno %d", n, errno);
		errno = 0;
		CHECK(!calloc(1, n) && errno == ENOMEM, "calloc(1, %zu): errno %d", n, errno);
		errno = 0;
		CHECK(!calloc(n, 1) && errno == ENOMEM, "calloc(%zu, 1): errno %d", n, errno);
		errno = 0;
		CHECK(!realloc(NULL, n) && errno == ENOMEM, "realloc(NULL, %zu): %d", n, errno);
		errno = 0;
		CHECK(!realloc(keep, n) && errno == ENOMEM, "realloc(p, %zu): %d", n, errno);
	}
	free(keep);
}

static void test_overflowing_products(void **state)
{
	static const size_t pairs[][2] = {{SIZE_MAX, 2},
					  {SIZE_MAX / 2 + 1, 2},
					  {SIZE_MAX / 16 + 2, 16},
					  {(size_t)1 << 32, (size_t)1 << 32},
					  {((size_t)1 << 32) + 1, ((size_t)1 << 32) + 1},
					  {3, SIZE_MAX / 3 + 1}};
	size_t i;

	(void)state;
	for (i = 0; i < COUNT_OF(pairs); i++) {
		size_t a = test_hide_size(pairs[i][0]), b = test_hide_size(pairs[i][1]);

		errno = 0;
		CHECK(!calloc(a, b) && errno == ENOMEM, "calloc(%zu, %zu): %d", a, b, errno);
		errno = 0;
		CHECK(!calloc(b, a) && errno == ENOMEM, "calloc(%zu, %zu): %d", b, a, errno);
		errno = 0;
		CHECK(!reallocarray(NULL, a, b) && errno == ENOMEM, "reallocarray(%zu, %zu): %d", a,
		      b, errno);
	}
}

static void test_success_keeps_errno(void **state)
{
	size_t size;

	(void)state;
	for (size = 1; size <= 64 * MIB; size = size * 3 + 1) {
		void *p;

		errno = 4711;
		p = malloc(size);
		CHECK(p, "malloc(%zu)", size);
		CHECK(errno == 4711, "malloc(%zu) set errno to %d", size, errno);
		free(p);
		CHECK(errno == 4711, "free of %zu bytes set errno to %d", size, errno);
	}
}

static void test_free_keeps_errno(void **state)
{
	static const size_t sizes[] = {0,         16,        200,       1024,    9000,    16 * KIB,
				       100 * KIB, 512 * KIB, 600 * KIB, 2 * MIB, 5 * MIB, 64 * MIB};
	enum { N = 24 };
	void *p[N];
	size_t s;
	int i;

	(void)state;
	for (s = 0; s < COUNT_OF(sizes); s++) {
		for (i = 0; i < N; i++) {
			p[i] = malloc(sizes[s]);
			CHECK(p[i], "malloc(%zu)", sizes[s]);
			pat_fill(p[i], sizes[s] < MIB ? sizes[s] : MIB, 1);
		}
		for (i = 0; i < N; i++) {
			errno = 1000 + i;
			free(p[i]);
			CHECK(errno == 1000 + i, "free of %zu bytes set errno to %d", sizes[s],
			      errno);
		}
		errno = 77;
		free(test_hide(NULL));
		CHECK(errno == 77, "free(NULL) set errno to %d", errno);
	}
}

/* Every byte that malloc_usable_size promises is the program's own. */
static void test_usable_size_is_writable_and_stable(void **state)
{
	enum { N = 3000 };
	static void *p[N];
	static size_t usable[N];
	uint64_t rnd = 88172645463325252u;
	int i, round;

	(void)state;
	for (i = 0; i < N; i++) {
		size_t size = i < 2900 ? test_rand_size(&rnd, 1, 64 * KIB)
				       : test_rand_size(&rnd, 64 * KIB, 3 * MIB);

		p[i] = malloc(size);
		CHECK(p[i], "malloc(%zu)", size);
		usable[i] = malloc_usable_size(p[i]);
		CHECK(usable[i] >= size, "usable %zu of %zu", usable[i], size);
		memset(p[i], 0x5a, usable[i]);
		pat_fill(p[i], usable[i], (uint64_t)i);
	}
	for (round = 0; round < 2; round++)
		for (i = 0; i < N; i++) {
			size_t now = malloc_usable_size(p[i]);

			CHECK(now == usable[i], "usable size went from %zu to %zu", usable[i], now);
			pat_check(p[i], usable[i], (uint64_t)i);
		}
	for (i = 0; i < N; i++)
		free(p[i]);
	CHECK(malloc_usable_size(test_hide(NULL)) == 0, "usable size of NULL");
}

/* Freed blocks come back whole and never twice. */
static void test_random_reuse(void **state)
{
	enum { SLOTS = 3000 };
	static struct {
		void *p;
		size_t size;
		uint64_t id;
	} slot[SLOTS];
	uint64_t rnd = 42, n, ops = test_quick() ? 300000 : 3000000;

	(void)state;
	for (n = 1; n <= ops; n++) {
		size_t i = test_rand(&rnd) % SLOTS;

		if (slot[i].p)
			pat_check(slot[i].p, slot[i].size, slot[i].id);
		free(slot[i].p);
		slot[i].size = n % 4096 ? test_rand_size(&rnd, 1, 8 * KIB)
					: test_rand_size(&rnd, 8 * KIB, 4 * MIB);
		slot[i].id = n;
		slot[i].p = malloc(slot[i].size);
		CHECK(slot[i].p, "malloc(%zu)", slot[i].size);
		pat_fill(slot[i].p, slot[i].size, n);
	}
	for (n = 0; n < SLOTS; n++) {
		if (slot[n].p)
			pat_check(slot[n].p, slot[n].size, slot[n].id);
		free(slot[n].p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_malloc_zero_is_distinct),
		cmocka_unit_test(test_alignment_of_all_sizes),
		cmocka_unit_test(test_impossible_sizes),
		cmocka_unit_test(test_overflowing_products),
		cmocka_unit_test(test_success_keeps_errno),
		cmocka_unit_test(test_free_keeps_errno),
		cmocka_unit_test(test_usable_size_is_writable_and_stable),
		cmocka_unit_test(test_random_reuse),
	};

	test_begin();
	if (cmocka_run_group_tests(tests, NULL, NULL))
		return 1;
	return test_end();
}
