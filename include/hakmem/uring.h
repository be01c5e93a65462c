/* uring.h - an arena's memory as fixed buffers of the program's own io_uring.
 *
 *   arena:  | 2 MiB | 2 MiB | 2 MiB |      | 2 MiB |     SuperSlabs, by stretches
 *           '----- buffer 0 --------'      'buffer 1'     slots of the ring's sparse table, 1 GiB at most each
 *
 * A block within one SuperSlab is within one buffer. Larger ones may cross into another: stretches end, and huge and
 * small pages are not mixed in a buffer, for the kernel would treat them all as small ones.
 *
 * Library of its own: -lhakmem_uring, pkg-config hakmem_uring; needs liburing 2.3 and Linux 5.19.
 * Registered memory is pinned, and counts against RLIMIT_MEMLOCK of the user unless the process has CAP_IPC_LOCK.
 * While an arena is attached, hak_arena_reset and hak_arena_destroy are -EBUSY. Order: hak_uring_detach, then
 * io_uring_queue_exit and hak_arena_destroy. Several rings may be attached to an arena, and several arenas to a ring.
 *
 * Threads: the functions on a hak_uring are for the thread that uses the ring, as liburing's own. Other threads may
 * allocate from the arena meanwhile. In the child of a fork all of them are -EPERM, but for hak_uring_forget: the
 * ring is the parent's.
 * Errors: 0 or a negative errno, and what it means in hak_uring_message.
 */
#ifndef HAKMEM_URING_H
#define HAKMEM_URING_H

#include <stddef.h>
#include <stdint.h>

#include "hakmem/arena.h"

#ifdef __cplusplus
extern "C" {
#endif

struct io_uring;
struct io_uring_cqe;
typedef struct hak_uring hak_uring;
typedef struct hak_uring_pbuf_ring hak_uring_pbuf_ring;

#define HAK_URING_BUFFERS_MAX 16384u /* slots of a table: the kernel's limit */
#define HAK_URING_BUFFERS_USUAL 1024u

/* Flags. */
#define HAK_URING_TABLE_READY 1u /* the program registered a sparse table itself, or another arena did: use that */

/* NULL, or all zero but for size_bytes: a table of HAK_URING_BUFFERS_USUAL slots, all the arena's. To register a huge
 * page the kernel looks at each slot, so a table of 16384 costs ten times as much (16 us a page, seen on Linux 6.18). */
struct hak_uring_options {
	size_t size_bytes;     /* sizeof(struct hak_uring_options) */
	unsigned first_buffer; /* the arena's first slot; those before it are left to the program */
	unsigned buffers;      /* its slots at most, and up to where another arena's begin; 0: HAK_URING_BUFFERS_USUAL (not
				* with HAK_URING_TABLE_READY) */
	unsigned flags;        /* HAK_URING_... */
	size_t buffer_bytes;   /* most of a buffer: a multiple of 2 MiB, 1 GiB at most; 0: 1 GiB. With 2 MiB, kernels
				* before 6.12 too know a huge page for one */
};

/* Registers what ARENA has with RING; the result is *OUT. -EINVAL: wrong size_bytes, flags, slots or arena, or a ring
 * with completions of two sizes; -EEXIST: a slot that another arena has; -EBUSY: the ring has a table
 * (HAK_URING_TABLE_READY), or something else watches the arena; -EAGAIN: beyond RLIMIT_MEMLOCK; -ENOMEM: no memory;
 * -ENOSPC: more buffers than slots; else what the kernel says. */
int hak_uring_attach(hak_arena *arena, struct io_uring *ring, const struct hak_uring_options *options,
		     hak_uring **out);

/* *INDEX: what io_uring_prep_read_fixed and write_fixed need for the LEN bytes at PTR. Registers what the arena has got
 * since, if PTR is there; else no system call. -EXDEV: the bytes cross from one buffer to another (large blocks can:
 * hak_uring_span); -EFAULT: not the arena's memory; -EINVAL: LEN is 0; -ESHUTDOWN: detach was called; errors of
 * hak_uring_sync. */
int hak_uring_buffer(hak_uring *uring, const void *ptr, size_t len, unsigned *index);

/* How many bytes from PTR on are in one registered buffer; 0: none. */
size_t hak_uring_span(const hak_uring *uring, const void *ptr);

/* Registers what the arena has got since, now. Errors as hak_uring_attach; what is registered stays. */
int hak_uring_sync(hak_uring *uring);

/* Takes the buffers out of the ring's table. The kernel confirms each one by a completion when the last request that
 * uses it is done; those that are there already are taken from the ring here, wherever they stand, so don't call it
 * between peeking at completions and advancing past them. 0: all are confirmed and URING is gone. -EAGAIN: not yet; reap
 * completions, give each to hak_uring_completion first (of each hak_uring of the ring that is being detached), and call
 * again. -EBUSY: it has a hak_uring_pbuf_ring. Other
 * errors (-EBADF: the ring was closed before) leave the arena attached for good: nobody knows then when the kernel is
 * done with the memory. */
int hak_uring_detach(hak_uring *uring);

/* 1: CQE is a confirmation for hak_uring_detach, and not the program's; it has been noted. Else 0. */
int hak_uring_completion(hak_uring *uring, const struct io_uring_cqe *cqe);

/* In the child of a fork: lets the child's copy of the arena go, and touches nothing of the parent's. -EBUSY in the
 * process that attached. */
int hak_uring_forget(hak_uring *uring);

struct hak_uring_stats {
	size_t size_bytes;
	uint64_t buffers;       /* registered */
	uint64_t bytes;         /* in them, pinned */
	uint64_t waiting_bytes; /* of the arena, not registered yet */
	uint64_t unconfirmed;   /* buffers that detach waits for */
	uint64_t pbuf_rings;
};

/* Set size_bytes first; -EINVAL. */
int hak_uring_stats(const hak_uring *uring, struct hak_uring_stats *stats);

/* One line on this thread's last error here; "" if there was none. Overwritten by the next. */
const char *hak_uring_message(void);

/* ---- rings of provided buffers, for requests with IOSQE_BUFFER_SELECT ---- */

struct hak_uring_pbuf_options {
	size_t size_bytes;   /* sizeof(struct hak_uring_pbuf_options) */
	unsigned group;      /* sqe->buf_group; 65535 at most */
	unsigned entries;    /* buffers: a power of two, 32768 at most */
	unsigned buffer_bytes;
};

/* All its buffers, and the ring itself, are one block of the arena; they are the kernel's to fill from here on.
 * -EINVAL: see the fields; -ENOMEM; -EEXIST: the group is taken; -EOPNOTSUPP: a group below 64 that was destroyed before,
 * whose old state kernels before 6.8 keep; else what the kernel says. */
int hak_uring_pbuf_ring_create(hak_uring *uring, const struct hak_uring_pbuf_options *options,
			       hak_uring_pbuf_ring **out);

/* The buffer that the kernel chose for CQE: cqe->res bytes are in it, and it is the program's until given back. NULL: no
 * buffer in it (errno 0), or not one that the kernel had (EINVAL), EPERM after fork. */
void *hak_uring_pbuf_ring_take(hak_uring_pbuf_ring *ring, const struct io_uring_cqe *cqe);

/* -EINVAL: not a buffer that was taken, or given back already. */
int hak_uring_pbuf_ring_give(hak_uring_pbuf_ring *ring, void *buffer);

/* Only while no request of its group is under way, those of several shots included. -EBUSY: buffers are taken. */
int hak_uring_pbuf_ring_destroy(hak_uring_pbuf_ring *ring);

#ifdef __cplusplus
}
#endif
#endif
