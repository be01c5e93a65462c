/* forwarder.c - the malloc family, passed on to libc's own.
 *
 * Gives a glibc baseline to programs that link another allocator themselves (redis of Debian links
 * jemalloc): preloaded, it comes before theirs and hands every call to libc. No state of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void __libc_free(void *ptr);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *ptr, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
	return __libc_malloc(size);
}

void free(void *ptr)
{
	__libc_free(ptr);
}

void *calloc(size_t count, size_t size)
{
	return __libc_calloc(count, size);
}

void *realloc(void *ptr, size_t size)
{
	return __libc_realloc(ptr, size);
}

void *reallocarray(void *ptr, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_realloc(ptr, bytes);
}

void *memalign(size_t alignment, size_t size)
{
	return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	int saved = errno;
	void *ptr;

	if (alignment < sizeof(void *) || (alignment & (alignment - 1)) != 0)
		return EINVAL;
	ptr = __libc_memalign(alignment, size);
	errno = saved;
	if (ptr == NULL)
		return ENOMEM;
	*out = ptr;
	return 0;
}

void *valloc(size_t size)
{
	return __libc_memalign((size_t)sysconf(_SC_PAGESIZE), size);
}

void *pvalloc(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return __libc_memalign(page, (size + page - 1) & ~(page - 1));
}

/* As libc has it: the size in the word before the block, without its three flag bits; mapped blocks
 * (flag 2) have two words of head, others share the next one's first word. libc exports no second
 * name for it. */
size_t malloc_usable_size(void *ptr)
{
	size_t head;

	if (ptr == NULL)
		return 0;
	head = ((size_t *)ptr)[-1];
	return (head & ~(size_t)7) - ((head & 2) != 0 ? 2 : 1) * sizeof(size_t);
}
