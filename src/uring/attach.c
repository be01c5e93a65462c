/* attach.c - an arena and a ring come together and part. Begin reading here. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uring/inner.h"

#define SETUP_CQE_MIXED (1u << 18) /* completions of two sizes: newer than liburing 2.3 */
#define UNDO_TRIES 5000u           /* of 1 ms: kernels before 6.4 put releases off by a second */
#define HEAD_BYTES 4096u           /* before the map: only that is wiped on fork */

_Static_assert(sizeof(struct hak_uring) <= HEAD_BYTES, "the map begins behind it");

int hk_uring_check(const struct hak_uring *u)
{
	if (u && u->map->alive)
		return 0;
	if (!u)
		return hk_uring_fail(-EINVAL, "no hak_uring");
	return hk_uring_fail(-EPERM, "the ring is the parent's: this is the child of a fork");
}

int hk_uring_check_open(const struct hak_uring *u)
{
	int rc = hk_uring_check(u);
	return !rc && u->detaching ? hk_uring_fail(-ESHUTDOWN, "hak_uring_detach was called") : rc;
}

/* ---- attach ---- */

static int check(const hak_arena *arena, const struct io_uring *ring, const struct hak_uring_options *o)
{
	unsigned most = HAK_URING_BUFFERS_MAX;
	if (!arena || !ring)
		return hk_uring_fail(-EINVAL, "no arena, or no ring");
	if (o->size_bytes != sizeof(*o))
		return hk_uring_fail(-EINVAL, "size_bytes is %zu, not %zu", o->size_bytes, sizeof(*o));
	if (o->flags & ~HAK_URING_TABLE_READY)
		return hk_uring_fail(-EINVAL, "unknown flags 0x%x", o->flags);
	if (o->first_buffer >= most || o->buffers > most - o->first_buffer)
		return hk_uring_fail(-EINVAL, "%u buffers from slot %u on: a table has %u slots", o->buffers,
				     o->first_buffer, most);
	if (o->flags & HAK_URING_TABLE_READY && !o->buffers)
		return hk_uring_fail(-EINVAL, "buffers is 0: say how many slots of the table are the arena's");
	if (o->buffer_bytes % HK_SUPER_BYTES || o->buffer_bytes > HK_GIB)
		return hk_uring_fail(-EINVAL, "buffers of %zu bytes: a multiple of 2 MiB, 1 GiB at most", o->buffer_bytes);
	if (ring->flags & SETUP_CQE_MIXED)
		return hk_uring_fail(-EINVAL, "a ring with completions of two sizes");
	return 0;
}

static uint32_t slots(const struct hak_uring_options *o)
{
	uint32_t left = HAK_URING_BUFFERS_MAX - o->first_buffer;
	if (o->buffers)
		return o->buffers;
	return left < HAK_URING_BUFFERS_USUAL ? left : HAK_URING_BUFFERS_USUAL;
}

static struct hak_uring *make(struct io_uring *ring, const struct hak_uring_options *o)
{
	uint32_t most = slots(o);
	size_t leaves = 2 * most; /* a buffer of 1 GiB lies in two */
	size_t map_bytes = sizeof(struct hk_map) + leaves * sizeof(uint16_t[HK_GIB_SUPERS]);
	struct hak_uring *u = hk_uring_memory(HEAD_BYTES + map_bytes);
	if (!u)
		return NULL;
	u->map = (struct hk_map *)((char *)u + HEAD_BYTES);
	u->map_bytes = map_bytes;
	u->ring = ring;
	u->first = o->first_buffer;
	u->most = most;
	u->buffer_bytes = o->buffer_bytes ? o->buffer_bytes : HK_GIB;
	u->own_table = !(o->flags & HAK_URING_TABLE_READY);
	u->table_first = u->first;
	if (madvise(u->map, map_bytes, MADV_WIPEONFORK)) {
		munmap(u, HEAD_BYTES + map_bytes);
		return NULL;
	}
	u->map->alive = 1;
	return u;
}

static void end(struct hak_uring *u)
{
	munmap(u, HEAD_BYTES + u->map_bytes);
}

