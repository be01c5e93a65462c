/* span_test.c - spans of the pool (src/arena/pool.c): whole SuperSlabs and a shared last one, resized
 * where they stand. Those whose pages move are move_test.c's, their api is tests/api's. */
#include "unit.h"

#include <string.h>

#include "tiny/large.h"

#define NO_STARTERS "HAKMEM_STARTER_MIB=0"

/* Each chunk of the span must be found as it, and only its base as its beginning. */
static void check_found(char *p, size_t chunks)
{
	for (size_t i = 0; i < chunks; i++) {
		assert_int_equal(hk_find(p + i * HK_CHUNK_BYTES).kind, i ? HK_FOUND_INNER : HK_FOUND_SPAN);
		assert_int_equal(hk_find(p + i * HK_CHUNK_BYTES + 16).kind, HK_FOUND_INNER);
	}
	assert_int_equal(hk_find(p).bytes, chunks * HK_CHUNK_BYTES);
}

static void spans_of_all_lengths(void **state)
{
	(void)state;
	unit_start(NO_STARTERS);
	for (size_t chunks = 32; chunks < 140; chunks += chunks < 70 ? 1 : 13) {
		char *p = unit_span(chunks, 1), *q = unit_span(chunks, 1);
		check_found(p, chunks);
		check_found(q, chunks);
		assert_true(q >= p + chunks * HK_CHUNK_BYTES || p >= q + chunks * HK_CHUNK_BYTES);
		assert_int_equal(POOL->span_chunks, 2 * chunks);
		unit_audit();
		hk_pool_span_free(POOL, p);
		assert_int_equal(hk_find(p).kind, HK_FOUND_NOTHING);
		hk_pool_span_free(POOL, q);
		assert_int_equal(POOL->used_supers, 0);
		unit_audit();
	}
}

static void last_chunks_are_shared(void **state)
{
	(void)state;
	bool zero;
	unit_start(NO_STARTERS);
	char *p = unit_span(33, 1);
	char *q = hk_pool_chunks_alloc(POOL, 31, 1, HK_CODE_SPAN, &zero);
	assert_ptr_equal(q, p + 33 * HK_CHUNK_BYTES);
	hk_pool_span_free(POOL, p);
	assert_int_equal(hk_find(q).kind, HK_FOUND_SPAN);
	assert_int_equal(unit_super_of(q)->state, HK_SUPER_CHUNKED);
	hk_pool_chunks_free(POOL, q, 31);
	assert_int_equal(POOL->used_supers, 0);
}

static void bases_are_aligned(void **state)
{
	(void)state;
	unit_start(NULL);
	unit_span(35, 1);
	for (size_t align = 1; align <= 512; align *= 2) {
		char *p = unit_span(40, align);
		assert_int_equal((uintptr_t)p % (align * HK_SUPER_BYTES), 0);
		unit_audit();
	}
}

static void free_ones_are_taken_again(void **state)
{
	(void)state;
	unit_start(NO_STARTERS);
	char *p = unit_span(5 * 32, 1);
	unit_span(32, 1);
	hk_pool_span_free(POOL, p);
	assert_true(unit_span(6 * 32, 1) > p); /* one too many for the gap */
	assert_ptr_equal(unit_span(2 * 32, 1), p);
	assert_ptr_equal(unit_span(3 * 32, 1), p + 2 * HK_SUPER_BYTES);
	assert_int_equal(POOL->warm_supers, 0);
}

static void shrinks_where_it_stands(void **state)
{
	(void)state;
	static const size_t lengths[] = {130, 129, 128, 127, 100, 96, 95, 65, 64, 40, 33, 32};
	unit_start(NO_STARTERS);
	char *p = unit_span(150, 1);
	memset(p, 7, 150 * HK_CHUNK_BYTES);
	for (size_t i = 0; i < COUNT_OF(lengths); i++) {
		assert_true(hk_pool_span_resize(POOL, p, lengths[i]));
		check_found(p, lengths[i]);
		assert_int_equal(POOL->span_chunks, lengths[i]);
		assert_int_equal(hk_find(p + lengths[i] * HK_CHUNK_BYTES).kind, HK_FOUND_NOTHING);
		assert_int_equal(p[lengths[i] * HK_CHUNK_BYTES - 1], 7);
		unit_audit();
	}
	assert_false(hk_pool_span_resize(POOL, p, 31)); /* becomes one of the other kind: moves */
	hk_pool_span_free(POOL, p);
	assert_int_equal(POOL->used_supers, 0);
}

