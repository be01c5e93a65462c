/* busy.h - signal handlers kept off: what a thread says of itself while it has locks or is in the middle of a change. */
#ifndef HK_TINY_BUSY_H
#define HK_TINY_BUSY_H

#include "tiny/heap.h"

/* What takes locks outside of a slow path stands between these two, HEAP being the thread's ordinary one: a signal
 * handler's calls go elsewhere meanwhile. The first returns what the second wants. */
HK_INLINE uint8_t hk_busy_begin(struct hk_heap *heap)
{
	if (!hk_heap_is_born(heap))
		return 0;
	uint8_t was = heap->busy;
	heap->busy = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return was;
}

HK_INLINE void hk_busy_end(struct hk_heap *heap, uint8_t was)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (hk_heap_is_born(heap))
		heap->busy = was;
}

#endif
