/* supers.c - whole SuperSlabs: runs of free ones, and new ones from the region. Does not purge. */
#include "arena/pool.h"
#include "base/check.h"
#include "observe/options.h"

#define GROW_EXTRA_MAX 32u /* SuperSlabs committed beyond need, to save calls ... */
#define AHEAD 3u           /* ... and at most as many times what there is */

HK_INLINE uint64_t *word_of(uint64_t *bits, size_t index)
{
	return &bits[index % HK_GIB_SUPERS / 64];
}

void hk_super_set_free_locked(struct hk_pool *pool, size_t index, bool is_free)
{
	if (HK_UNLIKELY(pool->arena))
		return hk_lent_set_free(pool, index, is_free);
	struct hk_gib *gib = hk_gibs[index / HK_GIB_SUPERS];
	struct hk_super *s = hk_super_at(index);
	uint64_t bit = 1ull << index % 64, *warm = word_of(gib->warm_bits, index);
	size_t *count = s->flags & HK_SUPER_UNPURGEABLE ? &pool->kept_supers : &pool->warm_supers;
	if (*warm & bit) {
		*warm &= ~bit;
		--*count;
	}
	if (!is_free) {
		*word_of(gib->free_bits, index) &= ~bit;
		return;
	}
	*word_of(gib->free_bits, index) |= bit;
	if (s->zero != ~0u || s->flags & HK_SUPER_UNPURGEABLE) {
		*warm |= bit;
		++*count;
	}
	pool->lowest_free_gib = hk_min(pool->lowest_free_gib, index / HK_GIB_SUPERS);
}

void hk_supers_give_locked(struct hk_pool *pool, size_t first, size_t count)
{
	uint32_t now = hk_os_clock_ms();
	for (size_t i = first; i < first + count; i++) {
		struct hk_super *s = hk_super_at(i);
		s->free = ~0u;
		s->idle_since_ms = now;
		s->next = s->prev = 0;
		hk_store(&s->span_chunks, 0);
		hk_store(&s->state, HK_SUPER_FREE);
		hk_super_set_free_locked(pool, i, true);
	}
	pool->used_supers -= count;
}

/* The first index >= FROM whose free bit is IS_FREE, or END. */
static size_t next_index(size_t from, size_t end, bool is_free)
{
	while (from < end) {
		uint64_t word = *word_of(hk_gibs[from / HK_GIB_SUPERS]->free_bits, from);
		word = (is_free ? word : ~word) >> from % 64;
		if (word)
			return hk_min(from + (unsigned)__builtin_ctzll(word), end);
		from = (from / 64 + 1) * 64;
	}
	return end;
}

/* Where a search may begin: the first gib of the stripe that has a free one, or may have; HUGE: behind the starters. */
static size_t lowest(const struct hk_pool *pool, bool huge)
{
	unsigned stripe = hk_pool_index(pool);
	size_t first = hk_stripe_first(stripe);
	first += huge ? hk_stripe_starters(stripe) >> HK_SUPER_SHIFT : 0;
	return hk_max(pool->lowest_free_gib * HK_GIB_SUPERS, first);
}

/* A run of COUNT free SuperSlabs; where none fits, *AT_END is where one could begin if the stripe
 * grew. */
static size_t find_free(struct hk_pool *pool, size_t count, size_t align, bool huge, size_t *at_end)
{
	size_t i = lowest(pool, huge), end = hk_stripe_end(hk_pool_index(pool));
	*at_end = hk_align_up(hk_max(i, end), align);
	while (i < end) {
		size_t from = next_index(i, end, true), to;
		if (from == end)
			break;
		if (i == lowest(pool, false))
			pool->lowest_free_gib = from / HK_GIB_SUPERS;
		to = next_index(from, end, false);
		from = hk_align_up(from, align);
		if (from + count <= to)
			return from;
		if (to == end && from < end)
			*at_end = from;
		i = to;
	}
	return HK_NO_SUPER;
}

