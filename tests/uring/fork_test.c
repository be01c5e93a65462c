/* fork_test.c - the child of a fork has no rights over the parent's ring, and is told so; it may have rings of its
 * own, and let its copy of the arena go. */
#include "lib.h"

struct all {
	struct io_uring ring;
	hak_uring *u;
	hak_uring_pbuf_ring *pbufs;
	hak_arena *arena;
	char *p;
	void *taken;
};

static void refused(void *arg)
{
	struct all *a = arg;
	unsigned index = 9;
	struct io_uring_cqe *cqe = calloc(1, sizeof(*cqe));
	struct hak_uring_stats s = {.size_bytes = sizeof(s)};
	struct hak_uring_pbuf_options po = {sizeof(po), 5, 4, 64};
	hak_uring_pbuf_ring *r;
	IS(hak_uring_buffer(a->u, a->p, 4096, &index), -EPERM);
	CHECK(strstr(hak_uring_message(), "child of a fork"), "message: %s", hak_uring_message());
	CHECK(index == 9 && hak_uring_span(a->u, a->p) == 0, "index %u", index);
	IS(hak_uring_sync(a->u), -EPERM);
	IS(hak_uring_detach(a->u), -EPERM);
	IS(hak_uring_stats(a->u, &s), -EPERM);
	IS(hak_uring_completion(a->u, cqe), 0);
	IS(hak_uring_pbuf_ring_create(a->u, &po, &r), -EPERM);
	cqe->flags = IORING_CQE_F_BUFFER;
	CHECK(!hak_uring_pbuf_ring_take(a->pbufs, cqe) && errno == EPERM, "take");
	IS(hak_uring_pbuf_ring_give(a->pbufs, a->taken), -EPERM);
	IS(hak_uring_pbuf_ring_destroy(a->pbufs), -EPERM);
	IS(hak_arena_destroy(a->arena), -EBUSY);
	/* A ring of its own, on its copy of the arena. */
	struct io_uring own;
	hak_uring *mine;
	int fd = hk_file(4096, NULL);
	hk_ring(&own, 4, 0);
	IS(hak_uring_attach(a->arena, &own, NULL, &mine), 0);
	hk_fill(a->p, 4096, 33);
	IS(hak_uring_buffer(mine, a->p, 4096, &index), 0);
	IS(hk_fixed(&own, true, fd, a->p, 4096, 0, index), 4096);
	DETACH(mine);
	io_uring_queue_exit(&own);
	IS(hak_uring_forget(a->u), 0);
	IS(hak_arena_reset(a->arena), 0);
	IS(hak_arena_destroy(a->arena), 0);
}

int main(void)
{
	struct all a;
	unsigned index;
	struct hak_uring_pbuf_options po = {sizeof(po), 7, 4, 64};
	int fd = hk_file(8192, NULL);
	hk_need_locked(32 * MIB);
	hk_ring(&a.ring, 8, 0);
	a.arena = hk_arena(8 * MIB, 0, 0);
	IS(hak_uring_attach(a.arena, &a.ring, NULL, &a.u), 0);
	IS(hak_uring_pbuf_ring_create(a.u, &po, &a.pbufs), 0);
	struct io_uring_cqe *cqe = calloc(1, sizeof(*cqe));
	cqe->flags = IORING_CQE_F_BUFFER | 2u << IORING_CQE_BUFFER_SHIFT;
	a.taken = hak_uring_pbuf_ring_take(a.pbufs, cqe);
	CHECK(a.taken, "take");
	a.p = hak_arena_aligned_alloc(a.arena, 4096, 4096);
	hk_fill(a.p, 4096, 11);
	IS(hak_uring_forget(a.u), -EBUSY);
	hk_in_child(refused, &a);
	/* The parent's ring and memory are as before. */
	CHECK(hk_holds(a.p, 4096, 11), "the child's writing is in the parent");
	IS(hak_uring_buffer(a.u, a.p, 4096, &index), 0);
	IS(hk_fixed(&a.ring, true, fd, a.p, 4096, 0, index), 4096);
	memset(a.p, 0, 4096);
	IS(hk_fixed(&a.ring, false, fd, a.p, 4096, 0, index), 4096);
	CHECK(hk_holds(a.p, 4096, 11), "what was read is not where the program looks");
	hk_in_child(refused, &a);
	IS(hak_uring_pbuf_ring_give(a.pbufs, a.taken), 0);
	IS(hak_uring_pbuf_ring_destroy(a.pbufs), 0);
	DETACH(a.u);
	IS(hak_arena_destroy(a.arena), 0);
	io_uring_queue_exit(&a.ring);
	free(cqe);
	return 0;
}
