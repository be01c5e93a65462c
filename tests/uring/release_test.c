/* release_test.c - the kernel's word that it let go: with requests under way, small rings, other completions among
 * ours, flags of the ring that change how completions come; rings that were closed too early. */
#include "lib.h"

#include <sys/mman.h>

static hak_uring *attach(hak_arena *arena, struct io_uring *ring)
{
	hak_uring *u = NULL;
	IS(hak_uring_attach(arena, ring, NULL, &u), 0);
	return u;
}

static void nop(struct io_uring *ring, uint64_t name)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	io_uring_prep_nop(sqe);
	sqe->user_data = name;
	int rc = io_uring_submit(ring);
	CHECK(rc >= 1, "submit: %d, flags 0x%x", rc, ring->flags);
}

/* A read from an empty pipe holds its buffer: detach isn't done before it is. */
static void test_under_way(unsigned flags)
{
	struct io_uring ring;
	int fd[2];
	unsigned index;
	hak_arena *arena = hk_arena(4 * MIB, 0, 0);
	hk_ring(&ring, 8, flags);
	CHECK(!pipe(fd), "pipe");
	hak_uring *u = attach(arena, &ring);
	char *p = hak_arena_zalloc(arena, 4096);
	IS(hak_uring_buffer(u, p, 4096, &index), 0);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	io_uring_prep_read_fixed(sqe, fd[0], p, 4096, 0, (int)index);
	sqe->user_data = 1;
	CHECK(io_uring_submit(&ring) == 1, "submit");
	nop(&ring, 2);
	while (!io_uring_cq_ready(&ring))
		io_uring_get_events(&ring);
	for (int i = 0; i < 3; i++) {
		IS(hak_uring_detach(u), -EAGAIN);
		IS(hak_arena_destroy(arena), -EBUSY);
		IS(hak_arena_reset(arena), -EBUSY);
	}
	IS(hak_uring_buffer(u, p, 4096, &index), -ESHUTDOWN);
	IS(hak_uring_sync(u), -ESHUTDOWN);
	CHECK(hak_uring_span(u, p) == 0, "span");
	CHECK(write(fd[1], "hello", 6) == 6, "write");
	CHECK(hk_next(&ring).user_data == 2, "the program's completion is lost");
	struct hk_done done = hk_next(&ring);
	CHECK(done.user_data == 1 && done.res == 6 && !strcmp(p, "hello"), "%d bytes: %s", done.res, p);
	DETACH(u);
	CHECK(!io_uring_cq_ready(&ring), "%u completions left", io_uring_cq_ready(&ring));
	IS(hak_arena_destroy(arena), 0);
	io_uring_queue_exit(&ring);
	close(fd[0]);
	close(fd[1]);
}

/* The same, and the program's loop gets the confirmation and hands it over. */
static void test_handed_over(void)
{
	struct io_uring ring;
	int fd[2];
	unsigned index, ours = 0, own = 0;
	hak_arena *arena = hk_arena(4 * MIB, 0, 0);
	struct hak_uring_stats s = {.size_bytes = sizeof(s)};
	hk_ring(&ring, 8, 0);
	CHECK(!pipe(fd), "pipe");
	hak_uring *u = attach(arena, &ring);
	char *p = hak_arena_zalloc(arena, 4096);
	IS(hak_uring_buffer(u, p, 4096, &index), 0);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	io_uring_prep_read_fixed(sqe, fd[0], p, 4096, 0, (int)index);
	sqe->user_data = 1;
	io_uring_submit(&ring);
	IS(hak_uring_detach(u), -EAGAIN);
	CHECK(write(fd[1], "x", 1) == 1, "write");
	while (ours + own < 2) {
		struct io_uring_cqe *cqe;
		CHECK(!io_uring_wait_cqe(&ring, &cqe), "wait");
		if (hak_uring_completion(u, cqe)) {
			ours++;
			CHECK(!hak_uring_completion(u, cqe), "the same one twice");
		} else {
			own++;
		}
		io_uring_cqe_seen(&ring, cqe);
	}
	CHECK(ours == 1 && own == 1, "%u ours, %u the program's", ours, own);
	IS(hak_uring_stats(u, &s), 0);
	CHECK(!s.unconfirmed && !s.bytes, "%llu", (unsigned long long)s.unconfirmed);
	DETACH(u);
	IS(hak_arena_destroy(arena), 0);
	io_uring_queue_exit(&ring);
}

/* What follows a completion of 32 bytes is the program's too. */
static void mark(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	unsigned head;
	io_uring_for_each_cqe(ring, head, cqe)
		if (ring->flags & IORING_SETUP_CQE32)
			cqe->big_cqe[1] = cqe->user_data;
}