static void grows_where_there_is_room(void **state)
{
	(void)state;
	static const size_t lengths[] = {33, 40, 63, 64, 65, 97, 128, 150, 192};
	unit_start(NO_STARTERS);
	char *room = unit_span(7 * 32, 1), *p;
	hk_pool_span_free(POOL, room);
	p = unit_span(32, 1);
	assert_ptr_equal(p, room);
	for (size_t i = 0; i < COUNT_OF(lengths); i++) {
		assert_true(hk_pool_span_resize(POOL, p, lengths[i]));
		check_found(p, lengths[i]);
		assert_int_equal(POOL->span_chunks, lengths[i]);
		p[lengths[i] * HK_CHUNK_BYTES - 1] = 1;
		unit_audit();
	}
	assert_int_equal(POOL->count.spans_grown, COUNT_OF(lengths));
	hk_pool_span_free(POOL, p);
	assert_int_equal(POOL->used_supers, 0);
}

static void does_not_grow_over_neighbours(void **state)
{
	(void)state;
	bool zero;
	unit_start(NO_STARTERS);
	char *p = unit_span(33, 1);
	char *q = hk_pool_chunks_alloc(POOL, 1, 1, HK_CODE_SPAN, &zero);
	assert_ptr_equal(q, p + 33 * HK_CHUNK_BYTES);
	assert_false(hk_pool_span_resize(POOL, p, 34));
	assert_false(hk_pool_span_resize(POOL, p, 64));
	check_found(p, 33);
	char *a = unit_span(64, 1), *b = unit_span(32, 1);
	assert_ptr_equal(b, a + 2 * HK_SUPER_BYTES);
	assert_false(hk_pool_span_resize(POOL, a, 65));
	check_found(a, 64);
	check_found(b, 32);
}

static void runs_resize_inside_a_superslab(void **state)
{
	(void)state;
	bool zero;
	unit_start(NO_STARTERS);
	char *p = hk_pool_chunks_alloc(POOL, 9, 1, HK_CODE_SPAN, &zero);
	assert_true(hk_pool_span_resize(POOL, p, 20));
	check_found(p, 20);
	assert_int_equal(POOL->span_chunks, 20);
	char *q = hk_pool_chunks_alloc(POOL, 2, 1, HK_CODE_SPAN, &zero);
	assert_ptr_equal(q, p + 20 * HK_CHUNK_BYTES);
	assert_false(hk_pool_span_resize(POOL, p, 21));
	assert_false(hk_pool_span_resize(POOL, p, 32));
	assert_true(hk_pool_span_resize(POOL, p, 10));
	check_found(p, 10);
	check_found(q, 2);
	assert_int_equal(POOL->span_chunks, 12);
	unit_audit();
	assert_true(hk_pool_span_resize(POOL, p, 20));
	hk_pool_chunks_free(POOL, p, 20);
	hk_pool_chunks_free(POOL, q, 2);
	assert_int_equal(POOL->used_supers, 0);
}

static char *anywhere(size_t chunks)
{
	bool zero;
	char *p = chunks < 32 ? hk_pool_chunks_alloc(POOL, (unsigned)chunks, 0, HK_CODE_SPAN, &zero)
			      : hk_pool_span_alloc(POOL, chunks, 0, &zero);
	assert_non_null(p);
	return p;
}

static void none_overlap(char **p, const size_t *chunks, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		for (unsigned k = 0; k < i; k++)
			assert_true(p[i] >= p[k] + chunks[k] * HK_CHUNK_BYTES || p[k] >= p[i] + chunks[i] * HK_CHUNK_BYTES);
}

