/* blocks_test.c - blocks of an arena: the calls of arena.h, the libc family on them, the maximum, reset and destroy,
 * push and pop, misuse. */
#define _GNU_SOURCE
#include "arena.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const size_t sizes[] = {0,    1,        15,       16,       17,        64,        100,       1000,     1024,      1025,
			       4096, 8 * KIB,  8193,     16 * KIB, 64 * KIB,  100 * KIB, 512 * KIB, 513 * KIB, MIB,
			       SUPER, 3 * MIB, 5 * SUPER};

static void families(void)
{
	hak_arena *a = arena_make(OPTIONS(.name = "a"));
	size_t i;

	for (i = 0; i < COUNT_OF(sizes); i++) {
		size_t size = sizes[i], usable;
		char *p = hak_arena_alloc(a, size), *q;

		CHECK(p && (uintptr_t)p % 16 == 0, "alloc(%zu) = %p", size, (void *)p);
		CHECK(hak_arena_owner(p) == a && hak_arena_owner(p + size / 2) == a, "owner, %zu", size);
		usable = hak_arena_usable_size(a, p);
		CHECK(usable >= size && usable == test_usable(p), "usable %zu of %zu", usable, size);
		memset(p, 0xa5, usable);
		hak_arena_free(a, p);
		q = hak_arena_zalloc(a, size);
		CHECK(q && hak_arena_owner(q) == a, "zalloc(%zu)", size);
		check_zero(q, size, "zalloc");
		memset(q, 0xa5, size);
		test_free(q);
		q = hak_arena_zalloc(a, size);
		check_zero(q, size, "zalloc after free()");
		hak_arena_free(a, q);
	}
	hak_arena_free(a, NULL);
	CHECK(hak_arena_usable_size(a, NULL) == 0, "usable of NULL");
	CHECK(!hak_arena_alloc(a, SIZE_MAX) && errno == ENOMEM, "SIZE_MAX");
	CHECK(!hak_arena_alloc(a, (size_t)PTRDIFF_MAX + 1) && errno == ENOMEM, "PTRDIFF_MAX + 1");
	CHECK(!hak_arena_zalloc(a, SIZE_MAX) && errno == ENOMEM, "zalloc SIZE_MAX");
	CHECK(hak_arena_destroy(a) == 0, "destroy");
}

static void alignments(void)
{
	hak_arena *a = arena_make(OPTIONS(.name = "a"));
	size_t align, i;

	for (align = 1; align <= 4 * SUPER; align *= 2)
		for (i = 0; i < COUNT_OF(sizes); i++) {
			void *p = hak_arena_aligned_alloc(a, align, sizes[i]);

			CHECK(p && (uintptr_t)p % align == 0 && hak_arena_owner(p) == a, "%zu at %zu: %p", sizes[i], align, p);
			memset(p, 1, sizes[i]);
			if (i & 1)
				hak_arena_free(a, p);
			else
				test_free(p);
		}
	CHECK(!hak_arena_aligned_alloc(a, 0, 16) && errno == EINVAL, "0");
	CHECK(!hak_arena_aligned_alloc(a, 24, 16) && errno == EINVAL, "24");
	CHECK(!hak_arena_aligned_alloc(a, (size_t)1 << 63, 16) && errno == ENOMEM, "2^63");
	hak_arena_destroy(a);
}

static void reallocs(void)
{
	hak_arena *a = arena_make(OPTIONS(.name = "a"));
	uint64_t rnd = 7;
	char *p = NULL, *q;
	size_t size = 0;
	int i;

	for (i = 0; i < 4000; i++) {
		size_t to = test_rand_size(&rnd, 1, i % 50 ? 20 * KIB : 8 * MIB);

		if (p)
			pat_check_moved(p, size, size, 3);
		q = i & 1 ? hak_arena_realloc(a, p, to) : p ? test_realloc(p, to) : hak_arena_alloc(a, to);
		CHECK(q && hak_arena_owner(q) == a, "realloc left the arena: %zu to %zu", size, to);
		pat_check_moved(q, size, size < to ? size : to, 3);
		pat_fill_moved(q, to, 3);
		p = q;
		size = to;
	}
	CHECK(!hak_arena_realloc(a, p, SIZE_MAX) && errno == ENOMEM, "SIZE_MAX");
	pat_check_moved(p, size, size, 3);
	CHECK(!hak_arena_realloc(a, p, 0), "size 0 frees");
	CHECK(arena_stats(a).used_bytes <= 64 * SUPER, "what was freed counts");
	hak_arena_destroy(a);
}

