/* lock.c - the contended half of lock.h. Does not detect fork: a child clears the locks of threads
 * that vanished before it takes one (heap/fork.c). */
#include "os/lock.h"

#define SPINS 64
#define YIELDS 256
#define SLEEP_MAX_US 1000

void hk_lock_slow(struct hk_lock *lock, uintptr_t me)
{
	unsigned sleep_us = 50;
	for (unsigned round = 0;; round++) {
		for (unsigned i = 0; i < SPINS; i++) {
			uintptr_t none = 0;
			if (!hk_load(&lock->owner) && hk_cas_acq(&lock->owner, &none, me))
				return; /* pairs with hk_unlock */
			hk_cpu_relax();
		}
		if (round < YIELDS) {
			hk_os_yield();
			continue;
		}
		/* A holder of lower real-time priority never runs while we yield: sleep. */
		hk_os_sleep_us(sleep_us);
		sleep_us = sleep_us * 2 > SLEEP_MAX_US ? SLEEP_MAX_US : sleep_us * 2;
	}
}
