/* region.c - reserves and commits. Does not know what the memory is for: see pool.c. */
#include <errno.h>

#include "arena/region.h"
#include "base/check.h"
#include "observe/options.h"
#include "os/os.h"

#define GIB (1ul << HK_GIB_SHIFT)
#define REGION_MAX ((size_t)HK_REGION_GIBS << HK_GIB_SHIFT)

/* The kernel maps from the top of the address space down and programs sit at its bottom or near
 * 0x5555..., so 32 to 80 TiB is empty in ordinary processes. */
#define WINDOW_FIRST_GIB (32ul << 10)
#define WINDOW_GIBS (44ul << 10)
#define PLACES 64
#define RESERVE_MIN (256ul << 10) /* counts against RLIMIT_MEMLOCK once a program locks all */

struct hk_region hk_region;
struct hk_gib *hk_gibs[HK_REGION_GIBS];
static struct hk_gib first_gib; /* small programs need no other: no mapping for it */

/* Bytes to reserve next to hold NEED more. */
static size_t reserve_step(size_t need)
{
	size_t step = hk_region.reserved_bytes, limit = hk_os_limit_address_space();
	if (limit != SIZE_MAX)
		step = hk_min(step, limit / 64);
	else if (hk_region.reserved_bytes > hk_os_limit_locked())
		return REGION_MAX; /* mlockall could not succeed any more: nothing speaks for little */
	step = hk_align_down(hk_min(step, 64 * GIB), RESERVE_MIN);
	return hk_align_up(hk_max(need, step), RESERVE_MIN);
}

/* Small pages for the starters, so that `ls` stays small; huge ones behind them. */
static void advise(size_t from, size_t bytes)
{
	size_t small = hk_region.huge ? hk_region.starter_bytes : SIZE_MAX;
	small = from >= small ? 0 : hk_min(small - from, bytes);
	if (small)
		hk_os_advise_small(hk_region.base + from, small);
	if (small < bytes)
		hk_os_advise_huge(hk_region.base + from + small, bytes - small);
}

static int reserve_more(size_t need)
{
	size_t step = reserve_step(need), least = hk_align_up(need, RESERVE_MIN);
	uintptr_t top = hk_region.base + hk_region.reserved_bytes, got;
	if (hk_region.reserved_bytes + least > REGION_MAX)
		return -ENOMEM;
	step = hk_min(step, REGION_MAX - hk_region.reserved_bytes);
	while (hk_os_reserve(top, step, &got)) {
		if (step <= least)
			return -ENOMEM;
		step = hk_max(least, hk_align_down(step / 2, RESERVE_MIN));
	}
	advise(hk_region.reserved_bytes, step);
	hk_region.reserved_bytes += step;
	return 0;
}

/* Reserves BYTES at one of several random places. */
static int place(size_t bytes, uint64_t seed)
{
	for (unsigned i = 0; i < PLACES; i++) {
		uintptr_t where, got;
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		where = (WINDOW_FIRST_GIB + (seed >> 33) % WINDOW_GIBS) * GIB;
		if (!hk_os_reserve(where, bytes, &got)) {
			hk_region.base = got;
			hk_region.reserved_bytes = bytes;
			return 0;
		}
	}
	return -ENOMEM;
}

int hk_region_init(void)
{
	uint64_t seed[2];
	size_t bytes = hk_options.region_mib << 20, starters = hk_options.starter_mib << 20;
	hk_os_entropy(seed);
	if (!bytes)
		bytes = REGION_MAX;
	hk_region.ample = hk_os_limit_address_space() == SIZE_MAX &&
			  hk_os_limit_locked() == SIZE_MAX;
	if (!hk_region.ample && !hk_options.region_mib)
		bytes = RESERVE_MIN;
	bytes = hk_min(hk_align_up(bytes, RESERVE_MIN), REGION_MAX);
	while (place(bytes, seed[0])) {
		bytes = hk_align_down(bytes / 2, RESERVE_MIN);
		if (!bytes)
			return -ENOMEM;
	}
	hk_region.huge = hk_options.huge != HK_HUGE_NEVER;
	hk_region.starter_bytes = hk_align_up(starters, HK_SUPER_BYTES);
	advise(0, bytes);
	hk_store_rel(&hk_gibs[0], &first_gib);
	return 0;
}

static int side_table_extend(size_t supers)
{
	size_t gib = hk_region.committed_bytes >> HK_GIB_SHIFT;
	for (; gib * HK_GIB_SUPERS < supers; gib++) {
		if (hk_gibs[gib])
			continue;
		struct hk_gib *table = hk_os_table(hk_align_up(sizeof(*table), HK_PAGE_BYTES));
		if (!table)
			return -ENOMEM;
		hk_store_rel(&hk_gibs[gib], table); /* pairs with hk_super_at */
	}
	return 0;
}

int hk_region_extend(size_t bytes)
{
	size_t have = hk_region.committed_bytes, want = have + bytes;
	if (want < have || want > REGION_MAX)
		return -ENOMEM;
	if (want > hk_region.reserved_bytes && reserve_more(want - hk_region.reserved_bytes))
		return -ENOMEM;
	if (side_table_extend(hk_align_up(want, HK_SUPER_BYTES) >> HK_SUPER_SHIFT))
		return -ENOMEM;
	if (hk_os_commit(hk_region.base + have, bytes))
		return -ENOMEM;
	hk_store_rel(&hk_region.committed_bytes, want);
	return 0;
}

bool hk_region_is_strict(void)
{
	if (!hk_region.strict_known) {
		hk_region.overcommit = hk_os_overcommit();
		hk_region.strict = hk_os_limit_data() != SIZE_MAX || hk_region.overcommit == 2;
		hk_region.strict_known = true;
	}
	return hk_region.strict;
}
