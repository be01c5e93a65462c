/* region_test.c - src/arena/region.c: what is ours, how it grows, under limits too, and how many
 * mappings it takes. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>

#define NO_STARTERS "HAKMEM_STARTER_MIB=0"

static bool limited(int which)
{
	struct rlimit lim;
	return getrlimit(which, &lim) || lim.rlim_cur != RLIM_INFINITY;
}

static void one_compare_says_what_is_ours(void **state)
{
	(void)state;
	int local;
	assert_false(hk_region_has(NULL)); /* before the start as well */
	assert_false(hk_region_has(&local));
	unit_start(NULL);
	assert_non_null(hak_malloc(1));
	const char *base = (const char *)hk_region.base;
	size_t end = hk_region.stripe[0].committed_bytes;
	assert_true(hk_region_has(base) && hk_region_has(base + end - 1));
	assert_false(hk_region_has(base - 1) || hk_region_has(base + end));
	assert_false(hk_region_has(NULL) || hk_region_has(&local) || hk_region_has((void *)-1));
}

static void base_is_aligned_and_random(void **state)
{
	(void)state;
	unit_start(NULL);
	assert_int_equal(hk_region.base % (1ul << HK_GIB_SHIFT), 0);
	assert_int_equal(hk_region.stripe[0].reserved_bytes % HK_CHUNK_BYTES, 0);
}

static void reserve_as_asked(void **state)
{
	(void)state;
	unit_start("HAKMEM_REGION_MIB=64");
	assert_int_equal(hk_region.stripe[0].reserved_bytes, ARENA_MIB(64));
	bool zero;
	assert_non_null(hk_pool_span_alloc(POOL, 70 * 32, 1, &zero)); /* 140 MiB: it grows in place */
	assert_true(hk_region.stripe[0].reserved_bytes >= ARENA_MIB(140));
	unit_audit();
}

/* A thread that vanished in a fork had mapped the next part, and not yet said so. */
static void what_was_being_reserved_is_taken_over(void **state)
{
	(void)state;
	unit_start("HAKMEM_REGION_MIB=64");
	struct hk_stripe *s = &hk_region.stripe[0];
	uintptr_t top = hk_region.base + s->reserved_bytes, got;
	s->intent_bytes = ARENA_MIB(64); /* nothing mapped yet: it begins anew */
	hk_region_repair();
	assert_int_equal(s->reserved_bytes, ARENA_MIB(64));
	assert_int_equal(s->intent_bytes, 0);
	assert_int_equal(hk_os_reserve(top, ARENA_MIB(64), &got), 0);
	s->intent_bytes = ARENA_MIB(32); /* something else is mapped there */
	hk_region_repair();
	assert_int_equal(s->reserved_bytes, ARENA_MIB(64));
	s->intent_bytes = ARENA_MIB(64);
	hk_region_repair();
	assert_int_equal(s->reserved_bytes, ARENA_MIB(128));
	bool zero;
	char *p = hk_pool_span_alloc(POOL, 70 * 32, 1, &zero); /* 140 MiB */
	assert_non_null(p);
	p[ARENA_MIB(100)] = 1;
	unit_audit();
}

static void side_table_grows_with_it(void **state)
{
	(void)state;
	bool zero;
	unit_start(NO_STARTERS);
	assert_null(hk_gibs[(hk_region.base >> HK_GIB_SHIFT) + 1]);
	char *p = hk_pool_span_alloc(POOL, 700 * 32, 1, &zero);
	assert_non_null(p);
	assert_non_null(hk_gibs[(hk_region.base >> HK_GIB_SHIFT) + 1]);
	assert_int_equal(hk_find(p + 600 * HK_SUPER_BYTES).kind, HK_FOUND_INNER);
	hk_pool_span_free(POOL, p);
	assert_int_equal(POOL->used_supers, 0);
}

static void commits_upwards_without_gap(void **state)
{
	(void)state;
	unit_start(NULL);
	for (unsigned i = 0; i < 200; i++) {
		bool zero;
		size_t before = hk_region.stripe[0].committed_bytes;
		assert_non_null(hk_pool_chunks_alloc(POOL, 1 + i % 31, 1, HK_CODE_SPAN, &zero));
		assert_true(hk_region.stripe[0].committed_bytes >= before);
		char *last = (char *)hk_region.base + hk_region.stripe[0].committed_bytes - 1;
		*last = 1; /* readable and writable to the end */
		assert_int_equal(hk_super_at(hk_stripe_end(0))->state, HK_SUPER_NONE);
	}
}

