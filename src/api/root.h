/* root.h - layout of the root symbol. Grows at its end; `version` changes when a field changes its
 * meaning. All pointers are constant after loading. */
#ifndef HK_API_ROOT_H
#define HK_API_ROOT_H

#include "api/api.h"

#define HAK_ROOT_MAGIC 0x746f6f726b6168ull /* "hakroot" */
#define HAK_ROOT_VERSION 1

struct hak_root {
	uint64_t magic;
	uint32_t version;
	uint32_t bytes;           /* of this structure */
	uint32_t library_version; /* hak_version() */
	uint32_t heap_bytes;
	const void *region;       /* struct hk_region */
	const void *gibs;         /* struct hk_gib *[131072], by address >> 30 */
	const void *pools;        /* struct hk_pool [64] */
	uint64_t heap_group;      /* heaps in a group */
	const void *heap_groups;  /* struct hk_heap *[65536 / heap_group] */
	const uint8_t *heap_states;
	const uint32_t *heaps_made;
	const void *numa;         /* struct hk_numa */
};

extern const struct hak_root hak_root;

#endif
