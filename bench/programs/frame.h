/* frame.h - what each program of the suite shares: command line, proof, warm-up, threads, one line
 * of JSON. A program says what it is (struct hk_program), and does its work in run().
 *
 *   main -> hk_frame_main: arguments -> prepare() -> proof of the bindings -> run(), a small part,
 *           thrown away -> run(), measured -> memory -> proof of the volume -> JSON
 *
 * 1. run() takes all that it takes and frees it again, so that it can run twice and the resident
 *    memory after it is what the allocator keeps.
 * 2. Tables of a program come from hk_table_get and go by hk_table_drop: never from the heap measured.
 * 3. A block made by hk_get carries a word that hk_put looks at and wipes: a block that was handed
 *    out twice, lost or written by another ends the run with status 1. So does an allocation that
 *    fails.
 * 4. Random numbers are fixed: two runs ask for the same sizes in the same order.
 *
 * Threads: hk_threads_run starts workers; times run from the first hk_ready to the last hk_done.
 * Status: 0, 1 a lost block or no memory, 2 bad arguments, 3 not proven, 77 not possible here. */
#ifndef HK_BENCH_FRAME_H
#define HK_BENCH_FRAME_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "../meter.h"

#define HK_THREADS_MAX 1024
#define HK_SKIP_EXIT 77

struct hk_param {
	const char *name;
	uint64_t value;        /* the default; after the command line, what holds */
	uint64_t quick;        /* under --quick; 0: the same */
	uint64_t lo, hi;
	const char *help;
};

struct hk_frame;

struct hk_program {
	const char *name;
	const char *what;                 /* one line for --help */
	const char *op;                   /* what one operation of ops is */
	const char *unit;                 /* what -n counts */
	struct hk_param *params;          /* the last one has no name; NULL: none */
	int threads;                      /* default */
	int threads_max;                  /* 0: HK_THREADS_MAX */
	double seconds;                   /* default where it runs by time, else 0 */
	uint64_t count;                   /* default where its work is fixed */
	int only_count;                   /* -s makes no sense */
	int no_warm;                      /* run() warms up by itself, or must not */
	void (*prepare)(struct hk_frame *f); /* before the proof; may be NULL */
	void (*run)(struct hk_frame *f);
};

struct hk_frame {
	const struct hk_program *program;
	int threads;
	double seconds;        /* above 0: the run goes by time */
	uint64_t count;        /* units of work, for each thread unless the program says otherwise */
	int quick;
	int warming;           /* the small part that is thrown away */
	_Atomic int stop;      /* set by hk_threads_run when the time is over; read relaxed */
	/* filled by hk_threads_run or hk_clock_start/stop, and by the program: */
	double ops, wall_s, cpu_s;
	uint64_t clock_ns;
	double clock_cpu_s;
	char fields[16384];    /* ", name: value" of hk_field */
};

struct hk_worker {
	struct hk_frame *f;
	int index;
	uint64_t random;       /* state for hk_random: differs from thread to thread, never 0 */
	uint64_t left;         /* units, where the work is fixed */
	uint64_t ops;          /* to be set by the body */
	void *own;             /* the body's */
	uint64_t start_ns, end_ns;
	double cpu_s;
} __attribute__((aligned(128)));

int hk_frame_main(const struct hk_program *program, int argc, char **argv);

/* The parameter NAME. */
uint64_t hk_param(const struct hk_frame *f, const char *name);

/* Adds a field to the line; FORMAT prints a JSON value. Nothing while warming. */
void hk_field(struct hk_frame *f, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Runs BODY in COUNT threads and joins them; adds to ops, wall_s and cpu_s. */
void hk_threads_run(struct hk_frame *f, int count, void (*body)(struct hk_worker *w));

/* In a body: what comes before hk_ready and after hk_done is not measured. All wait for all. */
void hk_ready(struct hk_worker *w);
void hk_done(struct hk_worker *w);

/* In a body: how much of the work to do next, at most PART units; 0 when all is done. */
static inline uint64_t hk_part(struct hk_worker *w, uint64_t part)
{
	if (w->f->seconds > 0)
		return atomic_load_explicit(&w->f->stop, memory_order_relaxed) ? 0 : part;
	part = part < w->left ? part : w->left;
	w->left -= part;
	return part;
}

/* For a run() that measures by itself: adds to wall_s and cpu_s of the process. */
void hk_clock_start(struct hk_frame *f);
void hk_clock_stop(struct hk_frame *f);

/* Sleeps until f->seconds are over, then sets f->stop. */
void hk_stop_after(struct hk_frame *f);

/* A thread that must start, with a small stack; hk_join waits for it. */
void hk_thread_start(uintptr_t *id, void *(*body)(void *), void *arg);
void hk_thread_join(uintptr_t id);

/* The program's own tables: mapped, zero and touched. What they hold at most is in the line, so that
 * it can be taken off the peak. */
void *hk_table_get(size_t bytes);
void hk_table_drop(void *table, size_t bytes);

/* The number after NAME, which begins a line of a /proc file: KiB where it is memory; -1: none. */
long hk_proc_number(const char *path, const char *name);

_Noreturn void hk_lost(const void *p);
_Noreturn void hk_no_memory(size_t size);
_Noreturn void hk_skip(const char *why);

/* LO .. HI, without a division. */
static inline size_t hk_pick(uint64_t *state, size_t lo, size_t hi)
{
	return lo + (size_t)(((hk_random(state) >> 32) * (hi - lo + 1)) >> 32);
}

/* LO .. HI, each doubling as likely as the next. Both powers of two. */
static inline size_t hk_pick_log(uint64_t *state, size_t lo, size_t hi)
{
	unsigned int first = (unsigned int)__builtin_ctzll(lo);
	unsigned int last = (unsigned int)__builtin_ctzll(hi);
	size_t base = (size_t)1 << hk_pick(state, first, last - 1);

	return base + (size_t)(((hk_random(state) >> 32) * base) >> 32);
}

/* The word of a live block; ~ of it marks one that was freed. */
static inline uint64_t hk_word(const void *p)
{
	return (uint64_t)(uintptr_t)p ^ 0x6c6976655f626c6bu;
}

/* A live block must not be handed out again: its word would be wiped by the first of the two frees.
 * Blocks below 8 bytes carry one byte of it. */
static inline void hk_mark(void *p, size_t size)
{
	if (size >= sizeof(uint64_t))
		*(volatile uint64_t *)p = hk_word(p);
	else
		*(volatile uint8_t *)p = (uint8_t)(hk_word(p) >> 4);
}

static inline void hk_unmark(void *p, size_t size)
{
	if (size >= sizeof(uint64_t)) {
		if (*(volatile uint64_t *)p != hk_word(p))
			hk_lost(p);
		*(volatile uint64_t *)p = ~hk_word(p);
	} else {
		if (*(volatile uint8_t *)p != (uint8_t)(hk_word(p) >> 4))
			hk_lost(p);
		*(volatile uint8_t *)p = (uint8_t)~(hk_word(p) >> 4);
	}
}

static inline void *hk_get(size_t size)
{
	void *p = malloc(size);

	if (__builtin_expect(!p, 0))
		hk_no_memory(size);
	hk_mark(p, size);
	return p;
}

static inline void hk_put(void *p, size_t size)
{
	hk_unmark(p, size);
	free(p);
}

/* One byte in each 4 KiB is written, as by a program that uses the block; never its word. */
static inline void hk_touch(void *p, size_t size)
{
	for (size_t at = 4096; at < size; at += 4096)
		((volatile char *)p)[at] = 1;
}

#endif