/* More buffers than the ring has room for completions, and the program's own among them, in their order. */
static void test_small_ring(unsigned flags)
{
	enum { SIZE = 4, PARTS = 200 };
	struct io_uring ring;
	char *all = mmap(NULL, (2 * PARTS + 2) * SUPER, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(all != MAP_FAILED, "mmap");
	hk_ring(&ring, SIZE, flags);
	hak_arena *arena[PARTS];
	hak_uring *u[PARTS];
	char *base = (char *)(((uintptr_t)all + SUPER - 1) & ~(SUPER - 1));
	CHECK(!io_uring_register_buffers_sparse(&ring, PARTS), "sparse");
	for (unsigned i = 0; i < PARTS; i++) {
		struct hak_uring_options o = {sizeof(o), i, 1, HAK_URING_TABLE_READY, 0};
		struct hak_arena_options a = {
			.size_bytes = sizeof(a), .memory = base + 2 * i * SUPER, .memory_bytes = SUPER};
		CHECK(!mprotect(a.memory, SUPER, PROT_READ | PROT_WRITE), "mprotect");
		CHECK(!hak_arena_create(&a, &arena[i]), "create");
		IS(hak_uring_attach(arena[i], &ring, &o, &u[i]), 0);
	}
	for (unsigned i = 0; i < 2 * SIZE; i++)
		nop(&ring, 100 + i);
	mark(&ring);
	unsigned waiting = 0;
	for (unsigned i = 0; i < PARTS; i++) {
		int rc = hak_uring_detach(u[i]);
		CHECK(rc == 0 || rc == -EAGAIN, "%d: %s", rc, hak_uring_message());
		if (rc)
			waiting++;
		else
			u[i] = NULL;
	}
	CHECK(waiting, "the ring was not full");
	for (unsigned i = 0; i < 2 * SIZE; i++) {
		struct io_uring_cqe *cqe;
		CHECK(!io_uring_wait_cqe(&ring, &cqe), "wait");
		CHECK(cqe->user_data == 100 + i, "completion %llu, not %u", (unsigned long long)cqe->user_data, 100 + i);
		CHECK(!(flags & IORING_SETUP_CQE32) || i >= SIZE || cqe->big_cqe[1] == 100 + i, "the large half");
		io_uring_cqe_seen(&ring, cqe);
		for (unsigned k = 0; k < PARTS; k++)
			if (u[k] && !hak_uring_detach(u[k]))
				u[k] = NULL;
	}
	/* Each takes its own alone, and their turn to come into the ring is the kernel's choice. */
	for (unsigned i = 0, tries = 0; i < PARTS; i++) {
		if (!u[i] || !hak_uring_detach(u[i])) {
			u[i] = NULL;
			continue;
		}
		CHECK(tries++ < 10000, "unconfirmed");
		usleep(1000);
		for (unsigned k = i; k < PARTS; k++)
			if (u[k] && !hak_uring_detach(u[k]))
				u[k] = NULL;
		i--;
	}
	for (unsigned i = 0; i < PARTS; i++)
		IS(hak_arena_destroy(arena[i]), 0);
	CHECK(!io_uring_cq_ready(&ring), "completions left");
	io_uring_queue_exit(&ring);
	munmap(all, (2 * PARTS + 2) * SUPER);
}

/* Attach that fails half-way leaves neither buffers nor completions nor a watcher. */
static void test_failed_attach(void)
{
	struct io_uring ring;
	struct hak_uring_options one = {.size_bytes = sizeof(one), .first_buffer = 1, .buffers = 1};
	hak_uring *u;
	hak_arena *arena = hk_arena(0, 0, 0), *between = hk_arena(0, 0, 0);
	for (int i = 0; i < 5; i++) /* stretches that don't adjoin */
		CHECK(hak_arena_alloc(arena, 3 * MIB) && hak_arena_alloc(between, 3 * MIB), "no memory");
	hk_ring(&ring, 8, 0);
	nop(&ring, 9);
	int rc = hak_uring_attach(arena, &ring, &one, &u);
	CHECK(rc == -ENOSPC, "%d", rc);
	CHECK(io_uring_cq_ready(&ring) == 1 && hk_next(&ring).user_data == 9, "completions");
	CHECK(!io_uring_register_buffers_sparse(&ring, 1), "the table is still there");
	IS(hak_arena_destroy(arena), 0);
	IS(hak_arena_destroy(between), 0);
	io_uring_queue_exit(&ring);
}

/* Closed before detach: an error, and the memory stays. */
static void test_closed(void)
{
	struct io_uring ring;
	hak_arena *arena = hk_arena(2 * MIB, 0, 0);
	hk_ring(&ring, 8, 0);
	hak_uring *u = attach(arena, &ring);
	close(ring.ring_fd);
	IS(hak_uring_detach(u), -EBADF);
	CHECK(strstr(hak_uring_message(), "closed"), "message: %s", hak_uring_message());
	IS(hak_uring_detach(u), -EBADF);
	IS(hak_arena_destroy(arena), -EBUSY);
	IS(hak_uring_forget(u), -EBUSY);
	hak_arena *other = hk_arena(2 * MIB, 0, 0);
	IS(hak_uring_attach(other, &ring, NULL, &u), -EBADF);
	IS(hak_arena_destroy(other), 0);
}

/* The table unregistered behind our back: what it confirmed is gone, and the arena is free. */
static void test_unregistered(void)
{
	struct io_uring ring;
	unsigned index;
	hak_arena *arena = hk_arena(2 * MIB, 0, 0);
	hk_ring(&ring, 8, 0);
	hak_uring *u = attach(arena, &ring);
	CHECK(!io_uring_unregister_buffers(&ring), "unregister");
	struct io_uring_cqe *cqe;
	while (!io_uring_peek_cqe(&ring, &cqe)) {
		CHECK(hak_uring_completion(u, cqe), "a completion that is not ours");
		io_uring_cqe_seen(&ring, cqe);
		IS(hak_uring_buffer(u, hak_arena_alloc(arena, 8), 8, &index), -EFAULT);
	}
	IS(hak_uring_detach(u), 0);
	IS(hak_arena_destroy(arena), 0);
	io_uring_queue_exit(&ring);
}

int main(void)
{
	hk_need_locked(512 * MIB);
	static const unsigned flags[] = {0, IORING_SETUP_SQPOLL, IORING_SETUP_CQE32, IORING_SETUP_COOP_TASKRUN,
					 IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
	for (unsigned i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		test_under_way(flags[i]);
		if (!(flags[i] & IORING_SETUP_SQPOLL))
			test_small_ring(flags[i]);
	}
	test_handed_over();
	test_failed_attach();
	test_closed();
	test_unregistered();
	return 0;
}
