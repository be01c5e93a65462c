/* promote_test.c - src/arena/promote.c: starters that are given huge pages, and where the starters end before
 * HAKMEM_STARTER_MIB. */
#include "unit.h"

#include <string.h>
#include <sys/resource.h>

static unsigned looks;           /* at a SuperSlab's pages, by the allocator */
static void (*meanwhile)(void); /* what happens before the kernel answers */

unsigned __real_hk_os_resident_pages(uintptr_t where);
unsigned __wrap_hk_os_resident_pages(uintptr_t where);

unsigned __wrap_hk_os_resident_pages(uintptr_t where)
{
	looks++;
	if (meanwhile)
		meanwhile();
	return __real_hk_os_resident_pages(where);
}

static void *take(unsigned count)
{
	bool zero;
	void *p = hk_pool_chunks_alloc(POOL, count, 1, HK_CODE_SPAN, &zero);
	assert_non_null(p);
	return p;
}

static unsigned small_ones(void)
{
	unsigned n = 0;
	for (size_t i = hk_stripe_first(0); i < hk_stripe_end(0); i++)
		n += hk_super_at(i)->flags & HK_SUPER_SMALL;
	return n;
}

/* What a process that outgrew its starters has in them is kept, on huge pages where the kernel has some. */
static void starters_are_promoted(void **state)
{
	(void)state;
	char *blocks[6 * 32];
	unit_start("HAKMEM_STARTER_MIB=4");
	for (unsigned i = 0; i < 64; i++)
		memset(blocks[i] = take(1), (int)i + 1, HK_CHUNK_BYTES);
	assert_int_equal(small_ones(), 2);
	assert_int_equal(POOL->count.promoted, 0);
	for (unsigned i = 64; i < COUNT_OF(blocks); i++)
		memset(blocks[i] = take(1), (int)i + 1, HK_CHUNK_BYTES);
	for (unsigned i = 0; i < COUNT_OF(blocks); i++)
		for (size_t at = 0; at < HK_CHUNK_BYTES; at += 4096)
			assert_int_equal(blocks[i][at], (char)(i + 1));
	assert_int_equal(small_ones() + POOL->count.promoted, 2);
	unit_audit();
	if (!POOL->count.promoted)
		unit_skip(hk_os_has_thp() ? "the kernel does not make huge pages of small ones on demand"
					  : "transparent huge pages are switched off");
}

/* Not all at once: a process that needs little more than the starters would double. */
static void two_are_promoted_for_one_beyond(void **state)
{
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=8");
	for (unsigned i = 0; i < 4 * 32; i++)
		memset(take(1), 1, HK_CHUNK_BYTES);
	for (unsigned beyond = 1; beyond < 3; beyond++) {
		void *p = take(32);
		for (unsigned i = 0; i < 4; i++) { /* the same one again and again is no more memory */
			hk_pool_chunks_free(POOL, p, 32);
			p = take(32);
		}
		assert_true(POOL->count.promoted <= 2 * beyond);
		assert_int_equal(small_ones() + POOL->count.promoted, 4);
		unit_audit();
	}
	if (POOL->count.promoted < 4)
		unit_skip("the kernel does not make huge pages of small ones on demand");
}

/* One that is half free would be resident as a whole. */
static void starters_with_room_stay_small(void **state)
{
	(void)state;
	char *blocks[64];
	unit_start("HAKMEM_STARTER_MIB=4");
	for (unsigned i = 0; i < 64; i++)
		memset(blocks[i] = take(1), 1, HK_CHUNK_BYTES);
	for (unsigned i = 0; i < 5; i++) { /* one more than is borne */
		hk_pool_chunks_free(POOL, blocks[i], 1);
		hk_pool_chunks_free(POOL, blocks[32 + i], 1);
	}
	for (unsigned i = 0; i < 4; i++)
		take(31); /* SuperSlabs behind the starters */
	assert_int_equal(POOL->count.promoted, 0);
	assert_int_equal(small_ones(), 2);
	unit_audit();
}

/* Full of large blocks that are touched at their beginning alone. */
static void starters_hardly_touched_stay_small(void **state)
{
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=4");
	for (unsigned i = 0; i < 64; i++)
		memset(take(1), 1, HK_CHUNK_BYTES / 2);
	for (unsigned i = 0; i < 4; i++)
		take(31); /* SuperSlabs behind the starters */
	assert_int_equal(POOL->count.promoted, 0);
	assert_int_equal(POOL->promote_misses, 0);
	assert_int_equal(small_ones(), 2);
	unit_audit();
}

