/* pbuf.c - rings of provided buffers from arena memory. Receives nothing itself: it hands buffers to the kernel, and
 * knows which of them the program has.
 *
 *   block:  | io_uring_buf[entries] | struct, bitmap | pad | buffer 0 | buffer 1 | ...      begins a page
 */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uring/inner.h"

#define PAGE ((size_t)4096)
#define ENTRIES_MAX 32768u
#define GROUP_MAX 65535u
#define REGISTER_PBUF_STATUS 26 /* Linux 6.8; newer than liburing 2.3 */
#define KEPT_GROUPS 64u         /* older kernels keep the head of these when they are unregistered */

struct hak_uring_pbuf_ring {
	hak_uring *uring;             /* [C] */
	struct io_uring_buf_ring *br; /* [C] the block's beginning */
	char *buffers;                /* [C] */
	uint32_t entries;             /* [C] */
	uint32_t buffer_bytes;        /* [C] */
	uint32_t group;               /* [C] */
	uint32_t taken;               /* buffers that the program has: bits of `has` */
	uint64_t has[];
};

static int check(const struct hak_uring_pbuf_options *o)
{
	if (!o || o->size_bytes != sizeof(*o))
		return hk_uring_fail(-EINVAL, "size_bytes is %zu, not %zu", o ? o->size_bytes : 0, sizeof(*o));
	if (!o->entries || o->entries > ENTRIES_MAX || o->entries & (o->entries - 1))
		return hk_uring_fail(-EINVAL, "%u entries: a power of two, %u at most", o->entries, ENTRIES_MAX);
	if (o->group > GROUP_MAX)
		return hk_uring_fail(-EINVAL, "group %u: %u at most", o->group, GROUP_MAX);
	if (!o->buffer_bytes)
		return hk_uring_fail(-EINVAL, "buffers of 0 bytes");
	return 0;
}

static size_t align(size_t bytes)
{
	return (bytes + PAGE - 1) & ~(PAGE - 1);
}

static struct hak_uring_pbuf_ring *make(hak_uring *u, const struct hak_uring_pbuf_options *o)
{
	size_t ring_bytes = align(o->entries * sizeof(struct io_uring_buf));
	size_t own_bytes = align(sizeof(struct hak_uring_pbuf_ring) + o->entries / 8 + sizeof(uint64_t));
	size_t all = ring_bytes + own_bytes + (size_t)o->entries * o->buffer_bytes;
	char *block = hak_arena_aligned_alloc(u->watched->arena, PAGE, all);
	if (!block)
		return NULL;
	memset(block, 0, ring_bytes + own_bytes);
	struct hak_uring_pbuf_ring *r = (struct hak_uring_pbuf_ring *)(block + ring_bytes);
	r->uring = u;
	r->br = (struct io_uring_buf_ring *)block;
	r->buffers = block + ring_bytes + own_bytes;
	r->entries = o->entries;
	r->buffer_bytes = o->buffer_bytes;
	r->group = o->group;
	return r;
}

static void add(struct hak_uring_pbuf_ring *r, unsigned id, int offset)
{
	io_uring_buf_ring_add(r->br, r->buffers + (size_t)id * r->buffer_bytes, r->buffer_bytes, (unsigned short)id,
			      io_uring_buf_ring_mask(r->entries), offset);
}

/* Where the kernel takes the next buffer from; negative: it doesn't say. */
static int head(const struct hak_uring_pbuf_ring *r)
{
	struct {
		uint32_t group, head, zero[8];
	} status = {.group = r->group};
	if (syscall(SYS_io_uring_register, r->uring->ring->ring_fd, REGISTER_PBUF_STATUS, &status, 1))
		return -1;
	return (int)status.head;
}

