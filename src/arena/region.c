/* region.c - reserves and commits. Does not know what the memory is for: see pool.c. */
#include <errno.h>

#include "arena/region.h"
#include "base/check.h"
#include "numa/node.h"
#include "observe/options.h"
#include "os/os.h"

#define GIB (1ul << HK_GIB_SHIFT)
#define REGION_FEW (4096 * GIB) /* for up to 4 stripes */
#define REGION_MAX ((size_t)HK_REGION_GIBS << HK_GIB_SHIFT)
#define STRIPES_FEW 4u

/* The kernel maps from the top of the address space down and programs sit at its bottom or near
 * 0x5555... (85 TiB), so 32 to 80 TiB is empty in ordinary processes. */
#define WINDOW_FIRST_GIB (32ul << 10)
#define WINDOW_GIBS (48ul << 10)
#define PLACES 64
#define STARTERS_HUGETLB (4ul << 20)
#define RESERVE_MIN (256ul << 10) /* counts against RLIMIT_MEMLOCK once a program locks all */

struct hk_region hk_region;
struct hk_gib *hk_gibs[HK_GIBS];
static struct hk_gib first_gib; /* small programs need no other: no mapping for it */

HK_INLINE size_t stripe_bytes(void)
{
	return 1ul << hk_region.stripe_shift;
}

size_t hk_region_reserved(void)
{
	size_t sum = 0;
	for (unsigned i = 0; i < hk_region.stripes; i++)
		sum += hk_load(&hk_region.stripe[i].reserved_bytes);
	return sum;
}

size_t hk_region_committed(void)
{
	size_t sum = 0;
	for (unsigned i = 0; i < hk_region.stripes; i++)
		sum += hk_load(&hk_region.stripe[i].committed_bytes);
	return sum;
}

/* Bytes to reserve next to hold NEED more. */
static size_t reserve_step(size_t have, size_t need)
{
	size_t step = have, limit = hk_os_limit_address_space();
	if (hk_region.ample)
		return stripe_bytes();
	if (limit != SIZE_MAX)
		step = hk_min(step, limit / 64);
	else if (have > hk_os_limit_locked())
		return stripe_bytes(); /* mlockall could not succeed any more: nothing speaks for little */
	step = hk_align_down(hk_min(step, 64 * GIB), RESERVE_MIN);
	return hk_align_up(hk_max(need, step), RESERVE_MIN);
}

/* Small pages for the starters, so that `ls` stays small; huge ones behind them. */
static void advise(unsigned stripe, size_t from, size_t bytes)
{
	uintptr_t first = hk_super_base(hk_stripe_first(stripe));
	size_t small = hk_region.huge && stripe < hk_region.nodes ? hk_stripe_starters(stripe) : SIZE_MAX;
	small = from >= small ? 0 : hk_min(small - from, bytes);
	if (small)
		hk_os_advise_small(first + from, small);
	if (small < bytes)
		hk_os_advise_huge(first + from + small, bytes - small);
}

static int reserve_more(unsigned stripe, size_t need)
{
	struct hk_stripe *s = &hk_region.stripe[stripe];
	size_t step = reserve_step(s->reserved_bytes, need), least = hk_align_up(need, RESERVE_MIN);
	uintptr_t top = hk_super_base(hk_stripe_first(stripe)) + s->reserved_bytes, got;
	if (s->reserved_bytes + least > stripe_bytes())
		return -ENOMEM;
	step = hk_min(step, stripe_bytes() - s->reserved_bytes);
	hk_store(&s->intent_bytes, step);
	while (hk_os_reserve(top, step, &got)) {
		if (step <= least) {
			hk_store(&s->intent_bytes, 0);
			return -ENOMEM;
		}
		step = hk_max(least, hk_align_down(step / 2, RESERVE_MIN));
		hk_store(&s->intent_bytes, step);
	}
	advise(stripe, s->reserved_bytes, step);
	if (hk_node_is_placed(hk_stripe_node(stripe)) && hk_node_may_call())
		hk_node_place(hk_stripe_node(stripe), top, step);
	hk_store_rel(&s->reserved_bytes, s->reserved_bytes + step);
	hk_store_rel(&s->intent_bytes, 0); /* in this order: see hk_region_repair */
	return 0;
}

void hk_region_repair(void)
{
	for (unsigned i = 0; i < hk_region.stripes; i++) {
		struct hk_stripe *s = &hk_region.stripe[i];
		uintptr_t top = hk_super_base(hk_stripe_first(i)) + s->reserved_bytes;
		size_t bytes = s->intent_bytes;
		s->intent_bytes = 0;
		/* That very range is mapped and nothing behind it: it is what was meant, not a foreign mapping. */
		if (!bytes || !hk_os_is_mapped(top) || !hk_os_is_mapped(top + bytes - HK_PAGE_BYTES) ||
		    hk_os_is_mapped(top + bytes))
			continue;
		advise(i, s->reserved_bytes, bytes);
		s->reserved_bytes += bytes;
	}
}

/* Reserves BYTES at one of several random places. */
static int place(size_t bytes, size_t region_bytes, uint64_t seed)
{
	for (unsigned i = 0; i < PLACES; i++) {
		uintptr_t where, got;
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		where = (WINDOW_FIRST_GIB + (seed >> 33) % (WINDOW_GIBS - region_bytes / GIB)) * GIB;
		if (!hk_os_reserve(where, bytes, &got)) {
			hk_region.base = got;
			return 0;
		}
	}
	return -ENOMEM;
}

