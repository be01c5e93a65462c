/* support.h - what the api, stress and death tests share: checks, patterns, figures from /proc.
 *
 * The tests link nothing of hakmem: the allocator under test comes by LD_PRELOAD, so the same
 * program runs on another allocator as a control. Nothing here allocates (but test_begin's
 * dlsym), so that a figure taken here is not changed by taking it.
 *
 * test_begin() first: it fails unless malloc resolves to the file that the runner named in
 * TEST_LIB. test_end() last: it asks hakmem to audit itself.
 * Exit codes: 0 pass, 1 fail, 77 skipped.
 */
#ifndef HK_TEST_SUPPORT_H
#define HK_TEST_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

enum test_served { SERVED_HAKMEM, SERVED_GLIBC, SERVED_OTHER };

/* True with TEST_QUICK=1: shorter loops, the same assertions. */
bool test_quick(void);

/* Which allocator serves malloc here, by the symbols and the file it resolves to. */
enum test_served test_served(void);

void test_begin(void);

/* hak_audit() must be 0 where hakmem serves. Returns 0 for main to return. */
int test_end(void);

/* Prints "skip: REASON" (the runner repeats it) and leaves with 77. */
void test_skip(const char *reason) __attribute__((noreturn));

/* Prints "skip: REASON" for one part of a test that goes on. */
void test_skip_part(const char *reason);

/* Ends the process with 1 and a line that names the place. Async-signal-safe but for formatting. */
void test_fail(const char *file, int line, const char *what, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 4, 5)));

#define CHECK(cond, ...)                                                   \
	do {                                                               \
		if (!(cond))                                               \
			test_fail(__FILE__, __LINE__, #cond, __VA_ARGS__); \
	} while (0)

/* A memory bound of hakmem's contract. Prints the figure in any case. Where another allocator
 * serves, a figure above the bound is said and not a failure: it shows that the bound can be
 * missed. */
#define BOUND(name, value, limit) test_bound(__FILE__, __LINE__, name, value, limit)
void test_bound(const char *file, int line, const char *name, long long value, long long limit);

/* A process (a fork child too) that hangs ends with 1 after SECONDS. */
void test_watchdog(unsigned seconds);

/* The compiler must not see where a pointer or a size comes from: it would warn of, or drop, the
 * very misuse under test. */
void *test_hide(const void *p);
size_t test_hide_size(size_t n);

/* xorshift64*; the state must not be 0. */
uint64_t test_rand(uint64_t *state);

/* Log-uniform between LOW and HIGH: as many blocks of each magnitude. */
size_t test_rand_size(uint64_t *state, size_t low, size_t high);

/* A pattern made of ID, SIZE and (fill/check) the address. Up to 64 KiB each byte is written,
 * above it the first and last 4 KiB and one word in each 512 bytes. `check` ends the process
 * where the content is not what fill wrote. _moved: without the address, for realloc; it checks
 * the first KEPT bytes of a block filled with SIZE. */
void pat_fill(void *p, size_t size, uint64_t id);
void pat_check(const void *p, size_t size, uint64_t id);
void pat_fill_moved(void *p, size_t size, uint64_t id);
void pat_check_moved(const void *p, size_t size, size_t kept, uint64_t id);

/* Ends the process unless all SIZE bytes are zero. */
void check_zero(const void *p, size_t size, const char *what);

/* Resident bytes of the process from smaps_rollup (exact; statm lags on many CPUs). */
long long rss_bytes(void);

/* Resident bytes of one mapping made by the test itself. */
long long resident_bytes(const void *start, size_t size);

/* Lines of /proc/self/maps. */
long long vma_count(void);

/* Minor faults of the calling thread. */
long long minor_faults(void);

/* Milliseconds of the monotonic clock, for loops that last; never for an assertion. */
long long now_ms(void);

/* Zeroed memory of the test's own, not from malloc, already resident. */
void *own_memory(size_t size);

/* Waits for PID and fails unless it left with 0. */
void child_must_pass(int pid, const char *what);

/* Runs each part in a process of its own, started afresh (memory bounds count from a heap that no
 * other part has grown), with a watchdog of SECONDS. test_begin and test_end are called for it.
 * Returns what main returns. */
struct test_part {
	const char *name;
	void (*run)(void);
};
int test_run_parts(int argc, char **argv, const struct test_part *parts, size_t count,
		   unsigned seconds);

/* A name in the process or NULL. */
void *test_symbol(const char *name);

#ifdef __cplusplus
}
#endif
#endif
