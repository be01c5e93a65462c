/* hak.c - the hak_ names: all of the allocator's face in one place. The libc family (libc.c) and the
 * C++ operators (cxx.c) are these under other names; libhakmem_core.a has this file alone. */
#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "base/check.h"
#include "heap/process.h"
#include "observe/say.h"
#include "observe/snapshot.h"
#include "tiny/find.h"
#include "tiny/large.h"
#include "tiny/tiny_slow.h"

HK_EXPORT int hak_version(void)
{
	return HAK_VERSION;
}

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

HK_EXPORT const char *hak_version_string(void)
{
	return TEXT(HAK_VERSION_MAJOR) "." TEXT(HAK_VERSION_MINOR) "." TEXT(HAK_VERSION_PATCH);
}

HK_EXPORT void *hak_malloc(size_t size)
{
	return hk_malloc_fast(size);
}

HK_EXPORT void hak_free(void *ptr)
{
	hk_free_fast(ptr);
}

HK_EXPORT void hak_free_sized(void *ptr, size_t size)
{
	(void)size; /* the slab's header knows, and is wanted anyway for its owner */
	hk_free_fast(ptr);
}

HK_EXPORT void hak_free_aligned_sized(void *ptr, size_t alignment, size_t size)
{
	(void)alignment;
	(void)size;
	hk_free_fast(ptr);
}