/* So many chunks, and so many bytes of each written. */
static void fill(unsigned chunks, size_t bytes)
{
	while (chunks--)
		memset(take(1), 1, bytes);
}

static size_t starters(void)
{
	return hk_stripe_starters(0) >> HK_SUPER_SHIFT;
}

/* True if the kernel shall take huge pages at P. */
static bool is_advised(const void *p)
{
	char line[512];
	bool here = false, advised = false;
	FILE *f = fopen("/proc/self/smaps", "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned long from, to;
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = (uintptr_t)p - from < to - from;
		advised |= here && !strncmp(line, "VmFlags:", 8) && strstr(line, " hg");
	}
	fclose(f);
	return advised;
}

static void start_with_thp(const char *options)
{
	unit_start(options);
	if (!hk_os_has_thp())
		unit_skip("transparent huge pages are switched off");
}

/* A process that touches all that it takes has no use for small pages: from a quarter on. */
static void starters_end_where_all_are_full(void **state)
{
	(void)state;
	start_with_thp("HAKMEM_STARTER_MIB=48");
	fill(5 * 32, HK_CHUNK_BYTES);
	assert_int_equal(starters(), 24);
	char *last = take(1);
	assert_int_equal(hk_super_index(last), hk_stripe_first(0) + 5);
	assert_int_equal(starters(), 6);
	assert_int_equal(small_ones(), 6);
	assert_false(is_advised(last));
	assert_true(is_advised(last + ARENA_MIB(2)));
	assert_true(is_advised(last + ARENA_MIB(2 * 18))); /* what is reserved too */
	unit_audit();
	fill(4 * 32, HK_CHUNK_BYTES);
	assert_int_equal(starters(), 6);
	assert_int_equal(small_ones() + POOL->count.promoted, 6);
	assert_true(POOL->count.promoted || POOL->promote_misses); /* older ones follow */
	unit_audit();
}

/* Large blocks are behind the starters. */
static void large_blocks_are_no_hindrance(void **state)
{
	(void)state;
	bool zero;
	start_with_thp("HAKMEM_STARTER_MIB=16");
	take(1);
	assert_non_null(hk_pool_span_alloc(POOL, 40, 1, &zero));
	fill(4 * 32, HK_CHUNK_BYTES);
	assert_int_equal(starters(), 4);
	unit_audit();
}

static void starters_go_on_where_pages_are_untouched(void **state)
{
	(void)state;
	start_with_thp("HAKMEM_STARTER_MIB=16");
	fill(9 * 32, HK_CHUNK_BYTES / 4 * 3);
	assert_int_equal(starters(), 8);
	assert_int_equal(small_ones(), 8);
}

/* Those that were taken of late count like the first. */
static void starters_go_on_where_later_ones_are_untouched(void **state)
{
	(void)state;
	start_with_thp("HAKMEM_STARTER_MIB=48");
	fill(3 * 32, HK_CHUNK_BYTES);
	fill(22 * 32, 1);
	assert_int_equal(starters(), 24);
}

/* A heap whose size goes up and down at the same place asks the kernel once. */
static void an_end_is_looked_for_once(void **state)
{
	(void)state;
	start_with_thp("HAKMEM_STARTER_MIB=16");
	fill(3 * 32, HK_CHUNK_BYTES / 4 * 3);
	hk_pool_chunks_free(POOL, take(32), 32);
	unsigned before = looks;
	assert_int_equal(before, 4);
	for (unsigned i = 0; i < 100; i++)
		hk_pool_chunks_free(POOL, take(32), 32);
	assert_int_equal(looks, before);
}

/* The same behind the starters, where these are not to be promoted. */
static void starters_are_looked_at_for_new_ones_alone(void **state)
{
	(void)state;
	start_with_thp("HAKMEM_STARTER_MIB=4");
	fill(2 * 32, 1);
	fill(32, 1);
	hk_pool_chunks_free(POOL, take(32), 32);
	unsigned before = looks;
	for (unsigned i = 0; i < 100; i++)
		hk_pool_chunks_free(POOL, take(32), 32);
	assert_int_equal(looks, before);
	fill(64 * 32, 1);
	assert_true(looks <= 2 * 4); /* each so often at most */
}

static void fill_the_next(void)
{
	meanwhile = NULL;
	fill(32, 1);
}

/* The lock is open while the kernel is asked. */
static void others_take_starters_meanwhile(void **state)
{
	(void)state;
	start_with_thp("HAKMEM_STARTER_MIB=16");
	fill(3 * 32, HK_CHUNK_BYTES);
	meanwhile = fill_the_next;
	take(1);
	assert_null(meanwhile);
	assert_int_equal(starters(), 8);
	assert_int_equal(small_ones(), hk_stripe_end(0) - hk_stripe_first(0)); /* committed so far */
	unit_audit();
}

