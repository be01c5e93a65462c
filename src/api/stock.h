/* stock.h - what an object pool has that no thread keeps: a stack of chunks of pointers, without a lock.
 *
 *   head  -> chunk -> chunk -> chunk      each up to `per_chunk` pointers; how many is in the word that points to
 *   spare -> chunk -> chunk               it: | tag | count | number + 1 |
 *
 * I1  an object is in one chunk of the stack at most.
 * I2  chunks are never unmapped while the store lives: a pop may read one that is no longer where it was. What it read
 *     counts only if the head, tag and all, is still what it was; so a pop takes exactly what it wants, across
 *     chunks, by one compare-and-swap, and a verdict "too few" is true at one moment.
 * I3  `moving` > 0 while someone holds objects that should be in the stack (no chunk was spare): then too few is no
 *     verdict.
 * The tag has 31 bits: a thread would have to sleep through 2^31 changes, and find count and number the same.
 * Threads: any.
 */
#ifndef HK_API_STOCK_H
#define HK_API_STOCK_H

#include "base/atomic.h"

#define HK_STOCK_CHUNK 64u         /* objects of a chunk, at most */
#define HK_STOCK_MAX ((1u << 26) - 128) /* objects of a store: their chunks have numbers of 26 bits */

struct hk_stock {
	uint64_t head HK_CACHELINE;  /* [A] word */
	uint64_t objects;            /* [A] in it, about */
	uint64_t spare HK_CACHELINE; /* [A] word */
	uint32_t moving;             /* [A] I3 */
	uint64_t pops, pushes;       /* [A] */
	char *chunks HK_CACHELINE;   /* [C] */
	size_t chunk_bytes;          /* [C] */
	uint32_t per_chunk;          /* [C] */
	/* What may be in it. */
	uintptr_t base;              /* [C] of the first object */
	uint64_t count;              /* [C] */
	uint64_t inverse;            /* [C] of the stride's odd part mod 2^64, and ... */
	unsigned zeros;              /* [C] ... the zeros below it */
};

/* Bytes that `chunks` wants for COUNT objects, PER_CHUNK (64 at most) in a chunk. */
size_t hk_stock_bytes(size_t count, uint32_t per_chunk);

/* An empty store of objects STRIDE bytes apart from BASE on; CHUNKS reads as zero. */
void hk_stock_init(struct hk_stock *stock, void *chunks, uintptr_t base, size_t stride, size_t count,
		   uint32_t per_chunk);

/* MOST objects to OUT, or what there is if that is LEAST at least; how many. */
size_t hk_stock_pop(struct hk_stock *stock, void **out, size_t least, size_t most);

/* Ends the process if one of them is no object. */
void hk_stock_push(struct hk_stock *stock, void *const *objects, size_t count);

#endif
