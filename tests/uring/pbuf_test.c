/* pbuf_test.c - rings of provided buffers from arena memory: real receiving over loopback TCP, buffers that run out and
 * come back, misuse. */
#include "lib.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static unsigned group = 3;

static struct io_uring ring;
static hak_arena *arena;
static hak_uring *u;

/* Two ends of a TCP connection on loopback. */
static void connected(int end[2])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!bind(listener, (struct sockaddr *)&at, sizeof(at)) && !listen(listener, 1), "bind: %s", strerror(errno));
	CHECK(!getsockname(listener, (struct sockaddr *)&at, &len), "getsockname");
	end[0] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(!connect(end[0], (struct sockaddr *)&at, sizeof(at)), "connect: %s", strerror(errno));
	end[1] = accept(listener, NULL, NULL);
	CHECK(end[1] >= 0, "accept");
	close(listener);
}

static void want_data(int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	io_uring_prep_recv(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = (uint16_t)group;
	CHECK(io_uring_submit(&ring) == 1, "submit");
}

static int next(hak_uring_pbuf_ring *r, void **buffer)
{
	struct io_uring_cqe *cqe;
	CHECK(!io_uring_wait_cqe(&ring, &cqe), "wait");
	int res = cqe->res;
	*buffer = hak_uring_pbuf_ring_take(r, cqe);
	CHECK(*buffer || !errno, "take: %s", hak_uring_message());
	io_uring_cqe_seen(&ring, cqe);
	return res;
}

static hak_uring_pbuf_ring *create(unsigned entries, unsigned bytes)
{
	hak_uring_pbuf_ring *r = NULL;
	struct hak_uring_pbuf_options o = {sizeof(o), ++group, entries, bytes};
	IS(hak_uring_pbuf_ring_create(u, &o, &r), 0);
	return r;
}

static void test_stream(unsigned entries, unsigned bytes, size_t total)
{
	int end[2];
	hak_uring_pbuf_ring *r = create(entries, bytes);
	char *out = malloc(total), *in = malloc(total);
	size_t sent = 0, got = 0;
	hk_fill(out, total, entries);
	connected(end);
	while (got < total) {
		void *buffer;
		if (sent < total) {
			size_t part = total - sent < bytes ? total - sent : bytes;
			CHECK(send(end[0], out + sent, part, 0) == (ssize_t)part, "send");
			sent += part;
		}
		want_data(end[1]);
		int res = next(r, &buffer);
		CHECK(res > 0 && buffer && (unsigned)res <= bytes, "recv: %d", res);
		CHECK(hak_arena_owner(buffer) == arena, "a buffer that is not the arena's");
		memcpy(in + got, buffer, (size_t)res);
		got += (size_t)res;
		IS(hak_uring_pbuf_ring_give(r, buffer), 0);
	}
	CHECK(!memcmp(in, out, total), "contents");
	IS(hak_uring_pbuf_ring_destroy(r), 0);
	close(end[0]);
	close(end[1]);
	free(out);
	free(in);
}

/* All taken: ENOBUFS; one given back: that one comes. */
static void test_run_out(void)
{
	enum { ENTRIES = 8, BYTES = 128 };
	int end[2];
	void *buffer[ENTRIES], *none, *again;
	hak_uring_pbuf_ring *r = create(ENTRIES, BYTES);
	struct hak_uring_stats s = {.size_bytes = sizeof(s)};
	connected(end);
	for (int i = 0; i < ENTRIES; i++) {
		char c = (char)i;
		CHECK(send(end[0], &c, 1, 0) == 1, "send");
		want_data(end[1]);
		IS(next(r, &buffer[i]), 1);
		CHECK(buffer[i] && *(char *)buffer[i] == i, "contents");
		for (int k = 0; k < i; k++)
			CHECK(buffer[k] != buffer[i], "twice the same buffer");
	}
	CHECK(send(end[0], "x", 1, 0) == 1, "send");
	want_data(end[1]);
	IS(next(r, &none), -ENOBUFS);
	CHECK(!none, "a buffer");
	IS(hak_uring_pbuf_ring_destroy(r), -EBUSY);
	IS(hak_uring_detach(u), -EBUSY);
	IS(hak_uring_stats(u, &s), 0);
	CHECK(s.pbuf_rings == 1, "%llu", (unsigned long long)s.pbuf_rings);
	IS(hak_uring_pbuf_ring_give(r, buffer[5]), 0);
	IS(hak_uring_pbuf_ring_give(r, buffer[5]), -EINVAL); /* a second time */
	IS(hak_uring_pbuf_ring_give(r, (char *)buffer[0] + 1), -EINVAL);
	IS(hak_uring_pbuf_ring_give(r, NULL), -EINVAL);
	IS(hak_uring_pbuf_ring_give(r, &end), -EINVAL);
	want_data(end[1]);
	IS(next(r, &again), 1);
	CHECK(again == buffer[5] && *(char *)again == 'x', "contents");
	for (int i = 0; i < ENTRIES; i++)
		IS(hak_uring_pbuf_ring_give(r, buffer[i]), 0);
	IS(hak_uring_pbuf_ring_destroy(r), 0);
	close(end[0]);
	close(end[1]);
}

static void options_are(struct hak_uring_pbuf_options o, int want, const char *says)
{
	hak_uring_pbuf_ring *r = NULL;
	IS(hak_uring_pbuf_ring_create(u, &o, &r), want);
	CHECK(!r && strstr(hak_uring_message(), says), "message: %s", hak_uring_message());
}

static void test_misuse(void)
{
	size_t size = sizeof(struct hak_uring_pbuf_options);
	struct hak_arena_stats before = {.size_bytes = sizeof(before)}, after = before;
	struct io_uring_cqe *cqe = calloc(1, sizeof(*cqe));
	options_are((struct hak_uring_pbuf_options){0, 1, 8, 64}, -EINVAL, "size_bytes is 0");
	options_are((struct hak_uring_pbuf_options){size, 65536, 8, 64}, -EINVAL, "group 65536");
	options_are((struct hak_uring_pbuf_options){size, 1, 0, 64}, -EINVAL, "0 entries");
	options_are((struct hak_uring_pbuf_options){size, 1, 12, 64}, -EINVAL, "12 entries");
	options_are((struct hak_uring_pbuf_options){size, 1, 65536, 64}, -EINVAL, "65536 entries");
	options_are((struct hak_uring_pbuf_options){size, 1, 8, 0}, -EINVAL, "0 bytes");
	hak_arena_stats(arena, &before);
	options_are((struct hak_uring_pbuf_options){size, 1, 32768, 1u << 20}, -ENOMEM, "no room");
	hak_uring_pbuf_ring *r = create(8, 64);
	options_are((struct hak_uring_pbuf_options){size, group, 8, 64}, -EEXIST, "taken");
	CHECK(!hak_uring_pbuf_ring_take(r, cqe) && errno == 0, "a completion without a buffer");
	cqe->flags = IORING_CQE_F_BUFFER | 8u << IORING_CQE_BUFFER_SHIFT;
	CHECK(!hak_uring_pbuf_ring_take(r, cqe) && errno == EINVAL, "a buffer that is not there");
	cqe->flags = IORING_CQE_F_BUFFER | 7u << IORING_CQE_BUFFER_SHIFT;
	void *p = hak_uring_pbuf_ring_take(r, cqe);
	CHECK(p, "take");
	CHECK(!hak_uring_pbuf_ring_take(r, cqe) && errno == EINVAL, "taken twice");
	IS(hak_uring_pbuf_ring_give(r, p), 0);
	IS(hak_uring_pbuf_ring_destroy(r), 0);
	hak_arena_stats(arena, &after);
	CHECK(before.used_bytes == after.used_bytes, "the arena lost %lld bytes",
	      (long long)(after.used_bytes - before.used_bytes));
	for (int i = 0; i < 100; i++) /* in 64 MiB */
		IS(hak_uring_pbuf_ring_destroy(create(16, 65536)), 0);
	free(cqe);
}

/* A group again: below 64, from where the kernel left off, or refused where it doesn't say where that is. Never buffers that
 * the program has. */
static void test_again(unsigned old_group)
{
	int end[2], res;
	void *buffer;
	hak_uring_pbuf_ring *r;
	struct hak_uring_pbuf_options o = {sizeof(o), old_group, 4, 64};
	group = old_group;
	connected(end);
	for (int i = 0; i < 3; i++) {
		int rc = hak_uring_pbuf_ring_create(u, &o, &r);
		if (rc == -EOPNOTSUPP) {
			puts("skip: a group again: the kernel keeps its old state (Linux 6.8 tells it)");
			break;
		}
		IS(rc, 0);
		void *had[4];
		for (int k = 0; k < 4; k++) {
			CHECK(send(end[0], "y", 1, 0) == 1, "send");
			want_data(end[1]);
			IS(next(r, &had[k]), 1);
		}
		want_data(end[1]);
		res = next(r, &buffer);
		CHECK(res == -ENOBUFS && !buffer, "%d", res);
		for (int k = 0; k < 4; k++)
			IS(hak_uring_pbuf_ring_give(r, had[k]), 0);
		IS(hak_uring_pbuf_ring_destroy(r), 0);
	}
	close(end[0]);
	close(end[1]);
}

int main(void)
{
	hk_need_locked(128 * MIB);
	hk_ring(&ring, 64, 0);
	arena = hk_arena(8 * MIB, 64 * MIB, 0);
	IS(hak_uring_attach(arena, &ring, NULL, &u), 0);
	test_stream(1, 4096, 1 * MIB);
	test_stream(16, 1000, 300000);
	test_stream(512, 16384, 4 * MIB);
	test_stream(32768, 256, 1 * MIB);
	test_run_out();
	test_misuse();
	CHECK(group >= 64, "%u groups", group);
	test_again(group);
	test_again(5);
	DETACH(u);
	IS(hak_arena_destroy(arena), 0);
	io_uring_queue_exit(&ring);
	return 0;
}
