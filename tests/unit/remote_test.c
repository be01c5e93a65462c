/* remote_test.c - src/tiny/remote.c: chains gathered, posted, drained, posted on. One thread plays
 * several heaps; what threads do at once is threads_test.c's. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#define SIZE 64u
#define CLASS 3u
#define CHAIN (HK_CHAIN_BYTES / SIZE)
#define POSTED ((HK_PENDING_BYTES + HK_CHAIN_BYTES - 1) / HK_CHAIN_BYTES) /* chains in a post */

static struct hk_heap *owner, *other;
static void *blocks[4096];

/* COUNT blocks of OWNER's slabs; OTHER is the calling thread's heap afterwards. */
static void begin_many(size_t count)
{
	unit_start("HAKMEM_STARTER_MIB=0");
	owner = unit_heap();
	other = unit_heap();
	unit_as(owner);
	unit_take(blocks, count, SIZE);
	unit_as(other);
	other->classes[CLASS].draining = HK_DRAINS_OTHERS;
}

/* The same of one slab. */
static struct hk_slab *begin(size_t count)
{
	begin_many(count);
	struct hk_slab *slab = hk_slab_of_tiny(blocks[0]);
	for (size_t i = 0; i < count; i++)
		assert_ptr_equal(hk_slab_of_tiny(blocks[i]), slab);
	return slab;
}

/* Posts the first COUNT * EACH blocks in COUNT chains. */
static void give_chains(unsigned count, unsigned each)
{
	for (unsigned i = 0; i < count; i++) {
		unit_give(blocks + i * each, each);
		hk_remote_flush(other, false);
	}
}

static void gathers_before_it_posts(void **state)
{
	(void)state;
	struct hk_slab *slab = begin(CHAIN * 2);
	struct hk_slot *slot = hk_slot_of(other, slab);
	unit_give(blocks, CHAIN - 1);
	assert_ptr_equal(slot->slab, slab);
	assert_int_equal(slot->room_full - slot->room, CHAIN - 1);
	assert_int_equal(unit_walk(slot->head), CHAIN - 1);
	assert_int_equal(other->pending_chains, 0);
	unit_give(blocks + CHAIN - 1, 1);
	assert_null(slot->slab);
	assert_ptr_equal(other->pending_owner, owner);
	assert_int_equal(other->pending_chains, 1);
	assert_int_equal(other->pending_bytes, CHAIN * SIZE);
	unit_give(blocks + CHAIN, CHAIN);
	assert_null(owner->xqueue);
	hk_remote_flush(other, false);
	assert_non_null(owner->xqueue);
	assert_null(other->pending_owner);
	assert_int_equal(other->count.ss_remote, CHAIN * 2);
	assert_int_equal(other->count.ss_remote_posted, 2);
	assert_int_equal(other->count.ss_remote_posts, 1);
	assert_int_equal(unit_walk(owner->xqueue), CHAIN * 2);
	unit_drain(owner);
}

static void posts_when_enough_is_pending(void **state)
{
	(void)state;
	size_t n = 0;
	begin_many(3000);
	while (n < 3000 && !owner->xqueue)
		unit_give(blocks + n++, 1);
	assert_non_null(owner->xqueue);
	assert_null(other->pending_owner);
	assert_int_equal(other->count.ss_remote_posted, POSTED);
	assert_int_equal(other->count.ss_remote_posts, 1);
	assert_int_equal(owner->xqueued_bytes, CHAIN * POSTED * SIZE);
	assert_int_equal(unit_walk(owner->xqueue), CHAIN * POSTED);
	unit_give(blocks + n, 3000 - n);
	hk_remote_flush(other, false);
	unit_drain(owner);
}

static void chains_say_what_they_are(void **state)
{
	(void)state;
	struct hk_slab *slab = begin(10);
	void *tail = blocks[0], *head = blocks[9];
	unit_give(blocks, 10);
	hk_remote_flush(other, false);
	const struct hk_chain *chain = (const struct hk_chain *)owner->xqueue;
	assert_ptr_equal(chain, head);
	assert_int_equal(chain->count, 10);
	assert_int_equal(chain->tail_and_class & 127, CLASS);
	assert_ptr_equal(slab->base + (chain->tail_and_class >> 7) * 16ul, tail);
	assert_null(((struct hk_block *)tail)->next);
}

static void drains_into_slabs(void **state)
{
	(void)state;
	struct hk_slab *slab = begin(200);
	uint32_t live = slab->live;
	unit_give(blocks, 150);
	assert_int_equal(slab->live, live); /* what waits in a queue is live */
	hk_remote_flush(other, false);
	unit_drain(owner);
	assert_int_equal(slab->live, live - 150);
	assert_int_equal(unit_walk(slab->free), 150);
	assert_int_equal(owner->count.ss_remote_drained, 150);
	assert_null(owner->xqueue);
	assert_int_equal(owner->xqueued_bytes, 0);
	unit_audit();
}

