/* atomic.h - the few atomic operations in use, with the order in the name.
 *
 * relaxed where nothing is said; _acq pairs with _rel or _acqrel of the place named at the call. */
#ifndef HK_BASE_ATOMIC_H
#define HK_BASE_ATOMIC_H

#include "base/attr.h"

#define hk_load(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define hk_load_acq(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define hk_store(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define hk_store_rel(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define hk_add(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define hk_sub(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_RELAXED)
#define hk_cas_acq(p, old, v) \
	__atomic_compare_exchange_n((p), (old), (v), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)

/* A word that other threads may change, on the hot path: any value it had will do. Plain, so that it
 * folds into the compare; an atomic load under the race detector. */
#ifdef __SANITIZE_THREAD__
#define hk_peek(p) hk_load(p)
#else
#define hk_peek(p) (*(p))
#endif

#endif
