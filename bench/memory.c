/* memory.c - resident memory in the situations that servers meet. One line of JSON each.
 *
 *   memory small               a program that allocates a few blocks
 *   memory sleepers [N]        N threads that took a block of each of 3 classes, and sleep
 *   memory visitors [N]        N threads one after another, 25 classes each, gone again
 *   memory idle [MS] [SLEEP]   MS of load in 4 threads, then all sleep SLEEP seconds
 *   memory cycle [MIB] [N]     N times: MIB of mixed sizes allocated, touched, freed; then trim
 *
 * Measures no time. Its own tables are mmap'd and touched before the first figure is taken.
 * Proves its allocator as verify.h says; the volume step comes after the last figure. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "meter.h"
#include "verify.h"

enum { MAX_THREADS = 4096, LOAD_THREADS = 4, LOAD_SLOTS = 20000, LOAD_KEPT = 1000 };

static void die(const char *what)
{
	fprintf(stderr, "memory: %s\n", what);
	exit(2);
}

static char *block(size_t size)
{
	char *p = malloc(size);

	if (!p)
		die("malloc returned NULL");
	for (size_t at = 0; at < size; at += 4096)
		p[at] = 1;
	return p;
}

static void small_run(void)
{
	char *p[3];
	size_t size = 40;

	for (int i = 0; i < 3; i++, size *= 10)
		p[i] = block(size);
	printf("{\"resident_kib\": %ld, \"peak_kib\": %ld, ", hk_resident_kib(), hk_peak_kib());
	for (int i = 0; i < 3; i++)
		free(p[i]);
}

static pthread_barrier_t gate;

/* Touches its stack as far as the figures need, waits, then allocates and waits again. */
static void *sleeper(void *arg)
{
	char *p[3];

	(void)arg;
	pthread_barrier_wait(&gate); /* all stacks are there: the base figure is taken */
	pthread_barrier_wait(&gate);
	p[0] = block(24);
	p[1] = block(200);
	p[2] = block(3000);
	pthread_barrier_wait(&gate); /* the second figure is taken */
	pthread_barrier_wait(&gate);
	for (int i = 0; i < 3; i++)
		free(p[i]);
	return NULL;
}

static void threads_start(pthread_t *ids, int count, void *(*body)(void *))
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 << 10);
	for (int i = 0; i < count; i++)
		if (pthread_create(&ids[i], &attr, body, (void *)(intptr_t)i))
			die("pthread_create failed");
	pthread_attr_destroy(&attr);
}

/* What the blocks cost a thread: resident after them less resident before, stacks in both. */
static void sleepers_run(int count)
{
	static pthread_t ids[MAX_THREADS];

	pthread_barrier_init(&gate, NULL, count + 1);
	threads_start(ids, count, sleeper);
	pthread_barrier_wait(&gate);
	long base = hk_resident_kib();
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	long loaded = hk_resident_kib();
	pthread_barrier_wait(&gate);
	for (int i = 0; i < count; i++)
		pthread_join(ids[i], NULL);
	printf("{\"threads\": %d, \"base_kib\": %ld, \"loaded_kib\": %ld, "
	       "\"kib_per_thread\": %.2f, ",
	       count, base, loaded, (double)(loaded - base) / count);
}

static void *visitor(void *arg)
{
	char *p[25];

	(void)arg;
	for (int i = 0; i < 25; i++)
		p[i] = block(16u + 40u * (unsigned int)i * (unsigned int)i / 8);
	for (int i = 0; i < 25; i++)
		free(p[i]);
	return NULL;
}

/* First a few visitors for what is paid once, then the many: what they leave behind. */
static void visitors_run(int count)
{
	pthread_t id;
	long base = 0;

	for (int i = 0; i < count + 16; i++) {
		if (i == 16)
			base = hk_resident_kib();
		threads_start(&id, 1, visitor);
		pthread_join(id, NULL);
	}
	long after = hk_resident_kib();
	printf("{\"threads\": %d, \"base_kib\": %ld, \"after_kib\": %ld, \"left_kib\": %ld, ",
	       count, base, after, after - base);
}

static uint64_t load_until_ns;
static size_t load_live_bytes[LOAD_THREADS];

/* Keeps blocks made before the load, churns a set that grows to about 100 MiB over all threads,
 * and frees that set whole: what a server looks like after a burst of requests. */
static void *loader(void *arg)
{
	int self = (int)(intptr_t)arg;
	uint64_t random = 7919 + self;
	char **slots = hk_table(LOAD_SLOTS * sizeof(*slots));
	char **kept = hk_table(LOAD_KEPT * sizeof(*kept));

	pthread_barrier_wait(&gate); /* the base figure is taken */
	pthread_barrier_wait(&gate);
	for (size_t i = 0; i < LOAD_KEPT; i++) {
		size_t size = hk_random_between(&random, 16, 2500);

		kept[i] = block(size);
		load_live_bytes[self] += size;
	}
	while (hk_now_ns() < load_until_ns) {
		for (int i = 0; i < 200; i++) {
			size_t at = hk_random(&random) % LOAD_SLOTS;

			free(slots[at]);
			slots[at] = block(hk_random_between(&random, 16, 2500));
		}
	}
	for (size_t i = 0; i < LOAD_SLOTS; i++)
		free(slots[i]);
	pthread_barrier_wait(&gate); /* all sleep now */
	pthread_barrier_wait(&gate);
	for (size_t i = 0; i < LOAD_KEPT; i++)
		free(kept[i]);
	return NULL;
}

