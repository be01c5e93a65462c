/* aligned_test.c - memalign and its family: alignment, content, usable size, impossible requests.
 * glibc 2.36 differs by nature (marked below): its aligned_alloc rounds an alignment that is no
 * power of two up, and its posix_memalign sets errno. */
#define _GNU_SOURCE
#include "cm.h"
#include "support.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static const size_t sizes[] = {
	0,    1,     15,       16,     24,        100,           1000, 4095,    4096,       5000,
	8192, 16384, 64 * KIB, 100000, 512 * KIB, 512 * KIB + 1, MIB,  2 * MIB, 3 * MIB + 7};

enum how { BY_ALIGNED_ALLOC, BY_POSIX_MEMALIGN, BY_MEMALIGN, HOW_COUNT };

static void *get(enum how how, size_t alignment, size_t size)
{
	void *p = NULL;

	switch (how) {
	case BY_ALIGNED_ALLOC:
		return aligned_alloc(alignment, size);
	case BY_POSIX_MEMALIGN:
		CHECK(posix_memalign(&p, alignment < 8 ? 8 : alignment, size) == 0,
		      "posix_memalign(%zu, %zu)", alignment, size);
		return p;
	default:
		return memalign(alignment, size);
	}
}

static void check_block(enum how how, void *p, size_t alignment, size_t size)
{
	CHECK(p, "%d: no block of %zu at %zu", how, size, alignment);
	CHECK((uintptr_t)p % alignment == 0 && (uintptr_t)p % 8 == 0, "%d: %p for alignment %zu",
	      how, p, alignment);
	CHECK(malloc_usable_size(p) >= size, "usable %zu of %zu at %zu", malloc_usable_size(p),
	      size, alignment);
}

static void test_every_alignment(void **state)
{
	enum { LIVE = 4 };
	struct {
		void *p;
		size_t size;
	} live[LIVE];
	size_t alignment, s, i, n = 0;
	int how;

	(void)state;
	memset(live, 0, sizeof(live));
	for (alignment = 1; alignment <= 64 * MIB; alignment *= 2)
		for (s = 0; s < COUNT_OF(sizes); s++)
			for (how = 0; how < HOW_COUNT; how++, n++) {
				void *p = get((enum how)how, alignment, sizes[s]);

				check_block((enum how)how, p, alignment, sizes[s]);
				i = n % LIVE;
				if (live[i].p)
					pat_check(live[i].p, live[i].size, n - LIVE);
				free(live[i].p);
				live[i].p = p;
				live[i].size = sizes[s];
				pat_fill(p, sizes[s], n);
			}
	for (i = 0; i < LIVE; i++)
		free(live[i].p);
}

/* Many blocks of one alignment at once: none overlaps, all come back. */
static void test_many_at_once(void **state)
{
	enum { N = 400 };
	static void *p[N];
	size_t alignment, size;
	int i, round;

	(void)state;
	for (alignment = 32; alignment <= 64 * KIB; alignment *= 2)
		for (round = 0; round < 2; round++) {
			size = round ? alignment / 2 + 8 : alignment * 3 + 8;
			for (i = 0; i < N; i++) {
				p[i] = aligned_alloc(alignment, size);
				check_block(BY_ALIGNED_ALLOC, p[i], alignment, size);
				pat_fill(p[i], malloc_usable_size(p[i]), (uint64_t)i);
			}
			for (i = 0; i < N; i++) {
				pat_check(p[i], malloc_usable_size(p[i]), (uint64_t)i);
				free(p[i]);
			}
		}
}

static void test_realloc_of_aligned(void **state)
{
	size_t alignment, s;

	(void)state;
	for (alignment = 64; alignment <= 4 * MIB; alignment *= 4)
		for (s = 1; s < COUNT_OF(sizes); s++) {
			size_t size = sizes[s];
			char *p = aligned_alloc(alignment, size);

			check_block(BY_ALIGNED_ALLOC, p, alignment, size);
			pat_fill_moved(p, size, s);
			p = realloc(p, size * 3 + 1);
			CHECK(p, "realloc");
			pat_check_moved(p, size, size, s);
			pat_fill_moved(p, size * 3 + 1, s);
			p = realloc(p, size / 2 + 1);
			CHECK(p, "realloc");
			pat_check_moved(p, size * 3 + 1, size / 2 + 1, s);
			free(p);
		}
}

/* The room that alignment costs must not be resident, and must come back. */
static void test_large_alignment_is_not_resident(void **state)
{
	enum { N = 16 };
	void *p[N];
	long long before = rss_bytes(), grown;
	int i, round;

	(void)state;
	for (round = 0; round < 4; round++) {
		for (i = 0; i < N; i++) {
			p[i] = aligned_alloc(64 * MIB, 100);
			check_block(BY_ALIGNED_ALLOC, p[i], 64 * MIB, 100);
			memset(p[i], 1, 100);
		}
		for (i = 0; i < N; i++)
			free(p[i]);
	}
	grown = rss_bytes() - before;
	CHECK(grown < (long long)(N + 4) * (long long)(2 * MIB), "%lld bytes more", grown);
}

