/* arena_test.c - src/heap/arena.c and src/arena/lend.c from inside: lists and sums of what is lent, seats, lives, tags,
 * what a child finds. What programs see of it is in tests/arena. */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "hakmem/arena.h"
#include "heap/arena.h"

/* What happens while an arena's pages are made, and whether the kernel has hugetlb pages: the program is linked with
 * --wrap. */
static void (*meanwhile)(void);
static int hugetlb_says = -ENOMEM;

int __real_hk_os_populate(uintptr_t where, size_t bytes);
int __wrap_hk_os_populate(uintptr_t where, size_t bytes);
int __wrap_hk_os_hugetlb(uintptr_t where, size_t bytes, unsigned shift);

int __wrap_hk_os_populate(uintptr_t where, size_t bytes)
{
	if (meanwhile)
		meanwhile();
	return __real_hk_os_populate(where, bytes);
}

/* Ordinary pages stay there. */
int __wrap_hk_os_hugetlb(uintptr_t where, size_t bytes, unsigned shift)
{
	(void)where, (void)bytes, (void)shift;
	return hugetlb_says;
}

static struct hk_arena *make(size_t supers, unsigned populate, unsigned flags)
{
	struct hak_arena_options o = {.size_bytes = sizeof(o), .initial_bytes = supers << HK_SUPER_SHIFT,
				      .populate = populate, .flags = flags};
	hak_arena *arena = NULL;
	assert_int_equal(hak_arena_create(&o, &arena), 0);
	return (struct hk_arena *)arena;
}

static hak_arena *handle(struct hk_arena *arena)
{
	return (hak_arena *)arena;
}

/* lend.c I1, I2: all and the free ones among them, each once, all of them the arena's. */
static void audit_lent(struct hk_arena *arena)
{
	struct hk_lent *lent = &arena->pool.lent;
	size_t all = 0, spare = 0, is_free = 0;
	for (uint32_t at = lent->all; at; at = hk_super_at(at - 1)->all_next, all++) {
		assert_ptr_equal(hk_super_at(at - 1)->pool, &arena->pool);
		assert_true(all <= lent->supers);
		is_free += hk_super_at(at - 1)->state == HK_SUPER_FREE;
	}
	for (uint32_t at = lent->spare_head, before = 0; at; before = at, at = hk_super_at(at - 1)->next, spare++) {
		assert_int_equal(hk_super_at(at - 1)->prev, before);
		assert_int_equal(hk_super_at(at - 1)->state, HK_SUPER_FREE);
		assert_true(spare <= lent->supers);
	}
	assert_int_equal(all, lent->supers);
	assert_int_equal(spare, lent->spare);
	assert_int_equal(is_free, lent->spare);
	assert_int_equal(arena->pool.used_supers, all - spare);
	assert_true(lent->supers <= lent->most);
}

/* True if the node's pool believes that it could hand the SuperSlab out. */
static bool lender_has(const void *p)
{
	size_t i = hk_super_index(p);
	return hk_gibs[i / HK_GIB_SUPERS]->free_bits[i % HK_GIB_SUPERS / 64] >> i % 64 & 1;
}

static void test_lists(void **state)
{
	uint64_t rnd = 3;
	static void *p[300];
	(void)state;
	unit_start(NULL);
	struct hk_arena *arena = make(3, 0, 0);
	audit_lent(arena);
	for (unsigned i = 0; i < 20000; i++) {
		void **at = &p[unit_random(&rnd) % COUNT_OF(p)];
		size_t size = unit_random(&rnd) % (i % 8 ? 4000 : 5 << 20);
		hak_arena_free(handle(arena), *at);
		*at = hak_arena_alloc(handle(arena), size);
		assert_non_null(*at);
		assert_false(lender_has(*at));
		if (i % 500 == 0)
			audit_lent(arena);
		if (i % 5000 == 4999) {
			assert_int_equal(hak_arena_reset(handle(arena)), 0);
			memset(p, 0, sizeof(p));
			audit_lent(arena);
			assert_int_equal(arena->pool.lent.spare, arena->pool.lent.supers);
		}
	}
	unit_audit();
	void *last = hak_arena_alloc(handle(arena), 100);
	assert_int_equal(hak_arena_destroy(handle(arena)), 0);
	assert_true(lender_has(last));
	assert_ptr_equal(hk_super_at(hk_super_index(last))->pool, POOL);
	unit_audit();
}