static void maximum(void)
{
	enum { MOST = 8 };
	hak_arena *a = arena_make(OPTIONS(.max_bytes = MOST * SUPER));
	static void *p[MOST * 2048];
	size_t s, n, got, first = 0;

	for (s = 1; s < COUNT_OF(sizes); s++) {
		for (n = got = 0; n < COUNT_OF(p) && (p[n] = hak_arena_alloc(a, sizes[s])); n++)
			got += test_usable(p[n]);
		CHECK(got <= MOST * SUPER && arena_stats(a).supers <= MOST, "%zu bytes of %zu", got, sizes[s]);
		CHECK(n == COUNT_OF(p) || errno == ENOMEM, "errno %d", errno);
		CHECK(n == COUNT_OF(p) || got > MOST * SUPER / 2 || sizes[s] > 2 * SUPER, "refused at %zu of %zu", got, sizes[s]);
		first = first ? first : n;
		CHECK(hak_arena_reset(a) == 0, "reset");
	}
	for (n = 0; hak_arena_alloc(a, 8 * KIB); n++)
		;
	CHECK(n > MOST * 200 && !hak_arena_alloc(a, 8 * KIB), "%zu blocks of 8 KiB", n);
	hak_arena_destroy(a);
}

static void resets(void)
{
	hak_arena *a = arena_make(OPTIONS(.initial_bytes = 4 * SUPER));
	uint64_t rnd = 9, supers = 0;
	int round, i;

	for (round = 0; round < 200; round++) {
		for (i = 0; i < 300; i++) {
			size_t size = test_rand_size(&rnd, 1, i % 100 ? 4 * KIB : 3 * MIB);
			char *p = arena_block(a, size);

			if (i % 3 == 0)
				hak_arena_free(a, p);
			else if (i % 3 == 1 && i & 1)
				test_free(p);
		}
		if (round == 20)
			supers = arena_stats(a).supers;
		CHECK(round <= 20 || arena_stats(a).supers <= supers + 32, "grows with each reset: %llu, then %llu",
		      (unsigned long long)supers, (unsigned long long)arena_stats(a).supers);
		CHECK(hak_arena_reset(a) == 0, "reset");
		CHECK(arena_stats(a).used_bytes == 0 && arena_stats(a).free_supers == arena_stats(a).supers, "in use after it");
		CHECK(arena_stats(a).supers >= 4, "memory is not kept");
	}
	hak_arena_destroy(a);
}

static void destroys(void)
{
	hak_arena *a = arena_make(OPTIONS(.initial_bytes = SUPER)), *b;

	arena_block(a, 100);
	CHECK(hak_arena_destroy(a) == 0 && hak_arena_destroy(a) == -EINVAL, "destroyed twice");
	CHECK(hak_arena_reset(a) == -EINVAL && hak_arena_push(a) == -EINVAL, "after its end");
	CHECK(hak_arena_watch(a, NULL, NULL) == -EINVAL && hak_arena_unwatch(a) == -EINVAL, "after its end");
	CHECK(!hak_arena_alloc(a, 16) && errno == EINVAL, "alloc after its end");
	CHECK(!hak_arena_zalloc(a, 16) && errno == EINVAL, "zalloc after its end");
	b = arena_make(OPTIONS(.initial_bytes = SUPER));
	CHECK(arena_stats(b).heaps == 0 && arena_stats(b).fallbacks == 0 && arena_stats(b).used_bytes == 0, "not as new");
	hak_arena_destroy(b);
}