static void end_it_too(void)
{
	meanwhile = NULL;
	assert_int_equal(hk_stripe_end_starters(0, ARENA_MIB(2 * 6)), 0);
}

static void others_end_the_starters_meanwhile(void **state)
{
	(void)state;
	start_with_thp("HAKMEM_STARTER_MIB=64");
	fill(7 * 32, HK_CHUNK_BYTES);
	meanwhile = end_it_too;
	fill(1, 1);
	assert_null(meanwhile);
	assert_int_equal(starters(), 6);
	unit_audit();
}

/* Where what is committed counts, whole SuperSlabs would be more than is needed, when the last one is taken again too. */
static void grow_by_steps(void)
{
	fill(3 * 32, HK_CHUNK_BYTES);
	char *last = take(31), *rest = take(1);
	assert_int_equal(hk_super_index(rest), hk_stripe_first(0) + 3);
	hk_pool_chunks_free(POOL, rest, 1);
	hk_pool_chunks_free(POOL, last, 31);
	assert_int_equal(unit_super_of(last)->state, HK_SUPER_FREE);
	assert_ptr_equal(take(31), last);
	assert_int_equal(hk_region.stripe[0].committed_bytes, ARENA_MIB(8));
	fill(32, HK_CHUNK_BYTES);
	assert_int_equal(starters(), 8);
	unit_audit();
}

static void starters_go_on_under_a_limit(void **state)
{
	struct rlimit limit = {1ul << 40, 1ul << 40};
	(void)state;
	assert_int_equal(setrlimit(RLIMIT_DATA, &limit), 0);
	start_with_thp("HAKMEM_STARTER_MIB=16");
	grow_by_steps();
}

static void starters_go_on_where_memory_is_locked(void **state)
{
	(void)state;
	start_with_thp("HAKMEM_STARTER_MIB=16");
	hk_store(&hk_region.locked, true);
	grow_by_steps();
}

/* One that is taken again has small pages behind it, which are in use. */
static void starters_in_use_are_not_cut_off(void **state)
{
	(void)state;
	char *blocks[7 * 32];
	start_with_thp("HAKMEM_STARTER_MIB=16");
	for (unsigned i = 0; i < COUNT_OF(blocks); i++)
		memset(blocks[i] = take(1), 1, HK_CHUNK_BYTES / 4 * 3);
	for (unsigned i = 0; i < COUNT_OF(blocks); i++)
		memset(blocks[i], 1, HK_CHUNK_BYTES);
	for (unsigned i = 3 * 32; i < 4 * 32; i++)
		hk_pool_chunks_free(POOL, blocks[i], 1);
	POOL->edge_asked = 0;
	assert_int_equal(hk_super_index(take(1)), hk_stripe_first(0) + 3);
	assert_int_equal(starters(), 8);
	unit_audit();
}

/* It copies nothing. */
static void a_child_ends_its_starters(void **state)
{
	(void)state;
	start_with_thp("HAKMEM_STARTER_MIB=16");
	fill(3 * 32, HK_CHUNK_BYTES);
	unit_wipe();
	assert_true(POOL->inherited);
	fill(3 * 32, HK_CHUNK_BYTES);
	assert_int_equal(starters(), 4);
	assert_int_equal(POOL->count.promoted, 0);
	unit_audit();
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(starters_are_promoted),
		cmocka_unit_test(starters_hardly_touched_stay_small),
		cmocka_unit_test(two_are_promoted_for_one_beyond),
		cmocka_unit_test(starters_with_room_stay_small),
		cmocka_unit_test(starters_end_where_all_are_full),
		cmocka_unit_test(large_blocks_are_no_hindrance),
		cmocka_unit_test(starters_go_on_where_pages_are_untouched),
		cmocka_unit_test(starters_go_on_where_later_ones_are_untouched),
		cmocka_unit_test(an_end_is_looked_for_once),
		cmocka_unit_test(starters_are_looked_at_for_new_ones_alone),
		cmocka_unit_test(others_take_starters_meanwhile),
		cmocka_unit_test(others_end_the_starters_meanwhile),
		cmocka_unit_test(starters_go_on_under_a_limit),
		cmocka_unit_test(starters_go_on_where_memory_is_locked),
		cmocka_unit_test(starters_in_use_are_not_cut_off),
		cmocka_unit_test(a_child_ends_its_starters),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
