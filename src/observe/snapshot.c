/* snapshot.c - reads the layers. Changes nothing. */
#include "observe/snapshot.h"

#include <string.h>

#include "heap/process.h"
#include "tiny/busy.h"
#include "tiny/find.h"

#define BIN_MAX (1u << 24)

void hk_counters_add(struct hk_counters *sum, const struct hk_counters *more)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)more;
	for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += hk_load(&from[i]);
}

static void read_heap(struct hk_snapshot *out, const struct hk_heap *heap)
{
	uint64_t in_slots = 0, in_bins = 0, spent = 0, pops = 0;
	hk_counters_add(&out->sum, &heap->count);
	for (unsigned c = 0; c < HK_CLASSES; c++) {
		uint32_t n = hk_load(&heap->classes[c].counted) - hk_load(&heap->bins[c].pops) +
			     (uint32_t)(hk_load(&heap->classes[c].grant) - hk_load(&heap->bins[c].budget));
		pops += hk_load(&heap->bins[c].pops);
		n = n < BIN_MAX ? n : 0; /* its thread is between two of the stores */
		in_bins += n;
		out->bin_bytes += (size_t)n * hk_classes[c].size;
		spent += (uint64_t)((int64_t)hk_load(&heap->classes[c].grant) - hk_load(&heap->bins[c].budget));
	}
	for (unsigned i = 0; i < HK_SLOTS; i++)
		if (hk_load(&heap->slots[i].slab))
			in_slots += (uint64_t)(hk_load(&heap->slots[i].room_full) - hk_load(&heap->slots[i].room));
	const struct hk_counters *n = &heap->count;
	out->bin_blocks += in_bins;
	out->sum.tls_sll += spent;
	out->free_blocks += n->tls_sll + spent + n->ss_remote + in_slots - n->flush_remote + n->span_freed;
	out->sum.tls_pops += pops;
	out->malloc_blocks += n->tls_pops + pops + n->span_made;
}

static void read_super(struct hk_snapshot *out, const struct hk_pool *pool, size_t index)
{
	struct hk_super *s = hk_super_at(index);
	if (hk_load(&s->pool) != pool)
		return; /* lent to an arena, which has figures of its own */
	if (s->state == HK_SUPER_SPAN && s->span_chunks)
		out->spans++;
	if (s->state != HK_SUPER_CHUNKED)
		return;
	for (unsigned c = 0; c < HK_SUPER_CHUNKS; c++) {
		struct hk_slab *slab = hk_slab_from_chunk(index, c);
		out->spans += hk_code_kind(s->code[c]) == HK_CODE_SPAN;
		if (!slab)
			continue;
		out->slabs++;
		out->partial_slabs += slab->list != 0;
		if (hk_load(&slab->tag) && slab->class_index < HK_CLASSES)
			out->slab_live_bytes += (size_t)slab->live * hk_classes[slab->class_index].size;
	}
}

static void read_pool(struct hk_snapshot *out, struct hk_pool *pool)
{
	hk_lock(&pool->lock);
	unsigned stripe = hk_pool_index(pool);
	size_t committed = hk_region.stripe[stripe].committed_bytes;
	for (size_t i = hk_stripe_first(stripe); i < hk_stripe_end(stripe); i++)
		read_super(out, pool, i);
	out->committed_bytes += committed;
	out->chunk_bytes += (pool->used_supers << HK_SUPER_SHIFT) - (pool->free_chunks << HK_CHUNK_SHIFT) -
			    (hk_align_up(committed, HK_SUPER_BYTES) - committed);
	out->used_supers += pool->used_supers;
	out->warm_bytes += (pool->warm_supers + pool->kept_supers) << HK_SUPER_SHIFT;
	out->hugetlb_bytes += pool->hugetlb_supers << HK_SUPER_SHIFT;
	out->free_chunk_bytes += pool->free_chunks << HK_CHUNK_SHIFT;
	out->dirty_chunk_bytes += pool->dirty_chunks << HK_CHUNK_SHIFT;
	out->span_bytes += pool->span_chunks << HK_CHUNK_SHIFT;
	uint64_t *sum = (uint64_t *)&out->pool;
	const uint64_t *more = (const uint64_t *)&pool->count;
	for (size_t i = 0; i < sizeof(out->pool) / sizeof(*sum); i++)
		sum[i] += more[i];
	hk_unlock(&pool->lock);
}

void hk_snapshot(struct hk_snapshot *out)
{
	uint32_t made = hk_min(hk_load(&hk_heaps_made), HK_HEAPS_MAX);
	memset(out, 0, sizeof(*out));
	if (!hk_region.base)
		return;
	hk_fork_check();
	if (hk_pools_are_mine())
		return;
	struct hk_heap *me = hk_heap_ordinary();
	uint8_t was = hk_busy_begin(me);
	for (unsigned i = 0; i < hk_region.stripes; i++)
		read_pool(out, &hk_pools[i]);
	for (uint32_t i = 0; i < made; i++) {
		uint8_t state = hk_load_acq(&hk_heap_states[i]);
		if (state == HK_HEAP_NONE || state == HK_HEAP_ARENA || state == HK_HEAP_SPARE)
			continue; /* arenas have figures of their own */
		out->heaps += state != HK_HEAP_SHARED;
		out->heaps_live += state == HK_HEAP_LIVE;
		out->heaps_parked += state == HK_HEAP_PARKED;
		out->heaps_quarantined += state == HK_HEAP_QUARANTINED;
		read_heap(out, hk_heap_at(i));
	}
	hk_busy_end(me, was);
	out->free_blocks += hk_youth_noted();
	out->region_bytes = hk_region_reserved();
}
