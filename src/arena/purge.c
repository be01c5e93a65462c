/* purge.c - memory back to the kernel: whole SuperSlabs first, chunks of partial ones under need.
 *
 * What is purged is taken out of the tables under the lock, handed to the kernel without it, and
 * put back as zero only if the kernel said yes. A fork in between loses no memory: the child's
 * rebuild turns PURGING into free. */
#include "arena/pool.h"
#include "base/check.h"
#include "observe/options.h"
#include "observe/say.h"

#define REFUSED_MS 1000u /* a time is kept as an odd number, perhaps 1 ms ahead */
#define RANGES 16u                    /* merged ranges handed over in one go */
#define DIRTY_MIN_CHUNKS 512u         /* 32 MiB of free chunks in partial SuperSlabs are normal */
#define WARM_MIB_ALL 128ul            /* HAKMEM_WARM_MIB with which as much may be free as is in spans, less: less; and its least by itself */
#define WARM_AUTO_PART 96u            /* of the memory limit, ... */
#define WARM_AUTO_MAX (1ul << 30)
#define LIMIT_ASK_CHUNKS 256u         /* 16 MiB do not need to know the limit */
#define SHED_MIN_CHUNKS 16u           /* a MiB needs no look at the cap */

size_t hk_held_bytes;

struct range {
	size_t first, count;
};

/* The kernel keeps locked memory: no use in asking again at each free. */
static void refused(struct hk_pool *pool, uint32_t now)
{
	pool->count.purge_failures++;
	pool->refused_ms = now | 1;
}

static bool may_ask(const struct hk_pool *pool)
{
	return !pool->refused_ms || hk_ms_since(hk_os_clock_ms(), pool->refused_ms) > REFUSED_MS;
}

/* ---- whole SuperSlabs ---- */

static size_t used_chunks(const struct hk_pool *pool)
{
	return pool->used_supers * HK_SUPER_CHUNKS - pool->free_chunks;
}

/* Chunks that may be free and resident, in warm SuperSlabs and in partial ones: as much as was in use of late, for a
 * program that frees all and begins again keeps its pages, and a small one stays small. One of large blocks may
 * have as much free as they take now: holes among them are that large, and new pages are dearer than all else. What threads may hold in bins
 * beyond their own share comes off the most that it may be, and a third of the slabs for what is free inside them: when
 * all sleep, nobody is awake to tidy up. */
static size_t warm_cap(struct hk_pool *pool)
{
	size_t used = used_chunks(pool) << HK_CHUNK_SHIFT, spans = pool->span_chunks << HK_CHUNK_SHIFT;
	if (!pool->memory_limit && pool->warm_supers * HK_SUPER_CHUNKS + pool->dirty_chunks > LIMIT_ASK_CHUNKS)
		pool->memory_limit = hk_os_memory_limit() / hk_region.nodes;
	size_t warm_mib = hk_options.warm_mib, most = warm_mib << 20;
	if (warm_mib == HK_AUTO)
		most = hk_max(WARM_MIB_ALL << 20, hk_min(pool->memory_limit / WARM_AUTO_PART, WARM_AUTO_MAX));
	most = hk_max(most, used / 8);
	most = hk_max(most, spans / WARM_MIB_ALL * hk_min(warm_mib, WARM_MIB_ALL));
	pool->used_peak_bytes = hk_max(pool->used_peak_bytes, used);
	if (pool->memory_limit)
		most = hk_min(most, pool->memory_limit / 8);
	size_t open = (used - spans) / 3;
	size_t cap = hk_max(hk_max(pool->used_peak_bytes, pool->used_peak_before), most / 4);
	return hk_min(cap, most - hk_min(hk_load(&hk_held_bytes) + open, most / 2)) >> HK_CHUNK_SHIFT;
}

