/* fork_test.c - src/heap/fork.c: what a child finds where its parent's threads were in the middle of
 * something. The state of such a thread is made by hand (a lock that nobody alive holds, the busy
 * mark, a wiped word), then the repair runs. Real forks under load are tests/stress's. */
#include "unit.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NO_STARTERS "HAKMEM_STARTER_MIB=0"
#define VANISHED ((uintptr_t)0x1000) /* no thread has this word */
#define MANY 500

static struct hk_heap *me, *gone;
static void *blocks[MANY];

/* ME is the calling thread's; GONE has MANY blocks of 64 bytes, COUNT of them in its bin. */
static void begin(size_t count)
{
	unit_start(NO_STARTERS);
	assert_non_null(hak_malloc(1));
	me = hk_heap_mine();
	gone = unit_heap();
	unit_as(gone);
	unit_take(blocks, MANY, 64);
	hk_bin_grant(gone, 3, hk_bin_length(gone, 3), 1 << 20);
	unit_give(blocks, count);
	unit_as(me);
}

/* As in a child that has not looked yet; its thread goes on with ME. */
static void wipe(void)
{
	me->busy = 1;
	unit_wipe();
	me->busy = 0;
}

static void whole_heaps_are_parked(void **state)
{
	(void)state;
	begin(100);
	uint32_t parked = hk_heaps_parked;
	wipe();
	assert_int_equal(hk_heap_state(gone), HK_HEAP_PARKED);
	assert_true(gone->orphan);
	assert_int_equal(hk_heaps_parked, parked + 1);
	assert_int_equal(hk_heap_state(me), HK_HEAP_LIVE);
	/* The next one in need of a slab empties its bin and takes over. */
	void *more[2000];
	unit_take(more, 2000, 64);
	assert_false(gone->orphan);
	assert_null(gone->bins[3].head);
	assert_true(me->count.refill_parked > 0);
	unit_audit();
}

static void orphans_between_two_stores_are_recounted(void **state)
{
	(void)state;
	begin(100);
	/* malloc took the head and had not counted it: one block is lost, no more. */
	uint32_t live = 0;
	struct hk_slab *slab = hk_slab_of_tiny(blocks[MANY - 1]);
	gone->bins[3].head = gone->bins[3].head->next;
	wipe();
	hk_lock(&gone->lock);
	hk_heap_settle(gone);
	hk_unlock(&gone->lock);
	live = slab->live;
	assert_int_equal(live, MANY - 100 + 1);
	unit_audit();
}

static void orphans_slots_are_posted(void **state)
{
	(void)state;
	begin(0);
	/* GONE freed 20 blocks of ME's, and they were in its slot at the fork. */
	void *mine[20];
	unit_take(mine, 20, 128);
	struct hk_slab *slab = hk_slab_of_tiny(mine[0]);
	unit_as(gone);
	for (unsigned i = 0; i < 20; i++)
		hak_free(mine[i]);
	unit_as(me);
	uint32_t live = slab->live;
	wipe();
	hk_lock(&gone->lock);
	hk_heap_settle(gone);
	hk_unlock(&gone->lock);
	unit_drain(me);
	assert_int_equal(slab->live, live - 20);
	unit_audit();
}

static void expect_quarantined(void)
{
	assert_int_equal(hk_heap_state(gone), HK_HEAP_QUARANTINED);
	assert_int_equal(gone->lock.owner, 0);
	/* Its blocks may be freed, and are never used again. */
	struct hk_slab *slab = hk_slab_of_tiny(blocks[MANY - 1]);
	uint32_t live = slab->live;
	for (unsigned i = 100; i < MANY; i++)
		hak_free(blocks[i]);
	hk_remote_flush(me, false);
	hk_heaps_trim(0);
	assert_int_equal(slab->live, live);
	static void *more[3000];
	unit_take(more, COUNT_OF(more), 64);
	for (unsigned i = 0; i < COUNT_OF(more); i++)
		assert_ptr_not_equal(hk_slab_of_tiny(more[i]), slab);
	assert_int_equal(me->count.refill_parked, 0);
	unit_audit();
}

static void a_held_lock_quarantines(void **state)
{
	(void)state;
	begin(100);
	gone->lock.owner = VANISHED;
	gone->borrowed_bytes = 1u << 20; /* nobody can give that back */
	hk_held_bytes = gone->borrowed_bytes + me->borrowed_bytes;
	wipe();
	assert_int_equal(hk_held_bytes, me->borrowed_bytes);
	assert_int_equal(hk_heaps_parked, 0);
	expect_quarantined();
}

static void a_busy_thread_quarantines(void **state)
{
	(void)state;
	begin(100);
	gone->busy = 1;
	wipe();
	expect_quarantined();
}

static void a_parked_heap_in_use_is_quarantined(void **state)
{
	(void)state;
	begin(100);
	hk_heap_states[gone->index] = HK_HEAP_PARKED;
	hk_heaps_parked = 1;
	gone->lock.owner = VANISHED; /* someone was taking a slab */
	wipe();
	assert_int_equal(hk_heaps_parked, 0);
	expect_quarantined();
}