/* Two of 20 chunks do not fit into a SuperSlab: they follow each other all the same, and holes are taken again. */
static void some_go_on_in_the_next(void **state)
{
	(void)state;
	enum { N = 40 };
	static const size_t lengths[] = {9, 17, 20, 31, 33, 36, 44};
	unit_start(NO_STARTERS);
	for (size_t l = 0; l < COUNT_OF(lengths); l++) {
		size_t chunks = lengths[l], each[N];
		char *p[N];
		for (unsigned i = 0; i < N; i++) {
			p[i] = anywhere(chunks);
			check_found(p[i], chunks);
			each[i] = chunks;
			p[i][0] = p[i][chunks * HK_CHUNK_BYTES - 1] = (char)i;
		}
		none_overlap(p, each, N);
		size_t supers = (N * chunks + 31) / 32;
		assert_in_range(POOL->used_supers, supers, chunks < 32 ? supers : supers * 10 / 9);
		assert_int_equal(POOL->span_chunks, N * chunks);
		unit_audit();
		supers = POOL->used_supers;
		for (unsigned i = 0; i < N; i += 2)
			hk_span_free(p[i]);
		unit_audit();
		for (unsigned i = 0; i < N; i += 2) {
			bool zero;
			p[i] = hk_span_alloc(POOL, chunks * HK_CHUNK_BYTES, 16, &zero);
			p[i][0] = p[i][chunks * HK_CHUNK_BYTES - 1] = (char)i;
		}
		assert_true(POOL->used_supers <= supers + 3); /* a hole may be a whole one and a chunk: the lowest free one need not be it */
		none_overlap(p, each, N);
		for (unsigned i = 1; i < N; i += 2) { /* a hole each that is a chunk too small, or too large */
			hk_span_free(p[i]);
			each[i] = chunks == 31 || chunks == 44 ? chunks - 1 : chunks + 1;
			if (i % 4 == 1)
				p[i] = anywhere(each[i]);
		}
		for (unsigned i = 3; i < N; i += 4)
			p[i] = anywhere(each[i]);
		none_overlap(p, each, N);
		unit_audit();
		for (unsigned i = 1; i < N; i += 2)
			p[i][0] = p[i][each[i] * HK_CHUNK_BYTES - 1] = (char)i;
		for (unsigned i = 0; i < N; i++) {
			assert_true(p[i][0] == (char)i && p[i][each[i] * HK_CHUNK_BYTES - 1] == (char)i);
			hk_span_free(p[i]);
			assert_int_equal(hk_find(p[i]).kind, HK_FOUND_NOTHING);
		}
		assert_int_equal(POOL->used_supers, 0);
		assert_int_equal(POOL->span_chunks, 0);
		unit_audit();
		assert_int_equal(hk_pool_trim(POOL, 0) % HK_SUPER_BYTES, 0);
	}
}

static void these_resize(void **state)
{
	(void)state;
	unit_start(NO_STARTERS);
	char *a = anywhere(20), *p = anywhere(20), *q;
	assert_ptr_equal(p, a + 20 * HK_CHUNK_BYTES);
	assert_int_equal(hk_super_index(p), hk_super_index(a));
	assert_true(hk_pool_span_resize(POOL, p, 27)); /* 12 and 15 */
	check_found(p, 27);
	q = anywhere(10);
	assert_ptr_equal(q, p + 27 * HK_CHUNK_BYTES);
	assert_false(hk_pool_span_resize(POOL, p, 28));
	assert_true(hk_pool_span_resize(POOL, p, 14));
	check_found(p, 14);
	assert_int_equal(hk_find(p + 14 * HK_CHUNK_BYTES).kind, HK_FOUND_NOTHING);
	unit_audit();
	assert_true(hk_pool_span_resize(POOL, p, 12)); /* ends where its SuperSlab does */
	check_found(p, 12);
	assert_false(hk_pool_span_resize(POOL, p, 13));
	assert_true(hk_pool_span_resize(POOL, p, 5));
	check_found(p, 5);
	check_found(q, 10);
	assert_int_equal(POOL->span_chunks, 35);
	unit_audit();
	hk_span_free(p);
	hk_span_free(q);
	hk_span_free(a);
	assert_int_equal(POOL->used_supers, 0);
	p = anywhere(40), q = anywhere(40); /* the second begins behind the first */
	assert_ptr_equal(q, p + 40 * HK_CHUNK_BYTES);
	assert_true(hk_pool_span_resize(POOL, q, 44));
	check_found(q, 44);
	assert_false(hk_pool_span_resize(POOL, q, 64));
	assert_true(hk_pool_span_resize(POOL, q, 20));
	check_found(q, 20);
	unit_audit();
}

