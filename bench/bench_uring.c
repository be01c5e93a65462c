/* bench_uring.c - what an arena's fixed buffers save on io_uring.
 *
 *     bench_uring [--dir DIR] [--rounds N] [--quick]
 *
 * registration      1 GiB of an arena on huge pages, and 1 GiB of 4 KiB pages (--quick: 128 MiB)
 * read_64k, _256k   CPU time a read with O_DIRECT: READ_FIXED into the arena, and READ into memory of libc's malloc, 32
 *                   at a time from one file, whole process by the kernel's count. Each block of the file has a buffer
 *                   of its own, as in a cache of it
 * .._few            the same with 32 buffers that are used again at once: the kernel's records of their pages stay in
 *                   the processor's caches
 * One line a figure: ROW SUBJECT VALUE UNIT, medians of N rounds (9), both sides taking turns, and their ratio. It is
 * linked with the archive that leaves libc's malloc in place, and says which file serves it. Status 77: there is no
 * io_uring, or DIR has no O_DIRECT. It does not judge: bench/arena does.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <hakmem/uring.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "meter.h"

#define MIB ((size_t)1 << 20)
#define DEPTH 32u
#define ROUNDS_MAX 101u

static unsigned rounds = 9;
static size_t registered_bytes = 1024 * MIB, file_bytes = 256 * MIB;
static unsigned passes = 4; /* over the file, a round */
static const char *folder = "/tmp";

static void leave(int status, const char *what, int error)
{
	fprintf(status == 77 ? stdout : stderr, "%s%s: %s\n", status == 77 ? "skip: " : "bench_uring: ", what,
		strerror(error));
	exit(status);
}

static void check(int rc, const char *what)
{
	if (!rc)
		return;
	fprintf(stderr, "bench_uring: %s: %s: %s\n", what, strerror(-rc), hak_uring_message());
	exit(1);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double median(double *of)
{
	qsort(of, rounds, sizeof(*of), by_value);
	return of[rounds / 2];
}

static void figures(const char *row, const char *ours, double a, const char *theirs, double b, const char *unit)
{
	printf("%-24s %-20s %12.3f %s\n", row, ours, a, unit);
	printf("%-24s %-20s %12.3f %s\n", row, theirs, b, unit);
	printf("%-24s %-20s %12.3f x\n", row, "ratio", b / a);
	fflush(stdout);
}

static void served(void)
{
	Dl_info info;
	void *symbol = dlsym(RTLD_DEFAULT, "malloc");
	if (symbol && dladdr(symbol, &info))
		printf("served plain %s\n", info.dli_fname);
}

static hak_arena *huge_arena(size_t bytes)
{
	struct hak_arena_options o = {
		.size_bytes = sizeof(o), .initial_bytes = bytes, .pages = HAK_PAGES_THP, .populate = HAK_POPULATE_NOW};
	hak_arena *arena;
	check(hak_arena_create(&o, &arena), "hak_arena_create");
	return arena;
}

static void new_ring(struct io_uring *ring)
{
	int rc = io_uring_queue_init(2 * DEPTH, ring, 0);
	if (rc)
		leave(77, "io_uring_setup", -rc);
}

/* ---- registration ---- */

static double register_arena(hak_arena *arena)
{
	struct io_uring ring;
	hak_uring *u;
	new_ring(&ring);
	uint64_t from = hk_now_ns();
	check(hak_uring_attach(arena, &ring, NULL, &u), "hak_uring_attach");
	double ms = (double)(hk_now_ns() - from) / 1e6;
	check(hak_uring_detach(u), "hak_uring_detach");
	io_uring_queue_exit(&ring);
	return ms;
}

static double register_small(void *memory)
{
	struct io_uring ring;
	struct iovec iov = {memory, registered_bytes};
	new_ring(&ring);
	uint64_t from = hk_now_ns();
	int rc = io_uring_register_buffers(&ring, &iov, 1);
	double ms = (double)(hk_now_ns() - from) / 1e6;
	if (rc)
		leave(1, "io_uring_register_buffers", -rc);
	io_uring_unregister_buffers(&ring);
	io_uring_queue_exit(&ring);
	return ms;
}

static void bench_registration(void)
{
	double huge[ROUNDS_MAX], small[ROUNDS_MAX];
	hak_arena *arena = huge_arena(registered_bytes);
	char *memory = mmap(NULL, registered_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		leave(1, "mmap", errno);
	madvise(memory, registered_bytes, MADV_NOHUGEPAGE);
	memset(memory, 1, registered_bytes);
	for (unsigned i = 0; i < rounds; i++) {
		huge[i] = register_arena(arena);
		small[i] = register_small(memory);
	}
	double a = median(huge), b = median(small);
	figures("registration", "arena", a, "small_pages", b, "ms");
	munmap(memory, registered_bytes);
	check(hak_arena_destroy(arena), "hak_arena_destroy");
}

/* ---- reads ---- */

struct side {
	struct io_uring ring;
	bool fixed;
	unsigned buffers; /* as many as the file has blocks, or DEPTH */
	char **buffer;
	unsigned *index;
};

static int make_file(void)
{
	char name[4096];
	snprintf(name, sizeof(name), "%s/bench-uring-XXXXXX", folder);
	int fd = mkstemp(name), direct;
	if (fd < 0)
		leave(2, folder, errno);
	char *block = malloc(MIB);
	memset(block, 0x5a, MIB);
	for (size_t at = 0; at < file_bytes; at += MIB)
		if (write(fd, block, MIB) != (ssize_t)MIB)
			leave(1, name, errno);
	free(block);
	fsync(fd);
	direct = open(name, O_RDONLY | O_DIRECT);
	int error = errno;
	unlink(name);
	if (direct < 0)
		leave(77, "no O_DIRECT in the folder", error);
	close(fd);
	return direct;
}

/* Read NUMBER; SLOT is one of DEPTH that has none under way. */
static void ask(struct side *s, int fd, size_t bytes, uint64_t number, unsigned slot)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);
	uint64_t block = number % (file_bytes / bytes);
	size_t b = s->buffers == DEPTH ? slot : block;
	if (s->fixed)
		io_uring_prep_read_fixed(sqe, fd, s->buffer[b], (unsigned)bytes, block * bytes, (int)s->index[b]);
	else
		io_uring_prep_read(sqe, fd, s->buffer[b], (unsigned)bytes, block * bytes);
	sqe->user_data = slot;
}