static void set_limit(int which, size_t bytes)
{
	struct rlimit lim = {.rlim_cur = bytes, .rlim_max = bytes};
	assert_int_equal(setrlimit(which, &lim), 0);
}

static size_t address_space(void)
{
	size_t pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%zu", &pages), 1);
	fclose(f);
	return pages * HK_PAGE_BYTES;
}

/* Until memory ends: ENOMEM, nothing lost, and what is freed can be had again. */
static void exhaust(size_t size)
{
	enum { MOST = 4000 };
	static void *p[MOST];
	unsigned n = 0;
	size_t got = 0;
	errno = 0;
	while (n < MOST && (p[n] = hak_malloc(size))) {
		*(char *)p[n] = 1;
		got += size;
		n++;
	}
	assert_in_range(n, 1, MOST - 1);
	assert_int_equal(errno, ENOMEM);
	assert_true(got > ARENA_MIB(96)); /* of 256: not lost to an initial reserve */
	unit_audit();
	hak_free(p[--n]);
	assert_non_null(p[n] = hak_malloc(size));
	n++;
	while (n)
		hak_free(p[--n]);
	unit_audit();
}

static void finite_address_space(void **state)
{
	(void)state;
	unit_skip_sanitized();
	set_limit(RLIMIT_AS, address_space() + ARENA_MIB(256));
	unit_start(NULL);
	assert_false(hk_region.ample);
	assert_true(hk_region.stripe[0].reserved_bytes <= ARENA_MIB(32)); /* an eighth at most */
	exhaust(300000);
	exhaust(3000000);
}

static void finite_data(void **state)
{
	(void)state;
	unit_skip_sanitized();
	set_limit(RLIMIT_DATA, ARENA_MIB(256));
	unit_start(NULL);
	exhaust(100000);
	exhaust(5000000);
}

static void small_reserve_where_memory_is_locked(void **state)
{
	(void)state;
	set_limit(RLIMIT_MEMLOCK, ARENA_MIB(8));
	unit_start(NULL);
	assert_true(hk_region.stripe[0].reserved_bytes <= ARENA_MIB(8));
	assert_non_null(hak_malloc(ARENA_MIB(20)));
}

static unsigned mappings(void)
{
	unsigned n = 0;
	FILE *f = fopen("/proc/self/maps", "r");
	for (int c; f && (c = getc(f)) != EOF;)
		n += c == '\n';
	assert_non_null(f);
	fclose(f);
	return n;
}

/* 1 TiB committed and untouched, every third SuperSlab given back: mappings stay few. */
static void a_tebibyte_takes_few_mappings(void **state)
{
	(void)state;
	unit_skip_sanitized();
	enum { SUPERS = 1 << 19, MOST = 4000 };
	if (limited(RLIMIT_AS) || limited(RLIMIT_DATA) || hk_os_overcommit() == 2)
		unit_skip("RLIMIT_AS, RLIMIT_DATA or overcommit_memory=2 bounds the address space");
	if (hk_os_memory_limit() < ARENA_MIB(1024))
		unit_skip("less than 1 GiB of memory: the side table takes 80 MiB");
	unit_start(NO_STARTERS " HAKMEM_WARM_MIB=0");
	char **p = calloc(SUPERS, sizeof(*p));
	bool zero;
	for (size_t i = 0; i < SUPERS; i++) {
		p[i] = hk_pool_span_alloc(POOL, 32, 1, &zero);
		if (!p[i])
			fail_msg("no memory after %zu SuperSlabs", i);
	}
	assert_true(hk_region.stripe[0].committed_bytes >= 1ul << 40);
	unsigned before = mappings();
	for (size_t i = SUPERS; i-- > 0;)
		if (i % 3 == 0)
			hk_pool_span_free(POOL, p[i]);
	hk_pool_trim(POOL, 0);
	assert_int_equal(POOL->count.purged_bytes, (size_t)(SUPERS / 3 + 1) * HK_SUPER_BYTES);
	printf("mappings: %u, then %u\n", before, mappings());
	assert_in_range(mappings(), 1, MOST - 1);
	assert_int_equal(POOL->count.purge_failures, 0);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(one_compare_says_what_is_ours),
		cmocka_unit_test(base_is_aligned_and_random),
		cmocka_unit_test(reserve_as_asked),
		cmocka_unit_test(what_was_being_reserved_is_taken_over),
		cmocka_unit_test(side_table_grows_with_it),
		cmocka_unit_test(commits_upwards_without_gap),
		cmocka_unit_test(finite_address_space),
		cmocka_unit_test(finite_data),
		cmocka_unit_test(small_reserve_where_memory_is_locked),
		cmocka_unit_test(a_tebibyte_takes_few_mappings),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
