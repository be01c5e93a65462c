/* counters.h - the tap: a heap's counters, written by its owner or under its lock.
 *
 * Only slow paths count, so the hot path does not know that they exist; readers sum over heaps and
 * may be a moment behind. Includes base alone. */
#ifndef HK_OBSERVE_COUNTERS_H
#define HK_OBSERVE_COUNTERS_H

#include "base/atomic.h"

struct hk_counters {
#define HK_COUNTER(name, what) uint64_t name;
#include "observe/counters.def"
#undef HK_COUNTER
};

#endif
