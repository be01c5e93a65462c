/* vma_test.c - 100,000 live blocks, small and large, stay below 4,000 mappings, also with a third
 * of them freed and trimmed: the kernel's limit (65,530) is the application's too. The large
 * blocks are not touched, so that they cost no memory. glibc by nature maps each large block. */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

enum { N = 100000, MOST = 4000 };

int main(void)
{
	static void *p[N];
	uint64_t rnd = 3;
	int i, got = 0;

	test_begin();
	test_watchdog(80);
	for (i = 0; i < N; i++) {
		size_t size = i & 1 ? test_rand_size(&rnd, 16, 4 * KIB)
				    : test_rand_size(&rnd, 600 * KIB, 5 * MIB / 2);

		p[i] = malloc(size);
		got += p[i] != NULL;
		if (i & 1 && p[i])
			*(char *)p[i] = 1;
		if (i == N / 2)
			BOUND("mappings at 50,000 blocks", vma_count(), MOST);
	}
	CHECK(got == N || test_served() != SERVED_HAKMEM, "%d blocks of %d", got, N);
	BOUND("mappings at 100,000 blocks", vma_count(), MOST);
	for (i = 0; i < N; i += 3)
		free(p[i]);
	BOUND("mappings with a third freed", vma_count(), MOST);
	malloc_trim(0);
	BOUND("mappings with a third freed and trimmed", vma_count(), MOST);
	for (i = 0; i < N; i++)
		if (i % 3)
			free(p[i]);
	malloc_trim(0);
	BOUND("mappings when all is freed", vma_count(), MOST);
	return test_end();
}