static void test_maximum(void **state)
{
	(void)state;
	unit_start(NULL);
	struct hk_arena *arena = make(2, 0, 0);
	arena->pool.lent.most = 4;
	hk_lock(&arena->pool.lock);
	assert_int_equal(hk_lent_grow(&arena->pool, 3, 1), -ENOMEM);
	assert_int_equal(hk_lent_grow(&arena->pool, SIZE_MAX, 1), -ENOMEM);
	assert_int_equal(hk_lent_grow(&arena->pool, 2, 1), 0);
	assert_int_equal(hk_lent_grow(&arena->pool, 1, 1), -ENOMEM);
	hk_unlock(&arena->pool.lock);
	audit_lent(arena);
	hak_arena_destroy(handle(arena));
}

static void test_lives(void **state)
{
	(void)state;
	unit_start(NULL);
	struct hk_arena *arena = make(1, 0, 0);
	uint64_t life = arena->life;
	assert_true(life & 1);
	struct hk_heap *heap = hk_arena_heap(arena);
	uint64_t tag = heap->tag;
	assert_int_equal(hk_heap_state(heap), HK_HEAP_ARENA);
	assert_ptr_equal(heap->home, hk_heap_ordinary());
	hak_arena_alloc(handle(arena), 100);
	hak_arena_reset(handle(arena));
	assert_true(heap->tag != tag && arena->life == life);
	assert_null(heap->bins[hk_class_of(100)].head);
	hak_arena_destroy(handle(arena));
	assert_false(arena->life & 1);
	assert_int_equal(hk_heap_state(heap), HK_HEAP_SPARE);
	assert_null(hk_heap_ordinary()->guests);
	struct hk_arena *next = make(1, 0, 0);
	assert_ptr_equal(next, arena); /* type-stable, with another life */
	assert_true(next->life == life + 2);
	assert_ptr_equal(hk_arena_heap(next), heap);
	hak_arena_destroy(handle(next));
}

/* What a thread with a pushed arena of a single owner frees is its own, whoever called into the arena since. */
static void test_pushed_and_lent(void **state)
{
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=0");
	struct hk_heap *own = unit_heap(), *other = unit_heap();
	unit_as(own);
	unsigned c = hk_class_of(200);
	void *p = hak_malloc(200), *q = hak_malloc(200), *large = hak_malloc(1u << 20);
	struct hk_arena *arena = make(4, 0, HAK_ARENA_SINGLE);
	assert_int_equal(hak_arena_push(handle(arena)), 0);
	struct hk_heap *one = hk_heap_mine();
	assert_ptr_equal(one, arena->one);
	unit_as(other); /* another thread works with it meanwhile */
	void *r = hak_arena_alloc(handle(arena), 64);
	assert_ptr_equal(one->home, other);
	hk_home_tls = own;
	hk_heap_tls = one;
	hak_free(p);
	assert_ptr_equal(own->bins[c].head, p);
	assert_null(other->bins[c].head);
	uint64_t before = own->count.span_freed;
	other->busy = 1; /* it is in the middle of something */
	hak_free(large);
	assert_int_equal(other->busy, 1);
	assert_int_equal(own->count.span_freed, before + 1);
	other->busy = 0;
	unit_as(other);
	hk_arenas_leave(other, NULL); /* and ends: the arena's heap has no thread */
	assert_null(one->home);
	hk_home_tls = own;
	hk_heap_tls = one;
	hak_free(q);
	assert_ptr_equal(own->bins[c].head, q);
	hak_arena_free(handle(arena), r);
	assert_int_equal(hak_arena_pop(), 0);
	assert_ptr_equal(hk_heap_mine(), own);
	hak_arena_destroy(handle(arena));
}

/* Address space that hakmem keeps to grow into is nobody's to give. */
static void test_given_in_our_own(void **state)
{
	(void)state;
	unit_start(NULL);
	hak_arena *arena;
	struct hak_arena_options o = {.size_bytes = sizeof(o), .memory = (void *)(hk_region.base + ((size_t)1 << 40)),
				      .memory_bytes = ARENA_MIB(4)};
	assert_int_equal(hak_arena_create(&o, &arena), -EEXIST);
}