/* Microseconds of CPU a read, over the file PASSES times. */
static double read_all(struct side *s, int fd, size_t bytes)
{
	struct timespec from, to;
	uint64_t reads = passes * (file_bytes / bytes), asked = 0, done = 0;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	for (; asked < DEPTH; asked++)
		ask(s, fd, bytes, asked, (unsigned)asked);
	while (done < reads) {
		struct io_uring_cqe *cqe;
		int rc = io_uring_submit_and_wait(&s->ring, 1);
		if (rc < 0 && rc != -EINTR)
			leave(1, "io_uring_enter", -rc);
		while (!io_uring_peek_cqe(&s->ring, &cqe)) {
			unsigned slot = (unsigned)cqe->user_data;
			if (cqe->res != (int)bytes)
				leave(1, "read", cqe->res < 0 ? -cqe->res : EIO);
			io_uring_cqe_seen(&s->ring, cqe);
			done++;
			if (asked < reads)
				ask(s, fd, bytes, asked++, slot);
		}
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	return ((double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3) / (double)reads;
}

static void new_side(struct side *s, size_t bytes, hak_arena *arena)
{
	new_ring(&s->ring);
	s->buffer = malloc(s->buffers * sizeof(*s->buffer));
	s->index = malloc(s->buffers * sizeof(*s->index));
	if (!s->buffer || !s->index)
		leave(1, "memory", ENOMEM);
	for (unsigned i = 0; i < s->buffers; i++) {
		s->buffer[i] = arena ? hak_arena_aligned_alloc(arena, 4096, bytes) : aligned_alloc(4096, bytes);
		if (!s->buffer[i])
			leave(1, "memory", ENOMEM);
		memset(s->buffer[i], 1, bytes);
	}
}

static void end_side(struct side *s)
{
	for (unsigned i = 0; i < s->buffers && !s->fixed; i++)
		free(s->buffer[i]);
	free(s->buffer);
	free(s->index);
	io_uring_queue_exit(&s->ring);
}

static void bench_reads(int fd, size_t bytes, unsigned buffers, const char *suffix)
{
	double cpu[2][ROUNDS_MAX];
	char row[32];
	struct side ours = {.fixed = true, .buffers = buffers}, plain = {.fixed = false, .buffers = buffers};
	hak_arena *arena = huge_arena(buffers * bytes + 4 * MIB);
	hak_uring *u;
	new_side(&ours, bytes, arena);
	new_side(&plain, bytes, NULL);
	check(hak_uring_attach(arena, &ours.ring, NULL, &u), "hak_uring_attach");
	for (unsigned i = 0; i < buffers; i++)
		check(hak_uring_buffer(u, ours.buffer[i], bytes, &ours.index[i]), "hak_uring_buffer");
	for (unsigned i = 0; i < rounds; i++) {
		cpu[i & 1][i] = read_all(i & 1 ? &plain : &ours, fd, bytes);
		cpu[!(i & 1)][i] = read_all(i & 1 ? &ours : &plain, fd, bytes);
	}
	double a = median(cpu[0]), b = median(cpu[1]);
	snprintf(row, sizeof(row), "read_%zuk%s", bytes >> 10, suffix);
	figures(row, "fixed", a, "plain", b, "us");
	check(hak_uring_detach(u), "hak_uring_detach");
	check(hak_arena_destroy(arena), "hak_arena_destroy");
	end_side(&ours);
	end_side(&plain);
}

static void usage(void)
{
	fprintf(stderr, "usage: bench_uring [--dir DIR] [--rounds 1..%u] [--quick]\n", ROUNDS_MAX);
	exit(2);
}

static void parse(int argc, char **argv)
{
	static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
						{"rounds", required_argument, NULL, 'r'},
						{"quick", no_argument, NULL, 'q'},
						{NULL, 0, NULL, 0}};
	int c;
	opterr = 0;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		char *end = "";
		if (c == 'd') {
			folder = optarg;
		} else if (c == 'q') {
			rounds = 3, passes = 1, registered_bytes = 128 * MIB, file_bytes = 64 * MIB;
		} else if (c == 'r') {
			rounds = (unsigned)strtoul(optarg, &end, 10);
		} else {
			usage();
		}
		if (*end || !rounds || rounds > ROUNDS_MAX)
			usage();
	}
	if (optind != argc)
		usage();
}

int main(int argc, char **argv)
{
	parse(argc, argv);
	int fd = make_file();
	served();
	bench_registration();
	for (size_t bytes = 64 << 10; bytes <= 256 << 10; bytes *= 4) {
		bench_reads(fd, bytes, (unsigned)(file_bytes / bytes), "");
		bench_reads(fd, bytes, DEPTH, "_few");
	}
	close(fd);
	return 0;
}
