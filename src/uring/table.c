/* table.c - address -> buffer, and how stretches of the arena become buffers. Never waits for the kernel to let go:
 * that is release.c.
 *
 *   address:  GiB (leaf_of) | SuperSlab (leaf) | offset           each step is a shift and a mask
 */
#include <errno.h>
#include <sys/resource.h>

#include "uring/inner.h"

/* ---- what waits ---- */

static uint32_t stretches(const struct hk_watched *w)
{
	return __atomic_load_n(&w->count, __ATOMIC_ACQUIRE); /* pairs with watch.c: note */
}

/* The next stretches that adjoin, as one: an arena that grew by 2 MiB each time is few buffers. */
static bool take(struct hak_uring *u)
{
	const struct hk_watched *w = u->watched;
	uint32_t count = stretches(w);
	struct hk_stretch *run = &u->waiting;
	if (!run->bytes && u->seen < count)
		*run = w->stretch[u->seen++];
	for (; run->bytes && u->seen < count; u->seen++) {
		const struct hk_stretch *s = &w->stretch[u->seen];
		if (s->start + s->bytes == run->start)
			run->start = s->start;
		else if (s->start != run->start + run->bytes)
			break;
		run->bytes += s->bytes;
	}
	return run->bytes != 0;
}

uint64_t hk_uring_waiting_bytes(const struct hak_uring *u)
{
	uint64_t bytes = u->waiting.bytes;
	for (uint32_t i = u->seen, count = stretches(u->watched); i < count; i++)
		bytes += u->watched->stretch[i].bytes;
	return bytes;
}

/* ---- registration ---- */

static int no_memory(const struct hak_uring *u, size_t bytes)
{
	struct rlimit limit;
	uint64_t need = u->bytes + hk_uring_waiting_bytes(u);
	if (getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return hk_uring_fail(-ENOMEM, "the kernel has no memory to register %zu KiB", bytes >> 10);
	return hk_uring_fail(-EAGAIN, /* as hak_arena_create says it; the kernel does not tell the two apart */
			     "RLIMIT_MEMLOCK is %llu KiB for all that this user pins; %llu KiB are pinned here, "
			     "%llu KiB are needed: ulimit -l, LimitMEMLOCK= or CAP_IPC_LOCK",
			     (unsigned long long)limit.rlim_cur >> 10, (unsigned long long)u->bytes >> 10,
			     (unsigned long long)need >> 10);
}

static int refused(const struct hak_uring *u, int rc, size_t bytes)
{
	unsigned slot = u->first + u->used;
	switch (rc) {
	case -ENOMEM:
		return no_memory(u, bytes);
	case -ENXIO:
	case -EINVAL:
		return hk_uring_fail(rc, "the ring has no table with a slot %u", slot);
	case -EEXIST:
		return hk_uring_fail(rc, "the ring is another thread's (IORING_SETUP_SINGLE_ISSUER)");
	case -EBADF:
		return hk_uring_fail(rc, "the ring is closed");
	default:
		return hk_uring_fail(rc, "the kernel did not register %zu KiB in slot %u: error %d", bytes >> 10,
				     slot, -rc);
	}
}

static uint16_t *leaf_at(struct hk_map *map, uintptr_t where)
{
	uint32_t *leaf = &map->leaf_of[where >> HK_GIB_SHIFT];
	if (!*leaf)
		*leaf = ++map->leaves;
	return map->leaf[*leaf - 1];
}

static void enter(struct hak_uring *u, uintptr_t start, size_t bytes)
{
	struct hk_map *map = u->map;
	map->buffer[u->used] = (struct hk_buffer){start, start + bytes};
	u->used++;
	for (uintptr_t at = start; at < start + bytes; at += HK_SUPER_BYTES)
		leaf_at(map, at)[(at >> HK_SUPER_SHIFT) % HK_GIB_SUPERS] = (uint16_t)u->used;
	u->bytes += bytes;
	u->unconfirmed++;
}

static int register_next(struct hak_uring *u)
{
	struct hk_stretch *w = &u->waiting;
	__u64 tag = (uintptr_t)&u->map->buffer[u->used];
	if (u->used == u->most)
		return hk_uring_fail(-ENOSPC, "all %u slots of the arena are taken", u->most);
	size_t bytes = hk_uring_alike(w->start, w->bytes < u->buffer_bytes ? w->bytes : u->buffer_bytes);
	struct iovec iov = {(void *)w->start, bytes};
	int rc = io_uring_register_buffers_update_tag(u->ring, u->first + u->used, &iov, &tag, 1);
	if (rc != 1)
		return refused(u, rc < 0 ? rc : -EIO, bytes);
	enter(u, w->start, bytes);
	w->start += bytes;
	w->bytes -= bytes;
	return 0;
}

int hk_uring_register(struct hak_uring *u)
{
	while (take(u)) {
		int rc = register_next(u);
		if (rc)
			return rc;
	}
	if (__atomic_load_n(&u->watched->lost, __ATOMIC_RELAXED))
		return hk_uring_fail(-ENOSPC, "the arena grew more than %u times", HK_STRETCHES);
	return 0;
}

/* ---- the questions ---- */

static const struct hk_buffer *find(const struct hak_uring *u, const void *ptr)
{
	const struct hk_map *map = u->map;
	uintptr_t p = (uintptr_t)ptr;
	uint32_t leaf = p >> HK_GIB_SHIFT < HK_GIBS ? map->leaf_of[p >> HK_GIB_SHIFT] : 0;
	uint32_t at = leaf ? map->leaf[leaf - 1][(p >> HK_SUPER_SHIFT) % HK_GIB_SUPERS] : 0;
	return at && p < map->buffer[at - 1].end ? &map->buffer[at - 1] : NULL;
}

static int refuse(const struct hk_buffer *b, const void *ptr, size_t len)
{
	if (!len)
		return hk_uring_fail(-EINVAL, "a length of 0");
	if (b)
		return hk_uring_fail(-EXDEV, "of %zu bytes at %p, %zu are in one buffer", len, ptr,
				     (size_t)(b->end - (uintptr_t)ptr));
	return hk_uring_fail(-EFAULT, "%p is not memory of the arena", ptr);
}

/* Not found: perhaps it is the arena's since, so that is registered first. */
__attribute__((noinline, cold)) static int buffer_slow(struct hak_uring *u, const void *ptr, size_t len, unsigned *index)
{
	const struct hk_buffer *b = find(u, ptr);
	int rc = hk_uring_check_open(u);
	if (!rc && !b && len && hak_arena_owner(ptr) == u->watched->arena)
		rc = hk_uring_register(u);
	b = find(u, ptr);
	if (rc && !b)
		return rc; /* of another stretch, perhaps, that came later */
	if (!b || len - 1 >= b->end - (uintptr_t)ptr)
		return refuse(b, ptr, len);
	*index = u->first + (uint32_t)(b - u->map->buffer);
	return 0;
}

HK_URING_API int hak_uring_buffer(hak_uring *u, const void *ptr, size_t len, unsigned *index)
{
	const struct hk_buffer *b = find(u, ptr);
	if (__builtin_expect(!b || len - 1 >= b->end - (uintptr_t)ptr, 0))
		return buffer_slow(u, ptr, len, index);
	*index = u->first + (uint32_t)(b - u->map->buffer);
	return 0;
}

HK_URING_API size_t hak_uring_span(const hak_uring *u, const void *ptr)
{
	const struct hk_buffer *b = find(u, ptr);
	return b ? b->end - (uintptr_t)ptr : 0;
}
