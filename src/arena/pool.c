/* pool.c - chunks: which SuperSlab they come from and go back to. Whole SuperSlabs are the business
 * of supers.c, kernel calls that give memory back that of purge.c. */
#include "arena/pool.h"

#include "base/check.h"
#include "numa/node.h"

#define STARTER_STEP 4u   /* chunks committed at once among the starters: 256 KiB */
#define STEPS_END HK_SUPER_BYTES /* committed so */
#define PROBES 16u        /* SuperSlabs of one bucket looked at for a run of several chunks */
#define PROBES_CROSSING 64u /* ... in all, for two beside each other */
#define CROSS_MAX 44u     /* chunks of a span that may; a longer one fills its two well */

struct hk_pool hk_pools[HK_POOLS_MAX];

struct hk_pool *hk_pool_next(struct hk_pool *pool, unsigned *k)
{
	unsigned index, node, small;
	if (pool->arena)
		return NULL;
	index = hk_stripe_node(hk_pool_index(pool));
	small = hk_pool_index(pool) - index;
	while (++*k <= hk_numa.node_pools) {
		if (index < hk_numa.node_pools && *k == hk_numa.node_pools)
			break; /* the 0th was itself */
		/* The pool of several nodes has no node: all others come after it. */
		node = hk_node_order(index, index < hk_numa.node_pools ? *k : *k - 1);
		if (hk_numa.policy.kind != HK_NUMA_BIND || hk_numa.policy.mask >> node & 1)
			return &hk_pools[small + node];
	}
	return NULL;
}

/* ---- buckets: CHUNKED SuperSlabs by how many chunks they have free ---- */

HK_INLINE unsigned bucket_kind(const struct hk_super *s)
{
	return (s->flags & HK_SUPER_BROKEN) != 0;
}

/* Free chunks that could go back to the kernel. */
HK_INLINE unsigned dirty(const struct hk_super *s)
{
	return s->flags & HK_SUPER_UNPURGEABLE ? 0 : (unsigned)__builtin_popcount(s->free & ~s->zero);
}

void hk_bucket_insert(struct hk_pool *pool, size_t index)
{
	struct hk_super *s = hk_super_at(index);
	unsigned n = (unsigned)__builtin_popcount(s->free), b = bucket_kind(s);
	pool->free_chunks += n;
	pool->dirty_chunks += dirty(s);
	if (!n)
		return;
	uint32_t *head = &pool->bucket[b][n];
	s->prev = 0;
	s->next = *head;
	if (*head)
		hk_super_at(*head - 1)->prev = (uint32_t)index + 1;
	*head = (uint32_t)index + 1;
	pool->filled[b] |= 1ull << n;
}

void hk_bucket_remove(struct hk_pool *pool, size_t index)
{
	struct hk_super *s = hk_super_at(index);
	unsigned n = (unsigned)__builtin_popcount(s->free), b = bucket_kind(s);
	pool->free_chunks -= n;
	pool->dirty_chunks -= dirty(s);
	if (!n)
		return;
	if (s->prev)
		hk_super_at(s->prev - 1)->next = s->next;
	else
		pool->bucket[b][n] = s->next;
	if (s->next)
		hk_super_at(s->next - 1)->prev = s->prev;
	if (!pool->bucket[b][n])
		pool->filled[b] &= ~(1ull << n);
	s->next = s->prev = 0;
}

/* ---- where a run of chunks is ---- */

/* Bits at which an aligned run of COUNT free chunks begins; of those that are resident, if there are any. */
static uint32_t fitting(const struct hk_super *s, unsigned count, unsigned align)
{
	static const uint32_t aligned[] = {~0u, 0x55555555u, 0x11111111u, 0x01010101u, 0x00010001u, 1u};
	uint32_t used = hk_run_starts(s->free & ~s->zero, count) & aligned[hk_log2(align)];
	return used ? used : hk_run_starts(s->free, count) & aligned[hk_log2(align)];
}

/* The fullest SuperSlab with such a run: whole ones before broken ones. */
static size_t find_partial(struct hk_pool *pool, unsigned count, unsigned align, unsigned *first)
{
	for (unsigned b = 0; b < 2; b++) {
		uint64_t filled = pool->filled[b] >> count << count;
		for (; filled; filled &= filled - 1) {
			uint32_t at = pool->bucket[b][__builtin_ctzll(filled)];
			for (unsigned probe = 0; at && probe < PROBES; probe++) {
				struct hk_super *s = hk_super_at(at - 1);
				uint32_t starts = fitting(s, count, align);
				if (starts) {
					*first = (unsigned)__builtin_ctz(starts);
					return at - 1;
				}
				at = s->next;
			}
		}
	}
	return HK_NO_SUPER;
}

