/* reentry.h - memory for a signal handler that mallocs while its thread is inside a slow path.
 *
 * malloc is not async-signal-safe, but crash handlers call it: they get blocks of a small static
 * span, never reused, rather than a deadlock. Threads: any; one atomic add an allocation.
 */
#ifndef HK_TINY_REENTRY_H
#define HK_TINY_REENTRY_H

#include "base/attr.h"

void *hk_reentry_alloc(size_t size, size_t align);
bool hk_reentry_has(const void *p);
size_t hk_reentry_usable(const void *p);

#endif
