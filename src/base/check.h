/* check.h - three levels of check.
 *
 * HK_CHECK   always, cheap: the process would go on with a corrupt heap otherwise.
 * HK_ASSERT  debug builds: what the code around it proves.
 * Misuse by the program: hk_fatal("double free", p), one line on standard error, then abort. */
#ifndef HK_BASE_CHECK_H
#define HK_BASE_CHECK_H

#include "base/attr.h"

/* Writes "hakmem: WHAT: 0xPTR" without allocating and aborts. Implemented by observe/say.c. */
_Noreturn HK_COLD void hk_fatal(const char *what, const void *ptr);

#define HK_CHECK(cond, what, ptr)                  \
	do {                                       \
		if (HK_UNLIKELY(!(cond)))          \
			hk_fatal((what), (ptr));   \
	} while (0)

#ifdef HK_DEBUG
#define HK_ASSERT(cond) HK_CHECK(cond, "assertion failed: " #cond, (const void *)0)
#else
#define HK_ASSERT(cond) ((void)sizeof(!(cond)))
#endif

#endif