/* ---- spans that begin in one SuperSlab and end in the next ---- */

/* Free chunks at a SuperSlab's end and beginning. */
HK_INLINE unsigned free_behind(const struct hk_super *s)
{
	return ~s->free ? (unsigned)__builtin_clz(~s->free) : HK_SUPER_CHUNKS;
}

HK_INLINE unsigned free_before(const struct hk_super *s)
{
	return ~s->free ? (unsigned)__builtin_ctz(~s->free) : HK_SUPER_CHUNKS;
}

/* From 2 MiB on none is among the starters. */
static bool may_cross(const struct hk_pool *pool, size_t index, unsigned count)
{
	const struct hk_super *s;
	if (!hk_super_is_there(index))
		return false;
	s = hk_super_at(index);
	return (s->state == HK_SUPER_CHUNKED || s->state == HK_SUPER_FREE) && s->pool == pool &&
	       !(s->flags & (HK_SUPER_UNPURGEABLE | HK_SUPER_HUGETLB)) &&
	       !(count >= HK_SUPER_CHUNKS && s->flags & HK_SUPER_SMALL);
}

/* The chunk of SuperSlab INDEX where a span of COUNT chunks may begin that ends in the next one; none: HK_SUPER_CHUNKS.
 * One that is free as a whole gives no more than it must, one that is partly used all that it has at its end. */
static unsigned crossing_at(const struct hk_pool *pool, size_t index, unsigned count)
{
	unsigned behind, before;
	if (!may_cross(pool, index, count) || !may_cross(pool, index + 1, count))
		return HK_SUPER_CHUNKS;
	behind = hk_min(free_behind(hk_super_at(index)), count - 1);
	before = free_before(hk_super_at(index + 1));
	if (!behind || behind + before < count)
		return HK_SUPER_CHUNKS;
	if (hk_super_at(index)->state == HK_SUPER_FREE)
		behind = count - hk_min(before, count - 1);
	return HK_SUPER_CHUNKS - behind;
}

/* Two SuperSlabs partly used, or else one with a free one beside it, where a span of COUNT chunks has room; fullest
 * first, whole ones before broken ones. The first one's index. One of two has half of the room at least. */
static size_t find_crossing(struct hk_pool *pool, unsigned count, unsigned *first)
{
	unsigned least = count > HK_SUPER_CHUNKS ? count - HK_SUPER_CHUNKS : (count + 1) / 2, probes = 0;
	size_t beside = HK_NO_SUPER;
	for (unsigned b = 0; b < 2; b++)
		for (uint64_t filled = pool->filled[b] >> least << least; filled; filled &= filled - 1) {
			uint32_t at = pool->bucket[b][__builtin_ctzll(filled)];
			for (unsigned probe = 0; at && probe < PROBES && probes < PROBES_CROSSING; probe++, probes++) {
				for (size_t index = at - 1; index > at - 3; index--) {
					*first = crossing_at(pool, index, count);
					if (*first == HK_SUPER_CHUNKS)
						continue;
					if (hk_super_at(index)->state == hk_super_at(index + 1)->state)
						return index;
					beside = beside == HK_NO_SUPER ? index : beside;
				}
				at = hk_super_at(at - 1)->next;
			}
		}
	if (beside != HK_NO_SUPER)
		*first = crossing_at(pool, beside, count);
	return beside;
}

/* SuperSlab INDEX, made CHUNKED if it is free. */
static bool make_chunked(struct hk_pool *pool, size_t index)
{
	if (hk_super_at(index)->state == HK_SUPER_CHUNKED)
		return true;
	if (!hk_super_take_locked(pool, index))
		return false;
	hk_store(&hk_super_at(index)->state, HK_SUPER_CHUNKED);
	hk_bucket_insert(pool, index);
	hk_pool_outgrows_locked(pool, index);
	return true;
}

/* Commits the next chunks of the starters; false: they are all committed, or memory is exhausted, or the process is no
 * small one any more: then it takes SuperSlabs, of which the region commits many at once. ANY_SIZE: there is none. */
