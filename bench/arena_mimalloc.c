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

static bool owns(void *p)
{
	return mi_heap_contains_block(heap, p);
}

static void *alloc(size_t size)
{
	return mi_heap_malloc(heap, size);
}

static void release(void *p, size_t size)
{
	(void)size; /* mi_free_size asks nothing of it either */
	mi_free(p);
}

const struct hk_subject hk_subjects[] = {
	{.name = "mimalloc_heap",
	 .symbol = "mi_heap_malloc",
	 .start = start,
	 .alloc = alloc,
	 .free = release,
	 .owns = owns},
	{.name = NULL},
};
const struct hk_subject_part hk_subject_parts[] = {{.name = NULL}};
