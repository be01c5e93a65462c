/* memory_sleep_test.c - what sleeping threads hold: memory that another thread freed for them is
 * reusable and goes back to the kernel; a thread that holds three small blocks costs little; after
 * a burst of load all sleep, and resident memory is what is live plus the warm cap.
 * time limit: 240 s, quick 90 s
 */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* HAKMEM_WARM_MIB as it is by itself; less where a control group has less memory than the machine. */
static long long warm_cap(void)
{
	long long part = (long long)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 96;

	return part < 128ll << 20 ? 128ll << 20 : part > 1ll << 30 ? 1ll << 30 : part;
}

enum { LOAD = 256 << 20, MOST = 1 << 19, SLEEPERS = 100, STACK = 64 << 10, WORKERS = 4 };

static char **made;
static size_t made_count;
static sem_t done, wake;

static void write_pages(char *p, size_t size)
{
	size_t off;

	for (off = 0; off < size; off += 4096)
		p[off] = 1;
	p[size - 1] = 1;
}

static void make_load(void)
{
	uint64_t rnd = 17;
	size_t got = 0;

	for (made_count = 0; got < LOAD; made_count++) {
		size_t size = made_count % 100 ? test_rand_size(&rnd, 16, 4 * KIB)
					       : test_rand_size(&rnd, 4 * KIB, MIB);

		CHECK(made_count < MOST, "too many blocks");
		made[made_count] = malloc(size);
		CHECK(made[made_count], "malloc(%zu)", size);
		write_pages(made[made_count], size);
		got += size;
	}
}

static void free_load(void)
{
	while (made_count > 0)
		free(made[--made_count]);
}

static void *make_and_sleep(void *arg)
{
	(void)arg;
	make_load();
	sem_post(&done);
	sem_wait(&wake);
	return NULL;
}

static void *make_and_end(void *arg)
{
	(void)arg;
	make_load();
	return NULL;
}

static void producer_sleeps(void)
{
	long long start, peak;
	pthread_t t, other;

	made = own_memory(MOST * sizeof(*made));
	start = rss_bytes();
	CHECK(pthread_create(&t, NULL, make_and_sleep, NULL) == 0, "no thread");
	sem_wait(&done);
	peak = rss_bytes();
	free_load();
	CHECK(pthread_create(&other, NULL, make_and_end, NULL) == 0, "no thread");
	pthread_join(other, NULL);
	BOUND("a sleeper's memory is reused", rss_bytes(), peak + peak / 10 + 8 * MIB);
	free_load();
	malloc_trim(0);
	BOUND("and trimmed, over the start", rss_bytes() - start, 32 * MIB);
	sem_post(&wake);
	pthread_join(t, NULL);
}

/* With no other thread to reuse it, malloc_trim alone must get at it. */
static void producer_sleeps_and_main_trims(void)
{
	long long start;
	pthread_t t;

	made = own_memory(MOST * sizeof(*made));
	start = rss_bytes();
	CHECK(pthread_create(&t, NULL, make_and_sleep, NULL) == 0, "no thread");
	sem_wait(&done);
	free_load();
	malloc_trim(0);
	BOUND("a sleeper's memory trimmed, over the start", rss_bytes() - start, 32 * MIB);
	sem_post(&wake);
	pthread_join(t, NULL);
}

static void *hold_three(void *arg)
{
	static const size_t three[] = {64, 400, 3000};
	char *p[3];
	int i;

	(void)arg;
	for (i = 0; i < 3; i++) {
		p[i] = malloc(three[i]);
		CHECK(p[i], "malloc");
		memset(p[i], 1, three[i]);
	}
	sem_post(&done);
	sem_wait(&wake);
	for (i = 0; i < 3; i++)
		free(p[i]);
	return NULL;
}

