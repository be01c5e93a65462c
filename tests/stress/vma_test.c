/* vma_test.c - 100,000 live blocks, small and large, stay below 4,000 mappings, also with a third
 * of them freed and trimmed: the kernel's limit (65,530) is the application's too. The large
 * blocks are not touched, so that they cost no memory. glibc by nature maps each large block. Blocks that realloc has
 * the kernel move take a mapping each, a thousand at most: 1,050 that grow past their neighbours.
 * time limit: 180 s, quick 180 s */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/prctl.h>

enum { N = 100000, MOST = 4000 };

static void move_spans(void)
{
	enum { SPANS = 1050 }; /* the last fifty are copied: 8 MiB resident each */
	static char *p[SPANS];
	const size_t small = 8 * MIB, large = 12 * MIB + 100;
	int i, round;

	for (i = 0; i < SPANS; i++) {
		p[i] = malloc(small);
		CHECK(p[i], "malloc(%zu)", small);
		p[i][0] = p[i][small - 1] = (char)i;
	}
	for (round = 0; round < 2; round++) {
		for (i = 0; i < SPANS; i++) {
			char *grown = realloc(p[i], large);

			CHECK(grown, "realloc(%zu)", large);
			CHECK(grown[0] == (char)i && grown[small - 1] == (char)i, "block %d lost its bytes", i);
			p[i] = grown;
		}
		BOUND("mappings with 1,050 blocks grown", vma_count(), MOST);
		for (i = 0; i < SPANS; i++) {
			p[i] = realloc(p[i], small);
			CHECK(p[i] && p[i][0] == (char)i, "shrinking");
		}
	}
	for (i = 0; i < SPANS; i++)
		free(p[i]);
	malloc_trim(0);
	BOUND("mappings when these are freed", vma_count(), MOST);
}

int main(void)
{
	static void *p[N];
	uint64_t rnd = 3;
	int i, got = 0;

	test_begin();
	test_watchdog(170);
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
	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* a byte is 4 KiB then */
	move_spans();
	return test_end();
}
