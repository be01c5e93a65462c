/* sized_test.c - C23 free_sized and free_aligned_sized, looked up by name: a libc that has none
 * (glibc before 2.42) skips. Not the C++ sized deletes (cxx_test.cc). */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

typedef void free_sized_fn(void *, size_t);
typedef void free_aligned_sized_fn(void *, size_t, size_t);

static void check_free_sized(free_sized_fn *free_sized)
{
	uint64_t rnd = 5;
	long long before = 0;
	int i, n = test_quick() ? 100000 : 1000000;

	for (i = 0; i < n; i++) {
		size_t size = i % 256 ? test_rand_size(&rnd, 1, 32 * KIB)
				      : test_rand_size(&rnd, 32 * KIB, 3 * MIB);
		char *p = i & 1 ? malloc(size) : calloc(1, size);

		CHECK(p, "no block of %zu", size);
		p[0] = p[size - 1] = 1;
		errno = 4711;
		free_sized(p, size);
		CHECK(errno == 4711, "free_sized set errno to %d", errno);
		if (i == n / 10)
			before = rss_bytes();
	}
	CHECK(rss_bytes() - before < (long long)(16 * MIB), "free_sized leaks %lld bytes",
	      rss_bytes() - before);
	free_sized(NULL, 0);
	free_sized(NULL, 100);
	free_sized(malloc(test_hide_size(0)), 0);
	free_sized(realloc(malloc(10), 5000), 5000);
}

static void check_free_aligned_sized(free_aligned_sized_fn *free_aligned_sized)
{
	size_t alignment, size;
	int i;

	for (alignment = 16; alignment <= 4 * MIB; alignment *= 2)
		for (size = alignment; size <= 8 * MIB; size *= 4)
			for (i = 0; i < 3; i++) {
				char *p = aligned_alloc(alignment, size);

				CHECK(p, "no block of %zu at %zu", size, alignment);
				p[0] = p[size - 1] = 1;
				errno = 4711;
				free_aligned_sized(p, alignment, size);
				CHECK(errno == 4711, "errno %d", errno);
			}
	free_aligned_sized(NULL, 64, 64);
}

int main(void)
{
	free_sized_fn *free_sized = (free_sized_fn *)test_symbol("free_sized");
	free_aligned_sized_fn *free_aligned_sized =
		(free_aligned_sized_fn *)test_symbol("free_aligned_sized");

	test_begin();
	if (test_served() != SERVED_HAKMEM && (!free_sized || !free_aligned_sized))
		test_skip("free_sized or free_aligned_sized is not there");
	CHECK(free_sized && free_aligned_sized, "hakmem without C23's sized frees");
	check_free_sized(free_sized);
	check_free_aligned_sized(free_aligned_sized);
	return test_end();
}