static int fill(struct hak_uring_pbuf_ring *r)
{
	int from = head(r);
	bool was_used = r->group < KEPT_GROUPS && r->uring->old_groups >> r->group & 1;
	if (from < 0 && was_used)
		return hk_uring_fail(-EOPNOTSUPP, "group %u was used before, and the kernel keeps its old state", r->group);
	r->br->tail = from < 0 ? 0 : (uint16_t)from;
	for (unsigned i = 0; i < r->entries; i++)
		add(r, i, (int)i);
	io_uring_buf_ring_advance(r->br, (int)r->entries);
	return 0;
}

HK_URING_API int hak_uring_pbuf_ring_create(hak_uring *u, const struct hak_uring_pbuf_options *options,
					    hak_uring_pbuf_ring **out)
{
	int rc = hk_uring_check_open(u);
	if (rc)
		return rc;
	rc = check(options);
	if (rc)
		return rc;
	struct hak_uring_pbuf_ring *r = make(u, options);
	if (!r)
		return hk_uring_fail(-ENOMEM, "the arena has no room for %u buffers of %u bytes", options->entries,
				     options->buffer_bytes);
	struct io_uring_buf_reg reg = {
		.ring_addr = (uintptr_t)r->br, .ring_entries = r->entries, .bgid = (__u16)r->group};
	rc = io_uring_register_buf_ring(u->ring, &reg, 0);
	if (rc) {
		hak_arena_free(u->watched->arena, r->br);
		return hk_uring_fail(rc, "the kernel did not register group %u: error %d%s", options->group, -rc,
				     rc == -EEXIST ? ", the group is taken" : "");
	}
	rc = fill(r);
	if (rc) {
		io_uring_unregister_buf_ring(u->ring, (int)r->group);
		hak_arena_free(u->watched->arena, r->br);
		return rc;
	}
	u->pbuf_rings++;
	*out = r;
	return 0;
}

HK_URING_API void *hak_uring_pbuf_ring_take(hak_uring_pbuf_ring *r, const struct io_uring_cqe *cqe)
{
	unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
	errno = 0;
	if (hk_uring_check(r->uring)) {
		errno = EPERM;
		return NULL;
	}
	if (!(cqe->flags & IORING_CQE_F_BUFFER))
		return NULL;
	if (id >= r->entries || r->has[id / 64] >> id % 64 & 1) {
		errno = EINVAL;
		hk_uring_fail(-EINVAL, "buffer %u of %u is not one that the kernel had from group %u", id, r->entries,
			      r->group);
		return NULL;
	}
	r->has[id / 64] |= (uint64_t)1 << id % 64;
	r->taken++;
	return r->buffers + (size_t)id * r->buffer_bytes;
}

HK_URING_API int hak_uring_pbuf_ring_give(hak_uring_pbuf_ring *r, void *buffer)
{
	int rc = hk_uring_check(r->uring);
	if (rc)
		return rc;
	size_t at = (uintptr_t)buffer - (uintptr_t)r->buffers, id = at / r->buffer_bytes;
	if (id >= r->entries || at % r->buffer_bytes || !(r->has[id / 64] >> id % 64 & 1))
		return hk_uring_fail(-EINVAL, "%p is not a buffer that was taken from group %u", buffer, r->group);
	r->has[id / 64] &= ~((uint64_t)1 << id % 64);
	r->taken--;
	add(r, (unsigned)id, 0);
	io_uring_buf_ring_advance(r->br, 1);
	return 0;
}

HK_URING_API int hak_uring_pbuf_ring_destroy(hak_uring_pbuf_ring *r)
{
	int rc = hk_uring_check(r->uring);
	if (rc)
		return rc;
	hak_uring *u = r->uring;
	if (r->taken)
		return hk_uring_fail(-EBUSY, "%u buffers of group %u are taken", r->taken, r->group);
	rc = io_uring_unregister_buf_ring(u->ring, (int)r->group);
	if (rc)
		return hk_uring_fail(rc, "the kernel did not let go of group %u: error %d", r->group, -rc);
	if (r->group < KEPT_GROUPS)
		u->old_groups |= (uint64_t)1 << r->group;
	hak_arena_free(u->watched->arena, r->br);
	u->pbuf_rings--;
	return 0;
}