static uint64_t committed(void)
{
	struct hak_stats s = {.size_bytes = sizeof(s)};

	CHECK(hak_stats_get(&s) == 0, "stats");
	return s.committed_bytes;
}

/* Memory of an arena that ended serves malloc, and the next arena: nothing more is taken for them. */
static void memory_goes_back(void)
{
	hak_arena *a;
	long long before;
	uint64_t had = 0;
	void *p;
	int i;

	for (i = 0; i < 50; i++) {
		a = arena_make(OPTIONS(.initial_bytes = 64 * SUPER));
		p = arena_block(a, 64 * SUPER);
		CHECK(hak_arena_destroy(a) == 0 && !hak_arena_owner(p), "still the arena's");
		p = test_malloc(64 * SUPER - KIB);
		CHECK(p && !hak_arena_owner(p), "malloc");
		test_free(p);
		had = had ? had : committed();
		CHECK(committed() == had, "%llu bytes, then %llu", (unsigned long long)had, (unsigned long long)committed());
	}
	hak_malloc_trim(0);
	before = rss_bytes();
	a = arena_make(OPTIONS(.initial_bytes = 64 * SUPER, .populate = HAK_POPULATE_NOW));
	CHECK(rss_bytes() >= before + 120 * (long long)MIB, "not populated");
	hak_arena_destroy(a);
	hak_malloc_trim(0);
	BOUND("resident after populate and destroy, KiB", (rss_bytes() - before) / 1024, 4096);
	a = arena_make(OPTIONS(.initial_bytes = 64 * SUPER, .flags = HAK_ARENA_LOCK));
	hak_arena_destroy(a);
	hak_malloc_trim(0);
	BOUND("resident after lock and destroy, KiB", (rss_bytes() - before) / 1024, 4096);
}

static void pushes(void)
{
	hak_arena *a = arena_make(OPTIONS(.name = "a")), *b = arena_make(OPTIONS(.name = "b"));
	char *p, *q, *mine = test_malloc(100);
	int i;

	CHECK(hak_arena_pop() == -EINVAL, "nothing was pushed");
	CHECK(hak_arena_push(a) == 0, "push");
	p = test_malloc(100);
	CHECK(hak_arena_owner(p) == a && hak_arena_owner(test_malloc(3 * MIB)) == a, "malloc is not directed");
	test_free(mine); /* of another pool */
	CHECK(hak_arena_push(b) == 0, "push");
	q = test_malloc(100);
	CHECK(hak_arena_owner(q) == b, "the later one is not first");
	test_free(p); /* a's, while b is pushed */
	q = test_realloc(q, 100000);
	CHECK(hak_arena_owner(q) == b, "realloc");
	for (i = 2; i < 8; i++)
		CHECK(hak_arena_push(i & 1 ? a : b) == 0, "push %d", i);
	CHECK(hak_arena_push(a) == -ENOSPC, "9 deep");
	for (i = 8; i-- > 2;) {
		CHECK(hak_arena_owner(test_malloc(10)) == (i & 1 ? a : b), "level %d", i);
		CHECK(hak_arena_pop() == 0, "pop");
	}
	CHECK(hak_arena_pop() == 0 && hak_arena_owner(test_malloc(10)) == a, "back to a");
	CHECK(hak_arena_pop() == 0 && !hak_arena_owner(test_malloc(10)), "back to malloc's");
	CHECK(hak_arena_pop() == -EINVAL, "too many");
	CHECK(hak_arena_destroy(a) == 0 && hak_arena_destroy(b) == 0, "destroy");
	test_free(test_malloc(100));
}

