/* libc.c - malloc and its family as libc declares them. malloc and free are the fast paths
 * themselves; the rest are hak_ functions under their usual names. Not in libhakmem_core.a. */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "api/api.h"
#include "observe/snapshot.h"
#include "tiny/tiny_slow.h"

HK_EXPORT HK_HOT void *malloc(size_t size)
{
	return hk_malloc_fast(size);
}

HK_EXPORT HK_HOT void free(void *ptr)
{
	hk_free_fast(ptr);
}

HK_EXPORT void cfree(void *ptr); /* in no header any more; old programs have it */

void cfree(void *ptr)
{
	hk_free_fast(ptr);
}

/* C23. The size is not needed: see hak_free_sized. */
HK_EXPORT void free_sized(void *ptr, size_t size);
HK_EXPORT void free_aligned_sized(void *ptr, size_t alignment, size_t size);

void free_sized(void *ptr, size_t size)
{
	(void)size;
	hk_free_fast(ptr);
}

void free_aligned_sized(void *ptr, size_t alignment, size_t size)
{
	(void)alignment;
	(void)size;
	hk_free_fast(ptr);
}

HK_EXPORT void *calloc(size_t count, size_t size)
{
	return hak_calloc(count, size);
}

HK_EXPORT void *realloc(void *ptr, size_t size)
{
	return hak_realloc(ptr, size);
}

HK_EXPORT void *reallocarray(void *ptr, size_t count, size_t size)
{
	return hak_reallocarray(ptr, count, size);
}

HK_EXPORT void *memalign(size_t alignment, size_t size)
{
	return hak_memalign(alignment, size);
}

HK_EXPORT void *aligned_alloc(size_t alignment, size_t size)
{
	return hak_aligned_alloc(alignment, size);
}

HK_EXPORT int posix_memalign(void **out, size_t alignment, size_t size)
{
	return hak_posix_memalign(out, alignment, size);
}

HK_EXPORT void *valloc(size_t size)
{
	return hak_valloc(size);
}

HK_EXPORT void *pvalloc(size_t size)
{
	return hak_pvalloc(size);
}

HK_EXPORT size_t malloc_usable_size(void *ptr)
{
	return hak_malloc_usable_size(ptr);
}

HK_EXPORT int malloc_trim(size_t pad)
{
	return hak_malloc_trim(pad);
}

HK_EXPORT void malloc_stats(void)
{
	hak_malloc_stats();
}

HK_EXPORT int malloc_info(int options, FILE *out)
{
	return hak_malloc_info(options, out);
}

/* Nothing of glibc's tuning has a meaning here; 1 is "done", as programs expect. */
HK_EXPORT int mallopt(int param, int value)
{
	(void)param;
	(void)value;
	return 1;
}

HK_EXPORT struct mallinfo2 mallinfo2(void)
{
	struct hk_snapshot s;
	hk_snapshot(&s);
	return (struct mallinfo2){
		.arena = (s.used_supers << HK_SUPER_SHIFT) + s.warm_bytes - s.span_bytes,
		.ordblks = s.free_chunk_bytes >> HK_CHUNK_SHIFT,
		.smblks = s.bin_blocks,
		.hblks = s.spans,
		.hblkhd = s.span_bytes,
		.fsmblks = s.bin_bytes,
		.uordblks = s.slab_live_bytes - hk_min(s.bin_bytes, s.slab_live_bytes) + s.span_bytes,
		.fordblks = s.free_chunk_bytes + s.warm_bytes + s.bin_bytes,
		.keepcost = s.warm_bytes + s.dirty_chunk_bytes,
	};
}

static int clamp(size_t x)
{
	return x > INT32_MAX ? INT32_MAX : (int)x;
}

HK_EXPORT struct mallinfo mallinfo(void)
{
	struct mallinfo2 m = mallinfo2();
	return (struct mallinfo){
		.arena = clamp(m.arena), .ordblks = clamp(m.ordblks), .smblks = clamp(m.smblks),
		.hblks = clamp(m.hblks), .hblkhd = clamp(m.hblkhd), .fsmblks = clamp(m.fsmblks),
		.uordblks = clamp(m.uordblks), .fordblks = clamp(m.fordblks), .keepcost = clamp(m.keepcost),
	};
}
