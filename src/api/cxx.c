/* cxx.c - operator new and delete under their Itanium ABI names. delete is free; new is malloc, and
 * where that fails does what libstdc++'s own does: the new_handler, then std::bad_alloc. */
#include "api/api.h"
#include "base/check.h"
#include "heap/process.h"
#include "tiny/tiny_slow.h"

typedef void (*handler)(void);

/* libstdc++'s; found by the loader if it was there at start, by name if it came later. */
extern handler get_new_handler(void) __asm__("_ZSt15get_new_handlerv") __attribute__((weak));
extern void throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv") __attribute__((weak));

/* A function of the C++ library: as the loader bound it, or by name, in the end as CALLER's object
 * sees it (a library that was loaded RTLD_LOCAL). */
static void *cxx_function(void *bound, const char *name, const void *caller)
{
	if (bound)
		return bound;
	struct hk_heap *pushed = hk_heap_own_begin(); /* a name that is not found is a text that the loader keeps */
	void *p = hk_os_symbol(name, false);
	p = p ? p : hk_os_symbol_at(caller, name);
	hk_heap_own_end(pushed);
	return p;
}

static handler current_handler(const void *caller)
{
	handler (*get)(void);
	*(void **)&get = cxx_function((void *)get_new_handler, "_ZSt15get_new_handlerv", caller);
	return get ? get() : NULL;
}

/* Calls the handler until there is memory; NULL when there is no handler. */
static void *try_handlers(size_t size, size_t align, const void *caller)
{
	void *p;
	do {
		handler h = current_handler(caller);
		if (!h)
			return NULL;
		h();
		p = hk_aligned_fast(size, align);
	} while (!p);
	return p;
}

HK_COLD static void *new_failed(size_t size, size_t align, const void *caller)
{
	void (*throw)(void);
	void *p = try_handlers(size, align, caller);
	if (p)
		return p;
	*(void **)&throw = cxx_function((void *)throw_bad_alloc, "_ZSt17__throw_bad_allocv", caller);
	if (throw)
		throw();
	hk_fatal("operator new: out of memory, and no C++ library to throw", NULL);
}

/* A new_handler may throw, which nothrow new turns into NULL: libstdc++'s own catches it, and asks
 * our throwing new. Without it there is no handler either. */
static void *next_function(const char *name, const void *own, const void *caller)
{
	struct hk_heap *pushed = hk_heap_own_begin();
	void *next = hk_os_symbol(name, true);
	next = next ? next : hk_os_symbol_at(caller, name);
	hk_heap_own_end(pushed);
	return next == own ? NULL : next;
}

HK_COLD static void *next_nothrow(const char *name, const void *own, size_t size,
				  const void *nothrow, const void *caller)
{
	void *(*next)(size_t, const void *);
	*(void **)&next = next_function(name, own, caller);
	return next ? next(size, nothrow) : NULL;
}

HK_COLD static void *next_aligned_nothrow(const char *name, const void *own, size_t size,
					  size_t align, const void *nothrow, const void *caller)
{
	void *(*next)(size_t, size_t, const void *);
	*(void **)&next = next_function(name, own, caller);
	return next ? next(size, align, nothrow) : NULL;
}

#define NEW(symbol)                                                \
	HK_EXPORT void *symbol(size_t size);                       \
	HK_EXPORT void *symbol(size_t size)                        \
	{                                                          \
		void *p = hk_malloc_fast(size);                    \
		return HK_LIKELY(p) ? p : new_failed(size, HK_GRANULE, __builtin_return_address(0)); \
	}

#define NEW_NOTHROW(symbol)                                            \
	HK_EXPORT void *symbol(size_t size, const void *nothrow);      \
	HK_EXPORT void *symbol(size_t size, const void *nothrow)       \
	{                                                              \
		void *p = hk_malloc_fast(size);                        \
		return HK_LIKELY(p) ? p : next_nothrow(#symbol, (const void *)symbol, size, nothrow, __builtin_return_address(0)); \
	}

#define NEW_ALIGNED(symbol)                                      \
	HK_EXPORT void *symbol(size_t size, size_t align);       \
	HK_EXPORT void *symbol(size_t size, size_t align)        \
	{                                                        \
		void *p = hk_aligned_fast(size, align);          \
		return HK_LIKELY(p) ? p : new_failed(size, align, __builtin_return_address(0)); \
	}

#define NEW_ALIGNED_NOTHROW(symbol)                                             \
	HK_EXPORT void *symbol(size_t size, size_t align, const void *nothrow); \
	HK_EXPORT void *symbol(size_t size, size_t align, const void *nothrow)  \
	{                                                                       \
		void *p = hk_aligned_fast(size, align);                         \
		return HK_LIKELY(p) ? p : next_aligned_nothrow(#symbol, (const void *)symbol, size, align, nothrow, __builtin_return_address(0)); \
	}

/* The second and third arguments (size, alignment, nothrow) are not looked at. */
#define DELETE(symbol)                     \
	HK_EXPORT void symbol(void *p);    \
	HK_EXPORT void symbol(void *p)     \
	{                                  \
		hk_free_fast(p);           \
	}

NEW(_Znwm)
NEW(_Znam)
NEW_NOTHROW(_ZnwmRKSt9nothrow_t)
NEW_NOTHROW(_ZnamRKSt9nothrow_t)
NEW_ALIGNED(_ZnwmSt11align_val_t)
NEW_ALIGNED(_ZnamSt11align_val_t)
NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t)
NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t)
DELETE(_ZdlPv)
DELETE(_ZdaPv)
DELETE(_ZdlPvm)
DELETE(_ZdaPvm)
DELETE(_ZdlPvRKSt9nothrow_t)
DELETE(_ZdaPvRKSt9nothrow_t)
DELETE(_ZdlPvSt11align_val_t)
DELETE(_ZdaPvSt11align_val_t)
DELETE(_ZdlPvmSt11align_val_t)
DELETE(_ZdaPvmSt11align_val_t)
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t)
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t)