static size_t find_warm(struct hk_pool *pool, bool huge)
{
	size_t end = hk_stripe_end(hk_pool_index(pool));
	if (!pool->warm_supers && !pool->kept_supers)
		return HK_NO_SUPER;
	for (size_t i = lowest(pool, huge); i < end; i = (i / 64 + 1) * 64) {
		uint64_t word = *word_of(hk_gibs[i / HK_GIB_SUPERS]->warm_bits, i) >> i % 64;
		if (word)
			return i + (unsigned)__builtin_ctzll(word);
	}
	return HK_NO_SUPER;
}

bool hk_starters_extend_locked(struct hk_pool *pool, unsigned chunks)
{
	unsigned stripe = hk_pool_index(pool);
	size_t have = hk_region.stripe[stripe].committed_bytes;
	size_t index = hk_stripe_first(stripe) + (have >> HK_SUPER_SHIFT);
	unsigned at = (unsigned)(have >> HK_CHUNK_SHIFT) % HK_SUPER_CHUNKS;
	if (hk_stripe_extend(stripe, chunks * HK_CHUNK_BYTES))
		return false;
	struct hk_super *s = hk_super_at(index);
	hk_store(&s->pool, pool); /* before the first read, which would take a page fault of its own */
	if (s->state == HK_SUPER_NONE) {
		s->state = HK_SUPER_CHUNKED;
		s->flags = HK_SUPER_SMALL;
		pool->used_supers++;
	} else {
		hk_bucket_remove(pool, index);
	}
	s->free |= hk_mask32(at, chunks);
	s->zero |= hk_mask32(at, chunks);
	if (s->free == ~0u)
		hk_supers_give_locked(pool, index, 1);
	else
		hk_bucket_insert(pool, index);
	return true;
}

/* Commits the rest of a starter, so that the stripe ends at a SuperSlab's bound. */
static bool starters_finish(struct hk_pool *pool)
{
	size_t have = hk_region.stripe[hk_pool_index(pool)].committed_bytes;
	unsigned at = (unsigned)(have >> HK_CHUNK_SHIFT) % HK_SUPER_CHUNKS;
	return !at || hk_starters_extend_locked(pool, HK_SUPER_CHUNKS - at);
}

bool hk_supers_grow_locked(struct hk_pool *pool, size_t end, size_t extra)
{
	unsigned stripe = hk_pool_index(pool);
	size_t first = hk_stripe_first(stripe), have = hk_stripe_end(stripe);
	if (end <= have)
		return true;
	extra = hk_min(extra, AHEAD * (have - first));
	if (hk_region_is_strict() || hk_load(&hk_region.locked))
		extra = 0;
	if (hk_stripe_extend(stripe, (end + extra - have) << HK_SUPER_SHIFT)) {
		extra = 0;
		if (hk_stripe_extend(stripe, (end - have) << HK_SUPER_SHIFT))
			return false;
	}
	for (size_t i = have; i < end + extra; i++) {
		struct hk_super *s = hk_super_at(i);
		s->free = s->zero = ~0u;
		hk_store(&s->pool, pool);
		s->flags = hk_stripe_is_small(stripe, (i - first) << HK_SUPER_SHIFT) ? HK_SUPER_SMALL : 0;
		hk_store(&s->state, HK_SUPER_FREE);
		hk_super_set_free_locked(pool, i, true);
	}
	/* After mlockall(MCL_FUTURE) what is committed is resident at once: no more than is needed. */
	if (extra && hk_os_is_locked(hk_super_base(end + extra) - HK_PAGE_BYTES))
		hk_store(&hk_region.locked, true);
	pool->count.supers_committed += end + extra - have;
	return true;
}

