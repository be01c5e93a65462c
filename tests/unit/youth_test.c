/* youth_test.c - src/heap/youth.c: what a forked child writes to, and when its heap becomes one like others. */
#include "unit.h"

#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "observe/snapshot.h"

#define PARENTS 3000 /* blocks, of 16 bytes to 20 KiB: tiny and medium slabs */
#define MARK 0x5a

static struct hk_heap *parent, *child;
static char *theirs[PARENTS];
static uint64_t seed;

static size_t any_size(void)
{
	return 16 + unit_random(&seed) % (unit_random(&seed) % 50 ? 600 : 20000);
}

static struct hk_pool *small_pool(void)
{
	return &hk_pools[hk_region.nodes];
}

static bool is_untouched(const char *p)
{
	for (unsigned i = 0; i < 16; i++)
		if (p[i] != MARK)
			return false;
	return true;
}

/* The parent has blocks, some of them free, in its bins; then its child has looked. */
static void begin(void)
{
	seed = 5;
	unit_start("HAKMEM_STARTER_MIB=0");
	for (unsigned i = 0; i < PARENTS; i++)
		theirs[i] = memset(hak_malloc(any_size()), MARK, 16);
	for (unsigned i = 0; i < PARENTS; i += 3)
		hak_free(theirs[i]);
	parent = hk_heap_mine();
	unit_wipe();
	assert_ptr_equal(hk_heap_mine(), &hk_heap_unborn);
	assert_int_equal(hk_heap_state(parent), HK_HEAP_PARKED);
}

/* Like begin, and the child's thread has its heap. */
static void begin_born(void)
{
	begin();
	assert_non_null(hak_malloc(1));
	child = hk_heap_mine();
	assert_ptr_not_equal(child, parent);
	assert_true(child->young);
}

/* Frees those of the parent's blocks in [FROM, TO) that it did not free. */
static void free_theirs(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		if (i % 3)
			hak_free(theirs[i]);
}

static void all_is_well(void)
{
	struct hk_snapshot s;
	hk_snapshot(&s);
	assert_true(s.malloc_blocks >= s.free_blocks);
	unit_audit();
	assert_int_equal(hk_pool_audit(small_pool()), 0);
}

static void expect_grown(void)
{
	assert_false(child->young);
	assert_int_equal(hk_youth_noted(), 0);
	assert_int_equal(child->tag, child->pool_tag & hk_heap_mask(child->index));
	all_is_well();
}

static void what_it_gets_is_new(void **state)
{
	(void)state;
	begin();
	for (unsigned i = 0; i < 2000; i++) {
		void *p = hak_malloc(any_size());
		assert_ptr_equal(hk_pool_of(p), small_pool());
		assert_ptr_equal(hk_find(p).slab->heap, hk_heap_mine());
	}
	assert_int_equal(hk_heap_mine()->count.refill_parked, 0);
	assert_int_equal(hk_heap_mine()->count.refill_shared, 0);
	assert_true(parent->orphan);
	all_is_well();
}

static void what_it_frees_of_its_parents_is_not_touched(void **state)
{
	struct hk_snapshot before, after;
	(void)state;
	begin();
	hk_snapshot(&before);
	free_theirs(0, PARENTS); /* the first one makes the heap */
	assert_int_equal(hk_youth_noted(), PARENTS - PARENTS / 3);
	for (unsigned i = 0; i < PARENTS; i++)
		if (i % 3)
			assert_true(is_untouched(theirs[i]));
	hk_snapshot(&after);
	assert_int_equal(after.free_blocks - before.free_blocks, PARENTS - PARENTS / 3);
	assert_true(parent->orphan);
	/* then all goes home */
	child = hk_heap_mine();
	hk_heaps_trim(0);
	expect_grown();
	hk_snapshot(&after);
	assert_int_equal(after.free_blocks - before.free_blocks, PARENTS - PARENTS / 3);
	assert_int_equal(after.slab_live_bytes, 0);
	assert_false(parent->orphan);
}

static void its_own_blocks_are_freed_as_ever(void **state)
{
	void *p[10];
	(void)state;
	begin_born();
	unit_take(p, COUNT_OF(p), 300);
	for (unsigned i = 0; i < COUNT_OF(p); i++)
		hak_free(p[i]);
	assert_int_equal(hk_youth_noted(), 0);
	uint32_t pops = child->bins[(300 - 1) / HK_GRANULE].pops;
	void *again = hak_malloc(300);
	assert_ptr_equal(again, p[COUNT_OF(p) - 1]);
	assert_int_equal(child->bins[(300 - 1) / HK_GRANULE].pops, pops + 1);
	all_is_well();
}

