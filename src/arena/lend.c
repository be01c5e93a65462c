/* lend.c - an arena's pool: SuperSlabs that a node's pool lends it, or that the program gave, all of them
 * kept until the arena ends. What happens inside them is pool.c's business, as in any pool.
 *
 * I1  every SuperSlab that is the pool's is in the list of all; the free ones also in the spare list.
 * I2  lent.supers <= lent.most.
 * The pool's lock comes before its parent's. */
#include <errno.h>
#include <string.h>

#include "arena/pool.h"
#include "base/check.h"
#include "numa/node.h"

static struct hk_lock given_lock; /* side table of what programs gave */

void hk_lent_locks_reset(void)
{
	given_lock.owner = 0;
}

/* ---- lists ---- */

void hk_lent_set_free(struct hk_pool *pool, size_t index, bool is_free)
{
	struct hk_lent *lent = &pool->lent;
	struct hk_super *s = hk_super_at(index);
	if (is_free) {
		s->prev = 0;
		s->next = lent->spare_head;
		if (s->next)
			hk_super_at(s->next - 1)->prev = (uint32_t)index + 1;
		lent->spare_head = (uint32_t)index + 1;
		lent->spare++;
		return;
	}
	if (s->prev)
		hk_super_at(s->prev - 1)->next = s->next;
	else
		lent->spare_head = s->next;
	if (s->next)
		hk_super_at(s->next - 1)->prev = s->prev;
	s->next = s->prev = 0;
	lent->spare--;
}

static void enlist(struct hk_pool *pool, size_t first, size_t count)
{
	struct hk_lent *lent = &pool->lent;
	for (size_t i = first + count; i-- > first;) {
		struct hk_super *s = hk_super_at(i);
		s->free = ~0u;
		s->all_next = lent->all;
		lent->all = (uint32_t)i + 1;
		hk_store(&s->state, HK_SUPER_FREE);
		hk_lent_set_free(pool, i, true);
	}
	lent->supers += count;
}

/* ---- taking ---- */

static bool is_free(const struct hk_pool *pool, size_t index)
{
	return hk_super_is_there(index) && hk_super_at(index)->pool == pool &&
	       hk_super_at(index)->state == HK_SUPER_FREE;
}

/* A run of COUNT free ones. They are few, or many spans are asked for: each begins a run at most once. */
static size_t find(const struct hk_pool *pool, size_t count, size_t align)
{
	if (pool->lent.spare < count)
		return HK_NO_SUPER;
	if (count == 1 && align == 1)
		return pool->lent.spare_head - 1;
	for (uint32_t at = pool->lent.all; at; at = hk_super_at(at - 1)->all_next) {
		size_t first = at - 1, n = 0;
		if (first % align)
			continue;
		while (n < count && is_free(pool, first + n))
			n++;
		if (n == count)
			return first;
	}
	return HK_NO_SUPER;
}

size_t hk_lent_take_locked(struct hk_pool *pool, size_t count, size_t align)
{
	size_t first = find(pool, count, align);
	if (first == HK_NO_SUPER) {
		if (hk_lent_grow(pool, count, align))
			return HK_NO_SUPER;
		first = find(pool, count, align);
	}
	for (size_t i = first; i < first + count; i++)
		hk_lent_set_free(pool, i, false);
	pool->used_supers += count;
	return first;
}

/* ---- where they come from ---- */

/* What the pages must be is made so, while the lender's lock is held; false: not to be had. */
static bool change_pages(struct hk_pool *lender, size_t first, size_t count, unsigned shift)
{
	bool are = true;
	for (size_t i = first; i < first + count && are; i++)
		are = hk_super_at(i)->flags & HK_SUPER_HUGETLB;
	if (are)
		return true;
	for (size_t i = first; i < first + count; i++) {
		struct hk_super *s = hk_super_at(i);
		if (s->flags)
			return false;
		if (s->zero != ~0u && !hk_os_purge(hk_super_base(i), HK_SUPER_BYTES))
			s->zero = ~0u;
	}
	if (!hk_hugetlb_map_locked(lender, first, count, shift))
		return false;
	for (size_t i = first; i < first + count; i++)
		hk_super_set_free_locked(lender, i, false); /* they are taken */
	return true;
}

/* Starters, where a limit on what is committed leaves nothing else. */
static bool any_small(size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++)
		if (hk_super_at(i)->flags & HK_SUPER_SMALL)
			return true;
	return false;
}

