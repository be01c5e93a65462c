/* broken.c - allocators that a harness must turn red for, one a -D; and a sound one.
 *
 *   -DSOUND     bump allocator over mapped memory with counts: the one that must pass
 *   -DCORRUPT   the same, but flips one bit of a larger block at the next call
 *   -DZERO      the same, but counts nothing
 *   -DFORWARD   hands every call to libc and claims to have served it
 *   -DUNCOUNTED the same, without hak_stats_get
 *   -DABSENT    defines no malloc at all
 *
 * Never gives memory back; good for one short program. Not part of the library.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "hakmem/hakmem.h"

#ifdef ABSENT
int broken_defines_nothing;
#else
static atomic_ullong served;
#endif

#if !defined(ABSENT) && !defined(UNCOUNTED)
int hak_stats_get(struct hak_stats *stats)
{
	if (stats->size_bytes < sizeof(*stats))
		return -EINVAL;
	stats->malloc_blocks = atomic_load(&served);
	return 0;
}
#endif

#ifdef FORWARD
extern void *__libc_malloc(size_t size);
extern void __libc_free(void *ptr);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *ptr, size_t size);

void *malloc(size_t size)
{
	atomic_fetch_add(&served, 1);
	return __libc_malloc(size);
}

void free(void *ptr)
{
	__libc_free(ptr);
}

void *calloc(size_t count, size_t size)
{
	atomic_fetch_add(&served, 1);
	return __libc_calloc(count, size);
}

void *realloc(void *ptr, size_t size)
{
	return __libc_realloc(ptr, size);
}
#elif !defined(ABSENT)
#define RESERVE_BYTES ((size_t)64 << 30)

static _Atomic(char *) region;
static atomic_size_t used_bytes;

static char *region_get(void)
{
	char *have = atomic_load(&region), *fresh;

	if (have != NULL)
		return have;
	fresh = mmap(NULL, RESERVE_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (fresh == MAP_FAILED)
		return NULL;
	if (!atomic_compare_exchange_strong(&region, &have, fresh)) {
		munmap(fresh, RESERVE_BYTES);
		return have;
	}
	return fresh;
}

void *memalign(size_t alignment, size_t size)
{
	char *base = region_get();
	size_t at, room, step = alignment < 16 ? 16 : alignment;

	if (base == NULL || size > RESERVE_BYTES / 2)
		goto nomem;
	room = ((size + 15) & ~(size_t)15) + step + 16;
	at = atomic_fetch_add(&used_bytes, room) + 16;
	if (at + room > RESERVE_BYTES)
		goto nomem;
	at = (at + step - 1) & ~(step - 1);
	((size_t *)(base + at))[-1] = size;
#ifndef ZERO
	atomic_fetch_add(&served, 1);
#endif
	return base + at;
nomem:
	errno = ENOMEM;
	return NULL;
}

#ifdef CORRUPT
static void corrupt(char *ptr, size_t size)
{
	static char *victim;

	if (victim != NULL && victim[5000] != 0)
		victim[5000] ^= 1;
	victim = ptr != NULL && size > 8192 ? ptr : NULL;
}
#endif

void *malloc(size_t size)
{
	void *ptr = memalign(16, size);

#ifdef CORRUPT
	corrupt(ptr, size);
#endif
	return ptr;
}

void free(void *ptr)
{
	(void)ptr;
}

void *calloc(size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return malloc(bytes);
}

size_t malloc_usable_size(void *ptr)
{
	return ptr == NULL ? 0 : ((size_t *)ptr)[-1];
}

void *realloc(void *ptr, size_t size)
{
	size_t old = malloc_usable_size(ptr);
	char *fresh = malloc(size);

	if (fresh != NULL && ptr != NULL)
		memcpy(fresh, ptr, old < size ? old : size);
	return fresh;
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	void *ptr = memalign(alignment, size);

	if (ptr == NULL)
		return ENOMEM;
	*out = ptr;
	return 0;
}
#endif
