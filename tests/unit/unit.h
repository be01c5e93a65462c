/* unit.h - what the unit tests share: a process for each case, and a few short ways to a heap.
 *
 * The tests are linked with the allocator's own objects (all but the libc family), so they call
 * inner functions and read inner structures; malloc stays libc's. Each case runs in a fork of a
 * process in which hakmem has not started, so each begins with an empty region, with the options
 * that it names, and may end it as it likes. After each case the audit must find nothing.
 * Several heaps in one thread: the TLS word can be swapped by its thread, and unit_as() does.
 */
#ifndef HK_UNIT_UNIT_H
#define HK_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "api/api.h"
#include "heap/process.h"
#include "tiny/bin.h"
#include "tiny/find.h"
#include "tiny/remote.h"
#include "tiny/tiny_fast.h"

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define POOL (&hk_pools[0])
#define ARENA_MIB(n) ((size_t)(n) << 20)

/* Runs the cases whose name contains argv[1] (all without); returns what main returns. */
int unit_main(int argc, char **argv, const struct CMUnitTest *cases, size_t count);

/* Starts hakmem with OPTIONS ("NAME=VALUE NAME=VALUE", or NULL). First in a case. */
void unit_start(const char *options);

/* Leaves the case: skipped, for REASON. */
void unit_skip(const char *reason) __attribute__((noreturn));

/* Leaves the case where a sanitizer's runtime serves: it has limits and an mlock of its own. */
void unit_skip_sanitized(void);

/* A new heap in state LIVE without a thread; it takes slabs of its own at once. */
struct hk_heap *unit_heap(void);

/* A process with OPTIONS, in which the test is the thread of the heap that comes back. */
struct hk_heap *unit_begin(const char *options);

/* A span of the first pool; what the side table has of the SuperSlab at P. */
char *unit_span(size_t chunks, size_t align);
struct hk_super *unit_super_of(const void *p);

/* The calling thread works with HEAP from here on; returns what it had. */
struct hk_heap *unit_as(struct hk_heap *heap);

/* Both audits; a failure of the case where they find something. */
void unit_audit(void);

/* As in a forked child that has not looked yet: lets it look. */
void unit_wipe(void);

/* RUN(ARG) in a fork, on the heap that the calling thread has, must abort with a line on standard error that
 * contains TEXT. */
void unit_must_abort(void (*run)(void *), void *arg, const char *text);

/* Runs RUN(ARG) in a fork and keeps what it wrote to standard error in TEXT; its wait status. */
int unit_capture(void (*run)(void *), void *arg, char *text, size_t bytes);

/* Is the page at P in memory? */
bool unit_resident(const void *p);

/* Blocks in the list of a bin, by walking it. */
uint32_t unit_walk(const struct hk_block *list);

/* xorshift64*: the same in each run. */
uint64_t unit_random(uint64_t *state);

/* COUNT blocks of SIZE in PTRS from the calling thread's heap; and frees of all that are not NULL.
 * Neither lets a tick happen: figures must not depend on how long a case takes. */
void unit_take(void **ptrs, size_t count, size_t size);
void unit_give(void **ptrs, size_t count);

/* Drains HEAP's queue into its slabs. */
void unit_drain(struct hk_heap *heap);

/* Gives back all that the COUNT heaps hold: bins, slots, queues, empty slabs. */
void unit_empty(struct hk_heap **heaps, size_t count);

#endif
