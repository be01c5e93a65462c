/* loans.h - bytes that a heap's bins may hold: its own, and what it borrows while others leave it.
 *
 * Threads: the heap's owner, or the holder of its lock where it has none; the account itself is atomic.
 */
#ifndef HK_TINY_LOANS_H
#define HK_TINY_LOANS_H

#include "tiny/heap.h"

/* What a heap's bins may hold without borrowing: less where there are very many threads. */
size_t hk_loans_own(void);

/* What all bins together may borrow at least, where memory has room for it (HAKMEM_BIN_EXTRA_MIB). */
size_t hk_loans_least(void);

/* Sees to it that the heap's bins may hold BYTES. False: they may not; nothing is changed. */
bool hk_loans_take(struct hk_heap *heap, size_t bytes);

/* The heap holds more than twice what it could borrow now: others came. */
bool hk_loans_over_share(struct hk_heap *heap);

/* Gives back what the heap borrowed for caps that have since fallen. */
void hk_loans_give_back(struct hk_heap *heap);

#endif
