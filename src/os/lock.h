/* lock.h - the lock of slow paths: spin, yield, then sleep.
 *
 * No futex: unlock stays a plain store, sections are some hundred nanoseconds, and a thread that
 * waits needs no wake. The word holds the owner's thread word, so that a fork's child can tell a
 * lock whose holder vanished.
 * Ranks: heap < pool. At most one heap lock is held; another heap's is only tried.
 */
#ifndef HK_OS_LOCK_H
#define HK_OS_LOCK_H

#include "base/atomic.h"
#include "os/os.h"

struct hk_lock {
	uintptr_t owner; /* [A] 0 free; acquire in lock, release in unlock */
};

void hk_lock_slow(struct hk_lock *lock, uintptr_t me);

HK_INLINE bool hk_lock_try(struct hk_lock *lock)
{
	uintptr_t none = 0;
	if (hk_load(&lock->owner))
		return false;
	/* pairs with hk_unlock */
	return hk_cas_acq(&lock->owner, &none, hk_os_thread_word());
}

HK_INLINE void hk_lock(struct hk_lock *lock)
{
	uintptr_t none = 0, me = hk_os_thread_word();
	/* pairs with hk_unlock */
	if (HK_UNLIKELY(!hk_cas_acq(&lock->owner, &none, me)))
		hk_lock_slow(lock, me);
}

HK_INLINE void hk_unlock(struct hk_lock *lock)
{
	hk_store_rel(&lock->owner, (uintptr_t)0); /* pairs with hk_lock, hk_lock_try */
}

HK_INLINE bool hk_lock_is_mine(const struct hk_lock *lock)
{
	return hk_load(&lock->owner) == hk_os_thread_word();
}

#endif
