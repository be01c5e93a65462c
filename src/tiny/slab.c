/* slab.c - birth, carving and end of one slab. Knows no lists: those are the heap's (bin.c). */
#include "tiny/slab.h"

#include "base/check.h"
#include "tiny/heap.h"

bool hk_slab_has_block(const struct hk_slab *slab, const void *p)
{
	const struct hk_class *c = &hk_classes[slab->class_index];
	uintptr_t at = (uintptr_t)p, header = (uintptr_t)slab;
	size_t offset = at - slab->base;
	uint32_t i = hk_class_index(c, offset);
	if (i >= c->blocks || (size_t)i * c->size != offset)
		return false;
	if (hk_load(&slab->carved) < c->blocks)
		return hk_slab_was_carved(slab, i);
	return slab->class_index >= HK_TINY_CLASSES || at >= header + sizeof(*slab) || at + c->size <= header;
}

uint32_t hk_slab_carved_blocks(const struct hk_slab *slab)
{
	uint32_t first, end, blocks = hk_classes[slab->class_index].blocks;
	if (slab->carved < blocks)
		return slab->carved;
	hk_slab_covered(slab, &first, &end);
	return blocks - (end - first);
}

struct hk_block *hk_slab_carve(struct hk_slab *slab, size_t bytes, uint32_t *count)
{
	const struct hk_class *c = &hk_classes[slab->class_index];
	uint32_t first, end, carved = slab->carved, n = 0;
	struct hk_block *list = NULL, **link = &list;
	hk_slab_covered(slab, &first, &end);
	uint32_t all = c->blocks - (end - first), i = end + carved;
	i -= i >= c->blocks ? c->blocks : 0;
	uintptr_t at = slab->base + (size_t)i * c->size, to = hk_align_down(at + bytes, HK_PAGE_BYTES);
	uint32_t want = to > at + c->size ? (uint32_t)((to - at) / c->size) : 1;
	for (; n < want && carved < all; n++, carved++) {
		struct hk_block *block = (struct hk_block *)(slab->base + (size_t)i * c->size);
		*link = block;
		link = &block->next;
		i = i + 1 < c->blocks ? i + 1 : 0;
	}
	if (n)
		*link = NULL;
	hk_store(&slab->carved, (uint16_t)(carved < all ? carved : c->blocks));
	*count = n;
	return list;
}

static struct hk_lock lock; /* SuperSlabs of one table of headers may be of several pools */

void hk_slab_locks_reset(void)
{
	lock.owner = 0;
}

/* Makes the table of headers that P's SuperSlab needs for medium slabs. */
static bool medium_headers(const void *p)
{
	struct hk_slab **group = hk_medium_group(hk_super_index(p));
	if (hk_load_acq(group))
		return true;
	hk_lock(&lock);
	if (!*group) {
		size_t bytes = sizeof(struct hk_slab) * HK_MEDIUM_GROUP * HK_SUPER_CHUNKS;
		hk_store_rel(group, hk_os_table(bytes)); /* pairs with hk_slab_at */
	}
	hk_unlock(&lock);
	return hk_load(group) != NULL;
}

bool hk_slab_headers_ready(size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++) {
		if (!medium_headers((void *)hk_super_base(i)))
			return false;
		__atomic_fetch_or((char *)hk_slab_at(i, 0), 0, __ATOMIC_RELAXED); /* half a page a SuperSlab */
	}
	return true;
}

struct hk_slab *hk_slab_from_chunk(size_t index, unsigned chunk)
{
	uint32_t code = hk_super_at(index)->code[chunk];
	const char *p = (const char *)hk_super_base(index) + chunk * HK_CHUNK_BYTES;
	if (hk_code_kind(code) == HK_CODE_TINY)
		return hk_slab_of_tiny(p);
	return hk_code_kind(code) == HK_CODE_MEDIUM && !hk_code_back(code) ? hk_slab_at(index, chunk) : NULL;
}

struct hk_slab *hk_slab_new(struct hk_pool *pool, unsigned c, struct hk_heap *heap)
{
	bool tiny = c < HK_TINY_CLASSES, zero;
	struct hk_slab *slab;
	void *p = hk_pool_chunks_alloc(pool, hk_classes[c].chunks, 1,
				       tiny ? HK_CODE_TINY : HK_CODE_MEDIUM, &zero);
	if (!p)
		return NULL;
	if (!tiny && !medium_headers(p)) {
		hk_pool_chunks_free(pool, p, hk_classes[c].chunks);
		return NULL;
	}
	slab = tiny ? hk_slab_of_tiny(p) : hk_slab_at(hk_super_index(p), hk_chunk_index(p));
	slab->bin_offset = (uint32_t)(offsetof(struct hk_heap, bins) + c * sizeof(struct hk_bin));
	slab->exact = (uint32_t)(((1ull << 32) + hk_classes[c].size - 1) / hk_classes[c].size);
	slab->class_index = (uint8_t)c;
	slab->list = 0;
	slab->zero = zero;
	slab->free = NULL;
	slab->live = slab->carved = 0;
	slab->next = slab->prev = NULL;
	slab->base = (uintptr_t)p + (tiny ? HK_CHUNK_BYTES - (size_t)hk_classes[c].blocks * hk_classes[c].size : 0);
	hk_slab_own(slab, heap);
	return slab;
}

void hk_slab_own(struct hk_slab *slab, struct hk_heap *heap)
{
	unsigned c = slab->class_index;
	uint32_t *code = &hk_super_at(hk_super_index((void *)slab->base))->code[hk_chunk_index((void *)slab->base)];
	hk_store_rel(&slab->heap, heap); /* who posts to it reads its index */
	for (unsigned i = 0; c >= HK_TINY_CLASSES && i < hk_classes[c].chunks; i++)
		hk_store(&code[i], hk_code_of_slab(i, c, heap->index));
	hk_store_rel(&slab->tag, hk_slab_tag(slab, heap));
}

void hk_slab_release(struct hk_slab *slab)
{
	unsigned chunks = hk_classes[slab->class_index].chunks;
	void *base = (void *)hk_align_down(slab->base, HK_CHUNK_BYTES);
	/* Before the chunks count as free: a stale tag inside a later span would match. */
	hk_store(&slab->tag, 0);
	hk_store(&slab->heap, NULL);
	hk_pool_chunks_free(hk_pool_of(base), base, chunks);
}