static void drains_into_a_bin_what_it_wants(void **state)
{
	(void)state;
	enum { EACH = 48 };
	struct hk_slab *slab = begin(EACH * 4);
	struct hk_block *list = NULL;
	uint32_t live = slab->live, got;
	give_chains(4, EACH);
	hk_lock(&owner->lock);
	got = hk_remote_drain(owner, UINT32_MAX, CLASS, EACH + 1, &list);
	hk_unlock(&owner->lock);
	assert_int_equal(got, 2 * EACH);
	assert_int_equal(unit_walk(list), got);
	assert_int_equal(slab->live, live - 2 * EACH); /* the list's are live still */
	assert_int_equal(owner->count.ss_remote_drained, 4 * EACH);
}

static void bounded_drains_keep_the_rest(void **state)
{
	(void)state;
	enum { EACH = 48 };
	struct hk_slab *slab = begin(EACH * 5);
	uint32_t live = slab->live;
	give_chains(5, EACH);
	for (unsigned i = 1; i <= 5; i++) {
		hk_lock(&owner->lock);
		hk_remote_drain(owner, 1, HK_CLASSES, 0, NULL);
		hk_unlock(&owner->lock);
		assert_int_equal(slab->live, live - i * EACH);
		assert_int_equal(owner->drain_rest != NULL, i < 5);
	}
	unit_audit();
}

/* The slab of chains that are on the way to OWNER finds another one. */
static struct hk_heap *move_slab(struct hk_slab *slab)
{
	struct hk_heap *heir = unit_heap();
	give_chains(2, 50);
	hk_slab_unlink(owner, slab);
	owner->classes[CLASS].last = NULL;
	owner->classes[CLASS].slabs--;
	owner->slabs--;
	heir->classes[CLASS].slabs++;
	heir->slabs++;
	hk_slab_own(slab, heir);
	hk_slab_link(heir, slab);
	return heir;
}

static void moved_slabs_chains_are_posted_on(void **state)
{
	(void)state;
	struct hk_slab *slab = begin(100);
	struct hk_heap *heir = move_slab(slab);
	uint32_t live = slab->live;
	unit_drain(owner);
	assert_int_equal(slab->live, live);
	assert_int_equal(owner->count.ss_remote_moved, 2);
	assert_int_equal(owner->count.ss_remote_drained, 0);
	assert_non_null(heir->xqueue);
	unit_drain(heir);
	assert_int_equal(slab->live, live - 100);
	assert_int_equal(heir->count.ss_remote_drained, 100);
	unit_audit();
}

/* The new owner has no thread that would look into its queue. */
static void moved_slabs_chains_of_a_parked_heap_are_drained(void **state)
{
	(void)state;
	struct hk_slab *slab = begin(100);
	struct hk_heap *heir = move_slab(slab);
	uint32_t live = slab->live;
	hk_store(&hk_heap_states[heir->index], HK_HEAP_PARKED);
	unit_drain(owner);
	assert_int_equal(owner->count.ss_remote_moved, 2);
	assert_null(heir->xqueue);
	assert_int_equal(slab->live, live - 100);
}

static void slots_are_evicted_by_other_slabs(void **state)
{
	(void)state;
	enum { SLABS = 3 * HK_SLOTS };
	static void *big[SLABS];
	unit_start("HAKMEM_STARTER_MIB=0");
	owner = unit_heap();
	other = unit_heap();
	unit_as(owner);
	/* A class with few blocks to a slab: 8 KiB each. */
	unit_take(big, SLABS, HK_TINY_MAX);
	unit_as(other);
	unit_give(big, SLABS);
	hk_remote_flush(other, false);
	for (unsigned i = 0; i < HK_SLOTS; i++)
		assert_null(other->slots[i].slab);
	assert_int_equal(other->count.ss_remote, SLABS);
	unit_drain(owner);
	assert_int_equal(owner->count.ss_remote_drained, SLABS);
}

static void medium_blocks_go_at_once(void **state)
{
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=0");
	owner = unit_heap();
	other = unit_heap();
	unit_as(owner);
	unit_take(blocks, 3, 50000);
	unit_as(other);
	for (unsigned i = 1; i <= 3; i++) {
		unit_give(blocks + i - 1, 1);
		assert_int_equal(other->count.ss_remote_posts, i);
		assert_int_equal(unit_walk(owner->xqueue), i);
	}
	unit_drain(owner);
	unit_as(owner);
	assert_int_equal(owner->count.ss_remote_drained, 3);
}

