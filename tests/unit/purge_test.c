/* purge_test.c - src/arena/purge.c: what goes back to the kernel, when, and what is known of it
 * afterwards; the rebuild after a fork. */
#include "unit.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#define NO_STARTERS "HAKMEM_STARTER_MIB=0"
#define LARGE 180u /* SuperSlabs of a large heap */

static char *take(unsigned count)
{
	bool zero;
	char *p = hk_pool_chunks_alloc(POOL, count, 1, HK_CODE_SPAN, &zero);
	assert_non_null(p);
	return p;
}

static struct hk_super *super_of(const void *p)
{
	return hk_super_at(hk_super_index(p));
}

static size_t trimmed(size_t pad)
{
	size_t before = POOL->count.purged_bytes, bytes = hk_pool_trim(POOL, pad);
	assert_int_equal(POOL->count.purged_bytes - before, bytes);
	unit_audit();
	return bytes;
}

/* Spans of one SuperSlab each, written to. */
static void spans(char **out, size_t count)
{
	bool zero;
	for (size_t i = 0; i < count; i++) {
		out[i] = hk_pool_span_alloc(POOL, 32, 1, &zero);
		assert_non_null(out[i]);
		out[i][0] = 1;
	}
}

static void trim_gives_all_but_the_pad(void **state)
{
	(void)state;
	char *p[10];
	unit_start(NO_STARTERS " HAKMEM_WARM_MIB=1024");
	spans(p, 10);
	for (unsigned i = 0; i < 10; i++)
		hk_pool_span_free(POOL, p[i]);
	assert_int_equal(POOL->warm_supers, 10);
	assert_int_equal(trimmed(ARENA_MIB(7)), 7 * HK_SUPER_BYTES);
	assert_int_equal(POOL->warm_supers, 3);
	assert_int_equal(trimmed(0), 3 * HK_SUPER_BYTES);
	for (unsigned i = 0; i < 10; i++) {
		assert_false(unit_resident(p[i]));
		assert_int_equal(super_of(p[i])->zero, ~0u);
	}
	assert_int_equal(trimmed(0), 0);
}

static void neighbours_go_in_one_call(void **state)
{
	(void)state;
	char *p[24];
	unit_start(NO_STARTERS " HAKMEM_WARM_MIB=1024");
	spans(p, 24);
	for (unsigned i = 0; i < 24; i++)
		if (i % 8 != 7)
			hk_pool_span_free(POOL, p[i]);
	uint64_t calls = POOL->count.purges;
	assert_int_equal(trimmed(0), 21 * HK_SUPER_BYTES);
	assert_int_equal(POOL->count.purges - calls, 3);
}

static void warm_ones_stay_below_the_cap(void **state)
{
	(void)state;
	char *p[30];
	unit_start(NO_STARTERS " HAKMEM_WARM_MIB=8");
	spans(p, 30);
	for (unsigned i = 0; i < 30; i++) {
		hk_pool_span_free(POOL, p[i]);
		assert_true(POOL->warm_supers <= hk_max(4, POOL->used_supers / 8));
	}
	assert_in_range(POOL->warm_supers, 1, 4);
	unit_audit();
}

/* A program that frees all and begins again keeps its pages, whatever bins have on loan, up to HAKMEM_WARM_MIB in all;
 * two decay times later it counts as small. */
static void what_was_in_use_of_late_stays(void **state)
{
	(void)state;
	char *p[20];
	unit_start(NO_STARTERS " HAKMEM_WARM_MIB=64");
	spans(p, 20);
	hk_held_bytes = ARENA_MIB(16);
	for (unsigned i = 0; i < 20; i++)
		hk_pool_span_free(POOL, p[i]);
	assert_int_equal(POOL->warm_supers, 20);
	hk_held_bytes = ARENA_MIB(40);
	spans(p, 1);
	hk_pool_span_free(POOL, p[0]);
	assert_int_equal(POOL->warm_supers, 16); /* half of the most at least */
	hk_held_bytes = 0;
	uint32_t now = hk_os_clock_ms();
	hk_pool_tick(POOL, now + 1001);
	assert_int_equal(POOL->used_peak_before, ARENA_MIB(40));
	hk_pool_tick(POOL, now + 990); /* a thread that read the clock before */
	assert_int_equal(POOL->used_peak_before, ARENA_MIB(40));
	hk_pool_tick(POOL, now + 2003);
	spans(p, 20);
	for (unsigned i = 0; i < 12; i++)
		hk_pool_span_free(POOL, p[i]);
	assert_true(POOL->used_peak_bytes == ARENA_MIB(40) && POOL->used_peak_before == 0);
	for (unsigned i = 12; i < 20; i++)
		hk_pool_span_free(POOL, p[i]);
	assert_int_equal(POOL->warm_supers, 20);
	unit_audit();
}

