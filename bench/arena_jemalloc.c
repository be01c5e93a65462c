/* arena_jemalloc.c - jemalloc's explicit arenas for bench_arena: mallocx with an arena and a cache of their own. */
#include "arena_subject.h"

#include <stdio.h>

#include <jemalloc/jemalloc.h>

static int flags;

static int start(void)
{
	unsigned arena, cache;
	size_t bytes = sizeof(arena);
	if (mallctl("arenas.create", &arena, &bytes, NULL, 0) || mallctl("tcache.create", &cache, &bytes, NULL, 0)) {
		fprintf(stderr, "bench_arena: jemalloc makes no arena\n");
		return 1;
	}
	flags = (int)(MALLOCX_ARENA(arena) | MALLOCX_TCACHE(cache));
	return 0;
}

static void *alloc(size_t size)
{
	return mallocx(size, flags);
}

static void release(void *p, size_t size)
{
	sdallocx(p, size, flags);
}

const struct hk_subject hk_subjects[] = {
	{.name = "jemalloc_arena", .symbol = "mallocx", .start = start, .alloc = alloc, .free = release},
	{.name = NULL},
};
const struct hk_subject_part hk_subject_parts[] = {{.name = NULL}};
