/* foreign.c - pointers that are not ours: from a library bound to another malloc (RTLD_DEEPBIND,
 * dlmopen), or from before we were there. They belong to the next allocator in the search order. */
#include <errno.h>
#include <string.h>

#include "api/api.h"
#include "base/atomic.h"
#include "base/check.h"
#include "heap/process.h"
#include "observe/options.h"
#include "observe/say.h"
#include "tiny/reentry.h"
#include "tiny/tiny_slow.h"

/* The next allocator's function; the first time, says so. Fatal if there is none, or by option. */
static void *next_function(const char *name, const void *p)
{
	static bool said;
	hk_process_init(); /* may be the first call of the process: options are not read yet */
	if (hk_region.base &&
	    (uintptr_t)p - hk_region.base < (size_t)hk_region.stripes << hk_region.stripe_shift)
		hk_fatal("free of a pointer that is no live block", p);
	struct hk_heap *pushed = hk_heap_own_begin();
	void *f = hk_options.foreign == HK_FOREIGN_ABORT ? NULL : hk_os_symbol(name, true);
	hk_heap_own_end(pushed);
	if (!f)
		hk_fatal("free or realloc of a pointer that is not ours", p);
	if (!__atomic_exchange_n(&said, true, __ATOMIC_RELAXED))
		hk_say("a pointer that is not ours went on to the next %s (said once): %p", name, p);
	return f;
}

void hk_foreign_free(void *p)
{
	if (hk_reentry_has(p))
		return;
	int saved = errno;
	void (*f)(void *);
	*(void **)&f = next_function("free", p);
	f(p);
	errno = saved;
}

void *hk_foreign_realloc(void *p, size_t size)
{
	if (hk_reentry_has(p)) {
		size_t old = hk_reentry_usable(p);
		void *to = hk_malloc_fast(size);
		return to ? memcpy(to, p, old < size ? old : size) : NULL;
	}
	void *(*f)(void *, size_t);
	*(void **)&f = next_function("realloc", p);
	return f(p, size);
}

size_t hk_foreign_usable(const void *p)
{
	if (hk_reentry_has(p))
		return hk_reentry_usable(p);
	size_t (*f)(const void *);
	*(void **)&f = next_function("malloc_usable_size", p);
	return f(p);
}
