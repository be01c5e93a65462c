/* echo.c - a TCP echo server on io_uring, with a ring of provided buffers from an arena: a connection that is silent
 * holds no buffer, the kernel takes one when bytes come.
 *
 *     echo PORT [CONNECTIONS]      on 127.0.0.1; 0: any port, which it prints; ends after CONNECTIONS, if said
 *
 * No system call but io_uring's, and no malloc, once it serves.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <hakmem/uring.h>
#include <liburing.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFERS 256u /* and connections at once: each holds one at most */
#define BUFFER_BYTES 8192u
#define GROUP 0

enum step { ACCEPT, RECEIVE, SEND, CLOSE };

struct request {
	enum step step;
	int fd;
	char *buffer;
	unsigned bytes, sent;
};

static struct io_uring ring;
static hak_arena *arena;
static hak_uring *uring;
static hak_uring_pbuf_ring *buffers;
static struct request acceptor;
static unsigned open_now, accepted, most;

static void die(int status, const char *what, int error)
{
	fprintf(stderr, "echo: %s: %s\n", what, strerror(error));
	exit(status);
}

static void check(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "echo: %s: %s: %s\n", what, strerror(-rc), hak_uring_message());
	exit(1);
}

/* ---- requests ---- */

static void submit(struct request *r, enum step step)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
	if (!sqe) {
		io_uring_submit(&ring);
		sqe = io_uring_get_sqe(&ring);
	}
	r->step = step;
	if (step == ACCEPT)
		io_uring_prep_accept(sqe, r->fd, NULL, NULL, SOCK_CLOEXEC);
	if (step == SEND)
		io_uring_prep_send(sqe, r->fd, r->buffer + r->sent, r->bytes - r->sent, MSG_NOSIGNAL);
	if (step == CLOSE)
		io_uring_prep_close(sqe, r->fd);
	if (step == RECEIVE) {
		io_uring_prep_recv(sqe, r->fd, NULL, 0, 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = GROUP;
	}
	io_uring_sqe_set_data(sqe, r);
}

static void accept_more(void)
{
	if (open_now < BUFFERS && (!most || accepted < most))
		submit(&acceptor, ACCEPT);
}

static void on_accept(int res)
{
	struct request *r;
	if (res < 0 && res != -ECONNABORTED && res != -EINTR && res != -EAGAIN)
		die(1, "accept", -res);
	if (res >= 0) {
		r = hak_arena_alloc(arena, sizeof(*r));
		if (!r)
			die(1, "hak_arena_alloc", errno);
		*r = (struct request){.fd = res};
		open_now++;
		accepted++;
		submit(r, RECEIVE);
	}
	accept_more();
}

static void on_receive(struct request *r, const struct io_uring_cqe *cqe)
{
	r->buffer = hak_uring_pbuf_ring_take(buffers, cqe);
	if (cqe->res <= 0 || !r->buffer) {
		if (r->buffer)
			check(hak_uring_pbuf_ring_give(buffers, r->buffer), "give");
		submit(r, CLOSE);
		return;
	}
	r->bytes = (unsigned)cqe->res;
	r->sent = 0;
	submit(r, SEND);
}

static void on_send(struct request *r, int res)
{
	if (res > 0)
		r->sent += (unsigned)res;
	if (res > 0 && r->sent < r->bytes) {
		submit(r, SEND);
		return;
	}
	check(hak_uring_pbuf_ring_give(buffers, r->buffer), "give");
	submit(r, res > 0 ? RECEIVE : CLOSE);
}

static void on_close(struct request *r)
{
	hak_arena_free(arena, r);
	if (open_now-- == BUFFERS)
		accept_more();
}

static void serve(void)
{
	accept_more();
	while (!most || accepted < most || open_now) {
		struct io_uring_cqe *cqe;
		int rc = io_uring_submit_and_wait(&ring, 1);
		if (rc < 0 && rc != -EINTR)
			die(1, "io_uring_enter", -rc);
		while (!io_uring_peek_cqe(&ring, &cqe)) {
			struct request *r = io_uring_cqe_get_data(cqe);
			switch (r->step) {
			case ACCEPT:
				on_accept(cqe->res);
				break;
			case RECEIVE:
				on_receive(r, cqe);
				break;
			case SEND:
				on_send(r, cqe->res);
				break;
			case CLOSE:
				on_close(r);
				break;
			}
			io_uring_cqe_seen(&ring, cqe);
		}
	}
}

/* ---- beginning ---- */

static unsigned number(const char *text, unsigned top)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || n > top) {
		fprintf(stderr, "echo: not a number up to %u: %s\n", top, text);
		exit(2);
	}
	return (unsigned)n;
}

static int listen_on(unsigned port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 128) ||
	    getsockname(fd, (struct sockaddr *)&at, &len))
		die(1, "bind", errno);
	printf("listening on 127.0.0.1:%u\n", ntohs(at.sin_port));
	fflush(stdout);
	return fd;
}

/* The kernel may take its time: its confirmations are completions. */
static void detach(void)
{
	int rc;
	while ((rc = hak_uring_detach(uring)) == -EAGAIN) {
		struct io_uring_cqe *cqe;
		if (io_uring_wait_cqe(&ring, &cqe))
			continue;
		hak_uring_completion(uring, cqe);
		io_uring_cqe_seen(&ring, cqe);
	}
	check(rc, "hak_uring_detach");
}

int main(int argc, char **argv)
{
	struct hak_arena_options options = {.size_bytes = sizeof(options),
					    .name = "echo",
					    .populate = HAK_POPULATE_NOW,
					    .flags = HAK_ARENA_SINGLE,
					    .initial_bytes = BUFFERS * BUFFER_BYTES + ((size_t)2 << 20)};
	struct hak_uring_pbuf_options group = {.size_bytes = sizeof(group),
					       .group = GROUP,
					       .entries = BUFFERS,
					       .buffer_bytes = BUFFER_BYTES};
	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: echo PORT [CONNECTIONS]\n");
		return 2;
	}
	unsigned port = number(argv[1], 65535);
	most = argc == 3 ? number(argv[2], 1000000000) : 0;
	acceptor.fd = listen_on(port);
	int rc = io_uring_queue_init(BUFFERS, &ring, 0);
	if (rc)
		die(1, "io_uring_setup", -rc);
	check(hak_arena_create(&options, &arena), "hak_arena_create");
	check(hak_uring_attach(arena, &ring, NULL, &uring), "hak_uring_attach");
	check(hak_uring_pbuf_ring_create(uring, &group, &buffers), "hak_uring_pbuf_ring_create");
	serve();
	check(hak_uring_pbuf_ring_destroy(buffers), "hak_uring_pbuf_ring_destroy");
	detach();
	check(hak_arena_destroy(arena), "hak_arena_destroy");
	io_uring_queue_exit(&ring);
	return 0;
}