static bool starter_grow(struct hk_pool *pool, unsigned count, bool any_size)
{
	if (pool->arena)
		return false;
	size_t have = hk_region.stripe[hk_pool_index(pool)].committed_bytes;
	unsigned at = (unsigned)(have >> HK_CHUNK_SHIFT) % HK_SUPER_CHUNKS;
	if (!any_size && !at && have >= STEPS_END && !hk_region_is_strict() && !hk_load(&hk_region.locked))
		return false;
	size_t step = hk_min(hk_align_up(count, STARTER_STEP), HK_SUPER_CHUNKS - at);
	if (!any_size && have && step == HK_SUPER_CHUNKS)
		return false; /* it would be free as a whole, and no partial one */
	if (have >= hk_stripe_starters(hk_pool_index(pool)) || !hk_starters_extend_locked(pool, (unsigned)step))
		return false;
	have += step * HK_CHUNK_BYTES;
	if (have == STEPS_END && hk_os_is_locked(hk_stripe_top(hk_pool_index(pool)) - HK_PAGE_BYTES))
		hk_store(&hk_region.locked, true);
	return true;
}

/* A free SuperSlab, made CHUNKED. */
static size_t take_chunked(struct hk_pool *pool)
{
	size_t index = hk_supers_take_locked(pool, 1, 1, false);
	if (index == HK_NO_SUPER)
		return index;
	hk_store(&hk_super_at(index)->state, HK_SUPER_CHUNKED);
	hk_bucket_insert(pool, index);
	hk_pool_outgrows_locked(pool, index);
	return index;
}

/* A SuperSlab with room for the run, made CHUNKED if it was free. Without an alignment, a span may go on in the next one
 * (*FIRST + COUNT > HK_SUPER_CHUNKS): of those above 1 MiB a second one fits into none. */
static size_t find_run(struct hk_pool *pool, unsigned count, unsigned align, unsigned *first)
{
	bool anywhere = !align && !pool->arena;
	for (;;) {
		size_t index = find_partial(pool, count, hk_max(align, 1), first);
		if (index != HK_NO_SUPER)
			return index;
		index = anywhere ? find_crossing(pool, count, first) : HK_NO_SUPER;
		if (index != HK_NO_SUPER && make_chunked(pool, index) && make_chunked(pool, index + 1))
			return index;
		if (!pool->warm_supers && starter_grow(pool, count, false))
			continue;
		index = take_chunked(pool);
		if (index == HK_NO_SUPER && starter_grow(pool, count, true))
			continue; /* a limit that leaves less than a SuperSlab */
		*first = anywhere && index != HK_NO_SUPER ? crossing_at(pool, index - 1, count) : HK_SUPER_CHUNKS;
		if (*first < HK_SUPER_CHUNKS && hk_super_at(index - 1)->state == HK_SUPER_CHUNKED)
			return index - 1;
		*first = 0;
		return index;
	}
}

static void set_codes(struct hk_super *s, unsigned first, unsigned count, enum hk_code_kind kind)
{
	enum hk_code_kind rest = kind == HK_CODE_MEDIUM ? HK_CODE_CONT : kind;
	for (unsigned i = 0; i < count; i++) {
		unsigned back = rest == HK_CODE_CONT ? i : 0;
		hk_store(&s->code[first + i], hk_code(i ? rest : kind, back, i ? 0 : count));
	}
}

/* Codes of a span of COUNT chunks from chunk FIRST of SuperSlab INDEX on. The head last: it may be one that lives, and
 * what it says is true at any time. */
static void set_span(size_t index, unsigned first, unsigned count)
{
	unsigned here = hk_min(count, HK_SUPER_CHUNKS - first);
	struct hk_super *s = hk_super_at(index);
	for (unsigned i = 1; i < here; i++)
		hk_store(&s->code[first + i], hk_code(HK_CODE_CONT, i, 0));
	if (count > here)
		set_codes(hk_super_at(index + 1), 0, count - here, HK_CODE_TAIL);
	hk_store(&s->code[first], hk_code(HK_CODE_SPAN, 0, count));
}

/* Takes the free chunks of RUN; true if all of them read as zero. */
static bool run_take(struct hk_pool *pool, size_t index, uint32_t run)
{
	struct hk_super *s = hk_super_at(index);
	bool zero = (s->zero & run) == run;
	hk_bucket_remove(pool, index);
	s->free &= ~run;
	s->zero &= ~run;
	hk_bucket_insert(pool, index);
	return zero;
}