/* Who names a node gets memory of that node's pool, also between push and pop. */
static void pushed_and_onnode(void)
{
	static const size_t some[] = {1, 100, 5000, 100 * KIB, 700 * KIB, 5 * MIB};
	hak_arena *a = arena_make(OPTIONS(.name = "a"));
	int node = hak_thread_node();
	uint64_t used;
	char *p, *q;
	size_t i;

	CHECK(node >= 0 && hak_arena_push(a) == 0, "push");
	for (i = 0; i < COUNT_OF(some); i++) {
		used = arena_stats(a).used_bytes;
		p = hak_malloc_onnode(some[i], node);
		CHECK(p && !hak_arena_owner(p) && hak_node_of(p) == node, "%zu bytes of a node are of an arena, or none", some[i]);
		CHECK(arena_stats(a).used_bytes == used, "the arena has less");
		memset(p, 1, some[i]);
		q = test_malloc(some[i]);
		CHECK(hak_arena_owner(q) == a, "malloc after it");
		test_free(p);
	}
	CHECK(hak_arena_pop() == 0 && hak_arena_destroy(a) == 0, "destroy");
}

/* ---- misuse ---- */

static hak_arena *one, *two;

static void free_of_another(char *p)
{
	hak_arena_free(two, p);
}

static void realloc_of_another(char *p)
{
	CHECK(hak_arena_realloc(two, p, 200), "realloc");
}

static void size_of_another(char *p)
{
	CHECK(hak_arena_usable_size(two, p), "size");
}

static void free_of_inner(char *p)
{
	hak_arena_free(one, p + 24);
}

static void free_after_destroy(char *p)
{
	hak_arena_destroy(one);
	hak_arena_free(one, p);
}

static void libc_free_after_destroy(char *p)
{
	hak_arena_destroy(one);
	test_free(p);
}

static void free_after_reset(char *p)
{
	hak_arena_reset(one);
	hak_arena_free(one, p);
}

static void free_of_mallocs(char *p)
{
	(void)p;
	hak_arena_free(one, test_malloc(100));
}

static void free_of_the_stack(char *p)
{
	hak_arena_free(one, (char *)&p);
}

static const struct {
	void (*run)(char *p);
	const char *says;
} misuses[] = {
	{free_of_another, "hak_arena_free of a pointer that is not of this arena"},
	{realloc_of_another, "hak_arena_realloc of a pointer that is not of this arena"},
	{size_of_another, "hak_arena_usable_size of a pointer that is not of this arena"},
	{free_of_inner, "inside a block"},
	{free_after_destroy, "hak_arena_free of a pointer that is not of this arena"},
	{libc_free_after_destroy, "hakmem: free of a pointer"},
	{free_after_reset, "hakmem: free of a pointer"},
	{free_of_mallocs, "hak_arena_free of a pointer that is not of this arena"},
	{free_of_the_stack, "hak_arena_free of a pointer that is not of this arena"},
};

static const size_t misused[] = {100, 5000, 100 * KIB, 700 * KIB, 5 * MIB};

static int misuse_one(unsigned number)
{
	test_begin();
	one = arena_make(OPTIONS(.name = "one"));
	two = arena_make(OPTIONS(.name = "two"));
	arena_block(two, 100);
	misuses[number % COUNT_OF(misuses)].run(test_hide(arena_block(one, misused[number / COUNT_OF(misuses)])));
	return 0;
}

static void misuse(void)
{
	bool debug = arena_reset_replaces();
	size_t i, n;

	for (i = 0; i < COUNT_OF(misuses) * COUNT_OF(misused); i++) {
		n = i % COUNT_OF(misuses);
		must_abort("misuse_one", (int)i,
			   debug && misuses[n].run == free_after_reset ? "used after its reset" : misuses[n].says);
	}
}

int main(int argc, char **argv)
{
	static const struct test_part parts[] = {
		{"families", families}, {"alignments", alignments}, {"reallocs", reallocs}, {"maximum", maximum},
		{"resets", resets}, {"destroys", destroys}, {"memory_goes_back", memory_goes_back},
		{"pushes", pushes}, {"pushed_and_onnode", pushed_and_onnode}, {"misuse", misuse},
	};

	if (argc == 3)
		return misuse_one((unsigned)atoi(argv[2]));
	return test_run_parts(argc, argv, parts, COUNT_OF(parts), 60);
}
