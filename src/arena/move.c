/* move.c - a span's pages put under another span's addresses, without a copy (mremap with MREMAP_DONTUNMAP, Linux 5.7).
 *
 * A call for each SuperSlab: before Linux 6.17 one moves what is in one mapping alone, and a span may be in several: it
 * grew after it was moved, or the program used madvise or mlock on a part. A call that fails has unmapped the place
 * before (to 6.16), or changed nothing, or moved the pages of some mappings (from 6.17 on). So the place is emptied
 * first; what is missing of it then is mapped anew, and pages of the old place that are not zero are copied: those
 * that were moved read as zero there. */
#include <errno.h>
#include <string.h>

#include "arena/pool.h"
#include "base/check.h"

#define MOVED_MAX 1000 /* spans that were moved, each in a few mappings of its own: VMAs stay bounded */

/* Pages of the hugetlb pool can't be moved, and would be lost where others are moved to. */
static bool may_move(size_t first, size_t count)
{
	for (size_t i = first; i < first + count; i++)
		if (hk_super_at(i)->flags & HK_SUPER_UNPURGEABLE)
			return false;
	return true;
}

static bool is_zero(const char *page)
{
	return !page[0] && !memcmp(page, page + 1, HK_PAGE_BYTES - 1);
}

/* Finishes by hand what a call that failed left, whatever that is. */
HK_COLD static void mend(char *from, char *to)
{
	int rc = hk_os_map_hole((uintptr_t)to, HK_SUPER_BYTES);
	if (!rc) {
		hk_region_advise((uintptr_t)to, HK_SUPER_BYTES, true);
		memcpy(to, from, HK_SUPER_BYTES);
		return;
	}
	for (size_t at = 0; at < HK_SUPER_BYTES; at += HK_PAGE_BYTES) {
		rc = hk_os_map_hole((uintptr_t)to + at, HK_PAGE_BYTES);
		HK_CHECK(!rc || rc == -EEXIST, "the kernel has no mapping for a block that grows", to);
		if (!is_zero(from + at))
			memcpy(to + at, from + at, HK_PAGE_BYTES);
	}
	hk_region_advise((uintptr_t)to, HK_SUPER_BYTES, true);
}

bool hk_pool_span_move(struct hk_pool *pool, void *from, void *to, size_t supers)
{
	static bool unknown; /* [A] the kernel has no such call, or a filter forbids it */
	struct hk_super *head = hk_super_at(hk_super_index(to));
	size_t bytes = supers << HK_SUPER_SHIFT;
	bool may;
	hk_lock(&pool->lock);
	may = !pool->arena && pool->moved_spans < MOVED_MAX && !(head->flags & HK_SUPER_SMALL) && !hk_load(&unknown) &&
	      may_move(hk_super_index(from), supers) && may_move(hk_super_index(to), supers);
	pool->moved_spans += may;
	hk_unlock(&pool->lock);
	if (!may)
		return false;
	may = !hk_os_purge((uintptr_t)to, bytes);
	for (size_t at = 0; may && at < bytes; at += HK_SUPER_BYTES) {
		if (hk_load(&unknown)) {
			memcpy((char *)to + at, (char *)from + at, HK_SUPER_BYTES);
			continue;
		}
		int rc = hk_os_move((uintptr_t)from + at, (uintptr_t)to + at, HK_SUPER_BYTES);
		if (rc)
			mend((char *)from + at, (char *)to + at);
		if (!at && (rc == -EINVAL || rc == -EPERM || rc == -ENOSYS))
			hk_store(&unknown, true);
	}
	/* The old place is a mapping that is locked no more, though the process may have locked all. */
	if (may)
		hk_region_refresh((uintptr_t)from, bytes);
	hk_lock(&pool->lock);
	if (may) {
		head->flags |= HK_SUPER_MOVED;
		pool->count.spans_moved++;
	} else {
		pool->moved_spans--;
	}
	hk_unlock(&pool->lock);
	return may;
}