/* A span of COUNT chunks from chunk FIRST of SuperSlab INDEX on, all of them free. */
static void *span_take(struct hk_pool *pool, size_t index, unsigned first, unsigned count, bool *zero)
{
	unsigned here = hk_min(count, HK_SUPER_CHUNKS - first);
	*zero = run_take(pool, index, hk_mask32(first, here));
	if (count > here)
		*zero &= run_take(pool, index + 1, hk_mask32(0, count - here));
	set_span(index, first, count);
	pool->span_chunks += count;
	return (void *)(hk_super_base(index) + first * HK_CHUNK_BYTES);
}

void *hk_pool_chunks_alloc(struct hk_pool *pool, unsigned count, unsigned align,
			   enum hk_code_kind kind, bool *zero)
{
	unsigned first = 0;
	hk_lock(&pool->lock);
	size_t index = pool->lost ? HK_NO_SUPER : find_run(pool, count, align, &first);
	if (index == HK_NO_SUPER && !pool->lost && hk_pool_relieve_locked(pool))
		index = find_run(pool, count, align, &first);
	if (index == HK_NO_SUPER) {
		pool->count.out_of_memory++;
		hk_unlock(&pool->lock);
		return NULL;
	}
	void *p = (void *)(hk_super_base(index) + first * HK_CHUNK_BYTES);
	if (kind == HK_CODE_SPAN) {
		span_take(pool, index, first, count, zero);
	} else {
		*zero = run_take(pool, index, hk_mask32(first, count));
		set_codes(hk_super_at(index), first, count, kind);
	}
	if (HK_UNLIKELY(pool->promote_due || pool->edge_due))
		hk_pool_promote_locked(pool);
	hk_unlock(&pool->lock);
	return p;
}

/* Puts a run of chunks of a CHUNKED SuperSlab back; the SuperSlab too, where it was the last. */
static void chunks_give_locked(struct hk_pool *pool, size_t index, unsigned first, unsigned count)
{
	struct hk_super *s = hk_super_at(index);
	uint32_t run = hk_mask32(first, count);
	HK_CHECK(s->state == HK_SUPER_CHUNKED && !(s->free & run), "chunks freed twice",
		 (void *)(hk_super_base(index) + first * HK_CHUNK_BYTES));
	hk_bucket_remove(pool, index);
	for (unsigned i = 0; i < count; i++)
		hk_store(&s->code[first + i], 0);
	s->free |= run;
	if (s->free == ~0u)
		hk_supers_give_locked(pool, index, 1);
	else
		hk_bucket_insert(pool, index);
}

/* Puts COUNT chunks from chunk FIRST of SuperSlab INDEX on back, where they end in the next as well. FIRST may be in the
 * next. */
static void span_give(struct hk_pool *pool, size_t index, unsigned first, unsigned count)
{
	unsigned here = first < HK_SUPER_CHUNKS ? hk_min(count, HK_SUPER_CHUNKS - first) : 0;
	if (here)
		chunks_give_locked(pool, index, first, here);
	if (count > here)
		chunks_give_locked(pool, index + 1, first + here - HK_SUPER_CHUNKS, count - here);
}

void hk_pool_chunks_free(struct hk_pool *pool, void *p, unsigned count)
{
	hk_lock(&pool->lock);
	uint32_t code = hk_super_at(hk_super_index(p))->code[hk_chunk_index(p)];
	bool span = hk_code_kind(code) == HK_CODE_SPAN;
	HK_CHECK(count && (!span || hk_code_count(code) == count), "chunks freed twice", p); /* it was looked up without the lock */
	if (span)
		pool->span_chunks -= count;
	span_give(pool, hk_super_index(p), hk_chunk_index(p), count);
	hk_pool_shed_locked(pool);
	hk_unlock(&pool->lock);
}

/* ---- spans of more than one SuperSlab: K whole ones and R chunks of the next ---- */

static void span_tail_set(struct hk_pool *pool, size_t index, unsigned chunks)
{
	struct hk_super *s = hk_super_at(index);
	hk_store(&s->state, HK_SUPER_CHUNKED);
	s->free = ~hk_mask32(0, chunks);
	s->zero &= s->free;
	set_codes(s, 0, chunks, HK_CODE_TAIL);
	hk_bucket_insert(pool, index);
}

