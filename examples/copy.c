/* copy.c - copies a file on io_uring: fixed buffers from an arena, O_DIRECT where both file systems allow it.
 *
 *     copy FROM TO
 *
 * The arena's pages were faulted, pinned and registered before the first read: a request passes an address and a buffer's
 * index, and the kernel looks up no page. It keeps neither holes nor attributes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <hakmem/uring.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH 16u
#define PART ((size_t)256 << 10)
#define SECTOR ((size_t)4096)

struct part {
	char *buffer;
	unsigned index; /* of the fixed buffer that it lies in */
	bool is_write;
	off_t at;
	size_t bytes; /* of the file in it */
	size_t done;  /* of them, read or written */
};

struct copy {
	struct io_uring ring;
	int from, to;
	bool direct;
	off_t size, next;
	unsigned active;
};

static void die(int status, const char *what, int error)
{
	fprintf(stderr, "copy: %s: %s\n", what, strerror(error));
	exit(status);
}

static void check(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "copy: %s: %s: %s\n", what, strerror(-rc), hak_uring_message());
	exit(1);
}

/* ---- files ---- */

static void open_files(struct copy *c, const char *from, const char *to)
{
	struct stat source, target;
	c->from = open(from, O_RDONLY | O_CLOEXEC);
	if (c->from < 0 || fstat(c->from, &source))
		die(2, from, errno);
	if (!S_ISREG(source.st_mode))
		die(2, from, EINVAL);
	if (!stat(to, &target) && target.st_dev == source.st_dev && target.st_ino == source.st_ino)
		die(2, to, EEXIST);
	c->to = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, source.st_mode & 0777);
	if (c->to < 0)
		die(2, to, errno);
	c->size = source.st_size;
	int in = open(from, O_RDONLY | O_DIRECT | O_CLOEXEC), out = open(to, O_WRONLY | O_DIRECT | O_CLOEXEC);
	c->direct = in >= 0 && out >= 0;
	if (c->direct) {
		dup3(in, c->from, O_CLOEXEC);
		dup3(out, c->to, O_CLOEXEC);
	}
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
}

/* ---- requests ---- */

/* O_DIRECT wants whole sectors: the last one is padded, and the file is cut when all is written. */
static size_t rounded(const struct copy *c, size_t bytes)
{
	return c->direct ? (bytes + SECTOR - 1) & ~(SECTOR - 1) : bytes;
}

static void submit(struct copy *c, struct part *p)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&c->ring);
	unsigned bytes = (unsigned)rounded(c, p->bytes - p->done);
	char *where = p->buffer + p->done;
	off_t at = p->at + (off_t)p->done;
	if (p->is_write)
		io_uring_prep_write_fixed(sqe, c->to, where, bytes, (__u64)at, (int)p->index);
	else
		io_uring_prep_read_fixed(sqe, c->from, where, bytes, (__u64)at, (int)p->index);
	io_uring_sqe_set_data(sqe, p);
}

static void start_next(struct copy *c, struct part *p)
{
	off_t left = c->size - c->next;
	if (left <= 0)
		return;
	p->is_write = false;
	p->at = c->next;
	p->bytes = left < (off_t)PART ? (size_t)left : PART;
	p->done = 0;
	c->next += (off_t)p->bytes;
	c->active++;
	submit(c, p);
}

static void finish(struct copy *c, struct part *p, int res)
{
	if (res < 0)
		die(1, p->is_write ? "write" : "read", -res);
	p->done += (size_t)res;
	if (!res || (p->done < p->bytes && c->direct && p->done % SECTOR))
		die(1, "the file became shorter", EIO);
	if (p->done < p->bytes) {
		submit(c, p);
		return;
	}
	if (!p->is_write) {
		memset(p->buffer + p->bytes, 0, rounded(c, p->bytes) - p->bytes);
		p->is_write = true;
		p->done = 0;
		submit(c, p);
		return;
	}
	c->active--;
	start_next(c, p);
}

static void run(struct copy *c, struct part *parts)
{
	for (unsigned i = 0; i < DEPTH; i++)
		start_next(c, &parts[i]);
	while (c->active) {
		struct io_uring_cqe *cqe;
		int rc = io_uring_submit_and_wait(&c->ring, 1);
		if (rc < 0 && rc != -EINTR)
			die(1, "io_uring_enter", -rc);
		while (!io_uring_peek_cqe(&c->ring, &cqe)) {
			struct part *p = io_uring_cqe_get_data(cqe);
			int res = cqe->res;
			io_uring_cqe_seen(&c->ring, cqe);
			finish(c, p, res);
		}
	}
}

/* The kernel may take its time: its confirmations are completions. */
static void detach(struct io_uring *ring, hak_uring *uring)
{
	int rc;
	while ((rc = hak_uring_detach(uring)) == -EAGAIN) {
		struct io_uring_cqe *cqe;
		if (io_uring_wait_cqe(ring, &cqe))
			continue;
		hak_uring_completion(uring, cqe);
		io_uring_cqe_seen(ring, cqe);
	}
	check(rc, "hak_uring_detach");
}

int main(int argc, char **argv)
{
	struct copy c = {0};
	struct part parts[DEPTH];
	struct hak_arena_options options = {.size_bytes = sizeof(options),
					    .name = "copy",
					    .pages = HAK_PAGES_THP,
					    .populate = HAK_POPULATE_NOW,
					    .initial_bytes = DEPTH * PART + ((size_t)2 << 20)};
	hak_arena *arena;
	hak_uring *uring;
	int rc;
	if (argc != 3) {
		fprintf(stderr, "usage: copy FROM TO\n");
		return 2;
	}
	open_files(&c, argv[1], argv[2]);
	rc = io_uring_queue_init(DEPTH, &c.ring, 0);
	if (rc)
		die(1, "io_uring_setup", -rc);
	check(hak_arena_create(&options, &arena), "hak_arena_create");
	check(hak_uring_attach(arena, &c.ring, NULL, &uring), "hak_uring_attach");
	for (unsigned i = 0; i < DEPTH; i++) {
		parts[i].buffer = hak_arena_aligned_alloc(arena, SECTOR, PART);
		if (!parts[i].buffer)
			die(1, "hak_arena_aligned_alloc", errno);
		check(hak_uring_buffer(uring, parts[i].buffer, PART, &parts[i].index), "hak_uring_buffer");
	}
	run(&c, parts);
	if (ftruncate(c.to, c.size) || fsync(c.to))
		die(1, argv[2], errno);
	detach(&c.ring, uring);
	check(hak_arena_destroy(arena), "hak_arena_destroy");
	io_uring_queue_exit(&c.ring);
	printf("%lld bytes%s\n", (long long)c.size, c.direct ? ", O_DIRECT" : "");
	return 0;
}
