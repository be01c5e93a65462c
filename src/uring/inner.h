/* inner.h - what the files of this library share.
 *
 *   hk_watched (one an arena)            hak_uring (one an attachment)
 *   stretches, as the arena tells  --->  seen: those before it are taken
 *                                        map: address -> buffer, wiped in the child of a fork
 *
 * I1  stretches are only added, by the arena's watcher under the arena's lock.
 * I2  slots first .. first + used - 1 of the ring's table are this attachment's, and were registered with a tag.
 * I3  the arena is watched while a hak_uring is in the list of its hk_watched.
 * I4  nothing here calls malloc, which the program may have directed to the arena.
 * Threads: a hak_uring is its ring's thread's; lists are under the lock of watch.c.
 */
#ifndef HK_URING_INNER_H
#define HK_URING_INNER_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hakmem/uring.h"

#define HK_URING_API __attribute__((visibility("default")))

#define HK_SUPER_SHIFT 21u
#define HK_SUPER_BYTES ((uintptr_t)1 << HK_SUPER_SHIFT)
#define HK_GIB_SHIFT 30u
#define HK_GIB ((size_t)1 << HK_GIB_SHIFT)
#define HK_GIB_SUPERS (1u << (HK_GIB_SHIFT - HK_SUPER_SHIFT))
#define HK_GIBS (1u << 17)        /* of address space */
#define HK_STRETCHES (1u << 18)   /* an arena; memory is touched as they come */

struct hk_stretch {
	uintptr_t start;
	size_t bytes;
};

struct hk_watched {
	hak_arena *arena;          /* [C] */
	struct hk_watched *next;   /* [L:lists] */
	struct hak_uring *urings;  /* [L:lists] by next */
	uint32_t count;            /* [A] stretches; written by the watcher, release: their contents */
	uint32_t lost;             /* [A] stretches beyond HK_STRETCHES */
	struct hk_stretch stretch[HK_STRETCHES];
};

struct hk_buffer {
	uintptr_t start, end;      /* end 0: the kernel has let go */
};

/* Wiped in the child of a fork: all zero, nothing is found, `alive` is 0. */
struct hk_map {
	uint32_t alive;
	uint32_t leaves;
	uint32_t leaf_of[HK_GIBS];                         /* by GiB of address; 0: none, else leaf - 1 */
	struct hk_buffer buffer[HAK_URING_BUFFERS_MAX];    /* its address is the tag */
	uint16_t leaf[][HK_GIB_SUPERS];                    /* by SuperSlab; 0: none, else buffer - 1 */
};

struct hak_uring {
	struct hk_map *map;        /* [C] */
	size_t map_bytes;          /* [C] */
	struct io_uring *ring;     /* [C] */
	struct hk_watched *watched; /* [C] */
	struct hak_uring *next;    /* [L:lists] */
	struct hk_stretch waiting; /* taken from the stretches, not registered yet */
	uint32_t seen;
	uint32_t first, most;      /* slots; fewer where another attachment of the ring begins within them */
	size_t buffer_bytes;       /* [C] most of a buffer */
	uint32_t used, removed;
	uint32_t unconfirmed;
	uint32_t pbuf_rings;
	uint64_t old_groups;       /* of those below 64, a bit each: destroyed once */
	uint64_t bytes;
	bool own_table;            /* the ring's table is this library's, and goes with it, ... */
	uint32_t table_first;      /* ... if it has no slots of the program's: those before this one */
	bool detaching;
};

/* message.c: keeps the line for hak_uring_message; returns ERROR. */
int hk_uring_fail(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* watch.c: zeroed memory that is not malloc's, or NULL. Puts URING in ARENA's list, its `watched` set; takes it out,
 * and unwatches the arena with the last one. */
void *hk_uring_memory(size_t bytes);
int hk_uring_watch(struct hak_uring *uring, hak_arena *arena);
void hk_uring_unwatch(struct hak_uring *uring);

/* watch.c: hands the ring's table on to another attachment of the same ring; false: there is none. */
bool hk_uring_table_passed_on(struct hak_uring *uring);

/* table.c: registers all that waits; 0 or an error with its message. */
int hk_uring_register(struct hak_uring *uring);
uint64_t hk_uring_waiting_bytes(const struct hak_uring *uring);

/* pages.c: how much from START on, in whole SuperSlabs, is on huge pages, or is on small ones. */
size_t hk_uring_alike(uintptr_t start, size_t bytes);

/* release.c: asks the kernel to let go of all, and takes its confirmations from the ring. 0, -EAGAIN, or an error. */
int hk_uring_release(struct hak_uring *uring);

/* attach.c: 0, or -EPERM in the child of a fork; hk_uring_check_open: or -ESHUTDOWN once detach was called. */
int hk_uring_check(const struct hak_uring *uring);
int hk_uring_check_open(const struct hak_uring *uring);

#endif