/* What was reserved from the base on, a part for each stripe. */
static void share_out(size_t bytes)
{
	for (unsigned i = 0; i < hk_region.nodes && bytes; i++) {
		size_t part = hk_min(bytes, stripe_bytes());
		hk_region.stripe[i].reserved_bytes = part;
		advise(i, 0, part);
		hk_node_place(i, hk_super_base(hk_stripe_first(i)), part);
		bytes -= part;
	}
	if (hk_region.nodes > 1)
		hk_store_rel(&hk_region.bound_bytes, (size_t)hk_region.stripes << hk_region.stripe_shift);
}

int hk_region_init(void)
{
	uint64_t seed[2];
	size_t all, bytes = hk_options.region_mib << 20, starters = hk_options.starter_mib << 20;
	hk_os_entropy(seed);
	hk_region.nodes = hk_node_count();
	hk_region.stripes = 2 * hk_region.nodes;
	all = hk_region.stripes <= STRIPES_FEW ? REGION_FEW : REGION_MAX;
	hk_region.stripe_shift = hk_log2(all);
	while (hk_region.stripes > all >> hk_region.stripe_shift)
		hk_region.stripe_shift--;
	all = (size_t)hk_region.stripes << hk_region.stripe_shift;
	if (!bytes)
		bytes = (size_t)hk_region.nodes << hk_region.stripe_shift;
	hk_region.ample = hk_os_limit_address_space() == SIZE_MAX &&
			  hk_os_limit_locked() == SIZE_MAX;
	if (!hk_region.ample && !hk_options.region_mib)
		bytes = RESERVE_MIN;
	bytes = hk_min(hk_align_up(bytes, RESERVE_MIN), all);
	while (place(bytes, all, seed[0])) {
		bytes = hk_align_down(bytes / 2, RESERVE_MIN);
		if (!bytes)
			return -ENOMEM;
	}
	hk_region.huge = hk_options.huge != HK_HUGE_NEVER;
	if (hk_options.huge >= HK_HUGE_HUGETLB)
		starters = hk_min(starters, STARTERS_HUGETLB); /* who reserved pages wants them used */
	for (unsigned i = 0; i < hk_region.nodes; i++)
		hk_region.stripe[i].starter_bytes = hk_align_up(starters, HK_SUPER_BYTES);
	share_out(bytes);
	hk_store_rel(&hk_gibs[hk_region.base >> HK_GIB_SHIFT], &first_gib);
	return 0;
}

static int side_table_extend(size_t first, size_t end)
{
	for (size_t gib = first / HK_GIB_SUPERS; gib * HK_GIB_SUPERS < end; gib++) {
		if (hk_gibs[gib])
			continue;
		struct hk_gib *table = hk_os_table(hk_align_up(sizeof(*table), HK_PAGE_BYTES));
		if (!table)
			return -ENOMEM;
		hk_store_rel(&hk_gibs[gib], table); /* pairs with hk_super_at */
	}
	return 0;
}

int hk_stripe_extend(unsigned stripe, size_t bytes)
{
	struct hk_stripe *s = &hk_region.stripe[stripe];
	size_t have = s->committed_bytes, want = have + bytes, first = hk_stripe_first(stripe);
	if (want < have || want > stripe_bytes())
		return -ENOMEM;
	if (want > s->reserved_bytes && reserve_more(stripe, want - s->reserved_bytes))
		return -ENOMEM;
	if (side_table_extend(first + (have >> HK_SUPER_SHIFT),
			      first + (hk_align_up(want, HK_SUPER_BYTES) >> HK_SUPER_SHIFT)))
		return -ENOMEM;
	if (hk_os_commit(hk_stripe_top(stripe), bytes))
		return -ENOMEM;
	hk_store_rel(&s->committed_bytes, want);
	if (!stripe && hk_region.bound_bytes <= stripe_bytes())
		hk_store_rel(&hk_region.bound_bytes, want);
	if (stripe)
		hk_store_rel(&hk_region.bound_bytes, (size_t)hk_region.stripes << hk_region.stripe_shift);
	return 0;
}

int hk_stripe_end_starters(unsigned stripe, size_t bytes)
{
	struct hk_stripe *s = &hk_region.stripe[stripe];
	uintptr_t base = hk_super_base(hk_stripe_first(stripe));
	size_t end = hk_min(s->starter_bytes, s->reserved_bytes);
	int rc = bytes < end ? hk_os_advise_huge(base + bytes, end - bytes) : 0;
	if (!rc)
		s->starter_bytes = bytes;
	return rc;
}

void hk_region_advise(uintptr_t where, size_t bytes, bool huge)
{
	unsigned stripe = (unsigned)((where - hk_region.base) >> hk_region.stripe_shift);
	unsigned node = hk_stripe_node(stripe);
	if (huge && hk_region.huge && stripe < hk_region.nodes)
		hk_os_advise_huge(where, bytes);
	else
		hk_os_advise_small(where, bytes);
	if (hk_node_is_placed(node) && hk_node_may_call())
		hk_node_place(node, where, bytes);
}

int hk_region_refresh(uintptr_t where, size_t bytes)
{
	int rc = hk_os_refresh(where, bytes);
	if (!rc)
		hk_region_advise(where, bytes, true);
	return rc;
}

bool hk_region_is_strict(void)
{
	if (!hk_load_acq(&hk_region.strict_known)) {
		hk_store(&hk_region.overcommit, hk_os_overcommit());
		hk_store(&hk_region.strict, hk_os_limit_data() != SIZE_MAX || hk_region.overcommit == 2);
		hk_store_rel(&hk_region.strict_known, true);
	}
	return hk_load(&hk_region.strict);
}