static void blocks_of_its_other_threads_go_to_them(void **state)
{
	void *p[40];
	(void)state;
	begin_born();
	struct hk_heap *other = unit_heap();
	unit_as(other);
	unit_take(p, COUNT_OF(p), 300);
	unit_as(child);
	unit_give(p, COUNT_OF(p));
	assert_int_equal(hk_youth_noted(), 0);
	hk_remote_flush(child, false);
	unit_drain(other);
	assert_int_equal(other->count.ss_remote_drained, COUNT_OF(p));
	all_is_well();
}

static void many_frees_end_it(void **state)
{
	enum { MANY = 9000 };
	static void *p[MANY];
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=0");
	unit_take(p, MANY, 64);
	parent = hk_heap_mine();
	unit_wipe();
	for (unsigned i = 0; i < 8192; i++)
		hak_free(p[i]);
	child = hk_heap_mine();
	assert_true(child->young);
	assert_int_equal(hk_youth_noted(), 8192);
	hak_free(p[8192]);
	expect_grown();
	unit_give(p + 8193, MANY - 8193);
	all_is_well();
}

static void many_slabs_end_it(void **state)
{
	(void)state;
	begin_born();
	free_theirs(0, 300);
	void *first = hak_malloc(5000);
	unsigned n = 1;
	for (; child->young && n < 10000; n++)
		assert_non_null(hak_malloc(5000));
	assert_true(n > 200 * HK_CHUNK_BYTES / 5120 && n < 260 * HK_CHUNK_BYTES / 5120);
	expect_grown();
	/* from here on as any thread */
	for (unsigned i = 0; i < 3 * PARENTS; i++)
		assert_non_null(hak_malloc(any_size()));
	assert_true(child->count.refill_parked > 0);
	/* and what it took in its youth is its own still */
	assert_ptr_equal(hk_find(first).slab->heap, child);
	all_is_well();
}

static void time_ends_it(void **state)
{
	(void)state;
	begin_born();
	free_theirs(0, 300);
	hk_heap_tick(child, hk_os_clock_ms() + 500);
	assert_true(child->young);
	hk_heap_tick(child, hk_os_clock_ms() + 1500);
	expect_grown();
}

static void the_threads_end_ends_it(void **state)
{
	void *p[100];
	(void)state;
	begin_born();
	unit_take(p, COUNT_OF(p), 64);
	free_theirs(0, 300);
	hk_heap_take(&hk_heap_dead);
	hk_heap_park(child);
	expect_grown();
	/* its slabs are like others' now: by the tag of the pool, a free in any thread */
	assert_int_equal(hk_find(p[0]).slab->tag, hk_slab_tag(hk_find(p[0]).slab, child));
}

/* Goes on with what is young still; later ones with new ones, a few times. */
static void a_childs_child(void **state)
{
	void *p[100];
	(void)state;
	begin_born();
	unit_take(p, COUNT_OF(p), 64);
	free_theirs(0, 300);
	unit_wipe();
	assert_ptr_equal(hk_heap_mine(), child);
	assert_true(child->young);
	free_theirs(300, 600);
	unit_give(p, COUNT_OF(p));
	assert_int_equal(hk_youth_noted(), 400);
	hk_heaps_trim(0);
	expect_grown();
	for (unsigned generation = 1; generation < 4; generation++) {
		unit_wipe();
		assert_non_null(hak_malloc(1));
		assert_true(hk_heap_mine()->young);
		hk_heaps_trim(0);
		assert_false(hk_heap_mine()->young);
	}
	uint32_t made = hk_heaps_made;
	child = hk_heap_mine();
	unit_wipe();
	assert_ptr_equal(hk_heap_mine(), child);
	assert_non_null(hak_malloc(1));
	assert_int_equal(hk_heaps_made, made);
	expect_grown();
}

static void many_bytes_end_it(void **state)
{
	enum { SIZE = 100000, MANY = 100 };
	void *p[MANY];
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=0");
	unit_take(p, MANY, SIZE);
	unit_wipe();
	assert_non_null(hak_malloc(1));
	child = hk_heap_mine();
	for (unsigned i = 0; i < MANY; i++) {
		hak_free(p[i]);
		assert_true(hk_youth_noted() * (size_t)SIZE <= ARENA_MIB(2));
	}
	expect_grown();
}

/* A child that lives from its bins comes by nowhere but here. */
static void time_is_seen_by_frees_alone(void **state)
{
	(void)state;
	begin_born();
	free_theirs(0, 300);
	usleep(1100000);
	for (unsigned i = 0; i < 1000; i++)
		hak_free(hak_malloc(100));
	assert_false(child->young);
	hk_remote_flush(child, false);
	expect_grown();
}

static void notes_look_at_the_clock(void **state)
{
	(void)state;
	begin_born();
	free_theirs(0, 300);
	usleep(1100000);
	free_theirs(300, 360);
	expect_grown();
}

/* What is noted is had where there is no other memory. */
static void it_ends_before_malloc_fails(void **state)
{
	(void)state;
	unit_skip_sanitized();
	begin_born();
	free_theirs(0, 300);
	assert_null(hak_malloc((size_t)1 << 46));
	expect_grown();
}

