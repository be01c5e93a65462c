/* reentry.c - the emergency span. Frees nothing: a process that needs it is about to end. */
#include "tiny/reentry.h"

#include "base/atomic.h"
#include "base/bits.h"

#define SPAN_BYTES (192u << 10) /* untouched but by such handlers */

static char span[SPAN_BYTES] HK_CACHELINE;
static size_t used;

void *hk_reentry_alloc(size_t size, size_t align)
{
	if (size > SPAN_BYTES || align > 4096)
		return NULL;
	align = hk_max(align, 16);
	size_t need = hk_align_up(size, 16) + 16 + align;
	size_t at = hk_load(&used);
	do
		if (need > SPAN_BYTES - at)
			return NULL;
	while (!__atomic_compare_exchange_n(&used, &at, at + need, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	uintptr_t p = hk_align_up((uintptr_t)span + at + 16, align);
	((size_t *)p)[-1] = size;
	return (void *)p;
}

bool hk_reentry_has(const void *p)
{
	return (uintptr_t)p - (uintptr_t)span < SPAN_BYTES;
}

size_t hk_reentry_usable(const void *p)
{
	return ((const size_t *)p)[-1];
}
