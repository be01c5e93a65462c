/* large.h - spans: blocks above 512 KiB, and those aligned to more than a chunk.
 *
 * Up to 31 chunks a span lies in one SuperSlab, or begins in one and ends in the next where it fits into none that is
 * partly used; from 32 on it begins at a SuperSlab's base and its last chunks share their SuperSlab with others, but for
 * some that would leave much of it. Zero where the kernel's pages are fresh.
 * Threads: any; the pool's lock is taken inside.
 */
#ifndef HK_TINY_LARGE_H
#define HK_TINY_LARGE_H

#include "tiny/heap.h"

/* SIZE bytes (at most PTRDIFF_MAX) aligned to ALIGN (a power of two). *ZERO: reads as zero. */
void *hk_span_alloc(struct hk_pool *pool, size_t size, size_t align, bool *zero);

void hk_span_free(void *p);

/* For a signal handler that may have interrupted a change of P's pool by its own thread: P is freed by the next free of a
 * span that is not one's (hk_span_free_late); of an arena, by its reset or end. Takes no lock. */
void hk_span_defer(void *p);
void hk_span_free_late(void);

/* Makes SIZE bytes of a span that was used before read as zero: a large one's pages go back to the kernel, since programs
 * that ask for so much zeroed memory may not touch all of it; where these can't go, and else, by writing. */
void hk_span_clear(void *p, size_t size);

/* Resizes where it stands; false: it must move. */
bool hk_span_resize(void *p, size_t size);

/* Copies OLD_BYTES of FROM to TO, by moving pages where both are spans and that is cheaper. */
void hk_span_copy(struct hk_heap *heap, void *to, void *from, size_t old_bytes);

#endif