/* In a forked child that rebuilds the pool, both parts stay; the second goes where the first was not taken. */
static void these_are_rebuilt(void **state)
{
	(void)state;
	unit_start(NO_STARTERS);
	char *a = anywhere(20), *p = anywhere(20), *q = anywhere(36);
	hk_pool_rebuild(POOL);
	assert_int_equal(POOL->span_chunks, 76);
	check_found(a, 20);
	check_found(p, 20);
	check_found(q, 36);
	unit_audit();
	hk_lock(&POOL->lock); /* as a thread that vanished between the two parts left it */
	for (unsigned i = 20; i < 32; i++)
		unit_super_of(p)->code[i] = 0;
	unit_super_of(p)->free |= ~0u << 20;
	hk_unlock(&POOL->lock);
	hk_pool_rebuild(POOL);
	assert_int_equal(POOL->span_chunks, 56);
	assert_int_equal(hk_find(p).kind, HK_FOUND_NOTHING);
	assert_int_equal(hk_find(p + 12 * HK_CHUNK_BYTES).kind, HK_FOUND_NOTHING);
	check_found(q, 36);
	unit_audit();
	hk_span_free(q);
	hk_span_free(a);
	assert_int_equal(POOL->used_supers, 0);
}

/* A shared last SuperSlab that became a whole one must not keep the marks of its chunks. */
static void grown_spans_leave_no_marks(void **state)
{
	(void)state;
	bool zero;
	unit_start(NO_STARTERS);
	hk_pool_span_free(POOL, unit_span(64, 1));
	char *p = unit_span(48, 1), *q = p + HK_SUPER_BYTES;
	assert_true(hk_pool_span_resize(POOL, p, 64));
	hk_pool_span_free(POOL, p);
	assert_ptr_equal(unit_span(32, 1), p);
	assert_ptr_equal(hk_pool_chunks_alloc(POOL, 1, 1, HK_CODE_SPAN, &zero), q);
	for (unsigned i = 1; i < HK_SUPER_CHUNKS; i++)
		assert_int_equal(hk_find(q + i * HK_CHUNK_BYTES).kind, HK_FOUND_NOTHING);
}

static void free_again(void *p)
{
	hk_pool_span_free(POOL, p);
}

static void free_twice_is_fatal(void **state)
{
	(void)state;
	unit_start(NO_STARTERS);
	char *p = unit_span(40, 1);
	unit_span(32, 1);
	hk_pool_span_free(POOL, p);
	unit_must_abort(free_again, p, "double free of a large block");
}

static void many_come_and_go(void **state)
{
	(void)state;
	enum { SPANS = 40 };
	static char *spans[SPANS];
	static size_t chunks[SPANS];
	uint64_t seed = 9;
	unit_start(NULL);
	for (unsigned n = 0; n < 6000; n++) {
		unsigned i = (unsigned)(unit_random(&seed) % SPANS);
		size_t want = 32 + unit_random(&seed) % (n % 4 ? 40 : 200);
		if (!spans[i]) {
			spans[i] = unit_span(want, n % 5 ? 1 : 4);
			chunks[i] = want;
		} else {
			assert_int_equal(*(size_t *)spans[i], i);
			assert_int_equal(*(size_t *)(spans[i] + chunks[i] * HK_CHUNK_BYTES - 8), i);
			if (n % 3 == 0) {
				hk_pool_span_free(POOL, spans[i]);
				spans[i] = NULL;
			} else if (hk_pool_span_resize(POOL, spans[i], want)) {
				chunks[i] = want;
			}
		}
		if (spans[i]) {
			*(size_t *)spans[i] = i;
			*(size_t *)(spans[i] + chunks[i] * HK_CHUNK_BYTES - 8) = i;
		}
		if (n % 50 == 0)
			unit_audit();
		if (n % 700 == 0)
			hk_pool_trim(POOL, 0);
	}
	for (unsigned i = 0; i < SPANS; i++)
		if (spans[i])
			hk_pool_span_free(POOL, spans[i]);
	assert_int_equal(POOL->used_supers, 0);
	assert_int_equal(POOL->span_chunks, 0);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(spans_of_all_lengths),
		cmocka_unit_test(last_chunks_are_shared),
		cmocka_unit_test(bases_are_aligned),
		cmocka_unit_test(free_ones_are_taken_again),
		cmocka_unit_test(shrinks_where_it_stands),
		cmocka_unit_test(grows_where_there_is_room),
		cmocka_unit_test(does_not_grow_over_neighbours),
		cmocka_unit_test(runs_resize_inside_a_superslab),
		cmocka_unit_test(grown_spans_leave_no_marks),
		cmocka_unit_test(some_go_on_in_the_next),
		cmocka_unit_test(these_resize),
		cmocka_unit_test(these_are_rebuilt),
		cmocka_unit_test(free_twice_is_fatal),
		cmocka_unit_test(many_come_and_go),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