static void threads_without_a_heap_post_one_by_one(void **state)
{
	(void)state;
	begin(2);
	unit_as(&hk_heap_dead);
	hak_free(blocks[0]);
	hak_free(blocks[1]);
	assert_int_equal(unit_walk(owner->xqueue), 2);
	assert_int_equal(((struct hk_chain *)owner->xqueue)->count, 1);
	unit_drain(owner);
	assert_int_equal(owner->count.ss_remote_drained, 2);
}

/* More than a MiB for a live owner: it sleeps, so the posters drain, some chains at a time. */
static void posters_drain_a_sleeper(void **state)
{
	(void)state;
	enum { BLOCKS = 1000 };
	unit_start("HAKMEM_STARTER_MIB=0");
	owner = unit_heap();
	other = unit_heap();
	unit_as(owner);
	unit_take(blocks, BLOCKS, HK_TINY_MAX);
	unit_as(other);
	for (unsigned i = 0; i < BLOCKS; i++) {
		unit_give(blocks + i, 1);
		size_t waiting = (i + 1 - owner->count.ss_remote_drained) * HK_TINY_MAX;
		assert_true(waiting <= ARENA_MIB(2) + (64 << 10));
	}
	assert_true(owner->count.ss_remote_drained >= BLOCKS / 2);
	unit_audit();
}

static void recount_trusts_the_list_alone(void **state)
{
	(void)state;
	struct hk_slab *slab = begin(20);
	uint32_t live = slab->live;
	unit_give(blocks, 20);
	struct hk_slot *slot = hk_slot_of(other, slab);
	/* As if a fork had stopped the thread between linking and counting. */
	slot->room += 1;
	slot->tail = slot->head;
	hk_remote_flush(other, true);
	assert_int_equal(((struct hk_chain *)owner->xqueue)->count, 20);
	unit_drain(owner);
	assert_int_equal(slab->live, live - 20);
	unit_audit();
}

static void free_p(void *p)
{
	hak_free(p);
}

static void drain_owner(void *p)
{
	(void)p;
	unit_drain(owner);
}

static void misuse_is_fatal(void **state)
{
	(void)state;
	begin(10);
	void *p = blocks[4];
	unit_must_abort(free_p, (char *)p + 16, "free of a pointer inside a block");
	unit_give(blocks, 5);
	unit_must_abort(free_p, p, "double free"); /* the newest in its slot */
	hk_remote_flush(other, false);
	memset(p, 0xff, SIZE); /* the head of its chain */
	unit_must_abort(drain_owner, NULL, "written to after it was freed");
	exit(0);
}

/* Blocks of all kinds wander between four heaps; in the end every chunk is free again. */
static void nothing_is_lost(void **state)
{
	(void)state;
	enum { HEAPS = 4, LIVE = 2000 };
	static struct {
		uint64_t *p;
		size_t size;
	} live[LIVE];
	struct hk_heap *heaps[HEAPS];
	uint64_t seed = 21;
	unit_start("HAKMEM_STARTER_MIB=4");
	for (unsigned i = 0; i < HEAPS; i++)
		heaps[i] = unit_heap();
	for (unsigned n = 0; n < 200000; n++) {
		unsigned i = (unsigned)(unit_random(&seed) % LIVE);
		unit_as(heaps[unit_random(&seed) % HEAPS]);
		if (live[i].p) {
			assert_int_equal(*live[i].p, i);
			hak_free(live[i].p);
			live[i].p = NULL;
		} else {
			unsigned bits = 4 + (unsigned)(unit_random(&seed) % (n % 16 ? 8 : 17));
			live[i].size = 8 + unit_random(&seed) % (1ul << bits);
			live[i].p = hak_malloc(live[i].size);
			assert_non_null(live[i].p);
			*live[i].p = i;
		}
		if (n % 10000 == 0)
			unit_audit();
	}
	for (unsigned i = 0; i < LIVE; i++)
		hak_free(live[i].p);
	unit_empty(heaps, HEAPS);
	unit_audit();
	assert_int_equal(POOL->used_supers, 0);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest cases[] = {
		cmocka_unit_test(gathers_before_it_posts),
		cmocka_unit_test(posts_when_enough_is_pending),
		cmocka_unit_test(chains_say_what_they_are),
		cmocka_unit_test(drains_into_slabs),
		cmocka_unit_test(drains_into_a_bin_what_it_wants),
		cmocka_unit_test(bounded_drains_keep_the_rest),
		cmocka_unit_test(moved_slabs_chains_are_posted_on),
		cmocka_unit_test(moved_slabs_chains_of_a_parked_heap_are_drained),
		cmocka_unit_test(slots_are_evicted_by_other_slabs),
		cmocka_unit_test(medium_blocks_go_at_once),
		cmocka_unit_test(threads_without_a_heap_post_one_by_one),
		cmocka_unit_test(posters_drain_a_sleeper),
		cmocka_unit_test(recount_trusts_the_list_alone),
		cmocka_unit_test(misuse_is_fatal),
		cmocka_unit_test(nothing_is_lost),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
