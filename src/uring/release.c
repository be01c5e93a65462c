/* release.c - the kernel lets go of the buffers. Never waits: it asks, and sees what has been confirmed.
 *
 * A slot that is emptied takes no new request; when the last one that uses the old buffer is done, the kernel posts a
 * completion with the buffer's tag. Only that counts: since Linux 6.13 not even unregistering the whole table waits.
 */
#include <errno.h>
#include <string.h>

#include "uring/inner.h"

#define BATCH 64u

/* ---- confirmations ---- */

static struct hk_buffer *buffer_of(const struct hak_uring *u, const struct io_uring_cqe *cqe)
{
	uint64_t at = cqe->user_data - (uintptr_t)u->map->buffer;
	if (at >= u->used * sizeof(struct hk_buffer) || at % sizeof(struct hk_buffer))
		return NULL;
	return &u->map->buffer[at / sizeof(struct hk_buffer)];
}

static bool confirm(struct hak_uring *u, const struct io_uring_cqe *cqe)
{
	struct hk_buffer *b = buffer_of(u, cqe);
	if (!b || !b->end)
		return false;
	u->bytes -= b->end - b->start;
	u->unconfirmed--;
	b->end = 0;
	return true;
}

/* Ours out of what is in the ring and not reaped; the others move up, in their order. What is between head and tail is
 * the program's, the kernel reads none of it. */
static unsigned sift(struct hak_uring *u)
{
	struct io_uring *ring = u->ring;
	unsigned shift = io_uring_cqe_shift(ring), mask = ring->cq.ring_mask, head = *ring->cq.khead;
	unsigned tail = io_uring_smp_load_acquire(ring->cq.ktail), to = tail; /* pairs with the kernel's posting */
	for (unsigned at = tail; at != head;) {
		struct io_uring_cqe *cqe = &ring->cq.cqes[(--at & mask) << shift];
		if (confirm(u, cqe))
			continue;
		if (--to != at)
			memcpy(&ring->cq.cqes[(to & mask) << shift], cqe, sizeof(*cqe) << shift);
	}
	io_uring_cq_advance(ring, to - head);
	return to - head;
}

/* Asking for events runs what the kernel has put off, and brings in what had no room in the ring. */
static void take_confirmations(struct hak_uring *u)
{
	do
		io_uring_get_events(u->ring);
	while (sift(u) && u->unconfirmed);
}

HK_URING_API int hak_uring_completion(hak_uring *u, const struct io_uring_cqe *cqe)
{
	return !hk_uring_check(u) && confirm(u, cqe);
}

/* ---- asking ---- */

/* Nothing is found from here on. */
static void hide(struct hk_map *map, uint32_t used)
{
	for (uint32_t i = 0; i < used; i++)
		for (uintptr_t at = map->buffer[i].start; at < map->buffer[i].end; at += HK_SUPER_BYTES)
			map->leaf_of[at >> HK_GIB_SHIFT] = 0;
}

static int remove_some(struct hak_uring *u)
{
	struct iovec none[BATCH] = {{0}};
	__u64 tags[BATCH] = {0};
	uint32_t left = u->used - u->removed;
	int rc = io_uring_register_buffers_update_tag(u->ring, u->first + u->removed, none, tags,
						      left < BATCH ? left : BATCH);
	if (rc == -ENXIO) { /* no table: the program unregistered it, and what it confirmed is gone */
		take_confirmations(u);
		u->removed = u->unconfirmed ? u->removed : u->used;
	}
	if (u->removed == u->used)
		return 0;
	if (rc <= 0)
		return hk_uring_fail(rc ? rc : -EIO, "the kernel did not empty slot %u (error %d): %s",
				     u->first + u->removed, -rc,
				     "was the ring closed, or its table unregistered, before hak_uring_detach?");
	u->removed += (uint32_t)rc;
	return 0;
}

int hk_uring_release(struct hak_uring *u)
{
	if (!u->detaching)
		hide(u->map, u->used);
	u->detaching = true;
	while (u->removed < u->used) {
		int rc = remove_some(u);
		if (rc)
			return rc;
		take_confirmations(u);
	}
	if (u->unconfirmed)
		take_confirmations(u);
	return u->unconfirmed ? -EAGAIN : 0;
}
