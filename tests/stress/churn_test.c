/* churn_test.c - threads that come and go: 10,000 that allocate, hand over and die, then 1,000 at
 * once with 25 classes each. Nothing of theirs may be lost, and what they leave is reusable by
 * those who stay. Not frees after a thread's end: thread_exit_test.c.
 * time limit: 300 s, quick 120 s
 */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { CHAIN = 10000, AT_ONCE = 20, HANDED = 24, CROWD = 1000, CLASSES = 25, STACK = 64 << 10 };

static struct {
	void *p[HANDED];
	size_t size[HANDED];
	uint64_t id;
} handed[AT_ONCE];

static void free_handed(size_t place)
{
	int i;

	for (i = 0; i < HANDED; i++)
		if (handed[place].p[i]) {
			pat_check(handed[place].p[i], handed[place].size[i], handed[place].id);
			free(handed[place].p[i]);
			handed[place].p[i] = NULL;
		}
}

/* Frees what a thread that is dead by now left at this place and leaves something there. */
static void *link_of_chain(void *arg)
{
	uint64_t id = (uintptr_t)arg, rnd = id + 1;
	size_t place = id % AT_ONCE;
	void *own[40];
	int i;

	for (i = 0; i < 40; i++)
		own[i] = malloc(test_rand_size(&rnd, 1, 4 * KIB));
	free_handed(place);
	handed[place].id = id;
	for (i = 0; i < HANDED; i++) {
		size_t size = i ? test_rand_size(&rnd, 1, 4 * KIB)
				: test_rand_size(&rnd, 4 * KIB, 700 * KIB);

		handed[place].p[i] = malloc(size);
		handed[place].size[i] = size;
		CHECK(handed[place].p[i], "malloc(%zu)", size);
		pat_fill(handed[place].p[i], size, id);
	}
	for (i = 0; i < 40; i++)
		free(own[i]);
	return NULL;
}

static void chain_of_threads(void)
{
	uintptr_t total = test_quick() ? CHAIN / 2 : CHAIN, done, i;
	pthread_t t[AT_ONCE];
	long long early = 0;

	for (done = 0; done < total; done += AT_ONCE) {
		for (i = 0; i < AT_ONCE; i++)
			CHECK(pthread_create(&t[i], NULL, link_of_chain, (void *)(done + i)) == 0,
			      "no thread");
		for (i = 0; i < AT_ONCE; i++)
			pthread_join(t[i], NULL);
		if (done == total / 10)
			early = rss_bytes();
	}
	BOUND("growth by nine tenths of the threads", rss_bytes() - early, 24 * MIB);
	for (i = 0; i < AT_ONCE; i++)
		free_handed(i);
}

/* 16, 32, 48 .. 128, then four a doubling: 25 sizes up to 3 KiB or so. */
static size_t class_size(int c)
{
	if (c < 8)
		return 16 * (size_t)(c + 1);
	return ((size_t)(5 + (c - 8) % 4) << (5 + (c - 8) / 4));
}

static void *crowd_block[CROWD][CLASSES];
static pthread_barrier_t all_hold, go_on;

static void *one_of_crowd(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	int c;

	for (c = 0; c < CLASSES; c++) {
		crowd_block[me][c] = malloc(class_size(c));
		CHECK(crowd_block[me][c], "malloc(%zu)", class_size(c));
		pat_fill(crowd_block[me][c], class_size(c), me);
	}
	pthread_barrier_wait(&all_hold);
	pthread_barrier_wait(&go_on);
	/* every other class goes with the thread, the rest is left for main */
	for (c = 0; c < CLASSES; c += 2) {
		pat_check(crowd_block[me][c], class_size(c), me);
		free(crowd_block[me][c]);
	}
	return NULL;
}

/* Stacks of the test's own: libc's cache of stacks would blur the figures. */
static long long run_crowd(void)
{
	char *stacks = mmap(NULL, (size_t)CROWD * STACK, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	static pthread_t t[CROWD];
	pthread_attr_t attr;
	long long peak;
	uintptr_t i;

	CHECK(stacks != MAP_FAILED, "no stacks");
	madvise(stacks, (size_t)CROWD * STACK, MADV_NOHUGEPAGE);
	pthread_attr_init(&attr);
	pthread_barrier_init(&all_hold, NULL, CROWD + 1);
	pthread_barrier_init(&go_on, NULL, CROWD + 1);
	for (i = 0; i < CROWD; i++) {
		pthread_attr_setstack(&attr, stacks + i * STACK, STACK);
		CHECK(pthread_create(&t[i], &attr, one_of_crowd, (void *)i) == 0, "no thread");
	}
	pthread_barrier_wait(&all_hold);
	peak = rss_bytes() - resident_bytes(stacks, (size_t)CROWD * STACK);
	pthread_barrier_wait(&go_on);
	for (i = 0; i < CROWD; i++)
		pthread_join(t[i], NULL);
	munmap(stacks, (size_t)CROWD * STACK);
	return peak;
}

static void free_leavings(void)
{
	int i, c;

	for (i = 0; i < CROWD; i++)
		for (c = 1; c < CLASSES; c += 2) {
			pat_check(crowd_block[i][c], class_size(c), (uint64_t)i);
			free(crowd_block[i][c]);
		}
}

static void same_load_in_main(void)
{
	int i, c;

	for (i = 0; i < CROWD; i++)
		for (c = 0; c < CLASSES; c++) {
			crowd_block[i][c] = malloc(class_size(c));
			CHECK(crowd_block[i][c], "malloc(%zu)", class_size(c));
			pat_fill(crowd_block[i][c], class_size(c), (uint64_t)i);
		}
}

static void crowd_of_threads(void)
{
	long long start, peak, live = 0;
	int i, c;

	for (c = 0; c < CLASSES; c++)
		live += CROWD * (long long)class_size(c);
	start = rss_bytes();
	peak = run_crowd();
	/* what a sleeper may cost (memory_sleep_test.c) beside what it holds */
	BOUND("crowd: resident over the start", peak - start, live + CROWD * 100 * (long long)KIB);
	free_leavings();
	same_load_in_main();
	BOUND("the same load in main after the crowd", rss_bytes(), peak + peak / 10 + 8 * MIB);
	for (i = 0; i < CROWD; i++)
		for (c = 0; c < CLASSES; c++) {
			pat_check(crowd_block[i][c], class_size(c), (uint64_t)i);
			free(crowd_block[i][c]);
		}
	malloc_trim(0);
	BOUND("after all is freed and trimmed, over the start", rss_bytes() - start, 32 * MIB);
}

int main(int argc, char **argv)
{
	static const struct test_part parts[] = {
		{"a chain of threads", chain_of_threads},
		{"a crowd of threads", crowd_of_threads},
	};

	return test_run_parts(argc, argv, parts, COUNT_OF(parts), test_quick() ? 60 : 150);
}