/* The thread's end in a child that allocated nothing: its parent's heap may be another thread's by now. */
static void *fork_and_end(void *arg)
{
	static void *p;
	(void)arg;
	p = hak_malloc(100); /* a heap, and a destructor for it */
	parent = hk_heap_mine();
	pid_t pid = fork();
	if (!pid) {
		if (hk_heap_state(parent) != HK_HEAP_PARKED || hk_heaps_parked != 1)
			_exit(2);
		pthread_exit(NULL); /* the child's first thread: others go on, here none */
	}
	int status;
	waitpid(pid, &status, 0);
	hak_free(p);
	return (void *)(uintptr_t)(status ? 1 : 2);
}

static void __attribute__((destructor)) look_at_the_end(void)
{
	if (parent && hk_heap_state(parent) == HK_HEAP_PARKED && hk_heaps_parked > 1)
		_exit(3);
}

static void its_end_leaves_the_parents_heap_alone(void **state)
{
	pthread_t id;
	void *got = NULL;
	(void)state;
	unit_start(NULL);
	assert_int_equal(pthread_create(&id, NULL, fork_and_end, NULL), 0);
	assert_int_equal(pthread_join(id, &got), 0);
	assert_int_equal((uintptr_t)got, 2);
	parent = NULL;
}

/* Rather than be without a heap, the child goes on with its parent's. */
static void where_no_heap_is_left(void **state)
{
	(void)state;
	begin();
	hk_heaps_made = HK_HEAPS_MAX;
	assert_non_null(hak_malloc(1));
	assert_ptr_equal(hk_heap_mine(), parent);
	assert_false(parent->young);
	assert_int_equal(hk_heap_state(parent), HK_HEAP_LIVE);
	free_theirs(0, PARENTS);
	assert_int_equal(hk_youth_noted(), 0);
	all_is_well();
}

static void double_free(void *p)
{
	hak_free(p);
	hak_free(p);
}

static void misuse_is_fatal(void **state)
{
	(void)state;
	begin_born();
	unit_must_abort(double_free, theirs[1], "double free");
	hak_free(theirs[1]);
	unit_must_abort(double_free, theirs[2] + 16, "inside a block");
}

/* A real fork: of the parent's pages, few are written to. */
static void a_real_child(void **state)
{
	(void)state;
	seed = 5;
	unit_start(NULL);
	for (unsigned i = 0; i < PARENTS; i++)
		theirs[i] = memset(hak_malloc(any_size()), MARK, 16);
	parent = hk_heap_mine();
	pid_t pid = fork();
	if (!pid) {
		bool good = true;
		for (unsigned i = 0; i < PARENTS; i++)
			hak_free(theirs[i]);
		for (unsigned i = 0; i < PARENTS; i++)
			good = good && is_untouched(theirs[i]) && hak_malloc(any_size());
		_exit(good && hk_youth_noted() == PARENTS && !hk_heaps_audit() ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_ptr_equal(hk_heap_mine(), parent); /* which knows nothing of it */
	assert_false(parent->young);
	for (unsigned i = 0; i < PARENTS; i++)
		hak_free(theirs[i]);
	unit_audit();
}

/* An older young heap, whose thread a fork of another one left behind, ends apart from the notes. */
static void an_older_one_has_no_notes(void **state)
{
	(void)state;
	begin_born();
	free_theirs(0, 30);
	uint32_t noted = hk_youth_noted();
	struct hk_heap *older = hk_heap_make(0);
	assert_int_not_equal(noted, 0);
	assert_non_null(older);
	older->young = true;
	hk_youth_end(older);
	assert_false(older->young);
	assert_true(child->young);
	assert_int_equal(hk_youth_noted(), noted);
	hk_youth_stop(child);
	assert_int_equal(hk_youth_noted(), 0);
	all_is_well();
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(what_it_gets_is_new),
		cmocka_unit_test(what_it_frees_of_its_parents_is_not_touched),
		cmocka_unit_test(its_own_blocks_are_freed_as_ever),
		cmocka_unit_test(blocks_of_its_other_threads_go_to_them),
		cmocka_unit_test(many_frees_end_it),
		cmocka_unit_test(many_slabs_end_it),
		cmocka_unit_test(time_ends_it),
		cmocka_unit_test(the_threads_end_ends_it),
		cmocka_unit_test(a_childs_child),
		cmocka_unit_test(many_bytes_end_it),
		cmocka_unit_test(time_is_seen_by_frees_alone),
		cmocka_unit_test(notes_look_at_the_clock),
		cmocka_unit_test(it_ends_before_malloc_fails),
		cmocka_unit_test(its_end_leaves_the_parents_heap_alone),
		cmocka_unit_test(where_no_heap_is_left),
		cmocka_unit_test(misuse_is_fatal),
		cmocka_unit_test(an_older_one_has_no_notes),
		cmocka_unit_test(a_real_child),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