/* Half of a large heap is freed: WARM stay; all of it: LEFT. In SuperSlabs. */
static void free_half(const char *options, size_t warm, size_t left)
{
	void *p[LARGE];
	bool zero;
	unit_start(options);
	for (unsigned i = 0; i < LARGE; i++)
		assert_non_null(p[i] = hk_pool_span_alloc(POOL, HK_SUPER_CHUNKS, 1, &zero));
	for (unsigned i = 0; i < LARGE / 2; i++)
		hk_pool_span_free(POOL, p[i]);
	assert_int_equal(POOL->warm_supers, warm);
	for (unsigned i = LARGE / 2; i < LARGE; i++)
		hk_pool_span_free(POOL, p[i]);
	assert_int_equal(POOL->warm_supers, left);
	unit_audit();
}

static void as_much_as_is_in_use_may_be_free(void **state)
{
	(void)state;
	free_half(NO_STARTERS " HAKMEM_WARM_MIB=128", LARGE / 2, 64);
}

static void a_part_of_it_where_little_is_to_stay(void **state)
{
	(void)state;
	free_half(NO_STARTERS " HAKMEM_WARM_MIB=32", LARGE / 2 / 4, 16);
}

/* By itself 128 MiB, or a 96th of the pool's share of the memory limit, and an eighth of that at most. All LARGE
 * SuperSlabs are freed: LEFT stay. */
static void stays(size_t limit, size_t left)
{
	void *p[LARGE];
	bool zero;
	POOL->memory_limit = limit;
	for (unsigned i = 0; i < LARGE; i++)
		assert_non_null(p[i] = hk_pool_span_alloc(POOL, HK_SUPER_CHUNKS, 1, &zero));
	for (unsigned i = 0; i < LARGE; i++)
		hk_pool_span_free(POOL, p[i]);
	assert_int_equal(POOL->warm_supers, left);
	unit_audit();
}

static void a_part_of_the_machines_memory(void **state)
{
	(void)state;
	unit_start(NO_STARTERS);
	stays(ARENA_MIB(96) * 160, 80);
	stays(ARENA_MIB(96) * 100, 64);
	stays(ARENA_MIB(400), 25);
	stays(ARENA_MIB(96) * 4096, LARGE);
}

static void decay_takes_what_is_old(void **state)
{
	(void)state;
	char *p[4];
	unit_start(NO_STARTERS " HAKMEM_DECAY_MS=3600000 HAKMEM_WARM_MIB=1024");
	spans(p, 4);
	for (unsigned i = 0; i < 4; i++)
		hk_pool_span_free(POOL, p[i]);
	hk_pool_tick(POOL, hk_os_clock_ms() + 1000);
	assert_int_equal(POOL->warm_supers, 4);
	super_of(p[1])->idle_since_ms -= 3600000; /* an hour ago */
	super_of(p[2])->idle_since_ms -= 3600000;
	hk_pool_tick(POOL, hk_os_clock_ms() + 2000);
	assert_int_equal(POOL->warm_supers, 2);
	assert_false(unit_resident(p[1]) || unit_resident(p[2]));
	assert_true(unit_resident(p[0]) && unit_resident(p[3]));
	unit_audit();
}

static void ticks_too_early_do_nothing(void **state)
{
	(void)state;
	char *p[1];
	unit_start(NO_STARTERS " HAKMEM_DECAY_MS=1000 HAKMEM_WARM_MIB=1024");
	spans(p, 1);
	hk_pool_span_free(POOL, p[0]);
	uint32_t now = hk_os_clock_ms();
	super_of(p[0])->idle_since_ms -= 5000;
	hk_store(&POOL->ticked_ms, now - 50);
	hk_pool_tick(POOL, now);
	assert_int_equal(POOL->warm_supers, 1);
	hk_pool_tick(POOL, now + 100);
	assert_int_equal(POOL->warm_supers, 0);
}

