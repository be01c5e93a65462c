/* tiny_slow.h - what the api layer needs beyond malloc and free: cold or warm, never hot. */
#ifndef HK_TINY_TINY_SLOW_H
#define HK_TINY_TINY_SLOW_H

#include "tiny/tiny_fast.h"

/* hk_alloc_slow from HEAP, which is the calling thread's; after hk_fork_check. */
void *hk_alloc_in(struct hk_heap *heap, size_t size, size_t align, bool *zero);

/* SIZE bytes from pool NODE, wherever the thread is; from the nearest one where it has no memory. */
void *hk_alloc_at(unsigned node, size_t size);

/* Frees P if it is a medium block of HEAP, which is the calling thread's; false: it is not. */
bool hk_free_medium(struct hk_heap *heap, void *p);

/* Bytes usable at P; 0 for NULL. Foreign and dead pointers are the caller's misuse: fatal. */
size_t hk_usable_bytes(const void *p);

/* realloc for PTR that is not NULL and SIZE that is not 0. */
void *hk_realloc_slow(void *p, size_t size);

/* ---- provided by the api layer ---- */

/* A pointer outside the region: on to the next allocator's function, or abort. */
void hk_foreign_free(void *p);
void *hk_foreign_realloc(void *p, size_t size);
size_t hk_foreign_usable(const void *p);

#endif