/* The peaks are those of the decay time that runs and of the one before. */
static void age_peak(struct hk_pool *pool, uint32_t now)
{
	if (pool->peak_since_ms && hk_ms_since(now, pool->peak_since_ms) < hk_max(hk_options.decay_ms, 1))
		return;
	pool->used_peak_before = pool->used_peak_bytes;
	pool->used_peak_bytes = used_chunks(pool) << HK_CHUNK_SHIFT;
	pool->peak_since_ms = now | 1;
}

HK_INLINE bool is_warm(size_t index)
{
	return hk_gibs[index / HK_GIB_SUPERS]->warm_bits[index % HK_GIB_SUPERS / 64] >> index % 64 & 1;
}

/* Takes up to MOST warm SuperSlabs that became free before the age AGE_MS, from the top of the
 * region down (low addresses are reused first), as ranges. */
static unsigned collect(struct hk_pool *pool, size_t most, uint32_t now, uint32_t age_ms,
			struct range ranges[RANGES])
{
	unsigned n = 0;
	size_t left = hk_min(most, pool->warm_supers), i = hk_stripe_end(hk_pool_index(pool));
	size_t bottom = hk_stripe_first(hk_pool_index(pool));
	while (i-- > bottom && left) {
		if (!(i % 64 == 63 ? hk_gibs[i / HK_GIB_SUPERS]->warm_bits[i % HK_GIB_SUPERS / 64] : 1)) {
			i -= 63; /* an empty word */
			continue;
		}
		struct hk_super *s = hk_super_at(i);
		if (!is_warm(i) || (s->flags & HK_SUPER_UNPURGEABLE) || hk_ms_since(now, s->idle_since_ms) < age_ms)
			continue;
		if (n && ranges[n - 1].first == i + 1)
			ranges[n - 1].first--, ranges[n - 1].count++;
		else if (n == RANGES)
			break;
		else
			ranges[n++] = (struct range){i, 1};
		hk_super_set_free_locked(pool, i, false);
		hk_store(&s->state, HK_SUPER_PURGING);
		left--;
	}
	return n;
}

static int give_back(struct range r, bool strict)
{
	uintptr_t base = hk_super_base(r.first);
	size_t bytes = r.count << HK_SUPER_SHIFT;
	return strict ? hk_os_decommit(base, bytes) : hk_os_purge(base, bytes);
}

/* Purges up to MOST warm SuperSlabs older than AGE_MS, no more than there are at first: others free some meanwhile.
 * The lock is held, and dropped around the kernel calls. Bytes that went. */
static size_t purge_warm(struct hk_pool *pool, size_t most, uint32_t age_ms)
{
	struct range ranges[RANGES];
	size_t bytes = 0, before;
	most = hk_min(most, pool->warm_supers);
	do {
		uint32_t now = hk_os_clock_ms();
		bool strict = hk_region_is_strict();
		unsigned n = collect(pool, most, now, age_ms, ranges);
		int rc[RANGES];
		before = bytes;
		pool->purging++;
		hk_unlock(&pool->lock);
		for (unsigned i = 0; i < n; i++)
			rc[i] = give_back(ranges[i], strict);
		hk_lock(&pool->lock);
		pool->purging--;
		for (unsigned i = 0; i < n; i++) {
			for (size_t k = ranges[i].first; k < ranges[i].first + ranges[i].count; k++) {
				struct hk_super *s = hk_super_at(k);
				if (!rc[i])
					s->zero = ~0u;
				if (!rc[i] && strict)
					s->flags |= HK_SUPER_DECOMMITTED;
				hk_store(&s->state, HK_SUPER_FREE);
				hk_super_set_free_locked(pool, k, true);
			}
			most -= ranges[i].count;
			pool->count.purges++;
			if (rc[i])
				refused(pool, now);
			else
				bytes += ranges[i].count << HK_SUPER_SHIFT;
		}
	} while (bytes > before && most);
	pool->count.purged_bytes += bytes;
	return bytes;
}

