/* bin.h - a thread's list of free blocks of one class, and its exchange with slabs.
 *
 * refill: bin empty      <- remote queue, partial slabs fullest first, carving, new slab
 * flush:  budget spent   -> count; over the cap: half of it to the slabs, or on to other heaps
 * Threads: the heap's lock is held where it is not said otherwise.
 */
#ifndef HK_TINY_BIN_H
#define HK_TINY_BIN_H

#include "tiny/heap.h"

/* Fills the empty bin of class C. False: out of memory. *ZERO, where not NULL: the first block is
 * fresh from the kernel and reads as zero. */
bool hk_bin_refill(struct hk_heap *heap, unsigned c, bool *zero);

/* Gives all but the first KEEP blocks of the bin back; how many of these went on to other heaps. */
uint32_t hk_bin_cut(struct hk_heap *heap, unsigned c, uint32_t keep);

/* Blocks in the bin (heap.h, I2). Owner, without the lock, or lock holder where there is none. */
uint32_t hk_bin_length(const struct hk_heap *heap, unsigned c);

/* Adds what the owner did since the budget was set to the counters; says that the bin has LENGTH
 * blocks now, and sets a new budget. The owner needs no lock. */
void hk_bin_grant(struct hk_heap *heap, unsigned c, uint32_t length, int32_t budget);

/* Counts the blocks of a bin whose thread a fork left behind, perhaps between two stores. */
void hk_bin_recount(struct hk_heap *heap, unsigned c);

/* Empties a bin that went quiet, takes its cap back to the first one, releases empty slabs. */
void hk_bin_quiet(struct hk_heap *heap, unsigned c);

/* The budget is spent: grants anew, with a larger cap perhaps; false: the bin must be cut. Needs no
 * lock: the owner's words alone. */
bool hk_bin_spent(struct hk_heap *heap, unsigned c);

#define HK_DRAIN_BLOCKS 32u /* flushed at a time from a long list, or by a program that only frees */

/* Makes room in a bin that is over its cap: takes the newest blocks off a long list, cuts a short one to half, or
 * empties it where nothing was taken meanwhile. A list that is walked to its end, as a long one is now and then, and
 * does not have the length it should is fatal: a double free. */
void hk_bin_overflow(struct hk_heap *heap, unsigned c);

/* Puts COUNT linked blocks HEAD .. TAIL of class C back into their slab. */
void hk_slab_put(struct hk_heap *heap, struct hk_slab *slab, struct hk_block *head,
		 struct hk_block *tail, uint32_t count);

/* Up to WANT blocks of class C from slabs, for another heap: counted as live. NULL: no memory. */
struct hk_block *hk_slabs_take(struct hk_heap *heap, unsigned c, uint32_t want, uint32_t *count);

/* Links SLAB, which has room, into HEAP's partial lists, or takes it out. */
void hk_slab_link(struct hk_heap *heap, struct hk_slab *slab);
void hk_slab_unlink(struct hk_heap *heap, struct hk_slab *slab);

/* Gives the empty slabs of class C back to the pool. */
void hk_slabs_release(struct hk_heap *heap, unsigned c);

#endif