/* Where only the first, small pages are left to be committed. */
static void test_huge_under_a_limit(void **state)
{
	(void)state;
	struct rlimit limit = {1ul << 40, 1ul << 40};
	struct hak_arena_stats stats = {.size_bytes = sizeof(stats)};
	struct hak_arena_options o = {.size_bytes = sizeof(o), .pages = HAK_PAGES_THP, .flags = HAK_ARENA_STRICT,
				      .initial_bytes = ARENA_MIB(4)};
	hak_arena *arena;
	assert_int_equal(setrlimit(RLIMIT_DATA, &limit), 0);
	unit_start("HAKMEM_STARTER_MIB=16");
	assert_int_equal(hak_arena_create(&o, &arena), -ENOMEM);
	o.flags = 0;
	assert_int_equal(hak_arena_create(&o, &arena), 0);
	assert_int_equal(hak_arena_stats(arena, &stats), 0);
	assert_int_equal(stats.fallbacks, 2);
	assert_int_equal(hak_arena_destroy(arena), 0);
	o.pages = HAK_PAGES_AUTO;
	assert_int_equal(hak_arena_create(&o, &arena), 0);
	assert_int_equal(hak_arena_stats(arena, &stats), 0);
	assert_int_equal(stats.fallbacks, 0);
	assert_int_equal(hak_arena_destroy(arena), 0);
}

static struct hk_heap *left;

static void *leaves_a_heap(void *arena)
{
	hak_arena_alloc(arena, 100);
	left = hk_heap_ordinary();
	return NULL;
}

/* The ordinary heap goes to the next thread, which has none in the arena yet. */
static void test_seats_are_left(void **state)
{
	pthread_t t;
	(void)state;
	unit_start(NULL);
	struct hk_arena *arena = make(1, 0, 0);
	assert_int_equal(pthread_create(&t, NULL, leaves_a_heap, arena), 0);
	pthread_join(t, NULL);
	for (unsigned i = 0; i < HK_SEATS; i++)
		assert_null(left->seats[i].heap);
	assert_null(left->guests);
	hak_arena_destroy(handle(arena));
}

static unsigned taken;

/* Takes all that there is of ARENA, gives nine blocks of ten back, and ends. */
static void *takes_all(void *arena)
{
	static void *p[16384];
	while (taken < COUNT_OF(p) && (p[taken] = hak_arena_alloc(arena, 1000)))
		taken++;
	for (unsigned i = 0; i < taken; i++)
		if (i % 10)
			hak_arena_free(arena, p[i]);
	return NULL;
}

/* It is for those who stay, also for one that has a heap there already. */
static void test_what_ended_threads_left(void **state)
{
	pthread_t t;
	unsigned n = 0;
	(void)state;
	unit_start(NULL);
	struct hk_arena *arena = make(4, 0, 0);
	arena->pool.lent.most = 4;
	assert_non_null(hak_arena_alloc(handle(arena), 1000));
	assert_int_equal(pthread_create(&t, NULL, takes_all, arena), 0);
	pthread_join(t, NULL);
	assert_in_range(taken, 7000, 8400);
	while (hak_arena_alloc(handle(arena), 1000))
		n++;
	assert_in_range(n, taken * 8 / 10, taken);
	audit_lent(arena);
	unit_audit();
	hak_arena_destroy(handle(arena));
}

/* A seat serves eight arenas and more, by turns. */
static void test_more_than_seats(void **state)
{
	enum { MANY = 3 * HK_SEATS + 1 };
	struct hk_arena *arena[MANY];
	struct hk_heap *heap[MANY];
	(void)state;
	unit_start(NULL);
	for (unsigned i = 0; i < MANY; i++)
		heap[i] = hk_arena_heap(arena[i] = make(0, 0, 0));
	for (unsigned k = 0; k < 3; k++)
		for (unsigned i = 0; i < MANY; i++) {
			assert_ptr_equal(hk_arena_heap(arena[i]), heap[i]);
			assert_ptr_equal(hk_arena_guest(hk_heap_ordinary(), &arena[i]->pool), heap[i]);
		}
	for (unsigned i = 0; i < MANY; i++)
		hak_arena_destroy(handle(arena[i]));
}

/* A handler that interrupted the allocator: refused, or from a bin that has a block, never from elsewhere. */
static void test_inside_another_call(void **state)
{
	(void)state;
	unit_start(NULL);
	struct hk_arena *arena = make(1, 0, 0);
	hak_arena_alloc(handle(arena), 100);
	struct hk_heap *heap = hk_arena_heap(arena), *home = hk_heap_ordinary();
	struct hk_heap *both[] = {heap, home};
	for (unsigned i = 0; i < 2; i++) {
		both[i]->busy = 1;
		for (size_t size = 16; size < 4 << 20; size *= 2) {
			void *p = hak_arena_alloc(handle(arena), size);
			assert_true(!p || hak_arena_owner(p) == handle(arena));
			p = hak_arena_aligned_alloc(handle(arena), 4096, size);
			assert_true(!p || hak_arena_owner(p) == handle(arena));
		}
		both[i]->busy = 0;
	}
	hak_arena_destroy(handle(arena));
}