static void trim_breaks_the_emptiest_first(void **state)
{
	(void)state;
	unit_start(NO_STARTERS);
	char *a = take(31), *b = take(31), *c = take(31);
	char *all[] = {a, b, c};
	for (unsigned i = 0; i < 3; i++)
		memset(all[i], 9, 31 * HK_CHUNK_BYTES);
	assert_true(hk_pool_span_resize(POOL, a, 20));
	assert_true(hk_pool_span_resize(POOL, b, 2));
	assert_true(hk_pool_span_resize(POOL, c, 10));
	assert_int_equal(POOL->dirty_chunks, 11 + 29 + 21);
	/* A pad of 40 chunks: the 29 of b are enough. */
	assert_int_equal(trimmed(40 * HK_CHUNK_BYTES), 29 * HK_CHUNK_BYTES);
	assert_true(super_of(b)->flags & HK_SUPER_BROKEN);
	assert_false(super_of(a)->flags & HK_SUPER_BROKEN || super_of(c)->flags & HK_SUPER_BROKEN);
	assert_int_equal(POOL->count.broken_supers, 1);
	assert_false(unit_resident(b + 2 * HK_CHUNK_BYTES));
	assert_int_equal(b[2 * HK_CHUNK_BYTES - 1], 9);
	/* Broken ones last: one chunk fits into the fuller ones, 21 into b alone, which is broken. */
	assert_int_equal(hk_super_index(take(1)), hk_super_index(a));
	assert_int_equal(hk_super_index(take(21)), hk_super_index(c));
	assert_int_equal(hk_super_index(take(22)), hk_super_index(b));
	unit_audit();
}

static void broken_ones_are_taken_last_and_heal(void **state)
{
	(void)state;
	unit_start(NO_STARTERS);
	char *a = take(31), *b;
	memset(a, 9, 31 * HK_CHUNK_BYTES);
	hk_pool_span_resize(POOL, a, 25);
	trimmed(0);
	assert_true(super_of(a)->flags & HK_SUPER_BROKEN);
	b = take(31); /* does not fit there: a SuperSlab of its own */
	hk_pool_span_resize(POOL, b, 5);
	/* a is fuller, but broken. */
	assert_int_equal(hk_super_index(take(2)), hk_super_index(b));
	hk_pool_chunks_free(POOL, a, 25);
	assert_int_equal(super_of(a)->state, HK_SUPER_FREE);
	assert_ptr_equal(take(31), a);
	assert_false(super_of(a)->flags & HK_SUPER_BROKEN);
	assert_int_equal(a[0], 0); /* given back as a whole, to come as one huge page */
}

static void starters_do_not_break(void **state)
{
	(void)state;
	unit_start(NULL);
	char *a = take(31);
	memset(a, 9, 31 * HK_CHUNK_BYTES);
	hk_pool_span_resize(POOL, a, 5);
	assert_int_equal(trimmed(0), 26 * HK_CHUNK_BYTES);
	assert_false(super_of(a)->flags & HK_SUPER_BROKEN); /* they are on small pages anyway */
	assert_int_equal(POOL->count.broken_supers, 0);
}

static void partial_ones_go_after_a_decay_period(void **state)
{
	(void)state;
	enum { N = 40 };
	static char *p[N];
	uint32_t now;
	unit_start(NO_STARTERS " HAKMEM_DECAY_MS=1000 HAKMEM_WARM_MIB=1024");
	for (unsigned i = 0; i < N; i++) {
		p[i] = take(31);
		memset(p[i], 9, 31 * HK_CHUNK_BYTES);
	}
	for (unsigned i = 0; i < N; i++)
		assert_true(hk_pool_span_resize(POOL, p[i], 1));
	assert_int_equal(POOL->dirty_chunks, N * 30);
	now = hk_os_clock_ms();
	hk_pool_tick(POOL, now + 1000);
	hk_pool_tick(POOL, now + 1500);
	assert_int_equal(POOL->dirty_chunks, N * 30); /* above its bound since 500 ms only */
	hk_pool_tick(POOL, now + 2100);
	assert_true(POOL->dirty_chunks < N * 30);
	assert_true(POOL->count.broken_supers > 0);
	unit_audit();
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(p[i][HK_CHUNK_BYTES - 1], 9);
}

