/* arena_mimalloc.c - mimalloc's heaps for bench_arena. */
#include "arena_subject.h"

#include <stdio.h>

#include <mimalloc.h>

static mi_heap_t *heap;

static int start(void)
{
	heap = mi_heap_new();
	if (!heap)
		fprintf(stderr, "bench_arena: mimalloc makes no heap\n");
	return !heap;
}

static void *alloc(size_t size)
{
	return mi_heap_malloc(heap, size);
}

const struct hk_subject hk_subjects[] = {
	{.name = "mimalloc_heap", .start = start, .alloc = alloc, .free = mi_free},
	{.name = NULL},
};
int (*const hk_subject_more)(unsigned rounds, const char *latencies) = NULL;