bool hk_pool_relieve_locked(struct hk_pool *pool)
{
	return !pool->arena && pool->warm_supers && hk_region_is_strict() && purge_warm(pool, SIZE_MAX, 0);
}

/* ---- free chunks of partial SuperSlabs ---- */

/* Purges the dirty free chunks of one SuperSlab; the lock is dropped meanwhile. Bytes. */
static size_t purge_chunks(struct hk_pool *pool, size_t index)
{
	struct hk_super *s = hk_super_at(index);
	uint32_t dirty = s->free & ~s->zero, gone = 0;
	hk_bucket_remove(pool, index);
	s->free &= ~dirty;
	for (unsigned i = 0; i < HK_SUPER_CHUNKS; i++)
		if (dirty >> i & 1)
			hk_store(&s->code[i], hk_code(HK_CODE_PURGING, 0, 1));
	hk_bucket_insert(pool, index);
	pool->purging++;
	hk_unlock(&pool->lock);
	for (unsigned i = 0; i < HK_SUPER_CHUNKS;) {
		uint32_t rest = dirty >> i;
		if (!rest)
			break;
		i += (unsigned)__builtin_ctz(rest);
		rest = ~(dirty >> i);
		unsigned run = rest ? (unsigned)__builtin_ctz(rest) : HK_SUPER_CHUNKS;
		if (!hk_os_purge(hk_super_base(index) + i * HK_CHUNK_BYTES, run * HK_CHUNK_BYTES))
			gone |= hk_mask32(i, run);
		i += run;
	}
	hk_lock(&pool->lock);
	pool->purging--;
	hk_bucket_remove(pool, index);
	for (unsigned i = 0; i < HK_SUPER_CHUNKS; i++)
		if (dirty >> i & 1)
			hk_store(&s->code[i], 0);
	s->free |= dirty;
	s->zero |= gone;
	if (gone != dirty)
		refused(pool, hk_os_clock_ms());
	if (gone && !(s->flags & (HK_SUPER_SMALL | HK_SUPER_BROKEN))) {
		s->flags |= HK_SUPER_BROKEN;
		pool->count.broken_supers++;
	}
	if (s->free == ~0u)
		hk_supers_give_locked(pool, index, 1);
	else
		hk_bucket_insert(pool, index);
	pool->count.purges++;
	pool->count.purged_bytes += (size_t)__builtin_popcount(gone) * HK_CHUNK_BYTES;
	return (size_t)__builtin_popcount(gone) * HK_CHUNK_BYTES;
}

/* The emptiest partial SuperSlab with dirty free chunks that may be purged. */
static size_t emptiest(struct hk_pool *pool)
{
	for (unsigned n = HK_SUPER_CHUNKS; --n;)
		for (unsigned b = 0; b < 2; b++)
			for (uint32_t at = pool->bucket[b][n]; at; at = hk_super_at(at - 1)->next) {
				struct hk_super *s = hk_super_at(at - 1);
				if ((s->free & ~s->zero) && !(s->flags & HK_SUPER_UNPURGEABLE))
					return at - 1;
			}
	return HK_NO_SUPER;
}

static size_t purge_partial(struct hk_pool *pool, size_t keep_chunks)
{
	size_t bytes = 0;
	while (pool->dirty_chunks > keep_chunks) {
		size_t index = emptiest(pool), gone;
		if (index == HK_NO_SUPER)
			break;
		gone = purge_chunks(pool, index);
		if (!gone)
			break;
		bytes += gone;
	}
	return bytes;
}

/* ---- when ---- */

static size_t dirty_bound(const struct hk_pool *pool)
{
	return hk_max(used_chunks(pool) / 4, DIRTY_MIN_CHUNKS);
}