HK_EXPORT void *hak_calloc(size_t count, size_t size)
{
	size_t bytes;
	bool zero = false;
	if (HK_UNLIKELY(__builtin_mul_overflow(count, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	if (HK_LIKELY(bytes <= HK_CLEARED_MAX)) {
		void *p = hk_malloc_fast(bytes);
		return p ? memset(p, 0, bytes) : NULL;
	}
	void *p = hk_alloc_slow(bytes, HK_GRANULE, &zero);
	if (!p)
		return NULL;
	if (!zero && bytes > HK_MEDIUM_MAX)
		hk_span_clear(p, bytes);
	else if (!zero)
		memset(p, 0, bytes);
	if (!zero)
		return p;
	struct hk_heap *heap = hk_heap_mine();
	if (hk_heap_is_born(heap))
		heap->count.calloc_known_zero++;
	if (bytes <= HK_MEDIUM_MAX)
		((struct hk_block *)p)->next = NULL; /* the list's link is all that was written; a span has none, nor a page yet */
	return p;
}

HK_EXPORT void *hak_realloc(void *ptr, size_t size)
{
	if (!ptr)
		return hk_malloc_fast(size);
	if (!size) {
		hk_free_fast(ptr);
		return NULL;
	}
	return hk_realloc_slow(ptr, size);
}

HK_EXPORT void *hak_reallocarray(void *ptr, size_t count, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(count, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return hak_realloc(ptr, bytes);
}

/* ---- aligned ---- */

HK_EXPORT void *hak_memalign(size_t alignment, size_t size)
{
	if (alignment > (size_t)1 << 62) {
		errno = EINVAL;
		return NULL;
	}
	if (!hk_is_pow2(alignment))
		alignment = alignment < HK_GRANULE ? HK_GRANULE : (size_t)2 << hk_log2(alignment - 1);
	return hk_aligned_fast(size, alignment);
}

HK_EXPORT void *hak_aligned_alloc(size_t alignment, size_t size)
{
	if (!hk_is_pow2(alignment)) {
		errno = EINVAL;
		return NULL;
	}
	return hk_aligned_fast(size, alignment);
}

HK_NOINLINE static int posix_memalign_slow(void **out, size_t alignment, size_t size)
{
	int saved = errno;
	void *p = hk_alloc_slow(size, alignment, NULL);
	errno = saved;
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

HK_EXPORT int hak_posix_memalign(void **out, size_t alignment, size_t size)
{
	if (!hk_is_pow2(alignment) || alignment < sizeof(void *))
		return EINVAL;
	void *p = hk_aligned_pop(hk_heap_mine(), size, alignment);
	if (HK_UNLIKELY(!p))
		return posix_memalign_slow(out, alignment, size);
	*out = p;
	return 0;
}

HK_EXPORT void *hak_valloc(size_t size)
{
	return hk_alloc_slow(size, HK_PAGE_BYTES, NULL);
}

HK_EXPORT void *hak_pvalloc(size_t size)
{
	size_t bytes = hk_align_up(size, HK_PAGE_BYTES);
	if (bytes < size) {
		errno = ENOMEM;
		return NULL;
	}
	return hk_alloc_slow(bytes, HK_PAGE_BYTES, NULL);
}

/* ---- questions ---- */

HK_EXPORT size_t hak_malloc_usable_size(void *ptr)
{
	return hk_usable_bytes(ptr);
}

HK_EXPORT int hak_owns(const void *ptr)
{
	if (!hk_is_ours(ptr))
		return 0;
	struct hk_found f = hk_find(ptr);
	return f.kind == HK_FOUND_BLOCK ? hk_load(&f.slab->tag) != 0 : f.kind != HK_FOUND_NOTHING;
}

HK_EXPORT int hak_malloc_trim(size_t pad)
{
	int saved = errno;
	hk_fork_check();
	size_t bytes = hk_heaps_trim(pad);
	errno = saved;
	return bytes != 0;
}

HK_EXPORT int hak_stats_get(struct hak_stats *stats)
{
	struct hk_snapshot s;
	struct hak_stats full;
	if (!stats || stats->size_bytes < sizeof(stats->size_bytes))
		return -EINVAL;
	hk_snapshot(&s);
	full = (struct hak_stats){
		.size_bytes = stats->size_bytes,
		.region_bytes = s.region_bytes,
		.committed_bytes = s.committed_bytes,
		.chunk_bytes = s.chunk_bytes,
		.span_bytes = s.span_bytes,
		.live_bytes = s.slab_live_bytes + s.span_bytes,
		.bin_bytes = s.bin_bytes,
		.warm_bytes = s.warm_bytes,
		.purged_bytes = s.pool.purged_bytes,
		.malloc_blocks = s.malloc_blocks,
		.free_blocks = s.free_blocks,
		.heaps = s.heaps,
		.heaps_live = s.heaps_live,
		.heaps_parked = s.heaps_parked,
	};
	memcpy(stats, &full, hk_min(stats->size_bytes, sizeof(full)));
	return 0;
}

static void to_file(void *out, const char *text)
{
	fprintf(out, "%s\n", text);
}

static void to_stderr(void *none, const char *text)
{
	(void)none;
	hk_say("%s", text);
}

HK_EXPORT void hak_stats_print(FILE *out)
{
	if (out)
		hk_report(to_file, out);
	else
		hk_report(to_stderr, NULL);
}

HK_EXPORT void hak_malloc_stats(void)
{
	hk_report(to_stderr, NULL);
}

HK_EXPORT int hak_malloc_info(int options, FILE *out)
{
	struct hk_snapshot s;
	if (options) {
		errno = EINVAL;
		return -1;
	}
	hk_snapshot(&s);
	size_t live = s.slab_live_bytes - hk_min(s.bin_bytes, s.slab_live_bytes) + s.span_bytes;
	fprintf(out, "<malloc version=\"hakmem-%s\">\n", hak_version_string());
	fprintf(out, "<heap nr=\"all\" live=\"%u\" parked=\"%u\">\n", s.heaps_live, s.heaps_parked);
	fprintf(out, "<total type=\"bins\" count=\"%zu\" size=\"%zu\"/>\n", s.bin_blocks, s.bin_bytes);
	fprintf(out, "<total type=\"spans\" count=\"%zu\" size=\"%zu\"/>\n</heap>\n", s.spans, s.span_bytes);
	fprintf(out, "<total type=\"live\" count=\"%llu\" size=\"%zu\"/>\n",
		(unsigned long long)(s.malloc_blocks - hk_min(s.free_blocks, s.malloc_blocks)), live);
	fprintf(out, "<total type=\"free\" count=\"%zu\" size=\"%zu\"/>\n", s.free_chunk_bytes >> HK_CHUNK_SHIFT,
		s.free_chunk_bytes);
	fprintf(out, "<system type=\"current\" size=\"%zu\"/>\n", (s.used_supers << HK_SUPER_SHIFT) + s.warm_bytes);
	fprintf(out, "<aspace type=\"total\" size=\"%zu\"/>\n", s.region_bytes);
	fprintf(out, "<aspace type=\"mprotect\" size=\"%zu\"/>\n</malloc>\n", s.committed_bytes);
	return ferror(out) ? -1 : 0;
}

HK_EXPORT int hak_audit(void)
{
	hk_fork_check();
	return hk_heaps_audit();
}