static void span_body_set(size_t first, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct hk_super *s = hk_super_at(first + i);
		s->free = s->zero = 0;
		s->span_chunks = 0;
		for (unsigned c = 0; c < HK_SUPER_CHUNKS; c++)
			hk_store(&s->code[c], 0); /* a tail that became a whole one had some */
		hk_store(&s->state, HK_SUPER_SPAN);
	}
}

static bool all_zero(size_t first, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (hk_super_at(first + i)->zero != ~0u)
			return false;
	return true;
}

/* One that would leave a third of its second SuperSlab and more, from the end of one that is partly used on; NULL: there
 * is none with so much room. */
static void *alloc_crossing(struct hk_pool *pool, unsigned count, bool *zero)
{
	unsigned first;
	size_t index = pool->lost || pool->arena ? HK_NO_SUPER : find_crossing(pool, count, &first);
	if (index == HK_NO_SUPER || !make_chunked(pool, index) || !make_chunked(pool, index + 1))
		return NULL;
	return span_take(pool, index, first, count, zero);
}

void *hk_pool_span_alloc(struct hk_pool *pool, size_t chunks, size_t align, bool *zero)
{
	size_t body = chunks / HK_SUPER_CHUNKS;
	unsigned tail = (unsigned)(chunks % HK_SUPER_CHUNKS);
	hk_lock(&pool->lock);
	if (chunks > HK_SUPER_CHUNKS && chunks <= CROSS_MAX && !align) {
		void *p = alloc_crossing(pool, (unsigned)chunks, zero);
		if (p) {
			hk_unlock(&pool->lock);
			return p;
		}
	}
	size_t supers = body + (tail != 0);
	size_t first = pool->lost ? HK_NO_SUPER : hk_supers_take_locked(pool, supers, hk_max(align, 1), true);
	if (first == HK_NO_SUPER && !pool->lost && hk_pool_relieve_locked(pool))
		first = hk_supers_take_locked(pool, supers, hk_max(align, 1), true);
	if (first == HK_NO_SUPER) {
		pool->count.out_of_memory++;
		hk_unlock(&pool->lock);
		return NULL;
	}
	*zero = all_zero(first, supers);
	span_body_set(first, body);
	if (tail)
		span_tail_set(pool, first + body, tail);
	hk_store(&hk_super_at(first)->span_chunks, (uint32_t)chunks);
	pool->span_chunks += chunks;
	hk_unlock(&pool->lock);
	return (void *)hk_super_base(first);
}

/* Gives back the part of a span behind its first KEEP whole SuperSlabs. */
static void span_cut(struct hk_pool *pool, size_t first, size_t chunks, size_t keep)
{
	size_t body = chunks / HK_SUPER_CHUNKS;
	unsigned tail = (unsigned)(chunks % HK_SUPER_CHUNKS);
	if (tail)
		chunks_give_locked(pool, first + body, 0, tail);
	if (body > keep)
		hk_supers_give_locked(pool, first + keep, body - keep);
}

void hk_pool_span_free(struct hk_pool *pool, void *p)
{
	size_t first = hk_super_index(p);
	struct hk_super *s = hk_super_at(first);
	hk_lock(&pool->lock);
	size_t chunks = s->span_chunks, body = chunks / HK_SUPER_CHUNKS;
	HK_CHECK(s->state == HK_SUPER_SPAN && chunks, "double free of a large block", p);
	hk_store(&s->span_chunks, 0);
	pool->span_chunks -= chunks;
	if (s->flags & HK_SUPER_MOVED) {
		s->flags &= (uint8_t)~HK_SUPER_MOVED;
		pool->moved_spans--;
		if (!hk_region_refresh((uintptr_t)p, body << HK_SUPER_SHIFT))
			for (size_t i = 0; i < body; i++)
				hk_super_at(first + i)->zero = ~0u;
	}
	span_cut(pool, first, chunks, 0);
	hk_pool_shed_locked(pool);
	hk_unlock(&pool->lock);
}

static bool span_shrink(struct hk_pool *pool, size_t first, size_t have, size_t want)
{
	size_t body = want / HK_SUPER_CHUNKS;
	unsigned tail = (unsigned)(want % HK_SUPER_CHUNKS);
	if (!body || (tail && body < have / HK_SUPER_CHUNKS && hk_super_at(first)->flags & HK_SUPER_MOVED))
		return false; /* what the tail leaves would stay a mapping of its own */
	if (body == have / HK_SUPER_CHUNKS) {
		unsigned cut = (unsigned)(have - want);
		if (cut)
			chunks_give_locked(pool, first + body, tail, cut);
	} else {
		size_t cut = body + (tail != 0), whole = have / HK_SUPER_CHUNKS;
		if ((hk_super_at(first)->flags & HK_SUPER_MOVED) && whole > cut)
			hk_region_refresh(hk_super_base(first + cut), (whole - cut) << HK_SUPER_SHIFT);
		span_cut(pool, first, have, cut);
		if (tail) {
			hk_super_at(first + body)->zero = 0;
			span_tail_set(pool, first + body, tail);
		}
	}
	return true;
}

