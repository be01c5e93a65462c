/* pool_test.c - src/arena/pool.c, supers.c: chunks and SuperSlabs out and back, what is known to be
 * zero, which one is taken. Spans are span_test.c's, the way to the kernel purge_test.c's. */
#include "unit.h"

#include <string.h>

#define NO_STARTERS "HAKMEM_STARTER_MIB=0"

static void *take(unsigned count, unsigned align, bool *zero)
{
	bool none;
	void *p = hk_pool_chunks_alloc(POOL, count, align, HK_CODE_SPAN, zero ? zero : &none);
	assert_non_null(p);
	return p;
}

static void chunks_are_marked_and_taken_back(void **state)
{
	(void)state;
	unit_start(NULL);
	static const enum hk_code_kind kinds[] = {HK_CODE_TINY, HK_CODE_MEDIUM, HK_CODE_SPAN};
	for (unsigned k = 0; k < 3; k++)
		for (unsigned count = 1; count < HK_SUPER_CHUNKS; count++) {
			bool zero;
			char *p = hk_pool_chunks_alloc(POOL, count, 1, kinds[k], &zero);
			struct hk_super *s = unit_super_of(p);
			unsigned first = hk_chunk_index(p);
			assert_int_equal(s->state, HK_SUPER_CHUNKED);
			assert_int_equal(s->free & hk_mask32(first, count), 0);
			assert_int_equal(hk_code_kind(s->code[first]), kinds[k]);
			assert_int_equal(hk_code_count(s->code[first]), count);
			for (unsigned i = 1; i < count; i++) {
				enum hk_code_kind rest = kinds[k] == HK_CODE_TINY ? HK_CODE_TINY : HK_CODE_CONT;
				assert_int_equal(hk_code_kind(s->code[first + i]), rest);
				if (rest == HK_CODE_CONT)
					assert_int_equal(hk_code_back(s->code[first + i]), i);
			}
			unit_audit();
			hk_pool_chunks_free(POOL, p, count);
			assert_int_equal(s->free & hk_mask32(first, count), hk_mask32(first, count));
			assert_int_equal(POOL->span_chunks, 0);
			unit_audit();
		}
}

static void runs_are_aligned(void **state)
{
	(void)state;
	unit_start(NULL);
	uint64_t seed = 11;
	for (unsigned n = 0; n < 400; n++) {
		unsigned align = 1u << unit_random(&seed) % 6, count = 1 + (unsigned)(unit_random(&seed) % 31);
		char *p = take(count, align, NULL);
		assert_int_equal((uintptr_t)p % (align * HK_CHUNK_BYTES), 0);
		assert_true(hk_chunk_index(p) + count <= HK_SUPER_CHUNKS);
		if (n % 3)
			hk_pool_chunks_free(POOL, p, count);
	}
}

static void starters_grow_in_small_steps(void **state)
{
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=4");
	assert_int_equal(hk_region.stripe[0].committed_bytes, 0);
	take(1, 1, NULL);
	assert_int_equal(hk_region.stripe[0].committed_bytes, 256u << 10);
	assert_true(unit_super_of((void *)hk_region.base)->flags & HK_SUPER_SMALL);
	for (unsigned i = 0; i < 4; i++)
		take(1, 1, NULL);
	assert_int_equal(hk_region.stripe[0].committed_bytes, 512u << 10);
	/* The first 4 MiB are starters, what follows is not, and comes as whole SuperSlabs. */
	for (unsigned i = 5; i < 65; i++)
		take(1, 1, NULL);
	assert_true(hk_region.stripe[0].committed_bytes >= ARENA_MIB(6));
	assert_int_equal(hk_region.stripe[0].committed_bytes % HK_SUPER_BYTES, 0);
	assert_true(hk_super_at(hk_stripe_first(0) + 1)->flags & HK_SUPER_SMALL);
	assert_false(hk_super_at(hk_stripe_first(0) + 2)->flags & HK_SUPER_SMALL);
}

/* Large blocks would gain nothing from small pages: they begin behind the starters, which remain for others. */
static void large_ones_skip_the_starters(void **state)
{
	(void)state;
	bool zero;
	unit_start("HAKMEM_STARTER_MIB=8");
	take(1, 1, NULL);
	size_t first = hk_stripe_first(0);
	char *large = hk_pool_span_alloc(POOL, 40, 1, &zero);
	assert_int_equal(hk_super_index(large), first + 4);
	assert_true(zero);
	assert_false(unit_super_of(large)->flags & HK_SUPER_SMALL);
	hk_pool_span_free(POOL, large); /* warm now, in the middle of a word of the bitmap */
	assert_int_equal(hk_super_index(hk_pool_span_alloc(POOL, 32, 1, &zero)), first + 4);
	unit_audit();
	/* A warm one before fresh ones, then the starters from the lowest on. */
	for (unsigned i = 0; i < 32; i++)
		take(1, 1, NULL);
	assert_int_equal(hk_super_index(take(31, 1, NULL)), first + 5);
	assert_int_equal(hk_super_index(take(31, 1, NULL)), first + 1);
	unit_audit();
}