void hk_pool_shed_locked(struct hk_pool *pool)
{
	size_t warm = pool->warm_supers * HK_SUPER_CHUNKS, cap;
	if (HK_UNLIKELY(pool->arena))
		return; /* keeps all that it was given */
	if (HK_LIKELY(warm + pool->dirty_chunks <= SHED_MIN_CHUNKS))
		return;
	cap = warm_cap(pool);
	if (!hk_options.decay_ms && warm)
		purge_warm(pool, SIZE_MAX, 0);
	if (warm + pool->dirty_chunks <= cap || !may_ask(pool))
		return;
	size_t excess = warm + pool->dirty_chunks - cap;
	if (warm)
		purge_warm(pool, hk_align_up(excess, HK_SUPER_CHUNKS) / HK_SUPER_CHUNKS, 0);
	/* Splitting huge pages is dear: only where chunks alone are too many, and then well below. */
	if (pool->dirty_chunks > cap && !pool->purging)
		purge_partial(pool, cap - cap / 8);
}

void hk_pool_tick(struct hk_pool *pool, uint32_t now_ms)
{
	uint32_t last = hk_load(&pool->ticked_ms), decay = (uint32_t)hk_options.decay_ms;
	if (now_ms - last < hk_min(decay / 4 + 1, 100) ||
	    !__atomic_compare_exchange_n(&pool->ticked_ms, &last, now_ms, false, __ATOMIC_RELAXED,
					 __ATOMIC_RELAXED))
		return;
	hk_lock(&pool->lock);
	age_peak(pool, now_ms);
	if (pool->warm_supers && may_ask(pool))
		purge_warm(pool, SIZE_MAX, decay);
	if (pool->dirty_chunks <= dirty_bound(pool))
		pool->dirty_since_ms = 0;
	else if (!pool->dirty_since_ms)
		pool->dirty_since_ms = now_ms | 1;
	else if (hk_ms_since(now_ms, pool->dirty_since_ms) >= decay) {
		purge_partial(pool, dirty_bound(pool) / 2);
		pool->dirty_since_ms = 0;
	}
	hk_unlock(&pool->lock);
}

size_t hk_pool_trim(struct hk_pool *pool, size_t pad)
{
	size_t keep = pad >> HK_SUPER_SHIFT, bytes = 0;
	hk_lock(&pool->lock);
	if (pool->warm_supers > keep)
		bytes += purge_warm(pool, pool->warm_supers - keep, 0);
	size_t kept = pool->warm_supers * HK_SUPER_CHUNKS, pad_chunks = pad >> HK_CHUNK_SHIFT;
	bytes += purge_partial(pool, pad_chunks > kept ? pad_chunks - kept : 0);
	hk_unlock(&pool->lock);
	return bytes;
}

/* ---- after a fork, and checks ---- */

/* Committed by a thread that vanished before it could say so. */
static void adopt_committed(struct hk_pool *pool, size_t index, struct hk_super *s)
{
	unsigned stripe = hk_pool_index(pool);
	size_t at = (index - hk_stripe_first(stripe)) << HK_SUPER_SHIFT;
	size_t bytes = hk_region.stripe[stripe].committed_bytes - at;
	unsigned chunks = (unsigned)hk_min(bytes >> HK_CHUNK_SHIFT, HK_SUPER_CHUNKS);
	s->free = hk_mask32(0, chunks);
	hk_store(&s->pool, pool);
	s->flags = hk_stripe_is_small(stripe, at) ? HK_SUPER_SMALL : 0;
	hk_store(&s->state, HK_SUPER_CHUNKED);
}

/* Chunks that a vanished thread was purging, or had taken and not used yet, or whose span's head is gone, are free. The first
 * COMMITTED can be used. How many of the next SuperSlab belong to a span that begins here. */
