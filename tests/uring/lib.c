/* lib.c - see lib.h. Tests nothing itself. */
#include "lib.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/wait.h>

void hk_test_fail(const char *file, int line, const char *what, const char *format, ...)
{
	va_list args;
	fprintf(stderr, "%s:%d: %s: ", file, line, what);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	_exit(1);
}

void hk_ring(struct io_uring *ring, unsigned entries, unsigned flags)
{
	int rc = io_uring_queue_init(entries, ring, flags);
	if (!rc)
		return;
	printf("skip: io_uring_setup with flags 0x%x: %s (sysctl kernel.io_uring_disabled, seccomp, or an old kernel)\n",
	       flags, strerror(-rc));
	exit(77);
}

static bool has_ipc_lock(void)
{
	char line[128];
	unsigned long long effective = 0;
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %llx", &effective) == 1)
			break;
	if (f)
		fclose(f);
	return effective >> 14 & 1;
}

bool hk_may_lock(size_t bytes)
{
	struct rlimit limit;
	return !getrlimit(RLIMIT_MEMLOCK, &limit) && (limit.rlim_cur >= bytes || has_ipc_lock());
}

void hk_need_locked(size_t bytes)
{
	if (hk_may_lock(bytes))
		return;
	printf("skip: it pins %zu MiB, more than RLIMIT_MEMLOCK (ulimit -l, or as root)\n", bytes >> 20);
	exit(77);
}

hak_arena *hk_arena(size_t bytes, size_t most, unsigned flags)
{
	hak_arena *arena = NULL;
	struct hak_arena_options o = {
		.size_bytes = sizeof(o), .initial_bytes = bytes, .max_bytes = most, .flags = flags,
		.pages = HAK_PAGES_SMALL};
	int rc = hak_arena_create(&o, &arena);
	CHECK(!rc, "hak_arena_create: %s", strerror(-rc));
	return arena;
}

int hk_file(size_t bytes, bool *direct)
{
	char name[4096];
	const char *folder = getenv("TMPDIR");
	snprintf(name, sizeof(name), "%s/hakmem-uring-XXXXXX", folder ? folder : "/tmp");
	int fd = mkstemp(name), again;
	CHECK(fd >= 0, "mkstemp %s: %s", name, strerror(errno));
	again = open(name, O_RDWR | O_DIRECT | O_CLOEXEC);
	unlink(name);
	if (direct)
		*direct = again >= 0;
	if (again >= 0) {
		close(fd);
		fd = again;
	}
	CHECK(!ftruncate(fd, (off_t)bytes), "ftruncate: %s", strerror(errno));
	return fd;
}

struct hk_done hk_next(struct io_uring *ring)
{
	struct io_uring_cqe *cqe;
	int rc = io_uring_wait_cqe(ring, &cqe);
	CHECK(!rc, "io_uring_wait_cqe: %s", strerror(-rc));
	struct hk_done done = {cqe->user_data, cqe->res, cqe->flags};
	io_uring_cqe_seen(ring, cqe);
	return done;
}

void hk_detach(const char *file, int line, hak_uring *uring)
{
	int rc = hak_uring_detach(uring);
	for (int i = 0; rc == -EAGAIN && i < 10000; i++) {
		usleep(1000);
		rc = hak_uring_detach(uring);
	}
	if (rc)
		hk_test_fail(file, line, "hak_uring_detach", "is %d; message: %s", rc, hak_uring_message());
}

int hk_fixed(struct io_uring *ring, bool is_write, int fd, void *buffer, size_t bytes, uint64_t offset, unsigned index)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	CHECK(sqe, "no entry");
	if (is_write)
		io_uring_prep_write_fixed(sqe, fd, buffer, (unsigned)bytes, offset, (int)index);
	else
		io_uring_prep_read_fixed(sqe, fd, buffer, (unsigned)bytes, offset, (int)index);
	sqe->user_data = 0x5151;
	CHECK(io_uring_submit(ring) == 1, "submit");
	struct hk_done done = hk_next(ring);
	CHECK(done.user_data == 0x5151, "completion of %llx", (unsigned long long)done.user_data);
	return done.res;
}

static uint64_t step(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	return *x ^= *x << 17;
}

void hk_fill(void *p, size_t bytes, uint64_t seed)
{
	uint64_t *at = p, x = seed * 2 + 1;
	for (size_t i = 0; i < bytes / 8; i++)
		at[i] = step(&x);
}

bool hk_holds(const void *p, size_t bytes, uint64_t seed)
{
	const uint64_t *at = p;
	uint64_t x = seed * 2 + 1;
	for (size_t i = 0; i < bytes / 8; i++)
		if (at[i] != step(&x))
			return false;
	return true;
}

void hk_in_child(void (*function)(void *), void *arg)
{
	int status;
	fflush(stdout);
	pid_t pid = fork();
	CHECK(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		function(arg);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid, "waitpid");
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child's status 0x%x", status);
}