static void a_held_shared_heap_is_replaced(void **state)
{
	(void)state;
	begin(0);
	struct hk_heap *shared = hk_shared_heaps[0];
	uint32_t n;
	struct hk_block *old = hk_shared_take(0, 3, 5, &n);
	assert_non_null(old);
	shared->lock.owner = VANISHED;
	wipe();
	assert_int_equal(hk_heap_states[shared->index], HK_HEAP_QUARANTINED);
	assert_ptr_not_equal(hk_shared_heaps[0], shared);
	assert_int_equal(hk_heap_state(hk_shared_heaps[0]), HK_HEAP_SHARED);
	assert_int_equal(hk_shared_heaps[0]->shared, 1);
	struct hk_block *fresh = hk_shared_take(0, 3, 5, &n);
	assert_non_null(fresh);
	assert_ptr_not_equal(hk_slab_of_tiny(fresh), hk_slab_of_tiny(old));
	hak_free(old);
	hak_free(fresh);
	unit_audit();
}

static void a_held_pool_is_rebuilt(void **state)
{
	(void)state;
	bool zero;
	begin(100);
	char *p = hk_pool_chunks_alloc(POOL, 3, 1, HK_CODE_SPAN, &zero);
	size_t used = POOL->used_supers, free_chunks = POOL->free_chunks;
	/* Half-way through a change of its lists. */
	POOL->lock.owner = VANISHED;
	hk_bucket_remove(POOL, hk_super_index(p));
	wipe();
	assert_int_equal(POOL->lock.owner, 0);
	assert_int_equal(POOL->used_supers, used);
	assert_int_equal(POOL->free_chunks, free_chunks);
	unit_audit();
	hk_pool_chunks_free(POOL, p, 3);
	assert_non_null(hk_pool_span_alloc(POOL, 40, 1, &zero));
	unit_audit();
}

/* A real fork: the word is wiped by the kernel, and the child's first slow path looks. */
static void children_see_that_they_are(void **state)
{
	(void)state;
	begin(100);
	gone->lock.owner = VANISHED;
	pid_t pid = fork();
	if (!pid) {
		static void *more[3000];
		alarm(20);
		for (unsigned i = 0; i < COUNT_OF(more); i++)
			if (!(more[i] = hak_malloc(64)))
				_exit(1);
		_exit(hk_heap_state(gone) == HK_HEAP_QUARANTINED && !hk_heaps_audit() ? 0 : 2);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(hk_heap_state(gone), HK_HEAP_LIVE); /* the parent's is untouched */
	assert_int_equal(gone->lock.owner, VANISHED);
	gone->lock.owner = 0;
}

/* _Fork runs no handlers. */
static void children_of_plain_fork_see_it_too(void **state)
{
	(void)state;
	begin(100);
	gone->busy = 1;
	pid_t pid = _Fork();
	if (!pid) {
		alarm(20);
		for (unsigned i = 0; i < 3000; i++)
			if (!hak_malloc(64))
				_exit(1);
		_exit(hk_heap_state(gone) == HK_HEAP_QUARANTINED ? 0 : 2);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 2 && !hk_os_fork_word())
		unit_skip("the kernel has no MADV_WIPEONFORK");
	assert_int_equal(status, 0);
	gone->busy = 0;
}

/* They are shared with the parent: each copy would be more memory, and time that a short child has not. */
static void a_child_copies_no_starters(void **state)
{
	(void)state;
	bool zero;
	unit_start("HAKMEM_STARTER_MIB=2");
	for (unsigned i = 0; i < HK_SUPER_CHUNKS; i++)
		memset(hk_pool_chunks_alloc(POOL, 1, 1, HK_CODE_TINY, &zero), 1, HK_CHUNK_BYTES);
	unit_wipe();
	for (unsigned i = 0; i < 2 * HK_SUPER_CHUNKS; i++)
		assert_non_null(hk_pool_chunks_alloc(POOL, 1, 1, HK_CODE_TINY, &zero));
	assert_int_equal(POOL->count.promoted, 0);
	assert_int_equal(POOL->promote_misses, 0);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(whole_heaps_are_parked),
		cmocka_unit_test(orphans_between_two_stores_are_recounted),
		cmocka_unit_test(orphans_slots_are_posted),
		cmocka_unit_test(a_held_lock_quarantines),
		cmocka_unit_test(a_busy_thread_quarantines),
		cmocka_unit_test(a_parked_heap_in_use_is_quarantined),
		cmocka_unit_test(a_held_shared_heap_is_replaced),
		cmocka_unit_test(a_held_pool_is_rebuilt),
		cmocka_unit_test(children_see_that_they_are),
		cmocka_unit_test(children_of_plain_fork_see_it_too),
		cmocka_unit_test(a_child_copies_no_starters),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
