/* loans.c - what bins may hold beyond HAKMEM_BIN_KIB a heap, lent from one account of all heaps. A heap may borrow up to
 * twice what is left then (A. Choudhury, E. Hahne: Dynamic queue length thresholds for shared-memory packet switches,
 * 1998), so that N busy ones end at 2 / (2 N + 1) of it each, and know nothing of each other. */
#include "tiny/loans.h"

#include <errno.h>

#include "observe/options.h"

#define MANY_HEAPS 128u
#define OWN_MIN_BYTES (64u << 10)
#define BORROW_BYTES (64u << 10)
#define LOANS_UNASKED_BYTES (8ul << 20)
#define LOANS_AUTO_LEAST (32ul << 20) /* by themselves, and ... */
#define LOANS_AUTO_PART 384u          /* ... of the memory limit, at most ... */
#define LOANS_AUTO_MOST (256ul << 20)

/* Heaps of threads, nodes' shared ones among them, but none of arenas. */
static size_t ordinary_heaps(void)
{
	return hk_load(&hk_heaps_made) - hk_load(&hk_heaps_in_arenas);
}

size_t hk_loans_own(void)
{
	size_t own = hk_options.bin_kib << 10;
	size_t heaps = ordinary_heaps();
	return heaps <= MANY_HEAPS ? own : hk_max(own * MANY_HEAPS / heaps, hk_min(own, OWN_MIN_BYTES));
}

size_t hk_loans_least(void)
{
	return hk_options.bin_extra_mib == HK_AUTO ? LOANS_AUTO_LEAST : hk_options.bin_extra_mib << 20;
}

/* What all heaps together may borrow: HAKMEM_BIN_EXTRA_MIB, but beyond 8 MiB no more than a sixteenth of the memory
 * limit, which is asked for only by a thread that comes near. Not in an arena, where nothing may enter the kernel. */
static size_t loans_limit(struct hk_heap *heap, size_t lent)
{
	static size_t memory; /* [A] 0: not asked yet; any thread finds the same */
	size_t all = hk_loans_least(), limit;
	if (lent <= LOANS_UNASKED_BYTES)
		return all;
	if (!hk_load(&memory)) {
		int saved = errno;
		uint8_t was = heap->busy;
		if (heap->arena)
			return LOANS_UNASKED_BYTES;
		heap->busy = 1; /* a signal handler must not change the bin that is being looked at */
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		hk_store(&memory, hk_os_memory_limit());
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		heap->busy = was;
		errno = saved;
	}
	limit = hk_load(&memory);
	if (hk_options.bin_extra_mib == HK_AUTO)
		all = hk_max(all, hk_min(limit / LOANS_AUTO_PART, LOANS_AUTO_MOST));
	return hk_min(all, hk_max(limit / 16, LOANS_UNASKED_BYTES));
}

bool hk_loans_take(struct hk_heap *heap, size_t bytes)
{
	size_t own = hk_loans_own(), lent, limit;
	if (bytes <= own + heap->borrowed_bytes)
		return true;
	size_t more = hk_align_up(bytes - own - heap->borrowed_bytes, BORROW_BYTES);
	lent = hk_add(&hk_held_bytes, more) + more;
	limit = loans_limit(heap, lent);
	if (lent > limit || heap->borrowed_bytes + more > 2 * (limit - lent)) {
		hk_sub(&hk_held_bytes, more);
		return false;
	}
	heap->borrowed_bytes += more;
	return true;
}

bool hk_loans_over_share(struct hk_heap *heap)
{
	size_t lent = hk_load(&hk_held_bytes), limit;
	if (!heap->borrowed_bytes)
		return false;
	limit = loans_limit(heap, lent);
	return lent >= limit || heap->borrowed_bytes > 4 * (limit - lent);
}

void hk_loans_give_back(struct hk_heap *heap)
{
	size_t own = hk_loans_own();
	size_t need = heap->cap_bytes > own ? hk_align_up(heap->cap_bytes - own, BORROW_BYTES) : 0;
	if (need < heap->borrowed_bytes) {
		hk_sub(&hk_held_bytes, heap->borrowed_bytes - need);
		heap->borrowed_bytes = need;
	}
}