static void test_aligned_alloc_impossible(void **state)
{
	static const size_t bad[] = {0, 3, 12, 24, 48, 100, 4097, SIZE_MAX};
	size_t i;
	void *p;

	(void)state;
	if (test_served() == SERVED_GLIBC)
		test_skip_part("aligned_alloc: glibc 2.36 rounds such alignments up");
	for (i = 0; i < COUNT_OF(bad) && test_served() != SERVED_GLIBC; i++) {
		errno = 0;
		p = aligned_alloc(test_hide_size(bad[i]), 64);
		CHECK(!p && errno == EINVAL, "aligned_alloc(%zu): %p, errno %d", bad[i], p, errno);
	}
	errno = 0;
	p = aligned_alloc(64, test_hide_size(PTRDIFF_MAX));
	CHECK(!p && errno == ENOMEM, "errno %d", errno);
	errno = 0;
	p = aligned_alloc(MIB, test_hide_size(SIZE_MAX - MIB / 2));
	CHECK(!p && errno == ENOMEM, "errno %d", errno);
	errno = 0;
	p = aligned_alloc(test_hide_size((size_t)1 << 62), 1);
	CHECK(!p && errno == ENOMEM, "errno %d", errno);
}

static void test_posix_memalign_impossible(void **state)
{
	static const size_t bad[] = {0, 1, 2, 4, 3, 12, 24, 100, 4097, SIZE_MAX};
	void *out, *mark = &out;
	size_t i;
	int r;

	(void)state;
	for (i = 0; i < COUNT_OF(bad); i++) {
		out = mark;
		errno = 4711;
		r = posix_memalign(&out, test_hide_size(bad[i]), 64);
		CHECK(r == EINVAL, "posix_memalign(%zu) gave %d", bad[i], r);
		CHECK(out == mark, "posix_memalign(%zu) wrote its result", bad[i]);
		CHECK(errno == 4711, "posix_memalign(%zu) set errno to %d", bad[i], errno);
	}
	for (i = 8; i <= MIB; i *= 16) {
		out = mark;
		errno = 4711;
		r = posix_memalign(&out, i, test_hide_size(SIZE_MAX - 4 * i));
		CHECK(r == ENOMEM, "posix_memalign of a huge size gave %d", r);
		CHECK(out == mark, "posix_memalign wrote its result");
		/* glibc sets it by nature */
		CHECK(errno == 4711 || test_served() == SERVED_GLIBC, "errno %d", errno);
	}
	errno = 4711;
	CHECK(posix_memalign(&out, 4096, 4096) == 0 && errno == 4711, "errno %d", errno);
	free(out);
}

static void test_memalign_rounds_up(void **state)
{
	static const size_t odd[] = {0, 3, 17, 24, 48, 100, 3000, 5000};
	size_t i, up;
	void *p;

	(void)state;
	for (i = 0; i < COUNT_OF(odd); i++) {
		for (up = 16; up < odd[i]; up *= 2)
			;
		p = memalign(odd[i], 200);
		CHECK(p && (uintptr_t)p % up == 0, "memalign(%zu) gave %p", odd[i], p);
		memset(p, 1, 200);
		free(p);
	}
	errno = 0;
	p = memalign(test_hide_size(SIZE_MAX / 2 + 2), 8);
	CHECK(!p && (errno == EINVAL || errno == ENOMEM), "errno %d", errno);
	errno = 0;
	p = memalign(4096, test_hide_size(PTRDIFF_MAX));
	CHECK(!p && errno == ENOMEM, "errno %d", errno);
}

static void test_valloc_and_pvalloc(void **state)
{
	size_t s;
	void *p;

	(void)state;
	for (s = 0; s < COUNT_OF(sizes); s++) {
		p = valloc(sizes[s]);
		check_block(BY_MEMALIGN, p, 4096, sizes[s]);
		pat_fill(p, sizes[s], s);
		pat_check(p, sizes[s], s);
		free(p);
		p = pvalloc(sizes[s]);
		check_block(BY_MEMALIGN, p, 4096, (sizes[s] + 4095) & ~(size_t)4095);
		memset(p, 1, (sizes[s] + 4095) & ~(size_t)4095);
		free(p);
	}
	errno = 0;
	p = valloc(test_hide_size(SIZE_MAX - 100));
	CHECK(!p && errno == ENOMEM, "errno %d", errno);
	errno = 0;
	p = pvalloc(test_hide_size(SIZE_MAX - 100));
	CHECK(!p && errno == ENOMEM, "errno %d", errno);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_alignment),
		cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_realloc_of_aligned),
		cmocka_unit_test(test_large_alignment_is_not_resident),
		cmocka_unit_test(test_aligned_alloc_impossible),
		cmocka_unit_test(test_posix_memalign_impossible),
		cmocka_unit_test(test_memalign_rounds_up),
		cmocka_unit_test(test_valloc_and_pvalloc),
	};

	test_begin();
	if (cmocka_run_group_tests(tests, NULL, NULL))
		return 1;
	return test_end();
}