static void idle_run(int load_ms, int sleep_s)
{
	pthread_t ids[LOAD_THREADS];
	size_t live = 0;

	pthread_barrier_init(&gate, NULL, LOAD_THREADS + 1);
	threads_start(ids, LOAD_THREADS, loader);
	pthread_barrier_wait(&gate);
	long base = hk_resident_kib();
	load_until_ns = hk_now_ns() + (uint64_t)load_ms * 1000000u;
	pthread_barrier_wait(&gate);
	pthread_barrier_wait(&gate);
	long freed = hk_resident_kib();
	sleep((unsigned int)sleep_s);
	long slept = hk_resident_kib();
	pthread_barrier_wait(&gate);
	for (int i = 0; i < LOAD_THREADS; i++) {
		pthread_join(ids[i], NULL);
		live += load_live_bytes[i];
	}
	printf("{\"base_kib\": %ld, \"live_kib\": %zu, \"freed_kib\": %ld, \"slept_s\": %d, "
	       "\"slept_kib\": %ld, \"over_live_kib\": %ld, \"peak_kib\": %ld, ",
	       base, live >> 10, freed, sleep_s, slept, slept - base - (long)(live >> 10),
	       hk_peak_kib());
}

/* Half of the bytes in blocks of 16..1024, half in blocks up to 1 MiB, small ones more often. */
static size_t cycle_size(uint64_t *random, size_t small_bytes, size_t large_bytes)
{
	if (small_bytes <= large_bytes)
		return hk_random_between(random, 16, 1024);
	size_t top = (size_t)1024 << hk_random_between(random, 1, 10);

	return hk_random_between(random, top / 2, top);
}

/* Frees in an order that is not that of the mallocs: every 7th block in turn. */
static void cycle_free(char **slots, size_t count)
{
	for (size_t first = 0; first < 7; first++)
		for (size_t i = first; i < count; i += 7)
			free(slots[i]);
}

static void cycle_run(size_t mib, int rounds)
{
	size_t bytes = mib << 20, slot_count = bytes / 256 + 1024;
	char **slots = hk_table(slot_count * sizeof(*slots));
	long start = hk_resident_kib(), first = 0, last = 0, highest = 0;
	uint64_t random = 4242;

	for (int round = 0; round < rounds; round++) {
		size_t count = 0, small_bytes = 0, large_bytes = 0;

		while (small_bytes + large_bytes < bytes && count < slot_count) {
			size_t size = cycle_size(&random, small_bytes, large_bytes);

			slots[count++] = block(size);
			if (size <= 1024)
				small_bytes += size;
			else
				large_bytes += size;
		}
		last = hk_resident_kib();
		first = round ? first : last;
		highest = last > highest ? last : highest;
		cycle_free(slots, count);
	}
	long freed = hk_resident_kib();
	malloc_trim(0);
	long trimmed = hk_resident_kib();
	printf("{\"mib\": %zu, \"rounds\": %d, \"start_kib\": %ld, \"first_peak_kib\": %ld, "
	       "\"last_peak_kib\": %ld, \"highest_kib\": %ld, \"freed_kib\": %ld, "
	       "\"trimmed_kib\": %ld, \"over_start_kib\": %ld, ",
	       mib, rounds, start, first, last, highest, freed, trimmed, trimmed - start);
}

/* Argument AT as a number, or FALLBACK. */
static int number_at(int argc, char **argv, int at, int fallback)
{
	int n = at < argc ? atoi(argv[at]) : fallback;

	if (n <= 0)
		die("arguments are numbers above 0");
	return n;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	hk_verify_begin_or_exit();
	if (!strcmp(what, "small"))
		small_run();
	else if (!strcmp(what, "sleepers") && number_at(argc, argv, 2, 100) <= MAX_THREADS)
		sleepers_run(number_at(argc, argv, 2, 100));
	else if (!strcmp(what, "visitors"))
		visitors_run(number_at(argc, argv, 2, 1000));
	else if (!strcmp(what, "idle"))
		idle_run(number_at(argc, argv, 2, 200), number_at(argc, argv, 3, 30));
	else if (!strcmp(what, "cycle"))
		cycle_run((size_t)number_at(argc, argv, 2, 1024), number_at(argc, argv, 3, 20));
	else
		die("usage: memory small | sleepers [N] | visitors [N] | idle [MS] [SLEEP_S] | "
		    "cycle [MIB] [ROUNDS]");
	hk_verify_end_or_exit();
	/* stdio's buffer holds the line's beginning back until the proof stands */
	printf("\"what\": \"%s\", \"file\": \"%s\", \"verified\": %s}\n", what,
	       hk_verify_result()->file, hk_verify_result()->wanted ? "true" : "false");
	return 0;
}
