/* promote.c - huge pages for the starters of a process that has outgrown them.
 *
 * The first memory of a process is on small pages, so that what a small program does not touch costs nothing. In a large
 * one the same memory holds its oldest blocks, often its hottest, and each small page of them takes a TLB entry. So where
 * a pool takes a SuperSlab beyond the starters, it has the kernel copy two of these, if they are full or nearly so, onto
 * huge pages (MADV_COLLAPSE, kernel 6.1): about 0.2 ms each, and only while the process grows. Two for each SuperSlab
 * that there is beyond, no more: all 16 would cost a process that needs 33 MiB as much again as it saved before. A forked
 * child copies none: it would pay for memory that it shares with its parent, and children often end soon.
 *
 * A process that touches nearly all that it takes gains nothing by small pages. So from a quarter of the starters on,
 * some of those in use are looked at as others are taken, once for each new one, and where they are full the starters
 * end behind the one just taken: what comes next is on huge pages from its first touch on, and older ones are copied as
 * above. In forked children as well: nothing is copied for that. */
#include "arena/pool.h"
#include "base/check.h"

#define ROOM_MAX 4u     /* chunks free at most ... */
#define PAGES_MIN 448u   /* ... and of 512 pages so many that were touched: the others become resident with them */
#define A_SUPER 2u   /* looked at for each SuperSlab beyond the starters, ... */
#define TURNS_MAX 4u /* ... but each starter so often at most */
#define EDGE_PART 4u   /* of the starters that are in use when they may end, ... */
#define EDGE_MIN 4u    /* ... and so many SuperSlabs: 8 MiB, ... */
#define EDGE_STEP 2u   /* ... looked at for every other one, ... */
#define EDGE_SAMPLE 4u /* ... by so many of them, ... */
#define EDGE_PAGES 432u /* ... of whose 512 pages so many are touched in the mean */
#define MISSES_MAX 16u /* an older kernel, no huge pages free, or none wanted */

/* A starter in use on small pages, in turn. */
static size_t find(struct hk_pool *pool)
{
	unsigned stripe = hk_pool_index(pool);
	size_t starters = hk_stripe_starters(stripe) >> HK_SUPER_SHIFT;
	for (size_t n = 0; n < starters; n++) {
		size_t i = hk_stripe_first(stripe) + pool->promote_turn++ % starters;
		const struct hk_super *s = hk_super_at(i);
		if (s->state == HK_SUPER_CHUNKED && s->pool == pool && s->flags == HK_SUPER_SMALL &&
		    (unsigned)__builtin_popcount(s->free) <= ROOM_MAX)
			return i;
	}
	return HK_NO_SUPER;
}

/* Where the starters end, as an index, and where what is committed of them ends. */
static size_t edge_end(const struct hk_pool *pool)
{
	unsigned stripe = hk_pool_index(pool);
	size_t end = hk_stripe_first(stripe) + (hk_stripe_starters(stripe) >> HK_SUPER_SHIFT);
	return hk_min(end, hk_stripe_end(stripe));
}

/* Nothing is in the starters from SuperSlab INDEX on. */
static bool is_edge(const struct hk_pool *pool, size_t index)
{
	for (size_t i = index; i < edge_end(pool); i++) {
		const struct hk_super *s = hk_super_at(i);
		if (s->pool != pool || s->state != HK_SUPER_FREE || s->zero != ~0u)
			return false;
	}
	return true;
}

void hk_pool_outgrows_locked(struct hk_pool *pool, size_t index)
{
	unsigned stripe = hk_pool_index(pool);
	if (pool->arena || !hk_region.huge || pool->promote_misses >= MISSES_MAX)
		return;
	size_t starters = hk_stripe_starters(stripe) >> HK_SUPER_SHIFT, used = index - hk_stripe_first(stripe) + 1;
	if (used > starters && !pool->inherited) {
		size_t allowed = hk_min((used - starters) * A_SUPER, starters * TURNS_MAX);
		pool->promote_due = (unsigned)hk_min(allowed - hk_min(allowed, pool->promote_asked), A_SUPER);
		pool->promote_asked += pool->promote_due;
	}
	if (used < starters && used > pool->edge_asked && used >= hk_max(starters / EDGE_PART, EDGE_MIN) &&
	    used % EDGE_STEP == 0)
		pool->edge_due = pool->edge_asked = (unsigned)used;
}

/* True if the USED first starters are full of touched pages. The lock is dropped meanwhile. */
static bool is_dense(struct hk_pool *pool, unsigned used)
{
	size_t first = hk_stripe_first(hk_pool_index(pool));
	unsigned pages = 0;
	hk_unlock(&pool->lock);
	for (size_t i = 0; i < EDGE_SAMPLE; i++)
		pages += hk_os_resident_pages(hk_super_base(first + (used - 1) * i / EDGE_SAMPLE));
	bool dense = pages >= EDGE_SAMPLE * EDGE_PAGES && hk_os_has_thp();
	hk_lock(&pool->lock);
	return dense;
}

/* Ends the starters behind the USED first ones, the last of which was just taken, if they are full. */
static void end_starters(struct hk_pool *pool, unsigned used)
{
	unsigned stripe = hk_pool_index(pool);
	size_t from = hk_stripe_first(stripe) + used;
	if (hk_region_is_strict() || hk_load(&hk_region.locked) || !is_edge(pool, from) || !is_dense(pool, used))
		return;
	size_t end = edge_end(pool);
	if (!is_edge(pool, from) || used >= hk_stripe_starters(stripe) >> HK_SUPER_SHIFT ||
	    hk_stripe_end_starters(stripe, (size_t)used << HK_SUPER_SHIFT))
		return;
	for (size_t i = from; i < end; i++)
		hk_super_at(i)->flags &= (uint8_t)~HK_SUPER_SMALL;
}

static bool promote_one(struct hk_pool *pool)
{
	size_t index = find(pool);
	uintptr_t base = hk_super_base(index);
	bool dense, had = false;
	if (index == HK_NO_SUPER)
		return false;
	hk_unlock(&pool->lock);
	dense = hk_os_resident_pages(base) >= PAGES_MIN;
	if (dense && hk_os_has_thp() && !hk_os_advise_huge(base, HK_SUPER_BYTES))
		had = !hk_os_collapse(base, HK_SUPER_BYTES);
	hk_lock(&pool->lock);
	pool->promote_misses += dense && !had;
	if (!had || hk_super_at(index)->pool != pool)
		return false;
	hk_super_at(index)->flags &= (uint8_t)~HK_SUPER_SMALL;
	pool->count.promoted++;
	return true;
}

void hk_pool_promote_locked(struct hk_pool *pool)
{
	unsigned due = pool->promote_due, edge = pool->edge_due;
	pool->promote_due = pool->edge_due = 0; /* others need not do it as well */
	if (edge)
		end_starters(pool, edge);
	while (due-- && promote_one(pool))
		;
}
