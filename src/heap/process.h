/* process.h - the process's one start, and what the heap layer offers to the api.
 *
 * hk_process_init runs inside the first allocation of the process, before any constructor may be,
 * and allocates nothing. Threads: any; the first one does it, others wait.
 */
#ifndef HK_HEAP_PROCESS_H
#define HK_HEAP_PROCESS_H

#include "tiny/heap.h"

extern uint32_t hk_heaps_parked;                      /* [A] heaps in state PARKED */

/* Options, region, shared heap, thread key. False: no address space. */
bool hk_process_init(void);

/* Changes the calling thread's heap HEAP, which is not busy, for one of pool NODE. The one it has now. */
struct hk_heap *hk_heap_move(struct hk_heap *heap, unsigned node);

/* Between the two the calling thread's malloc is not an arena's: around what libc allocates for itself and keeps. */
HK_INLINE struct hk_heap *hk_heap_own_begin(void)
{
	struct hk_heap *pushed = hk_heap_tls == hk_home_tls ? NULL : hk_heap_tls;
	if (pushed)
		hk_heap_tls = hk_home_tls;
	return pushed;
}

HK_INLINE void hk_heap_own_end(struct hk_heap *pushed)
{
	if (pushed)
		hk_heap_tls = pushed;
}

/* Gives HEAP the tag and the mask that heaps of its pool have. */
void hk_heap_tag(struct hk_heap *heap);

/* A new heap of pool NODE in state NONE with memory and a tag; NULL: none left. */
struct hk_heap *hk_heap_make(unsigned node);

/* Ends the time of HEAP with the calling thread, whose TLS word points elsewhere: parks it, with what its
 * bins hold if all parked heaps together hold little. */
void hk_heap_park(struct hk_heap *heap);

/* Under HEAP's lock: what it was parked with is its next thread's from now on. */
void hk_heap_unpack(struct hk_heap *heap);

/* In a forked child: how many are parked and what they hold, where a vanished thread was changing it. */
void hk_heaps_recount_parked(void);

/* For a heap without a thread, under its lock: empties bins and slots that a fork left behind, its
 * queue, and gives its empty slabs back. */
void hk_heap_settle(struct hk_heap *heap);

/* A slab of class C with room, HEAP's from now on, from PARKED, which has no thread and whose lock is held. NULL: none. */
struct hk_slab *hk_heap_give_slab(struct hk_heap *parked, unsigned c, struct hk_heap *heap);

/* [C] once there are object pools: their part of a forked child's repair. */
extern void (*hk_fork_hook)(void);

/* Everything that can be given back at once; bytes that went to the kernel. */
size_t hk_heaps_trim(size_t pad);

/* Checks the invariants of every heap that can be locked; the number of violations, each said. */
int hk_heaps_audit(void);

/* A tag that no heap has had. */
uint64_t hk_heap_new_tag(void);

/* Between park.c, birth.c, fork.c and arena.c: HOME's thread ends, or goes on with TO; a forked child. */
void hk_arenas_leave(struct hk_heap *home, struct hk_heap *to);
void hk_arenas_repair(struct hk_heap *home, bool alone);

/* A forked child's heap, youth.c. In the child, whose thread had ME: false if it must go on with that. */
bool hk_youth_fork(struct hk_heap *me);
/* True once: the calling thread's next heap, a new one, shall be young. */
bool hk_youth_take(void);
void hk_youth_begin(struct hk_heap *heap);
/* Under the heap's lock: its youth is over, if it is young; if it was long enough. */
void hk_youth_end(struct hk_heap *heap);
void hk_youth_tick(struct hk_heap *heap, uint32_t now_ms);
/* Blocks that were freed and wait for its end. */
uint32_t hk_youth_noted(void);

/* Between birth.c and fork.c: makes the word that tells a child; opens the locks in a child. */
void hk_fork_start(void);
void hk_start_locks_reset(void);

#endif