static void sleepers_are_cheap(void)
{
	size_t stack_bytes = (size_t)SLEEPERS * STACK;
	char *stacks =
		mmap(NULL, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_t t[SLEEPERS];
	pthread_attr_t attr;
	long long start, grown;
	int i;

	CHECK(stacks != MAP_FAILED, "no stacks");
	madvise(stacks, stack_bytes, MADV_NOHUGEPAGE);
	pthread_attr_init(&attr);
	start = rss_bytes();
	for (i = 0; i < SLEEPERS; i++) {
		pthread_attr_setstack(&attr, stacks + i * STACK, STACK);
		CHECK(pthread_create(&t[i], &attr, hold_three, NULL) == 0, "no thread");
	}
	for (i = 0; i < SLEEPERS; i++)
		sem_wait(&done);
	grown = rss_bytes() - start - resident_bytes(stacks, stack_bytes);
	BOUND("a sleeper with three blocks", grown / SLEEPERS, 100 * KIB);
	for (i = 0; i < SLEEPERS; i++)
		sem_post(&wake);
	for (i = 0; i < SLEEPERS; i++)
		pthread_join(t[i], NULL);
	munmap(stacks, stack_bytes);
}

static char *burst_block(uint64_t *rnd)
{
	size_t size = test_rand(rnd) % 50 ? test_rand_size(rnd, 16, 4 * KIB)
					  : test_rand_size(rnd, 4 * KIB, 2 * MIB);
	char *p = malloc(size);

	CHECK(p, "malloc(%zu)", size);
	write_pages(p, size);
	return p;
}

/* 200 ms of replacement beside blocks that are kept. What was replaced is freed at the end, so
 * that little but the kept blocks is live, and then nobody is awake to tidy up. */
static void *burst(void *arg)
{
	enum { SLOTS = 20000, KEPT = 2500 };
	char **slot = own_memory(SLOTS * sizeof(*slot));
	long long end = now_ms() + 200, peak = 0;
	uint64_t rnd = (uintptr_t)arg + 1;
	size_t i, kept = 0;

	for (i = 0; i < KEPT; i++)
		slot[i] = burst_block(&rnd);
	while (now_ms() < end) {
		i = KEPT + test_rand(&rnd) % (SLOTS - KEPT);
		free(slot[i]);
		slot[i] = burst_block(&rnd);
	}
	for (i = 0; i < SLOTS; i++) {
		size_t usable = slot[i] ? malloc_usable_size(slot[i]) : 0;

		peak += (long long)usable;
		kept += i < KEPT ? usable : 0;
	}
	for (i = KEPT; i < SLOTS; i++)
		free(slot[i]);
	printf("a worker's blocks: %lld bytes, of which %zu kept\n", peak, kept);
	*(size_t *)arg = kept;
	sem_post(&done);
	sem_wait(&wake);
	for (i = 0; i < KEPT; i++)
		free(slot[i]);
	return NULL;
}

static void load_then_all_sleep(void)
{
	static size_t live[WORKERS];
	size_t live_sum = 0;
	pthread_t t[WORKERS];
	long long start;
	int i;

	start = rss_bytes();
	for (i = 0; i < WORKERS; i++)
		CHECK(pthread_create(&t[i], NULL, burst, &live[i]) == 0, "no thread");
	for (i = 0; i < WORKERS; i++)
		sem_wait(&done);
	for (i = 0; i < WORKERS; i++)
		live_sum += live[i];
	printf("resident when the load ends, over the start: %lld\n", rss_bytes() - start);
	sleep(test_quick() ? 5 : 30);
	BOUND("all sleep after a burst, over the start", rss_bytes() - start,
	      (long long)live_sum + warm_cap() + 16 * (long long)MIB);
	for (i = 0; i < WORKERS; i++)
		sem_post(&wake);
	for (i = 0; i < WORKERS; i++)
		pthread_join(t[i], NULL);
}

int main(int argc, char **argv)
{
	static const struct test_part parts[] = {
		{"sleepers are cheap", sleepers_are_cheap},
		{"producer sleeps", producer_sleeps},
		{"producer sleeps, main trims", producer_sleeps_and_main_trims},
		{"burst, then all sleep", load_then_all_sleep},
	};

	sem_init(&done, 0, 0);
	sem_init(&wake, 0, 0);
	return test_run_parts(argc, argv, parts, COUNT_OF(parts), 60);
}