/* From LENDER, as free as the lender had them. */
static size_t borrow(struct hk_pool *pool, struct hk_pool *lender, size_t count, size_t align)
{
	struct hk_lent *lent = &pool->lent;
	bool gib = lent->page_shift == HK_GIB_SHIFT;
	hk_lock(&lender->lock);
	bool huge = lender == lent->parent; /* else the program asked for small pages, or any will do */
	size_t first = hk_supers_take_locked(lender, count, hk_max(align, gib ? HK_GIB_SUPERS : 1), huge);
	if (first != HK_NO_SUPER && ((lent->page_shift && !change_pages(lender, first, count, lent->page_shift)) ||
				     (lent->huge && any_small(first, count)))) {
		if (lent->strict) {
			hk_supers_give_locked(lender, first, count);
			first = HK_NO_SUPER;
		} else {
			lent->fallbacks += count;
		}
	}
	/* From here on the lender's own searches, which look for free neighbours, pass them by. */
	for (size_t i = first; first != HK_NO_SUPER && i < first + count; i++)
		hk_store(&hk_super_at(i)->pool, pool);
	hk_unlock(&lender->lock);
	return first;
}

/* TOUCHED: pages may be there that no block was in. */
static void give_back(size_t first, size_t count, bool touched)
{
	struct hk_pool *lender = &hk_pools[(hk_super_base(first) - hk_region.base) >> hk_region.stripe_shift];
	hk_lock(&lender->lock);
	for (size_t i = first; i < first + count; i++) {
		struct hk_super *s = hk_super_at(i);
		hk_store(&s->pool, lender);
		if (touched)
			s->zero = 0; /* warm, or it would stay resident and uncounted */
		if (!(s->flags & HK_SUPER_HUGETLB))
			s->flags &= (uint8_t)~HK_SUPER_UNPURGEABLE;
	}
	hk_supers_give_locked(lender, first, count);
	hk_pool_shed_locked(lender); /* not before the next tick, perhaps */
	hk_unlock(&lender->lock);
}

/* What was promised before the first block: pages there, locked, not in dumps. */
static int prepare(const struct hk_lent *lent, size_t first, size_t count)
{
	uintptr_t where = hk_super_base(first);
	size_t bytes = count << HK_SUPER_SHIFT;
	int rc = 0;
	if (lent->no_dump)
		hk_os_dump(where, bytes, false);
	if (lent->lock)
		rc = hk_os_lock(where, bytes);
	if (!rc && lent->populate)
		rc = hk_os_populate(where, bytes);
	return rc;
}

static void undo(const struct hk_lent *lent, size_t first, size_t count)
{
	if (lent->lock)
		hk_os_unlock(hk_super_base(first), count << HK_SUPER_SHIFT);
	if (lent->no_dump)
		hk_os_dump(hk_super_base(first), count << HK_SUPER_SHIFT, true);
}

int hk_lent_grow(struct hk_pool *pool, size_t count, size_t align)
{
	struct hk_lent *lent = &pool->lent;
	struct hk_pool *lender = lent->parent, *from;
	size_t first = HK_NO_SUPER;
	if (lent->page_shift == HK_GIB_SHIFT)
		count = hk_align_up(count, HK_GIB_SUPERS);
	if (!lender || count > lent->most || lent->supers > lent->most - count)
		return -ENOMEM;
	if (lent->first && !lent->supers && count == 1 && align == 1)
		first = borrow(pool, lent->first, count, align);
	if (first == HK_NO_SUPER)
		first = borrow(pool, lender, count, align);
	for (unsigned k = 0; first == HK_NO_SUPER && !lent->strict && (from = hk_pool_next(lender, &k));) {
		first = borrow(pool, from, count, align);
		if (first != HK_NO_SUPER)
			lent->fallbacks += count;
	}
	if (first == HK_NO_SUPER)
		return -ENOMEM;
	int rc = prepare(lent, first, count);
	if (rc) {
		undo(lent, first, count);
		give_back(first, count, true);
		return rc;
	}
	if (lent->lock)
		for (size_t i = first; i < first + count; i++)
			hk_super_at(i)->flags |= HK_SUPER_UNPURGEABLE;
	enlist(pool, first, count);
	if (lent->watcher)
		lent->watcher(lent->watcher_arg, (void *)hk_super_base(first), count << HK_SUPER_SHIFT);
	return 0;
}

/* ---- memory that the program gives ---- */