static unsigned rebuild_codes(struct hk_pool *pool, struct hk_super *s, unsigned tail, size_t committed)
{
	unsigned beyond = 0;
	for (unsigned c = 0; c < HK_SUPER_CHUNKS; c++) {
		enum hk_code_kind kind = hk_code_kind(s->code[c]);
		if ((kind == HK_CODE_FREE && c < committed) || kind == HK_CODE_PURGING || (kind == HK_CODE_TAIL && c >= tail)) {
			hk_store(&s->code[c], 0);
			s->free |= 1u << c;
		} else if (kind == HK_CODE_SPAN && !(s->free >> c & 1)) {
			pool->span_chunks += hk_code_count(s->code[c]);
			beyond = c + hk_code_count(s->code[c]);
			beyond = beyond > HK_SUPER_CHUNKS ? beyond - HK_SUPER_CHUNKS : 0;
		}
	}
	return beyond;
}

static void rebuild_free(struct hk_pool *pool, size_t index, struct hk_super *s)
{
	for (unsigned c = 0; c < HK_SUPER_CHUNKS; c++)
		hk_store(&s->code[c], 0);
	s->free = ~0u;
	hk_store(&s->span_chunks, 0);
	hk_store(&s->state, HK_SUPER_FREE);
	hk_super_set_free_locked(pool, index, true);
}

bool hk_pools_are_mine(void)
{
	for (unsigned i = 0; i < hk_region.stripes; i++)
		if (hk_lock_is_mine(&hk_pools[i].lock))
			return true;
	return false;
}

void hk_pool_rebuild(struct hk_pool *pool)
{
	size_t body_end = 0, tail_at = HK_NO_SUPER; /* what the last span head seen covers */
	unsigned tail = 0;
	__builtin_memset(pool->bucket, 0, sizeof(pool->bucket));
	__builtin_memset(pool->filled, 0, sizeof(pool->filled));
	pool->used_supers = pool->warm_supers = pool->kept_supers = 0;
	pool->free_chunks = pool->dirty_chunks = 0;
	pool->span_chunks = pool->moved_spans = pool->purging = pool->lowest_free_gib = 0;
	for (size_t i = hk_stripe_first(hk_pool_index(pool)); i < hk_stripe_end(hk_pool_index(pool)); i++) {
		struct hk_super *s = hk_super_at(i);
		struct hk_gib *gib = hk_gibs[i / HK_GIB_SUPERS];
		gib->free_bits[i % HK_GIB_SUPERS / 64] &= ~(1ull << i % 64);
		gib->warm_bits[i % HK_GIB_SUPERS / 64] &= ~(1ull << i % 64);
		if (s->state != HK_SUPER_NONE && s->pool != pool) {
			pool->used_supers++; /* an arena's for now */
			continue;
		}
		s->next = s->prev = 0;
		s->zero = 0; /* what a vanished thread was about to clear or hand out is not known */
		if (s->state == HK_SUPER_PURGING && hk_region.strict)
			s->flags |= HK_SUPER_DECOMMITTED; /* perhaps: committing twice does no harm */
		if (s->state == HK_SUPER_SPAN && s->span_chunks) {
			body_end = i + s->span_chunks / HK_SUPER_CHUNKS;
			tail = s->span_chunks % HK_SUPER_CHUNKS;
			tail_at = body_end;
			pool->span_chunks += s->span_chunks;
			pool->moved_spans += (s->flags & HK_SUPER_MOVED) != 0;
		}
		if (s->state == HK_SUPER_NONE)
			adopt_committed(pool, i, s);
		if (s->state == HK_SUPER_CHUNKED) {
			size_t committed = (hk_stripe_top(hk_pool_index(pool)) - hk_super_base(i)) >> HK_CHUNK_SHIFT;
			unsigned beyond = rebuild_codes(pool, s, i == tail_at ? tail : 0, committed);
			if (beyond) {
				tail_at = i + 1;
				tail = beyond;
			}
		}
		if (s->state == HK_SUPER_FREE || s->state == HK_SUPER_PURGING ||
		    (s->state == HK_SUPER_SPAN && i >= body_end) ||
		    (s->state == HK_SUPER_CHUNKED && s->free == ~0u)) {
			rebuild_free(pool, i, s);
			continue;
		}
		pool->used_supers++;
		if (s->state == HK_SUPER_CHUNKED)
			hk_bucket_insert(pool, i);
	}
}

