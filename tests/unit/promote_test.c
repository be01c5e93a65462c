/* promote_test.c - src/arena/promote.c: starters that are given huge pages, and where the starters end before
 * HAKMEM_STARTER_MIB. */
#include "unit.h"

#include <string.h>
#include <sys/resource.h>

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
	fill(6 * 32, HK_CHUNK_BYTES);
	assert_int_equal(starters(), 24);
	char *next = take(1);
	assert_int_equal(hk_super_index(next), hk_stripe_first(0) + 6);
	assert_int_equal(starters(), 6);
	assert_int_equal(small_ones(), 6);
	assert_true(is_advised(next));
	assert_true(is_advised(next + ARENA_MIB(40))); /* what is reserved too */
	assert_false(is_advised(next - ARENA_MIB(2)));
	unit_audit();
	fill(3 * 32, HK_CHUNK_BYTES);
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
	fill(5 * 32, HK_CHUNK_BYTES);
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

/* A limit counts what is committed: whole SuperSlabs would be more than is needed, when the last one is taken again too. */
static void starters_go_on_under_a_limit(void **state)
{
	struct rlimit limit = {1ul << 40, 1ul << 40};
	(void)state;
	assert_int_equal(setrlimit(RLIMIT_DATA, &limit), 0);
	start_with_thp("HAKMEM_STARTER_MIB=16");
	fill(4 * 32, HK_CHUNK_BYTES);
	char *last = take(31), *rest = take(1);
	assert_int_equal(hk_super_index(rest), hk_stripe_first(0) + 4);
	hk_pool_chunks_free(POOL, rest, 1);
	hk_pool_chunks_free(POOL, last, 31);
	assert_int_equal(unit_super_of(last)->state, HK_SUPER_FREE);
	assert_ptr_equal(take(31), last);
	fill(32, HK_CHUNK_BYTES);
	assert_int_equal(starters(), 8);
	unit_audit();
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
	for (unsigned i = 4 * 32; i < 5 * 32; i++)
		hk_pool_chunks_free(POOL, blocks[i], 1);
	assert_int_equal(hk_super_index(take(1)), hk_stripe_first(0) + 4);
	assert_int_equal(starters(), 8);
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
		cmocka_unit_test(starters_go_on_under_a_limit),
		cmocka_unit_test(starters_in_use_are_not_cut_off),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