static void locked_memory_is_not_called_zero(void **state)
{
	(void)state;
	unit_skip_sanitized();
	char *p[2];
	unit_start(NO_STARTERS);
	spans(p, 2);
	memset(p[0], 5, HK_SUPER_BYTES);
	if (mlock(p[0], HK_SUPER_BYTES))
		unit_skip("mlock of 2 MiB is not allowed");
	hk_pool_span_free(POOL, p[0]);
	assert_int_equal(trimmed(0), 0);
	assert_int_equal(POOL->count.purge_failures, 1);
	assert_int_not_equal(super_of(p[0])->zero, ~0u);
	assert_int_equal(p[0][100], 5);
	bool zero;
	assert_ptr_equal(hk_pool_span_alloc(POOL, 32, 1, &zero), p[0]);
	assert_false(zero);
}

/* Nobody clears the time of a refusal: differences to it pass 2^31 ms. */
static void a_refusal_is_forgotten(void **state)
{
	(void)state;
	for (unsigned month = 1; month < 4; month++) {
		char *p[1];
		if (month == 1)
			unit_start(NO_STARTERS " HAKMEM_DECAY_MS=1000 HAKMEM_WARM_MIB=1024");
		spans(p, 1);
		hk_pool_span_free(POOL, p[0]);
		assert_int_equal(POOL->warm_supers, 1);
		uint32_t now = hk_os_clock_ms();
		super_of(p[0])->idle_since_ms -= 5000;
		POOL->refused_ms = (now - month * 1100000000u) | 1;
		hk_pool_tick(POOL, now + month * 100);
		assert_int_equal(POOL->warm_supers, 0);
	}
}

static size_t data_bytes(void)
{
	char line[128];
	unsigned long kib = 0;
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "VmData: %lu", &kib);
	assert_true(f && kib);
	fclose(f);
	return kib << 10;
}

/* What is free and warm counts against a limit of the process's: it goes before memory is refused. */
static void under_a_limit_free_memory_goes_first(void **state)
{
	(void)state;
	unit_skip_sanitized();
	char *p[40];
	bool zero;
	struct rlimit data = {.rlim_cur = data_bytes() + ARENA_MIB(110), .rlim_max = RLIM_INFINITY};
	assert_int_equal(setrlimit(RLIMIT_DATA, &data), 0);
	unit_start(NO_STARTERS " HAKMEM_WARM_MIB=1024");
	spans(p, 40);
	for (unsigned i = 0; i < 40; i += 2)
		hk_pool_span_free(POOL, p[i]);
	assert_true(POOL->warm_supers >= 20);
	char *large = hk_pool_span_alloc(POOL, 25 * HK_SUPER_CHUNKS, 1, &zero);
	assert_non_null(large);
	large[ARENA_MIB(50) - 1] = 1;
	assert_null(hk_pool_span_alloc(POOL, 200 * HK_SUPER_CHUNKS, 1, &zero));
	unit_audit();
}

static void strict_commit_gives_back_inaccessible(void **state)
{
	(void)state;
	unit_skip_sanitized();
	char *p[3];
	struct rlimit data = {.rlim_cur = 1ul << 32, .rlim_max = RLIM_INFINITY};
	assert_int_equal(setrlimit(RLIMIT_DATA, &data), 0);
	unit_start(NO_STARTERS);
	spans(p, 3);
	hk_pool_span_free(POOL, p[1]);
	assert_int_equal(trimmed(0), HK_SUPER_BYTES);
	assert_true(hk_region.strict);
	assert_true(super_of(p[1])->flags & HK_SUPER_DECOMMITTED);
	char maps[200], want[40];
	FILE *f = fopen("/proc/self/maps", "r");
	bool seen = false;
	snprintf(want, sizeof(want), "%lx-%lx ---p", (unsigned long)p[1], (unsigned long)p[1] + HK_SUPER_BYTES);
	while (f && fgets(maps, sizeof(maps), f))
		seen |= !strncmp(maps, want, strlen(want));
	assert_true(seen);
	fclose(f);
	bool zero;
	assert_ptr_equal(hk_pool_span_alloc(POOL, 32, 1, &zero), p[1]);
	assert_true(zero);
	p[1][HK_SUPER_BYTES - 1] = 1; /* accessible again */
	assert_false(super_of(p[1])->flags & HK_SUPER_DECOMMITTED);
}

/* ---- the rebuild after a fork ---- */

