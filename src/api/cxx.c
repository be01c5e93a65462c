/* cxx.c - operator new and delete under their Itanium ABI names. delete is free; new is malloc, and
 * where that fails does what libstdc++'s own does: the new_handler, then std::bad_alloc.
 *
 * A program may replace some of them alone, and by the standard the others then call these: delete with a size calls
 * delete without, new[] calls new, a nothrow one calls the one that throws. So where the process's new or delete is not
 * ours, what is made of others is left to the C++ library, whose own do that. */
#include <errno.h>

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
 * our throwing new. In a static program ours is the only one: what its handler throws is not caught. */
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
	return next ? next(size, nothrow) : try_handlers(size, HK_GRANULE, caller);
}

HK_COLD static void *next_aligned_nothrow(const char *name, const void *own, size_t size,
					  size_t align, const void *nothrow, const void *caller)
{
	void *(*next)(size_t, size_t, const void *);
	*(void **)&next = next_function(name, own, caller);
	return next ? next(size, align, nothrow) : try_handlers(size, align, caller);
}

/* ---- programs that replace some of them ---- */

HK_EXPORT void *_Znwm(size_t size);
HK_EXPORT void *_Znam(size_t size);
HK_EXPORT void *_ZnwmSt11align_val_t(size_t size, size_t align);
HK_EXPORT void *_ZnamSt11align_val_t(size_t size, size_t align);
HK_EXPORT void _ZdlPv(void *p);
HK_EXPORT void _ZdaPv(void *p, size_t, size_t);
HK_EXPORT void _ZdlPvSt11align_val_t(void *p);
HK_EXPORT void _ZdaPvSt11align_val_t(void *p, size_t, size_t);

enum { UNKNOWN, OURS, THEIRS };

static uint8_t forms; /* [A] whose those are that others are made of: asked at the first call of one of the others */

HK_COLD static bool forms_are_theirs(void)
{
	static const struct {
		const char *name;
		const void *own;
	} base[] = {
		{"_Znwm", (const void *)_Znwm},
		{"_Znam", (const void *)_Znam},
		{"_ZnwmSt11align_val_t", (const void *)_ZnwmSt11align_val_t},
		{"_ZnamSt11align_val_t", (const void *)_ZnamSt11align_val_t},
		{"_ZdlPv", (const void *)_ZdlPv},
		{"_ZdaPv", (const void *)_ZdaPv},
		{"_ZdlPvSt11align_val_t", (const void *)_ZdlPvSt11align_val_t},
		{"_ZdaPvSt11align_val_t", (const void *)_ZdaPvSt11align_val_t},
	};
	uint8_t whose = hk_load(&forms);
	if (whose == UNKNOWN) {
		struct hk_heap *pushed = hk_heap_own_begin(); /* as in cxx_function: in a static one none may be found */
		whose = OURS;
		for (unsigned i = 0; i < sizeof(base) / sizeof(base[0]); i++) {
			const void *found = hk_os_symbol(base[i].name, false);
			whose = found && found != base[i].own ? THEIRS : whose;
		}
		hk_heap_own_end(pushed);
		hk_store(&forms, whose);
	}
	return whose == THEIRS;
}

/* What serves OWN, a form that is made of others: the C++ library's, where the program replaced one of these, else OWN
 * itself. *KNOWN keeps it. */
static void *form(const char *name, void *own, void **known, const void *caller)
{
	int saved = errno;
	void *next = forms_are_theirs() ? hk_load(known) : own;
	if (!next)
		next = next_function(name, own, caller);
	if (!next) { /* there is no other */
		hk_store(&forms, OURS);
		next = own;
	}
	hk_store(known, next);
	errno = saved;
	return next;
}

/* The second and third arguments (size, alignment, nothrow), of which a form may have fewer, are passed on alone. Reached by
 * a jump: the return address is the caller's. */
HK_COLD HK_NOINLINE static void *new_by_others(size_t size, size_t second, size_t third, const char *name, void *own,
					       void **known)
{
	void *(*next)(size_t, size_t, size_t);
	*(void **)&next = form(name, own, known, __builtin_return_address(0));
	return next(size, second, third);
}

HK_COLD HK_NOINLINE static void delete_by_others(void *p, size_t second, size_t third, const char *name, void *own,
						 void **known)
{
	void (*next)(void *, size_t, size_t);
	*(void **)&next = form(name, own, known, __builtin_return_address(0));
	next(p, second, third);
}

