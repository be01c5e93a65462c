/* root.c - the one structure that a reader outside the process begins at, found by its symbol. It
 * also proves that hakmem serves where no dynamic symbol can: in a static program. */
#include "api/root.h"

#include "heap/process.h"
#include "numa/node.h"

HK_EXPORT const struct hak_root hak_root = {
	.magic = HAK_ROOT_MAGIC,
	.version = HAK_ROOT_VERSION,
	.bytes = sizeof(struct hak_root),
	.library_version = HAK_VERSION,
	.heap_bytes = sizeof(struct hk_heap),
	.region = &hk_region,
	.gibs = hk_gibs,
	.pools = hk_pools,
	.heap_group = HK_HEAP_GROUP,
	.heap_groups = hk_heap_groups,
	.heap_states = hk_heap_states,
	.heaps_made = &hk_heaps_made,
	.numa = &hk_numa,
};
