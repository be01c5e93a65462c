/* lib.h - what the tests of libhakmem_uring share. A test is a program: 0 passed, 1 failed, 77 skipped with a line
 * that begins with "skip: ". */
#ifndef HK_TEST_URING_LIB_H
#define HK_TEST_URING_LIB_H

#include <errno.h>
#include <hakmem/arena.h>
#include <hakmem/uring.h>
#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define SUPER (2 * MIB)

#define CHECK(cond, ...)                                                       \
	do {                                                                   \
		if (!(cond))                                                   \
			hk_test_fail(__FILE__, __LINE__, #cond, __VA_ARGS__); \
	} while (0)

/* An int function's result: is WANT, else its message is shown. */
#define IS(call, want)                                                                               \
	do {                                                                                         \
		int is_ = (call);                                                                    \
		CHECK(is_ == (want), "is %d, not %d; message: %s", is_, (want), hak_uring_message()); \
	} while (0)

void hk_test_fail(const char *file, int line, const char *what, const char *format, ...)
	__attribute__((noreturn, format(printf, 4, 5)));

/* Leaves with 77 where the kernel has no io_uring for this process, or none with these flags. */
void hk_ring(struct io_uring *ring, unsigned entries, unsigned flags);

/* Whether BYTES may be pinned: RLIMIT_MEMLOCK, or CAP_IPC_LOCK. hk_need_locked leaves with 77 otherwise. */
bool hk_may_lock(size_t bytes);
void hk_need_locked(size_t bytes);

/* An arena of BYTES at once, MOST at most (0: none), with FLAGS; on small pages, so that its buffers don't depend on how
 * many huge ones the machine has left. */
hak_arena *hk_arena(size_t bytes, size_t most, unsigned flags);

/* A file that is gone when the process ends, of BYTES; with O_DIRECT where the file system has it. */
int hk_file(size_t bytes, bool *direct);

/* Fixed I/O, waited for; returns its result, and fails where another completion comes. */
int hk_fixed(struct io_uring *ring, bool is_write, int fd, void *buffer, size_t bytes, uint64_t offset, unsigned index);

/* Detaches, and waits for kernels that take their time (a second, before 6.4). */
#define DETACH(uring) hk_detach(__FILE__, __LINE__, uring)
void hk_detach(const char *file, int line, hak_uring *uring);

/* The next completion, waited for. */
struct hk_done {
	uint64_t user_data;
	int res;
	unsigned flags;
};
struct hk_done hk_next(struct io_uring *ring);

/* BYTES that SEED says; false: they are not. */
void hk_fill(void *p, size_t bytes, uint64_t seed);
bool hk_holds(const void *p, size_t bytes, uint64_t seed);

/* Runs FUNCTION in a child; fails unless it leaves with 0. */
void hk_in_child(void (*function)(void *), void *arg);

#endif