static void forget(size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++) {
		hk_store(&hk_super_at(i)->pool, NULL);
		hk_store(&hk_super_at(i)->state, HK_SUPER_NONE);
	}
}

static int describe(size_t first, size_t count)
{
	for (size_t gib = first / HK_GIB_SUPERS; gib * HK_GIB_SUPERS < first + count; gib++) {
		if (hk_gibs[gib])
			continue;
		struct hk_gib *table = hk_os_table(hk_align_up(sizeof(*table), HK_PAGE_BYTES));
		if (!table)
			return -ENOMEM;
		hk_store_rel(&hk_gibs[gib], table); /* pairs with hk_super_at */
	}
	for (size_t i = first; i < first + count; i++)
		if (hk_super_at(i)->state != HK_SUPER_NONE)
			return -EEXIST;
	for (size_t i = first; i < first + count; i++)
		hk_super_at(i)->state = HK_SUPER_FREE;
	return 0;
}

int hk_lent_give_memory(struct hk_pool *pool, uintptr_t where, size_t bytes)
{
	uintptr_t from = hk_align_up(where, HK_SUPER_BYTES), to = hk_align_down(where + bytes, HK_SUPER_BYTES);
	if (where + bytes < where || from < where || to <= from || to > (uintptr_t)HK_GIBS << HK_GIB_SHIFT)
		return -EINVAL;
	size_t first = from >> HK_SUPER_SHIFT, count = (to - from) >> HK_SUPER_SHIFT;
	/* Address space that the region will grow into, where it could not be reserved as a whole. */
	if (from < hk_region.base + ((size_t)hk_region.stripes << hk_region.stripe_shift) && to > hk_region.base)
		return -EEXIST;
	hk_lock(&given_lock);
	int rc = describe(first, count);
	hk_unlock(&given_lock);
	if (rc)
		return rc;
	rc = prepare(&pool->lent, first, count);
	if (rc) {
		undo(&pool->lent, first, count);
		forget(first, count);
		return rc;
	}
	hk_lock(&pool->lock);
	for (size_t i = first; i < first + count; i++) {
		hk_super_at(i)->zero = 0;
		hk_super_at(i)->flags = HK_SUPER_UNPURGEABLE;
		hk_store(&hk_super_at(i)->pool, pool);
	}
	enlist(pool, first, count);
	hk_unlock(&pool->lock);
	return 0;
}

/* ---- all at once ---- */

static void clear(struct hk_super *s)
{
	memset(s->code, 0, sizeof(s->code));
	s->free = ~0u;
	hk_store(&s->span_chunks, 0);
	hk_store(&s->state, HK_SUPER_FREE);
}

void hk_lent_reset(struct hk_pool *pool)
{
	struct hk_lent *lent = &pool->lent;
	hk_lock(&pool->lock);
	memset(pool->bucket, 0, sizeof(pool->bucket));
	pool->filled[0] = pool->filled[1] = 0;
	pool->used_supers = pool->free_chunks = pool->dirty_chunks = pool->span_chunks = 0;
	lent->spare_head = 0;
	lent->spare = 0;
	for (uint32_t at = lent->all; at; at = hk_super_at(at - 1)->all_next) {
		clear(hk_super_at(at - 1));
		hk_lent_set_free(pool, at - 1, true);
	}
	hk_unlock(&pool->lock);
}

/* How many from *AT on are adjacent; *AT becomes what comes after them in the list. */
static size_t stretch(uint32_t *at)
{
	size_t first = *at - 1, count = 0;
	while (*at == first + count + 1) {
		*at = hk_super_at(*at - 1)->all_next;
		count++;
	}
	return count;
}

void hk_lent_each(struct hk_pool *pool, void (*function)(void *arg, void *where, size_t bytes), void *arg)
{
	for (uint32_t at = pool->lent.all; at;) {
		size_t first = at - 1, count = stretch(&at);
		function(arg, (void *)hk_super_base(first), count << HK_SUPER_SHIFT);
	}
}

void hk_lent_return(struct hk_pool *pool)
{
	struct hk_lent *lent = &pool->lent;
	hk_lent_reset(pool);
	for (uint32_t at = lent->all; at;) {
		size_t first = at - 1, count = stretch(&at);
		if (!lent->parent) {
			undo(lent, first, count);
			forget(first, count);
			continue;
		}
		undo(lent, first, count);
		give_back(first, count, lent->populate || lent->lock || lent->touched);
	}
	lent->all = lent->spare_head = 0;
	lent->supers = lent->spare = 0;
}
