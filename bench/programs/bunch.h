/* bunch.h - the bunch of blocks that sh6bench and sh8bench fill and free.
 *
 * I1  blocks[lo .. hi) are live, all others of the bunch are freed. */
#ifndef HK_BENCH_BUNCH_H
#define HK_BENCH_BUNCH_H

#include "frame.h"

#define HK_BUNCH_BLOCKS 3000

struct hk_bunch {
	size_t lo, hi;     /* live */
	size_t count;      /* hi - lo */
	char *blocks[HK_BUNCH_BLOCKS];
	uint16_t sizes[HK_BUNCH_BLOCKS];
};

/* Runs of one size: the smaller, the longer. A size below 50 comes in runs of 20 and more. */
static inline void hk_bunch_fill(struct hk_bunch *b, size_t count, uint64_t *random)
{
	size_t left = 0, size = 0;

	for (size_t i = 0; i < count; i++, left--) {
		if (!left) {
			size = hk_pick(random, 1, hk_pick(random, 1, 1000));
			left = 1 + 1000 / size;
			left = left < 60 ? left : 60;
		}
		b->sizes[i] = (uint16_t)size;
		b->blocks[i] = hk_get(size);
	}
	b->lo = 0;
	b->hi = b->count = count;
}

/* Frees [LO, HI), an end of what is live; backwards or not. */
static inline void hk_bunch_free_range(struct hk_bunch *b, size_t lo, size_t hi, int backwards)
{
	for (size_t i = 0; i < hi - lo; i++) {
		size_t at = backwards ? hi - 1 - i : lo + i;

		hk_put(b->blocks[at], b->sizes[at]);
	}
	if (lo == b->lo)
		b->lo = hi;
	else
		b->hi = lo;
	b->count = b->hi - b->lo;
}

/* All that is live. */
static inline void hk_bunch_free_rest(struct hk_bunch *b, int backwards)
{
	hk_bunch_free_range(b, b->lo, b->hi, backwards);
}

#endif
