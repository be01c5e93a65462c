/* many_test.c - 10,000 arenas at once, short ones by the hundred thousand, and pages of the kind that was asked for. */
#define _GNU_SOURCE
#include "arena.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

enum { MANY = 10000 };

static hak_arena *arenas[MANY];
static char *blocks[MANY];

static void at_once(void)
{
	long long rss = rss_bytes(), vmas = vma_count();
	int i, k;

	for (i = 0; i < MANY; i++) {
		arenas[i] = arena_make(OPTIONS(.name = "one of many"));
		blocks[i] = arena_block(arenas[i], 100);
	}
	BOUND("resident for an arena with one block, bytes", (rss_bytes() - rss) / MANY, 40 * 1024);
	BOUND("mappings for 10,000 arenas", vma_count() - vmas, 4000);
	for (k = 0; k < 3; k++)
		for (i = 0; i < MANY; i++) {
			char *p = arena_block(arenas[i], 100 + (size_t)k * 3000);

			CHECK(hak_arena_owner(blocks[i]) == arenas[i] && blocks[i][99] == 0x5a, "arena %d", i);
			test_free(blocks[i]);
			blocks[i] = p;
		}
	for (i = 0; i < MANY; i += 2)
		CHECK(hak_arena_destroy(arenas[i]) == 0, "destroy");
	for (i = 1; i < MANY; i += 2)
		CHECK(hak_arena_owner(blocks[i]) == arenas[i] && blocks[i][99] == 0x5a, "arena %d", i);
	for (i = 0; i < MANY; i += 2) {
		arenas[i] = arena_make(OPTIONS(.initial_bytes = SUPER, .pages = HAK_PAGES_SMALL));
		blocks[i] = arena_block(arenas[i], 5000);
	}
	for (i = 0; i < MANY; i++)
		CHECK(hak_arena_destroy(arenas[i]) == 0, "destroy");
	hak_malloc_trim(0);
	BOUND("resident after their end, MiB", (rss_bytes() - rss) >> 20, 200);
}

static void short_one(size_t blocks_each)
{
	hak_arena *a = arena_make(OPTIONS(.name = "request"));
	size_t i;

	for (i = 0; i < blocks_each; i++)
		*(char *)hak_arena_alloc(a, 16 + i * 40) = 1;
	CHECK(hak_arena_destroy(a) == 0, "destroy");
}

static void *short_ones(void *arg)
{
	int i, n = test_quick() ? 20000 : 200000;

	(void)arg;
	for (i = 0; i < n; i++)
		short_one(100);
	return NULL;
}

static void one_after_the_other(void)
{
	long long rss, vmas;
	pthread_t t[4];
	int i;

	short_ones(NULL);
	rss = rss_bytes();
	vmas = vma_count();
	short_ones(NULL);
	for (i = 0; i < 4; i++)
		CHECK(pthread_create(&t[i], NULL, short_ones, NULL) == 0, "no thread");
	for (i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	BOUND("resident more after as many again, MiB", (rss_bytes() - rss) >> 20, 48);
	BOUND("mappings more", vma_count() - vmas, 64);
}

static pthread_barrier_t all_in;

/* More threads and arenas than there are heaps for: an error, and malloc goes on. */
static void *in_all(void *arg)
{
	int i;

	test_free(test_malloc(100));

	for (i = 0; i < MANY; i++)
		if (!hak_arena_alloc(arenas[i], 100)) {
			CHECK(errno == ENOMEM, "errno %d", errno);
			*(int *)arg += 1;
		}
	pthread_barrier_wait(&all_in);
	return NULL;
}

static void *mallocs(void *arg)
{
	void *p[100];
	int i;

	(void)arg;
	for (i = 0; i < 100; i++) {
		p[i] = test_malloc(1000);
		CHECK(p[i], "malloc");
	}
	for (i = 0; i < 100; i++)
		test_free(p[i]);
	return NULL;
}

static void beyond_all_heaps(void)
{
	pthread_t t[8];
	int i, refused[8] = {0}, sum = 0;

	for (i = 0; i < MANY; i++)
		arenas[i] = arena_make(OPTIONS(.name = "one of many"));
	pthread_barrier_init(&all_in, NULL, 8);
	for (i = 0; i < 8; i++)
		CHECK(pthread_create(&t[i], NULL, in_all, &refused[i]) == 0, "no thread");
	for (i = 0; i < 8; i++) {
		pthread_join(t[i], NULL);
		sum += refused[i];
	}
	printf("%d of %d refused\n", sum, 8 * MANY);
	CHECK(sum >= 8 * MANY - 65536, "more heaps than there can be");
	for (i = 0; i < 8; i++)
		CHECK(pthread_create(&t[i], NULL, mallocs, NULL) == 0, "no thread");
	for (i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	for (i = 0; i < MANY; i++)
		CHECK(hak_arena_destroy(arenas[i]) == 0, "destroy");
}

/* Memory of small pages that malloc had before is none of an arena that wants transparent huge pages. */
static void thp_after_small(void)
{
	static void *p[30000];
	int all, with;
	hak_arena *a;
	char *q;
	size_t i;

	for (i = 0; i < COUNT_OF(p); i++)
		p[i] = test_malloc(1000);
	for (i = 0; i < COUNT_OF(p); i++)
		test_free(p[i]);
	hak_malloc_trim(0);
	for (i = 0; i < 20; i++) {
		a = arena_make(OPTIONS(.pages = HAK_PAGES_THP));
		q = arena_block(a, 100);
		with = smaps_flag(q, 1, "nh", &all);
		CHECK(!with, "MADV_NOHUGEPAGE memory for HAK_PAGES_THP, and %llu fallbacks",
		      (unsigned long long)arena_stats(a).fallbacks);
		hak_arena_destroy(a);
	}
	a = arena_make(OPTIONS(.pages = HAK_PAGES_SMALL, .initial_bytes = 4 * SUPER));
	q = arena_block(a, 4 * SUPER);
	CHECK(smaps_kib(q, 4 * SUPER, "AnonHugePages") == 0, "huge pages");
	hak_arena_destroy(a);
}

int main(int argc, char **argv)
{
	static const struct test_part parts[] = {
		{"at_once", at_once}, {"one_after_the_other", one_after_the_other}, {"beyond_all_heaps", beyond_all_heaps},
		{"thp_after_small", thp_after_small},
	};

	return test_run_parts(argc, argv, parts, COUNT_OF(parts), 80);
}
