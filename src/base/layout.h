/* layout.h - the sizes on which everything else stands.
 *
 *  region > stripe (a pool's) > gib (1 GiB, one block of side table) > SuperSlab (2 MiB) > chunk (64 KiB)
 */
#ifndef HK_BASE_LAYOUT_H
#define HK_BASE_LAYOUT_H

#include "base/attr.h"

#define HK_PAGE_BYTES 4096ul
#define HK_CHUNK_SHIFT 16
#define HK_CHUNK_BYTES (1ul << HK_CHUNK_SHIFT)
#define HK_SUPER_SHIFT 21
#define HK_SUPER_BYTES (1ul << HK_SUPER_SHIFT)
#define HK_SUPER_CHUNKS 32u
#define HK_GIB_SHIFT 30
#define HK_GIB_SUPERS 512u
#define HK_REGION_GIBS 16384u /* 16 TiB for many nodes; 4 TiB for one, two or three */
#define HK_GIBS (1u << 17) /* of address space that the side table can describe: 128 TiB */
#define HK_REGION_SUPERS ((size_t)HK_REGION_GIBS * HK_GIB_SUPERS)
#define HK_NODES_MAX 64u
#define HK_POOLS_MAX (2 * HK_NODES_MAX) /* and as many on small pages */

#define HK_GRANULE 16u
#define HK_LINE_BYTES 64u
#define HK_FINE_MAX 1024u           /* up to here a class each 16 bytes */
#define HK_TINY_MAX 14400u          /* up to here one-chunk slabs with an inline header */
#define HK_MEDIUM_MAX (512u * 1024u) /* up to here slabs, above spans */

_Static_assert(HK_SUPER_BYTES / HK_CHUNK_BYTES == HK_SUPER_CHUNKS, "chunks of a SuperSlab");
_Static_assert((1ul << HK_GIB_SHIFT) / HK_SUPER_BYTES == HK_GIB_SUPERS, "SuperSlabs of a gib");

#endif
