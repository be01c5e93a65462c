/* bench_arena.c - arenas: allocation and free by size, churn, object pools; the same loops for each subject.
 *
 *   bench_arena [--rounds N] [--parts LIST] [--latencies FILE]
 *   bench_arena_jemalloc, _mimalloc, _dpdk            the same of others, where their headers are found
 *
 * One line a row: ROW SUBJECT VALUE UNIT, the least of N rounds, the subjects taking turns. LIST, with commas: blocks,
 * objects, and what a subject has more (hakmem: reset, short, stalls); else all. FILE gets each allocation's time
 * across growth, a line each, for a plot. Every subject is called by pointer, through a function of its file, so the
 * call costs the same, and proves first which file serves (arena_prove.c; status 3).
 * What it does not do: judge; bench/arena does. */
#define _GNU_SOURCE
#include "arena_subject.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAIRS = 2000000, LIVE = 1000, CHURN = 2000000, OBJECTS = 16384, BULK = 32, GETS = 4000000, SUBJECTS_MOST = 8 };

static const size_t sizes[] = {64, 256, 1024, 2048, 4096, 8192};

unsigned long long hk_subject_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long long)t.tv_sec * 1000000000ull + (unsigned long long)t.tv_nsec;
}

void hk_subject_row(const char *row, const char *subject, double value, const char *unit)
{
	printf("%-24s %-20s %12.2f %s\n", row, subject, value, unit);
	fflush(stdout);
}

static void out_of_memory(const char *subject)
{
	fprintf(stderr, "bench_arena: %s has no memory\n", subject);
	exit(1);
}

/* A block and its free, one after the other: the bin's head alone. */
static double pairs(const struct hk_subject *s, size_t size)
{
	unsigned long long begin = hk_subject_now();
	for (unsigned i = 0; i < PAIRS; i++) {
		char *p = s->alloc(size);
		if (!p)
			out_of_memory(s->name);
		*(volatile char *)p = 1;
		s->free(p, size);
	}
	return (double)(hk_subject_now() - begin) / PAIRS;
}

/* Random replacement among LIVE blocks of 64 B .. 8 KiB. */
static double churn(const struct hk_subject *s)
{
	static void *slot[LIVE];
	static size_t had[LIVE];
	uint64_t x = 88172645463325252ull;
	unsigned long long begin = hk_subject_now();
	for (unsigned i = 0; i < CHURN; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		size_t at = x % LIVE;
		if (slot[at])
			s->free(slot[at], had[at]);
		had[at] = 64 + (x >> 20) % ((size_t)64 << (x >> 40) % 8);
		slot[at] = s->alloc(had[at]);
		if (!slot[at])
			out_of_memory(s->name);
		*(volatile char *)slot[at] = 1;
	}
	unsigned long long end = hk_subject_now();
	for (unsigned i = 0; i < LIVE; i++) {
		if (slot[i])
			s->free(slot[i], had[i]);
		slot[i] = NULL;
	}
	return (double)(end - begin) / CHURN;
}

static double objects_one(const struct hk_subject *s)
{
	unsigned long long begin = hk_subject_now();
	for (unsigned i = 0; i < GETS; i++) {
		char *p = s->get();
		if (!p)
			out_of_memory(s->name);
		*(volatile char *)p = 1;
		s->put(p);
	}
	return (double)(hk_subject_now() - begin) / GETS;
}

/* KEEP bulks are had at once: with many, all objects pass the common store. */
static double objects_bulk(const struct hk_subject *s, unsigned keep)
{
	static void *p[64][BULK];
	unsigned long long begin = hk_subject_now();
	for (unsigned i = 0; i < GETS / BULK / keep; i++) {
		for (unsigned k = 0; k < keep; k++)
			if (s->get_bulk(p[k], BULK))
				out_of_memory(s->name);
		for (unsigned k = 0; k < keep; k++)
			s->put_bulk(p[k], BULK);
	}
	return (double)(hk_subject_now() - begin) / (GETS / BULK / keep * keep * BULK);
}

