/* floor.c - no allocator: what the calls themselves cost.
 *
 * malloc of HAK_FLOOR_SIZE bytes returns one constant address, free returns. Preloaded under
 * bench_tiny's batches of that size it shows loop, calls and PLT alone: nothing can be faster on
 * that processor, and where this is close to the best allocator, ratios say little.
 * Blocks of other sizes come from libc, for the C library's own needs, and are never freed. Of no
 * use to any other program. */
#include <stddef.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t size);

static _Alignas(64) char block[4096];
static size_t block_size;

__attribute__((constructor)) static void block_size_read(void)
{
	const char *text = getenv("HAK_FLOOR_SIZE");

	block_size = text ? strtoul(text, NULL, 10) : 16;
	if (block_size > sizeof(block))
		block_size = 16;
}

void *malloc(size_t size)
{
	return __builtin_expect(size != block_size, 0) ? __libc_malloc(size) : block;
}

void free(void *ptr)
{
	(void)ptr;
}