static void mess(uint64_t seed)
{
	enum { RUNS = 200 };
	static char *runs[RUNS];
	for (unsigned n = 0; n < 900; n++) {
		unsigned i = (unsigned)(unit_random(&seed) % RUNS);
		bool zero;
		if (runs[i] && hk_find(runs[i]).bytes >= 32 * HK_CHUNK_BYTES)
			hk_pool_span_free(POOL, runs[i]), runs[i] = NULL;
		else if (runs[i])
			hk_pool_chunks_free(POOL, runs[i], (unsigned)(hk_find(runs[i]).bytes / HK_CHUNK_BYTES)),
				runs[i] = NULL;
		else if (n % 9)
			runs[i] = take(1 + (unsigned)(unit_random(&seed) % 9));
		else
			runs[i] = hk_pool_span_alloc(POOL, 32 + unit_random(&seed) % 70, 1, &zero);
	}
}

static void rebuild_finds_the_same(void **state)
{
	(void)state;
	unit_start(NULL);
	for (uint64_t seed = 1; seed < 20; seed++) {
		mess(seed);
		size_t used = POOL->used_supers, free_chunks = POOL->free_chunks;
		size_t span_chunks = POOL->span_chunks;
		hk_pool_rebuild(POOL);
		assert_int_equal(POOL->used_supers, used);
		assert_int_equal(POOL->free_chunks, free_chunks);
		assert_int_equal(POOL->span_chunks, span_chunks);
		unit_audit();
		mess(seed * 77);
	}
}

static void rebuild_frees_what_was_being_purged(void **state)
{
	(void)state;
	char *p[3];
	unit_start(NO_STARTERS);
	spans(p, 3);
	char *kept = take(31);
	hk_pool_span_resize(POOL, kept, 1);
	hk_pool_span_free(POOL, p[1]);
	/* As if a thread had vanished between taking it out and putting it back. */
	hk_super_set_free_locked(POOL, hk_super_index(p[1]), false);
	super_of(p[1])->state = HK_SUPER_PURGING;
	struct hk_super *s = super_of(kept);
	hk_bucket_remove(POOL, hk_super_index(kept));
	s->free &= ~(1u << 7);
	s->zero &= ~(1u << 7);
	s->code[7] = hk_code(HK_CODE_PURGING, 0, 1);
	hk_bucket_insert(POOL, hk_super_index(kept));
	POOL->purging = 1;
	hk_pool_rebuild(POOL);
	assert_int_equal(POOL->purging, 0);
	assert_int_equal(super_of(p[1])->state, HK_SUPER_FREE);
	assert_int_equal(s->free >> 7 & 1, 1);
	assert_int_equal(s->code[7], 0);
	unit_audit();
	bool zero;
	assert_ptr_equal(hk_pool_span_alloc(POOL, 32, 1, &zero), p[1]);
	assert_false(zero);
}

static void rebuild_adopts_what_was_just_committed(void **state)
{
	(void)state;
	unit_start(NO_STARTERS);
	take(1);
	size_t supers = hk_stripe_end(0);
	assert_int_equal(hk_stripe_extend(0, HK_SUPER_BYTES), 0); /* and then the thread vanished */
	assert_int_equal(hk_super_at(supers)->state, HK_SUPER_NONE);
	hk_pool_rebuild(POOL);
	assert_int_equal(hk_super_at(supers)->state, HK_SUPER_FREE);
	unit_audit();
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(trim_gives_all_but_the_pad),
		cmocka_unit_test(neighbours_go_in_one_call),
		cmocka_unit_test(warm_ones_stay_below_the_cap),
		cmocka_unit_test(what_was_in_use_of_late_stays),
		cmocka_unit_test(as_much_as_is_in_use_may_be_free),
		cmocka_unit_test(a_part_of_it_where_little_is_to_stay),
		cmocka_unit_test(a_part_of_the_machines_memory),
		cmocka_unit_test(decay_takes_what_is_old),
		cmocka_unit_test(ticks_too_early_do_nothing),
		cmocka_unit_test(trim_breaks_the_emptiest_first),
		cmocka_unit_test(broken_ones_are_taken_last_and_heal),
		cmocka_unit_test(starters_do_not_break),
		cmocka_unit_test(partial_ones_go_after_a_decay_period),
		cmocka_unit_test(locked_memory_is_not_called_zero),
		cmocka_unit_test(a_refusal_is_forgotten),
		cmocka_unit_test(under_a_limit_free_memory_goes_first),
		cmocka_unit_test(strict_commit_gives_back_inaccessible),
		cmocka_unit_test(rebuild_finds_the_same),
		cmocka_unit_test(rebuild_frees_what_was_being_purged),
		cmocka_unit_test(rebuild_adopts_what_was_just_committed),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
