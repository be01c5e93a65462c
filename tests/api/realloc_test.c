/* realloc_test.c - what a block held is kept by every change of size. Not zeros behind a grown
 * block (there is no such promise), not overflow of plain sizes (basic_test.c). */
#define _GNU_SOURCE
#include "cm.h"
#include "support.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const size_t sizes[] = {
	1,           15,       16,          17,        100,           1000,
	1024,        1025,     4096,        8 * KIB,   8 * KIB + 1,   16 * KIB,
	64 * KIB,    65 * KIB, 100 * KIB,   512 * KIB, 512 * KIB + 1, MIB,
	2 * MIB - 1, 2 * MIB,  2 * MIB + 1, 5 * MIB,   33 * MIB};

static size_t less(size_t a, size_t b)
{
	return a < b ? a : b;
}

static void test_every_transition(void **state)
{
	size_t from, to;

	(void)state;
	for (from = 0; from < COUNT_OF(sizes); from++)
		for (to = 0; to < COUNT_OF(sizes); to++) {
			size_t a = sizes[from], b = sizes[to];
			char *p = malloc(a), *q;

			CHECK(p, "malloc(%zu)", a);
			pat_fill_moved(p, a, from);
			errno = 4711;
			q = realloc(p, b);
			CHECK(q, "realloc from %zu to %zu", a, b);
			CHECK(errno == 4711, "realloc set errno to %d", errno);
			CHECK((uintptr_t)q % 16 == 0, "realloc gave %p", (void *)q);
			CHECK(malloc_usable_size(q) >= b, "usable %zu of %zu",
			      malloc_usable_size(q), b);
			pat_check_moved(q, a, less(a, b), from);
			pat_fill(q, b, to);
			pat_check(q, b, to);
			free(q);
		}
}

/* Two blocks grow in turns, so that neither can always grow in place. */
static void test_growing_and_shrinking_chains(void **state)
{
	char *p[2] = {malloc(1), malloc(1)};
	size_t size = 1, next;
	int i;

	(void)state;
	CHECK(p[0] && p[1], "malloc(1)");
	for (i = 0; i < 2; i++)
		pat_fill_moved(p[i], 1, (uint64_t)i);
	for (; size < 48 * MIB; size = next) {
		next = size + size / 7 + 1;
		for (i = 0; i < 2; i++) {
			p[i] = realloc(p[i], next);
			CHECK(p[i], "realloc to %zu", next);
			pat_check_moved(p[i], size, size, (uint64_t)i);
			pat_fill_moved(p[i], next, (uint64_t)i);
		}
	}
	for (; size > 1; size = next) {
		next = size - size / 5 - 1;
		for (i = 0; i < 2; i++) {
			p[i] = realloc(p[i], next ? next : 1);
			CHECK(p[i], "realloc to %zu", next);
			pat_check_moved(p[i], size, next, (uint64_t)i);
			pat_fill_moved(p[i], next, (uint64_t)i);
		}
		if (next == 0)
			break;
	}
	free(p[0]);
	free(p[1]);
}

/* A large block between two live ones moves whole; neighbours and the vacated place stay sound. */
static void test_large_moves_beside_neighbours(void **state)
{
	static const size_t starts[] = {700 * KIB, 2 * MIB, 3 * MIB + 5, 9 * MIB};
	size_t s, g;

	(void)state;
	for (s = 0; s < COUNT_OF(starts); s++)
		for (g = 2; g <= 12; g += 5) {
			size_t a = starts[s], b = a * g;
			char *low = malloc(a), *p = malloc(a), *high = malloc(a), *q, *fill;

			CHECK(low && p && high, "malloc(%zu)", a);
			pat_fill(low, a, 1);
			pat_fill_moved(p, a, 2);
			pat_fill(high, a, 3);
			q = realloc(p, b);
			CHECK(q, "realloc to %zu", b);
			pat_check_moved(q, a, a, 2);
			pat_fill(q, b, 4);
			fill = malloc(a);
			CHECK(fill, "malloc(%zu)", a);
			pat_fill(fill, a, 5);
			pat_check(low, a, 1);
			pat_check(high, a, 3);
			pat_check(q, b, 4);
			free(high);
			q = realloc(q, b + a / 2);
			CHECK(q, "realloc to %zu", b + a / 2);
			pat_check(fill, a, 5);
			pat_check(low, a, 1);
			free(q);
			free(low);
			free(fill);
		}
}

/* With the space behind it free again, growth must keep content wherever it happens. */
static void test_growth_into_freed_space(void **state)
{
	int round;

	(void)state;
	for (round = 0; round < 40; round++) {
		size_t a = (size_t)(round + 9) * 64 * KIB;
		char *p = malloc(a), *next = malloc(4 * a), *after = malloc(a), *q;

		CHECK(p && next && after, "malloc");
		pat_fill_moved(p, a, 6);
		memset(next, 0x11, 4 * a);
		pat_fill(after, a, 7);
		free(next);
		q = realloc(p, 4 * a);
		CHECK(q, "realloc");
		pat_check_moved(q, a, a, 6);
		pat_fill(q, 4 * a, 8);
		pat_check(after, a, 7);
		pat_check(q, 4 * a, 8);
		free(q);
		free(after);
	}
}

