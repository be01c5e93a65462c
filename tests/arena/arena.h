/* arena.h - what the arena tests share. They are linked with the library (and run with it preloaded as well, as all
 * tests are); with -DTEST_CORE they are linked with its objects alone, beside a sanitizer's malloc, and the libc
 * family stands for hakmem's own names. */
#ifndef HK_TEST_ARENA_H
#define HK_TEST_ARENA_H

#include "support.h"

#include <stdbool.h>

#include <hakmem/arena.h>
#include <hakmem/hakmem.h>
#include <hakmem/pool.h>

#ifdef TEST_CORE
#define test_free hak_free
#define test_malloc hak_malloc
#define test_realloc hak_realloc
#define test_usable hak_malloc_usable_size
#else
#include <malloc.h>
#include <stdlib.h>
#define test_free free
#define test_malloc malloc
#define test_realloc realloc
#define test_usable malloc_usable_size
#endif

#define SUPER ((size_t)2 << 20)

/* Options as a program begins with them. */
#define OPTIONS(...)                                          \
	(&(struct hak_arena_options){                         \
		.size_bytes = sizeof(struct hak_arena_options), __VA_ARGS__})

/* An arena, or the end of the test. */
hak_arena *arena_make(const struct hak_arena_options *options);
struct hak_arena_stats arena_stats(hak_arena *arena);

/* A block of SIZE that is the arena's, written to in full. */
void *arena_block(hak_arena *arena, size_t size);

/* The debug build: after a reset an arena goes on with other memory. That enters the kernel. */
bool arena_reset_replaces(void);

/* This program with the arguments CASE_NAME and NUMBER, started afresh (where messages go is settled at the start): it
 * must abort with one line that has TEXT in it. */
void must_abort(const char *case_name, int number, const char *text);

/* RUN() in a fork: must leave with 0. */
void in_child(void (*run)(void), const char *what);

/* The same by _Fork, which calls no handler of pthread_atfork. */
void in_plain_child(void (*run)(void), const char *what);

/* The field of /proc/self/smaps, in KiB, summed over what overlaps [P, P + BYTES); VmFlags: how many of these
 * mappings have FLAG. */
long smaps_kib(const void *p, size_t bytes, const char *field);
int smaps_flag(const void *p, size_t bytes, const char *flag, int *mappings);

#endif