static int make_table(const struct hak_uring *u)
{
	int rc = u->own_table ? io_uring_register_buffers_sparse(u->ring, u->first + u->most) : 0;
	if (rc == -EBUSY)
		return hk_uring_fail(rc, "the ring has a table of buffers already (HAK_URING_TABLE_READY?)");
	if (rc == -EINVAL)
		return hk_uring_fail(rc, "the kernel has no sparse tables of buffers (Linux 5.19 has)");
	if (rc)
		return hk_uring_fail(rc, "the kernel made no table of buffers: error %d%s", -rc,
				     rc == -EBADF ? ", the ring is closed" : "");
	return 0;
}

/* Not with others' buffers in it: it ends with the last attachment, or, where slots are the program's, with the ring. */
static void leave_table(struct hak_uring *u)
{
	if (u->own_table && !hk_uring_table_passed_on(u) && !u->table_first)
		io_uring_unregister_buffers(u->ring);
}

/* No request knows of these buffers yet, so the wait is the kernel's own delay. What it doesn't confirm stays pinned and
 * watched. */
static void undo(struct hak_uring *u)
{
	int rc = hk_uring_release(u);
	for (unsigned i = 0; rc == -EAGAIN && i < UNDO_TRIES; i++) {
		usleep(1000);
		rc = hk_uring_release(u);
	}
	if (rc)
		return;
	if (u->own_table) /* nobody else has seen it */
		io_uring_unregister_buffers(u->ring);
	hk_uring_unwatch(u);
	end(u);
}

HK_URING_API int hak_uring_attach(hak_arena *arena, struct io_uring *ring, const struct hak_uring_options *options,
				  hak_uring **out)
{
	static const struct hak_uring_options usual = {.size_bytes = sizeof(usual)};
	const struct hak_uring_options *o = options ? options : &usual;
	int rc = check(arena, ring, o);
	if (rc)
		return rc;
	struct hak_uring *u = make(ring, o);
	if (!u)
		return hk_uring_fail(-ENOMEM, "no memory for the map of buffers");
	rc = hk_uring_watch(u, arena);
	if (rc) {
		end(u);
		return rc;
	}
	rc = make_table(u);
	if (rc) {
		hk_uring_unwatch(u);
		end(u);
		return rc;
	}
	rc = hk_uring_register(u);
	if (rc) {
		undo(u);
		return rc;
	}
	*out = u;
	return 0;
}

HK_URING_API int hak_uring_sync(hak_uring *u)
{
	int rc = hk_uring_check_open(u);
	return rc ? rc : hk_uring_register(u);
}

/* ---- detach ---- */

HK_URING_API int hak_uring_detach(hak_uring *u)
{
	int rc = hk_uring_check(u);
	if (rc)
		return rc;
	if (u->pbuf_rings)
		return hk_uring_fail(-EBUSY, "%u rings of provided buffers are in the arena", u->pbuf_rings);
	rc = hk_uring_release(u);
	if (rc == -EAGAIN)
		return hk_uring_fail(rc, "requests use %u buffers: reap completions and call again", u->unconfirmed);
	if (rc)
		return rc;
	leave_table(u);
	hk_uring_unwatch(u);
	end(u);
	return 0;
}

HK_URING_API int hak_uring_forget(hak_uring *u)
{
	if (!u)
		return hk_uring_check(u);
	if (u->map->alive)
		return hk_uring_fail(-EBUSY, "the ring is this process's: hak_uring_detach");
	hk_uring_unwatch(u);
	end(u);
	return 0;
}

HK_URING_API int hak_uring_stats(const hak_uring *u, struct hak_uring_stats *stats)
{
	int rc = hk_uring_check(u);
	if (rc)
		return rc;
	if (stats->size_bytes < sizeof(stats->size_bytes))
		return hk_uring_fail(-EINVAL, "size_bytes is %zu", stats->size_bytes);
	struct hak_uring_stats s = {
		.size_bytes = stats->size_bytes,
		.buffers = u->detaching ? 0 : u->used,
		.bytes = u->bytes,
		.waiting_bytes = hk_uring_waiting_bytes(u),
		.unconfirmed = u->detaching ? u->unconfirmed : 0,
		.pbuf_rings = u->pbuf_rings,
	};
	memcpy(stats, &s, stats->size_bytes < sizeof(s) ? stats->size_bytes : sizeof(s));
	return 0;
}