/* Resident memory must count as such when it goes back, or nobody ever purges it. */
static void test_populated_goes_back_warm(void **state)
{
	(void)state;
	unit_start(NULL);
	struct hk_arena *arena = make(8, HAK_POPULATE_NOW, 0);
	size_t index = arena->pool.lent.all - 1;
	assert_true(unit_resident((void *)hk_super_base(index)));
	hak_arena_destroy(handle(arena));
	assert_true(!unit_resident((void *)hk_super_base(index)) || hk_super_at(index)->zero != ~0u);
	hk_heaps_trim(0);
	assert_false(unit_resident((void *)hk_super_base(index)));
	unit_audit();
}

/* What medium slabs want in the side table is there, too. */
static void test_headers_are_ready(void **state)
{
	(void)state;
	unit_start(NULL);
	struct hk_arena *arena = make(40, HAK_POPULATE_NOW, 0);
	for (uint32_t at = arena->pool.lent.all; at; at = hk_super_at(at - 1)->all_next) {
		assert_non_null(hk_slab_at(at - 1, 0));
		assert_true(unit_resident(hk_slab_at(at - 1, 0)));
	}
	hak_arena_destroy(handle(arena));
}

/* ---- children ---- */

static void child_must_pass(void (*run)(struct hk_arena *), struct hk_arena *arena)
{
	int status;
	pid_t pid = fork();
	if (!pid) {
		alarm(10);
		run(arena);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define NEED(what)                  \
	do {                        \
		if (!(what))        \
			_exit(1);   \
	} while (0)

static void with_home(struct hk_arena *arena)
{
	(void)arena;
	hak_malloc(100);
	NEED(hk_heap_state(hk_heap_ordinary()) == HK_HEAP_LIVE);
	NEED(hak_arena_pop() == 0 && hk_heap_state(hk_heap_mine()) == HK_HEAP_LIVE);
	NEED(!hk_heap_mine()->orphan);
}

static void test_child_of_a_pushed_one(void **state)
{
	(void)state;
	unit_start(NULL);
	struct hk_arena *arena = make(1, 0, 0);
	assert_int_equal(hak_arena_push(handle(arena)), 0);
	child_must_pass(with_home, arena);
	assert_int_equal(hak_arena_pop(), 0);
	hak_arena_destroy(handle(arena));
}

static void uses_all_classes(struct hk_arena *arena)
{
	for (unsigned round = 0; round < 300; round++)
		for (size_t size = 16; size < 300000; size *= 3)
			hak_arena_alloc(handle(arena), size); /* or NULL: what it had may be lost */
}

/* Another thread was draining this thread's heap, or was in the arena's pool, when the process forked. */
static void test_child_finds_locks(void **state)
{
	(void)state;
	unit_start(NULL);
	struct hk_arena *arena = make(1, 0, 0);
	hak_arena_alloc(handle(arena), 100);
	struct hk_heap *heap = hk_arena_heap(arena);
	heap->lock.owner = 12345; /* a thread that is not in the child */
	child_must_pass(uses_all_classes, arena);
	heap->lock.owner = 0;
	arena->pool.lock.owner = 12345;
	child_must_pass(uses_all_classes, arena);
	arena->pool.lock.owner = 0;
	hak_arena_destroy(handle(arena));
}

/* A fork may come between the two stores of a pop: the list of a vanished thread is counted anew. */
static void *kept[2000];
static struct hk_heap *vanished;

static void frees_into_what_was_left(struct hk_arena *arena)
{
	NEED(hak_arena_alloc(handle(arena), 100) && hk_arena_heap(arena) == vanished);
	for (unsigned i = 100; i < COUNT_OF(kept); i++)
		hak_arena_free(handle(arena), kept[i]);
}

static pthread_barrier_t both;

static void *stays_in_a_pop(void *arena)
{
	for (unsigned i = 0; i < COUNT_OF(kept); i++)
		kept[i] = hak_arena_alloc(arena, 100);
	for (unsigned i = 0; i < 40; i++)
		hak_arena_free(arena, kept[i]);
	vanished = hk_arena_heap(arena);
	struct hk_bin *bin = &vanished->bins[hk_class_of(100)];
	struct hk_block *block = bin->head;
	bin->head = block->next; /* and not counted yet */
	pthread_barrier_wait(&both);
	pthread_barrier_wait(&both);
	bin->head = block;
	return NULL;
}

static void test_child_counts_anew(void **state)
{
	pthread_t t;
	(void)state;
	unit_start(NULL);
	struct hk_arena *arena = make(4, 0, 0);
	pthread_barrier_init(&both, NULL, 2);
	assert_int_equal(pthread_create(&t, NULL, stays_in_a_pop, arena), 0);
	pthread_barrier_wait(&both);
	child_must_pass(frees_into_what_was_left, arena);
	pthread_barrier_wait(&both);
	pthread_join(t, NULL);
	hak_arena_destroy(handle(arena));
}

/* ---- memory that an arena is just getting ---- */

enum { SPANS = 40 };
static void *spans[2 * SPANS];

/* Spans that go on in the next SuperSlab, spans that grow, and some SuperSlabs. */
static void malloc_takes(void)
{
	for (unsigned i = SPANS; i < 2 * SPANS; i++)
		spans[i] = hak_malloc((20 + i % 12) * HK_CHUNK_BYTES);
	for (unsigned i = 0; i < SPANS; i++)
		spans[i] = hak_realloc(spans[i], (i % 2 ? 3 : 6) * HK_SUPER_BYTES);
}

/* The lender's searches for free neighbours. */
static void test_not_malloc_s_any_more(void **state)
{
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=0");
	for (unsigned i = 0; i < SPANS; i++)
		spans[i] = hak_malloc((i % 2 ? 20 * HK_CHUNK_BYTES : 2 * HK_SUPER_BYTES));
	meanwhile = malloc_takes;
	struct hk_arena *arena = make(16, HAK_POPULATE_NOW, 0);
	meanwhile = NULL;
	for (unsigned i = 0; i < 2 * SPANS; i++) {
		size_t bytes = hak_malloc_usable_size(spans[i]);
		for (size_t at = 0; at < bytes; at += HK_CHUNK_BYTES)
			assert_null(hak_arena_owner((char *)spans[i] + at));
		hak_free(spans[i]);
	}
	audit_lent(arena);
	unit_audit();
	assert_int_equal(hak_arena_destroy(handle(arena)), 0);
	unit_audit();
}

/* The kernel's pool is empty while the arena is made, and has pages later. */
static void test_hugetlb_batches_pass_it_by(void **state)
{
	void *p[80];
	(void)state;
	unit_start("HAKMEM_STARTER_MIB=0 HAKMEM_HUGE=hugetlb");
	hugetlb_says = 0;
	for (unsigned i = 0; i < 48; i++)
		p[i] = hak_malloc(HK_SUPER_BYTES);
	assert_true(POOL->hugetlb_supers >= 32);
	hugetlb_says = -ENOMEM;
	unsigned n = 48;
	do
		p[n++] = hak_malloc(HK_SUPER_BYTES);
	while (hk_super_at(hk_super_index(p[n - 1]))->flags & HK_SUPER_HUGETLB);
	struct hk_arena *arena = make(16, 0, 0);
	hak_free(p[--n]); /* in front of the arena's */
	hak_malloc_trim(0);
	hugetlb_says = 0;
	POOL->hugetlb_refused_ms = 0;
	for (unsigned i = 0; i < 8; i++) {
		p[n] = hak_malloc(HK_SUPER_BYTES);
		assert_null(hak_arena_owner(p[n++]));
	}
	audit_lent(arena);
	assert_int_equal(hak_arena_destroy(handle(arena)), 0);
	while (n)
		hak_free(p[--n]);
	unit_audit();
}

int main(int argc, char **argv)
{
	const struct CMUnitTest cases[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_maximum),
		cmocka_unit_test(test_lives),
		cmocka_unit_test(test_pushed_and_lent),
		cmocka_unit_test(test_given_in_our_own),
		cmocka_unit_test(test_huge_under_a_limit),
		cmocka_unit_test(test_seats_are_left),
		cmocka_unit_test(test_what_ended_threads_left),
		cmocka_unit_test(test_more_than_seats),
		cmocka_unit_test(test_inside_another_call),
		cmocka_unit_test(test_populated_goes_back_warm),
		cmocka_unit_test(test_headers_are_ready),
		cmocka_unit_test(test_child_of_a_pushed_one),
		cmocka_unit_test(test_child_finds_locks),
		cmocka_unit_test(test_child_counts_anew),
		cmocka_unit_test(test_not_malloc_s_any_more),
		cmocka_unit_test(test_hugetlb_batches_pass_it_by),
	};
	return unit_main(argc, argv, cases, COUNT_OF(cases));
}