static void test_random_reallocs(void **state)
{
	enum { SLOTS = 64 };
	static struct {
		void *p;
		size_t size;
	} slot[SLOTS];
	uint64_t rnd = 99, n, ops = test_quick() ? 20000 : 200000;

	(void)state;
	for (n = 1; n <= ops; n++) {
		size_t i = test_rand(&rnd) % SLOTS;
		size_t size = n % 8 ? test_rand_size(&rnd, 1, 64 * KIB)
				    : test_rand_size(&rnd, 64 * KIB, 6 * MIB);
		char *q = realloc(slot[i].p, size);

		CHECK(q, "realloc to %zu", size);
		pat_check_moved(q, slot[i].size, less(size, slot[i].size), i);
		pat_fill_moved(q, size, i);
		slot[i].p = q;
		slot[i].size = size;
	}
	for (n = 0; n < SLOTS; n++)
		free(slot[n].p);
}

static void test_realloc_to_zero_frees(void **state)
{
	static const size_t some[] = {0, 16, 1000, 20000, 600 * KIB, 3 * MIB};
	size_t s;
	int i;

	(void)state;
	for (s = 0; s < COUNT_OF(some); s++) {
		long long before = rss_bytes(), grown;
		int n = some[s] < MIB ? 20000 : 200;

		for (i = 0; i < n; i++) {
			char *p = malloc(some[s]);

			CHECK(p, "malloc(%zu)", some[s]);
			if (some[s])
				p[0] = 1;
			CHECK(!realloc(p, test_hide_size(0)), "realloc(p, 0) gave a block");
		}
		grown = rss_bytes() - before;
		CHECK(grown < (long long)(8 * MIB), "realloc(p, 0) leaks: %lld bytes more", grown);
	}
}

static void test_realloc_of_null(void **state)
{
	char *a = realloc(NULL, test_hide_size(0)), *b = realloc(NULL, test_hide_size(0));
	char *c = realloc(NULL, 100);

	(void)state;
	CHECK(a && b && a != b, "realloc(NULL, 0) gave %p and %p", (void *)a, (void *)b);
	CHECK(c, "realloc(NULL, 100)");
	memset(c, 1, 100);
	free(a);
	free(b);
	free(c);
}

static void test_failure_keeps_the_block(void **state)
{
	size_t s;

	(void)state;
	for (s = 0; s < COUNT_OF(sizes); s++) {
		char *p = malloc(sizes[s]);

		CHECK(p, "malloc(%zu)", sizes[s]);
		pat_fill(p, sizes[s], s);
		errno = 0;
		CHECK(!realloc(p, test_hide_size(PTRDIFF_MAX)) && errno == ENOMEM, "errno %d",
		      errno);
		errno = 0;
		CHECK(!reallocarray(p, test_hide_size(SIZE_MAX / 2), 3) && errno == ENOMEM,
		      "errno %d", errno);
		pat_check(p, sizes[s], s);
		free(p);
	}
}

static void test_reallocarray(void **state)
{
	char *p = reallocarray(NULL, 100, 30), *q;

	(void)state;
	CHECK(p && malloc_usable_size(p) >= 3000, "reallocarray(NULL, 100, 30)");
	pat_fill_moved(p, 3000, 1);
	q = reallocarray(p, 1000, 3000);
	CHECK(q && malloc_usable_size(q) >= 3000000, "reallocarray to 3,000,000");
	pat_check_moved(q, 3000, 3000, 1);
	CHECK(!reallocarray(q, 0, 8), "reallocarray(p, 0, 8) gave a block");
}

static void *grow_in_thread(void *arg)
{
	char **p = arg;
	size_t s;

	for (s = 0; s < COUNT_OF(sizes); s++) {
		char *q = realloc(p[s], sizes[s] * 2 + 100);

		CHECK(q, "realloc");
		pat_check_moved(q, sizes[s], sizes[s], s);
		pat_fill_moved(q, sizes[s] * 2 + 100, s);
		p[s] = q;
	}
	return NULL;
}

/* Blocks of one thread grown by another, and by the first again after the other's end. */
static void test_realloc_in_another_thread(void **state)
{
	static char *p[COUNT_OF(sizes)];
	pthread_t t;
	size_t s;

	(void)state;
	for (s = 0; s < COUNT_OF(sizes); s++) {
		p[s] = malloc(sizes[s]);
		CHECK(p[s], "malloc(%zu)", sizes[s]);
		pat_fill_moved(p[s], sizes[s], s);
	}
	CHECK(pthread_create(&t, NULL, grow_in_thread, p) == 0, "no thread");
	pthread_join(t, NULL);
	for (s = 0; s < COUNT_OF(sizes); s++) {
		size_t have = sizes[s] * 2 + 100;

		p[s] = realloc(p[s], have * 2);
		CHECK(p[s], "realloc");
		pat_check_moved(p[s], have, have, s);
		free(p[s]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_realloc_of_null),
		cmocka_unit_test(test_realloc_to_zero_frees),
		cmocka_unit_test(test_every_transition),
		cmocka_unit_test(test_growing_and_shrinking_chains),
		cmocka_unit_test(test_large_moves_beside_neighbours),
		cmocka_unit_test(test_growth_into_freed_space),
		cmocka_unit_test(test_random_reallocs),
		cmocka_unit_test(test_failure_keeps_the_block),
		cmocka_unit_test(test_reallocarray),
		cmocka_unit_test(test_realloc_in_another_thread),
	};

	test_begin();
	if (cmocka_run_group_tests(tests, NULL, NULL))
		return 1;
	return test_end();
}
