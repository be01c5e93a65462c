/* arena_test_broken.c - an arena's allocation that is not what it says, one way for each BROKEN_ macro: what
 * bench_arena must notice. Linked before the rest of the library, in place of the real function. */
#include <stddef.h>

#include <hakmem/arena.h>
#include <hakmem/hakmem.h>

void *hak_arena_alloc(hak_arena *arena, size_t size)
{
#if defined(BROKEN_OTHER) /* memory of malloc's */
	(void)arena;
	return hak_malloc(size);
#elif defined(BROKEN_SHORT)
	return hak_arena_aligned_alloc(arena, 16, size / 2);
#else /* BROKEN_TWICE */
	static void *last;
	static unsigned calls;
	if (calls++ % 64 != 63 || !last)
		last = hak_arena_aligned_alloc(arena, 16, size > 16384 ? size : 16384);
	return last;
#endif
}
