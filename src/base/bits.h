/* bits.h - bit arithmetic: alignment, logarithms, runs of set bits. No state. */
#ifndef HK_BASE_BITS_H
#define HK_BASE_BITS_H

#include "base/attr.h"

HK_INLINE uint64_t hk_align_up(uint64_t x, uint64_t align)
{
	return (x + align - 1) & ~(align - 1);
}

HK_INLINE uint64_t hk_align_down(uint64_t x, uint64_t align)
{
	return x & ~(align - 1);
}

HK_INLINE bool hk_is_pow2(uint64_t x)
{
	return x && !(x & (x - 1));
}

/* floor(log2(x)); x > 0. */
HK_INLINE unsigned hk_log2(uint64_t x)
{
	return 63u ^ (unsigned)__builtin_clzll(x); /* one bsr: a difference is two more instructions */
}

HK_INLINE uint64_t hk_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

HK_INLINE uint64_t hk_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The lowest COUNT bits, 0 .. 64. */
HK_INLINE uint64_t hk_mask64(unsigned count)
{
	return count >= 64 ? ~0ull : (1ull << count) - 1;
}

/* A mask of COUNT ones from bit FIRST; FIRST + COUNT <= 32. */
HK_INLINE uint32_t hk_mask32(unsigned first, unsigned count)
{
	return (count >= 32 ? ~0u : (1u << count) - 1) << first;
}

/* Bits at which a run of COUNT (1..32) set bits of MASK begins. */
HK_INLINE uint32_t hk_run_starts(uint32_t mask, unsigned count)
{
	unsigned have = 1;
	while (have < count && mask) {
		unsigned step = have < count - have ? have : count - have;
		mask &= mask >> step;
		have += step;
	}
	return mask;
}

#endif