/* First in an exported form that is made of others. */
#define UNLESS_OURS(by_others, symbol, first, second, third)                                                     \
	static void *known;                                                                                      \
	if (HK_UNLIKELY(hk_peek(&forms) != OURS))                                                                \
	return by_others(first, (size_t)(second), (size_t)(third), #symbol, (void *)symbol, &known)

#define NEW(symbol)                                                \
	HK_EXPORT void *symbol(size_t size)                        \
	{                                                          \
		void *p = hk_malloc_fast(size);                    \
		return HK_LIKELY(p) ? p : new_failed(size, HK_GRANULE, __builtin_return_address(0)); \
	}

#define NEW_ARRAY(symbol)                                          \
	HK_EXPORT void *symbol(size_t size)                        \
	{                                                          \
		UNLESS_OURS(new_by_others, symbol, size, 0, 0); \
		void *p = hk_malloc_fast(size);                    \
		return HK_LIKELY(p) ? p : new_failed(size, HK_GRANULE, __builtin_return_address(0)); \
	}

#define NEW_NOTHROW(symbol)                                            \
	HK_EXPORT void *symbol(size_t size, const void *nothrow);      \
	HK_EXPORT void *symbol(size_t size, const void *nothrow)       \
	{                                                              \
		UNLESS_OURS(new_by_others, symbol, size, nothrow, 0); \
		void *p = hk_malloc_fast(size);                        \
		return HK_LIKELY(p) ? p : next_nothrow(#symbol, (const void *)symbol, size, nothrow, __builtin_return_address(0)); \
	}

#define NEW_ALIGNED(symbol)                                      \
	HK_EXPORT void *symbol(size_t size, size_t align)        \
	{                                                        \
		void *p = hk_aligned_fast(size, align);          \
		return HK_LIKELY(p) ? p : new_failed(size, align, __builtin_return_address(0)); \
	}

#define NEW_ALIGNED_ARRAY(symbol)                                \
	HK_EXPORT void *symbol(size_t size, size_t align)        \
	{                                                        \
		UNLESS_OURS(new_by_others, symbol, size, align, 0); \
		void *p = hk_aligned_fast(size, align);          \
		return HK_LIKELY(p) ? p : new_failed(size, align, __builtin_return_address(0)); \
	}

#define NEW_ALIGNED_NOTHROW(symbol)                                             \
	HK_EXPORT void *symbol(size_t size, size_t align, const void *nothrow); \
	HK_EXPORT void *symbol(size_t size, size_t align, const void *nothrow)  \
	{                                                                       \
		UNLESS_OURS(new_by_others, symbol, size, align, nothrow); \
		void *p = hk_aligned_fast(size, align);                         \
		return HK_LIKELY(p) ? p : next_aligned_nothrow(#symbol, (const void *)symbol, size, align, nothrow, __builtin_return_address(0)); \
	}

#define DELETE(symbol)                     \
	HK_EXPORT void symbol(void *p)     \
	{                                  \
		hk_free_fast(p);           \
	}

#define DELETE_BY_OTHERS(symbol)                                      \
	HK_EXPORT void symbol(void *p, size_t second, size_t third);  \
	HK_EXPORT void symbol(void *p, size_t second, size_t third)   \
	{                                                             \
		UNLESS_OURS(delete_by_others, symbol, p, second, third); \
		hk_free_fast(p);                                      \
	}

NEW(_Znwm)
NEW_ARRAY(_Znam)
NEW_NOTHROW(_ZnwmRKSt9nothrow_t)
NEW_NOTHROW(_ZnamRKSt9nothrow_t)
NEW_ALIGNED(_ZnwmSt11align_val_t)
NEW_ALIGNED_ARRAY(_ZnamSt11align_val_t)
NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t)
NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t)
DELETE(_ZdlPv)
DELETE(_ZdlPvSt11align_val_t)
DELETE_BY_OTHERS(_ZdaPv)
DELETE_BY_OTHERS(_ZdlPvm)
DELETE_BY_OTHERS(_ZdaPvm)
DELETE_BY_OTHERS(_ZdlPvRKSt9nothrow_t)
DELETE_BY_OTHERS(_ZdaPvRKSt9nothrow_t)
DELETE_BY_OTHERS(_ZdaPvSt11align_val_t)
DELETE_BY_OTHERS(_ZdlPvmSt11align_val_t)
DELETE_BY_OTHERS(_ZdaPvmSt11align_val_t)
DELETE_BY_OTHERS(_ZdlPvSt11align_val_tRKSt9nothrow_t)
DELETE_BY_OTHERS(_ZdaPvSt11align_val_tRKSt9nothrow_t)