static double least(double a, double b)
{
	return a && a < b ? a : b;
}

/* SIZE 0: churn. */
static double measure_once(const struct hk_subject *s, size_t size)
{
	if (s->enter)
		s->enter();
	double ns = size ? pairs(s, size) : churn(s);
	if (s->leave)
		s->leave();
	return ns;
}

static void measure_row(const char *row, size_t size, unsigned rounds)
{
	double best[SUBJECTS_MOST] = {0};
	for (unsigned r = 0; r < rounds; r++)
		for (unsigned i = 0; hk_subjects[i].name; i++)
			if (hk_subjects[i].alloc)
				best[i] = least(best[i], measure_once(&hk_subjects[i], size));
	for (unsigned i = 0; hk_subjects[i].name; i++)
		if (hk_subjects[i].alloc)
			hk_subject_row(row, hk_subjects[i].name, best[i], "ns");
}

static void measure_blocks(unsigned rounds)
{
	char row[32];
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		snprintf(row, sizeof(row), "pair_%zu", sizes[i]);
		measure_row(row, sizes[i], rounds);
	}
	measure_row("churn", 0, rounds);
}

static int measure_objects(const struct hk_subject *s, unsigned rounds)
{
	double one = 0, few = 0, many = 0;
	int rc = s->pool_start(2048, OBJECTS);
	if (rc)
		return rc;
	for (unsigned r = 0; r < rounds; r++) {
		one = least(one, objects_one(s));
		few = least(few, objects_bulk(s, 4));
		many = least(many, objects_bulk(s, 64));
	}
	s->pool_end();
	hk_subject_row("object", s->name, one, "ns");
	hk_subject_row("object_bulk_cached", s->name, few, "ns/object");
	hk_subject_row("object_bulk_store", s->name, many, "ns/object");
	return 0;
}

static int usage(void)
{
	fprintf(stderr, "usage: bench_arena [--rounds 1..1000] [--parts LIST] [--latencies FILE]\n");
	return 2;
}

/* Is NAME in the list? NULL: all are. */
static bool asked(const char *list, const char *name)
{
	size_t n = strlen(name);
	if (!list)
		return true;
	for (const char *p = list; (p = strstr(p, name)); p += n)
		if ((p == list || p[-1] == ',') && (!p[n] || p[n] == ','))
			return true;
	return false;
}

static bool known(const char *list)
{
	size_t found = asked(list, "blocks") * (sizeof("blocks")) + asked(list, "objects") * sizeof("objects");
	for (const struct hk_subject_part *p = hk_subject_parts; p->name; p++)
		found += asked(list, p->name) * (strlen(p->name) + 1);
	return found == strlen(list) + 1;
}

static int run(unsigned rounds, const char *parts, const char *latencies)
{
	for (const struct hk_subject *s = hk_subjects; s->name; s++) {
		if (s->start && s->start())
			return 1;
		hk_subject_prove(s);
	}
	if (asked(parts, "blocks"))
		measure_blocks(rounds);
	for (const struct hk_subject *s = hk_subjects; s->name && asked(parts, "objects"); s++)
		if (s->pool_start && measure_objects(s, rounds))
			return 1;
	for (const struct hk_subject_part *p = hk_subject_parts; p->name; p++) {
		int rc = asked(parts, p->name) ? p->run(rounds, latencies) : 0;
		if (rc)
			return rc;
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned rounds = 5;
	const char *parts = NULL, *latencies = NULL;
	for (int i = 1; i < argc; i += 2) {
		char *end = "";
		if (i + 1 == argc)
			return usage();
		if (!strcmp(argv[i], "--rounds"))
			rounds = (unsigned)strtoul(argv[i + 1], &end, 10);
		else if (!strcmp(argv[i], "--parts"))
			parts = argv[i + 1];
		else if (!strcmp(argv[i], "--latencies"))
			latencies = argv[i + 1];
		else
			return usage();
		if (*end || rounds < 1 || rounds > 1000 || (parts && !known(parts)))
			return usage();
	}
	return run(rounds, parts, latencies);
}
