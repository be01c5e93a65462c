/* arena_subject.h - what bench_arena asks of an allocator with arenas of its own. One file a subject, linked with the
 * same loops: arena_hakmem.c, and where their headers are found arena_jemalloc.c, arena_mimalloc.c, arena_dpdk.c. */
#ifndef HK_BENCH_ARENA_SUBJECT_H
#define HK_BENCH_ARENA_SUBJECT_H

#include <stddef.h>

struct hk_subject {
	const char *name;
	/* 0, or an error that was said. Once, first. */
	int (*start)(void);
	void *(*alloc)(size_t size);
	void (*free)(void *p);
	/* Fixed-size objects of BYTES, COUNT of them; NULL: it has none. */
	int (*pool_start)(size_t bytes, size_t count);
	void *(*get)(void);
	void (*put)(void *p);
	int (*get_bulk)(void **p, unsigned n); /* 0: had */
	void (*put_bulk)(void **p, unsigned n);
	void (*pool_end)(void);
};

/* The subject's ways, each measured for itself; ends with one whose name is NULL. */
extern const struct hk_subject hk_subjects[];

/* More rows that only this subject has; NULL: none. */
extern int (*const hk_subject_more)(unsigned rounds, const char *latencies);

/* Nanoseconds of the monotonic clock. */
unsigned long long hk_subject_now(void);

/* "ROW SUBJECT VALUE UNIT" on standard output. */
void hk_subject_row(const char *row, const char *subject, double value, const char *unit);

#endif