/* The one with the fewest free chunks that has room: others can become empty. */
static void fullest_first(void **state)
{
	(void)state;
	unit_start(NO_STARTERS);
	char *a = take(31, 1, NULL), *b = take(24, 1, NULL), *c = take(16, 1, NULL);
	assert_true(hk_super_index(a) != hk_super_index(b) && hk_super_index(b) != hk_super_index(c));
	assert_int_equal(hk_super_index(take(1, 1, NULL)), hk_super_index(a));
	assert_int_equal(hk_super_index(take(1, 1, NULL)), hk_super_index(b));
	assert_int_equal(hk_super_index(take(10, 1, NULL)), hk_super_index(c));
	assert_int_equal(hk_super_index(take(7, 1, NULL)), hk_super_index(b)); /* 7 are left there */
	assert_int_equal(hk_super_index(take(6, 1, NULL)), hk_super_index(c));
	unit_audit();
}

static void zero_is_known_until_used(void **state)
{
	(void)state;
	bool zero;
	unit_start(NO_STARTERS);
	char *keep = take(1, 1, &zero);
	assert_true(zero);
	char *p = take(4, 1, &zero);
	assert_true(zero);
	memset(p, 0xff, 4 * HK_CHUNK_BYTES);
	hk_pool_chunks_free(POOL, p, 4);
	char *q = take(4, 1, &zero);
	assert_ptr_equal(q, p);
	assert_false(zero);
	hk_pool_chunks_free(POOL, q, 4);
	q = take(8, 1, &zero); /* half of it was used: not zero as a whole */
	assert_ptr_equal(q, p);
	assert_false(zero);
	hk_pool_chunks_free(POOL, q, 8);
	hk_pool_trim(POOL, 0);
	q = take(8, 1, &zero);
	assert_ptr_equal(q, p);
	assert_true(zero);
	for (size_t i = 0; i < 8 * HK_CHUNK_BYTES; i++)
		if (q[i])
			fail_msg("byte %zu of memory that is known to be zero is %d", i, q[i]);
	hk_pool_chunks_free(POOL, keep, 1);
}

static void empty_ones_stay_warm(void **state)
{
	(void)state;
	bool zero;
	unit_start(NO_STARTERS);
	char *p = take(8, 1, NULL);
	size_t index = hk_super_index(p);
	hk_pool_chunks_free(POOL, p, 8);
	assert_int_equal(hk_super_at(index)->state, HK_SUPER_FREE);
	assert_int_equal(POOL->warm_supers, 1);
	uint64_t warm = POOL->count.warm_supers_reused;
	char *q = take(2, 1, &zero);
	assert_ptr_equal(q, p);
	assert_false(zero);
	assert_int_equal(POOL->count.warm_supers_reused, warm + 1);
	assert_int_equal(POOL->warm_supers, 0);
}

static void free_again(void *p)
{
	hk_pool_chunks_free(POOL, p, 2);
}

static void free_twice_is_fatal(void **state)
{
	(void)state;
	unit_start(NO_STARTERS);
	take(1, 1, NULL);
	char *p = take(2, 1, NULL);
	hk_pool_chunks_free(POOL, p, 2);
	unit_must_abort(free_again, p, "chunks freed twice");
}

/* Some hundred runs come and go: none overlap, what is in use keeps its content. */
static void runs_never_overlap(void **state)
{
	(void)state;
	enum { RUNS = 300 };
	static struct {
		uint64_t *p;
		unsigned count;
	} runs[RUNS];
	uint64_t seed = 5;
	unit_start(NULL);
	for (unsigned n = 0; n < 20000; n++) {
		unsigned i = (unsigned)(unit_random(&seed) % RUNS);
		if (runs[i].p) {
			for (unsigned k = 0; k < runs[i].count; k++)
				assert_int_equal(runs[i].p[k * HK_CHUNK_BYTES / 8], i + 1);
			hk_pool_chunks_free(POOL, runs[i].p, runs[i].count);
			runs[i].p = NULL;
			continue;
		}
		bool zero;
		runs[i].count = 1 + (unsigned)(unit_random(&seed) % (n % 8 ? 4 : 31));
		runs[i].p = take(runs[i].count, 1, &zero);
		for (unsigned k = 0; k < runs[i].count; k++) {
			if (zero)
				assert_int_equal(runs[i].p[k * HK_CHUNK_BYTES / 8], 0);
			runs[i].p[k * HK_CHUNK_BYTES / 8] = i + 1;
		}
		if (n % 500 == 0)
			hk_pool_trim(POOL, 0);
		if (n % 100 == 0)
			unit_audit();
	}
	for (unsigned i = 0; i < RUNS; i++)
		if (runs[i].p)
			hk_pool_chunks_free(POOL, runs[i].p, runs[i].count);
	assert_int_equal(POOL->used_supers, 0);
	assert_int_equal(POOL->free_chunks, 0);
}

static void exhausted_region_is_null(void **state)
{
	(void)state;
	bool zero;
	unit_start(NO_STARTERS);
	assert_null(hk_pool_span_alloc(POOL, (size_t)HK_REGION_SUPERS * 32 + 32, 1, &zero));
	assert_int_equal(POOL->count.out_of_memory, 1);
	take(1, 1, NULL); /* and goes on */
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(chunks_are_marked_and_taken_back),
		cmocka_unit_test(runs_are_aligned),
		cmocka_unit_test(starters_grow_in_small_steps),
		cmocka_unit_test(large_ones_skip_the_starters),
		cmocka_unit_test(fullest_first),
		cmocka_unit_test(zero_is_known_until_used),
		cmocka_unit_test(empty_ones_stay_warm),
		cmocka_unit_test(free_twice_is_fatal),
		cmocka_unit_test(runs_never_overlap),
		cmocka_unit_test(exhausted_region_is_null),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
