/* policy.h - policies: their words, and what the kernel says of this process's own. Between node.c and
 * policy.c. */
#ifndef HK_NUMA_POLICY_H
#define HK_NUMA_POLICY_H

#include "numa/node.h"

/* The policy that numactl or the program gave the calling thread; false: it has none, or local. */
bool hk_policy_of_process(struct hk_policy *out);

#endif
