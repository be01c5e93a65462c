/* meter.h - time, core clock and memory of the measuring process.
 * Nothing here allocates; safe from any thread. */
#ifndef HK_BENCH_METER_H
#define HK_BENCH_METER_H

#include <stddef.h>
#include <stdint.h>

/* Nanoseconds of the monotonic clock. */
uint64_t hk_now_ns(void);

/* Cycles per nanosecond of this core, now: a chain of dependent adds, one cycle each. Takes about
 * 0.1 ms. */
double hk_clock_ghz(void);

/* Resident KiB now, exactly (smaps_rollup), or -1. */
long hk_resident_kib(void);

/* Peak resident KiB of this image since exec, or -1. (getrusage's figure is inherited by exec.) */
long hk_peak_kib(void);

/* BYTES for the benchmark's own tables: not from malloc, touched now, so that they fault outside the
 * loop. Ends the program with status 2 where there is none. */
void *hk_table(size_t bytes);

struct hk_usage {
	double cpu_s;          /* user + system, all threads */
	long minor_faults;
};
void hk_usage_now(struct hk_usage *out);

/* 64 bits that look random, from a state that must not be 0. */
static inline uint64_t hk_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *state = x;
}

/* LO .. HI inclusive. */
static inline size_t hk_random_between(uint64_t *state, size_t lo, size_t hi)
{
	return lo + (size_t)((hk_random(state) >> 33) % (hi - lo + 1));
}

#endif
