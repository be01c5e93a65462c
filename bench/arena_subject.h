/* arena_subject.h - what bench_arena asks of an allocator with arenas of its own. One file a subject, linked with the
 * same loops: arena_hakmem.c, and where their headers are found arena_jemalloc.c, arena_mimalloc.c, arena_dpdk.c. */
#ifndef HK_BENCH_ARENA_SUBJECT_H
#define HK_BENCH_ARENA_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>

struct hk_subject {
	const char *name;
	/* A function of the library: the file that it is bound to is the one that serves. */
	const char *symbol;
	/* 0, or an error that was said. Once, first. */
	int (*start)(void);
	void *(*alloc)(size_t size);
	void (*free)(void *p, size_t size); /* SIZE is what was asked for; not all look at it */
	/* Around the calls of the two: what makes them go there. NULL: nothing is needed. */
	void (*enter)(void);
	void (*leave)(void);
	/* Is the block this subject's? NULL: it has no way to say. */
	bool (*owns)(void *p);
	/* Fixed-size objects of BYTES, COUNT of them; NULL: it has none. */
	int (*pool_start)(size_t bytes, size_t count);
	void *(*get)(void);
	void (*put)(void *p);
	int (*get_bulk)(void **p, unsigned n); /* 0: had */
	void (*put_bulk)(void **p, unsigned n);
	void (*pool_end)(void);
};

/* The subject's ways, measured in turn; ends with one whose name is NULL. */
extern const struct hk_subject hk_subjects[];

/* Rows that only this subject has. */
struct hk_subject_part {
	const char *name; /* NULL: the last */
	int (*run)(unsigned rounds, const char *latencies);
};
extern const struct hk_subject_part hk_subject_parts[];

/* Nanoseconds of the monotonic clock. */
unsigned long long hk_subject_now(void);

/* "ROW SUBJECT VALUE UNIT" on standard output. */
void hk_subject_row(const char *row, const char *subject, double value, const char *unit);

/* Proves, or ends the process with status 3: "served SUBJECT FILE" on standard output; blocks of all sizes keep what is
 * written to them, and libc's malloc did not make them. */
void hk_subject_prove(const struct hk_subject *s);

#endif