static int complain(const char *what, size_t index)
{
	hk_say("audit: SuperSlab %zu: %s", index, what);
	return 1;
}

/* Behind each head of a span or slab the chunks that it says it has, and no used chunk without a code. */
static int audit_codes(const struct hk_super *s, size_t i, bool last)
{
	int bad = 0;
	for (unsigned c = 0; c < HK_SUPER_CHUNKS; c++) {
		enum hk_code_kind kind = hk_code_kind(s->code[c]);
		unsigned count = kind == HK_CODE_SPAN ? hk_code_count(s->code[c]) : 1;
		if (s->free >> c & 1) {
			if (s->code[c])
				bad += complain("a free chunk has a code (I5)", i);
			continue;
		}
		if (kind == HK_CODE_FREE && !last)
			bad += complain("a used chunk has no code (I5)", i);
		for (unsigned k = 1; k < count; k++) {
			bool here = c + k < HK_SUPER_CHUNKS;
			uint32_t code = here ? s->code[c + k] : hk_super_at(i + 1)->code[c + k - HK_SUPER_CHUNKS];
			if (hk_code_kind(code) != (here ? HK_CODE_CONT : HK_CODE_TAIL) || (here && hk_code_back(code) != k))
				bad += complain("a span's head says more than there is (I5)", i);
		}
	}
	return bad;
}

static int audit_super(const struct hk_pool *pool, size_t i, size_t *free_chunks, size_t *dirty, size_t *warm)
{
	struct hk_super *s = hk_super_at(i);
	int bad = 0;
	if (s->pool != pool)
		return 0; /* an arena's for now */
	bool is_free = hk_gibs[i / HK_GIB_SUPERS]->free_bits[i % HK_GIB_SUPERS / 64] >> i % 64 & 1;
	if (is_free != (s->state == HK_SUPER_FREE))
		bad += complain("free bit and state differ", i);
	if (s->zero & ~s->free)
		bad += complain("zero chunks that are not free (I4)", i);
	bool kept = s->flags & HK_SUPER_UNPURGEABLE;
	if (is_warm(i) != (is_free && (s->zero != ~0u || kept)))
		bad += complain("warm bit is wrong (I1)", i);
	*warm += is_warm(i);
	if (s->state != HK_SUPER_CHUNKED)
		return bad;
	*free_chunks += (unsigned)__builtin_popcount(s->free);
	*dirty += kept ? 0 : (unsigned)__builtin_popcount(s->free & ~s->zero);
	return bad + audit_codes(s, i, i + 1 == hk_stripe_end(hk_pool_index(pool)));
}

int hk_pool_audit(struct hk_pool *pool)
{
	size_t free_chunks = 0, dirty = 0, warm = 0, listed = 0;
	int bad = 0;
	hk_lock(&pool->lock);
	for (size_t i = hk_stripe_first(hk_pool_index(pool)); i < hk_stripe_end(hk_pool_index(pool)); i++)
		bad += audit_super(pool, i, &free_chunks, &dirty, &warm);
	for (unsigned b = 0; b < 2; b++)
		for (unsigned n = 1; n < HK_SUPER_CHUNKS; n++)
			for (uint32_t at = pool->bucket[b][n]; at; at = hk_super_at(at - 1)->next)
				listed += n;
	if (free_chunks != pool->free_chunks || listed != free_chunks)
		bad += complain("sum of free chunks is wrong", free_chunks);
	if (dirty != pool->dirty_chunks)
		bad += complain("sum of dirty chunks is wrong (I2)", dirty);
	if (warm != pool->warm_supers + pool->kept_supers)
		bad += complain("sum of warm SuperSlabs is wrong (I3)", warm);
	hk_unlock(&pool->lock);
	return bad;
}