/* Takes the free chunks [at, at + count) of a CHUNKED SuperSlab for the span that ends before. */
static void tail_take(struct hk_pool *pool, size_t index, unsigned at, unsigned count)
{
	run_take(pool, index, hk_mask32(at, count));
	set_codes(hk_super_at(index), at, count, HK_CODE_TAIL);
}

static bool span_grow(struct hk_pool *pool, size_t first, size_t have, size_t want)
{
	size_t body = have / HK_SUPER_CHUNKS, body2 = want / HK_SUPER_CHUNKS;
	unsigned tail = (unsigned)(have % HK_SUPER_CHUNKS), tail2 = (unsigned)(want % HK_SUPER_CHUNKS);
	size_t next = first + body + (tail != 0), end = first + body2 + (tail2 != 0);
	if (tail) {
		unsigned need = body2 == body ? tail2 - tail : HK_SUPER_CHUNKS - tail;
		uint32_t run = hk_mask32(tail, need);
		struct hk_super *s = hk_super_at(first + body);
		if ((s->free & run) != run || (s->flags & HK_SUPER_SMALL && !pool->arena && end > next))
			return false;
	}
	for (size_t i = next; i < end; i++)
		if (!hk_super_is_there(i) || hk_super_at(i)->state != HK_SUPER_FREE ||
		    hk_super_at(i)->pool != pool ||
		    hk_super_at(i)->flags != (hk_super_at(first)->flags & ~HK_SUPER_MOVED))
			return false;
	for (size_t i = next; i < end; i++)
		hk_super_set_free_locked(pool, i, false);
	pool->used_supers += end - next;
	if (tail && body2 == body) {
		tail_take(pool, first + body, tail, tail2 - tail);
		return true;
	}
	if (tail)
		hk_bucket_remove(pool, first + body); /* becomes a whole one */
	if (body2 > body)
		span_body_set(first + body, body2 - body);
	if (tail2)
		span_tail_set(pool, first + body2, tail2);
	return true;
}

/* A span that begins at chunk AT of SuperSlab INDEX; it grows within the one where it ends. */
static bool run_resize(struct hk_pool *pool, size_t index, unsigned at, unsigned want)
{
	unsigned have = hk_code_count(hk_super_at(index)->code[at]), end = at + have;
	if (want < have) {
		span_give(pool, index, at + want, have - want);
	} else if (want > have) {
		size_t last = index + (end > HK_SUPER_CHUNKS);
		unsigned from = end > HK_SUPER_CHUNKS ? end - HK_SUPER_CHUNKS : end;
		if (from + want - have > HK_SUPER_CHUNKS)
			return false;
		uint32_t run = hk_mask32(from, want - have);
		if ((hk_super_at(last)->free & run) != run)
			return false;
		run_take(pool, last, run);
	}
	set_span(index, at, want);
	pool->span_chunks += (size_t)want - have;
	return true;
}

bool hk_pool_span_resize(struct hk_pool *pool, void *p, size_t chunks)
{
	size_t first = hk_super_index(p);
	struct hk_super *s = hk_super_at(first);
	bool done;
	hk_lock(&pool->lock);
	if (pool->lost) {
		done = false;
	} else if (s->state != HK_SUPER_SPAN) {
		done = chunks <= CROSS_MAX &&
		       run_resize(pool, first, hk_chunk_index(p), (unsigned)chunks);
	} else {
		size_t have = s->span_chunks;
		done = have == chunks ||
		       (chunks < have ? span_shrink(pool, first, have, chunks)
				      : span_grow(pool, first, have, chunks));
		if (done) {
			hk_store(&s->span_chunks, (uint32_t)chunks);
			pool->span_chunks += chunks - have;
			pool->count.spans_grown += chunks > have;
		}
	}
	if (done)
		hk_pool_shed_locked(pool);
	hk_unlock(&pool->lock);
	return done;
}