/* Makes free SuperSlabs usable: commits what was given back inaccessible, heals broken ones. */
static bool prepare(size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++) {
		struct hk_super *s = hk_super_at(i);
		if (s->flags & HK_SUPER_DECOMMITTED) {
			if (hk_os_commit(hk_super_base(i), HK_SUPER_BYTES))
				return false;
			hk_region_advise(hk_super_base(i), HK_SUPER_BYTES, !(s->flags & HK_SUPER_SMALL));
			s->flags &= (uint8_t)~HK_SUPER_DECOMMITTED;
		}
		if (s->flags & HK_SUPER_BROKEN) {
			/* Only memory that is wholly gone comes back as one huge page. */
			if (s->zero != ~0u && !hk_os_purge(hk_super_base(i), HK_SUPER_BYTES))
				s->zero = ~0u;
			s->flags &= (uint8_t)~HK_SUPER_BROKEN;
		}
	}
	return true;
}

/* New SuperSlabs at the stripe's end. */
static size_t take_new(struct hk_pool *pool, size_t count, size_t align, bool huge)
{
	size_t at_end, first;
	if (!starters_finish(pool))
		return HK_NO_SUPER;
	hk_hugetlb_extend_locked(pool);
	first = find_free(pool, count, align, huge, &at_end);
	if (first != HK_NO_SUPER)
		return first;
	return hk_supers_grow_locked(pool, at_end + count, GROW_EXTRA_MAX) ? at_end : HK_NO_SUPER;
}

/* Going past the starters commits them; not where that is charged to the process, or resident at once. */
static bool may_skip_starters(const struct hk_pool *pool)
{
	size_t have = hk_region.stripe[hk_pool_index(pool)].committed_bytes;
	return have >= hk_stripe_starters(hk_pool_index(pool)) ||
	       (hk_region.huge && !hk_region_is_strict() && !hk_load(&hk_region.locked));
}

/* Free ones, warm if one is enough, or new ones. */
static size_t find(struct hk_pool *pool, size_t count, size_t align, bool huge)
{
	size_t at_end, first = HK_NO_SUPER;
	if (count == 1 && align == 1)
		first = find_warm(pool, huge);
	if (first != HK_NO_SUPER) {
		pool->count.warm_supers_reused++;
		return first;
	}
	first = find_free(pool, count, align, huge, &at_end);
	if (first == HK_NO_SUPER)
		return take_new(pool, count, align, huge);
	pool->count.free_supers_reused += count;
	return first;
}

static void taken(struct hk_pool *pool, size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++)
		hk_super_set_free_locked(pool, i, false);
	pool->used_supers += count;
	pool->used_peak_bytes = hk_max(pool->used_peak_bytes,
				       (pool->used_supers << HK_SUPER_SHIFT) - (pool->free_chunks << HK_CHUNK_SHIFT));
}

bool hk_super_take_locked(struct hk_pool *pool, size_t index)
{
	uint64_t *reused = hk_super_at(index)->zero == ~0u ? &pool->count.free_supers_reused : &pool->count.warm_supers_reused;
	if (!prepare(index, 1))
		return false;
	++*reused;
	taken(pool, index, 1);
	return true;
}

size_t hk_supers_take_locked(struct hk_pool *pool, size_t count, size_t align, bool huge)
{
	size_t first = HK_NO_SUPER;
	if (count > HK_REGION_SUPERS || align > HK_REGION_SUPERS)
		return HK_NO_SUPER;
	if (HK_UNLIKELY(pool->arena))
		return hk_lent_take_locked(pool, count, align);
	if (huge && may_skip_starters(pool))
		first = find(pool, count, align, true);
	if (first == HK_NO_SUPER)
		first = find(pool, count, align, false);
	if (first == HK_NO_SUPER || !prepare(first, count))
		return HK_NO_SUPER;
	if (HK_UNLIKELY(hk_options.huge >= HK_HUGE_HUGETLB))
		hk_hugetlb_convert_locked(pool, first, count);
	taken(pool, first, count);
	return first;
}
