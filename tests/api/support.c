/* support.c - see support.h. Does not allocate, does not time anything that is asserted. */
#define _GNU_SOURCE
#include "support.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

bool test_quick(void)
{
	const char *q = getenv("TEST_QUICK");

	return q && strcmp(q, "1") == 0;
}

void *test_symbol(const char *name)
{
	return dlsym(RTLD_DEFAULT, name);
}

static const char *malloc_file(void)
{
	void *sym = test_symbol("malloc");
	Dl_info info;

	CHECK(sym && dladdr(sym, &info) && info.dli_fname, "malloc is in no object");
	return info.dli_fname;
}

enum test_served test_served(void)
{
	if (test_symbol("hak_version"))
		return SERVED_HAKMEM;
	return strstr(malloc_file(), "/libc.so.6") ? SERVED_GLIBC : SERVED_OTHER;
}

/* The runner says which file it preloaded; a preload that was ignored must not pass. */
static void prove_preload(void)
{
	const char *want = getenv("TEST_LIB");
	static char want_path[PATH_MAX], got_path[PATH_MAX];

	if (!want || !*want)
		return;
	if (strcmp(want, "glibc") == 0) {
		CHECK(test_served() == SERVED_GLIBC, "malloc comes from %s", malloc_file());
		return;
	}
	CHECK(realpath(want, want_path), "no file %s", want);
	CHECK(realpath(malloc_file(), got_path), "no file %s", malloc_file());
	CHECK(strcmp(want_path, got_path) == 0, "malloc comes from %s, not from %s", got_path,
	      want_path);
}

void test_begin(void)
{
	struct rlimit no_core = {0, 0};
	static char buffer[4096];

	setrlimit(RLIMIT_CORE, &no_core);
	setvbuf(stdout, buffer, _IOLBF, sizeof(buffer));
	prove_preload();
}

int test_end(void)
{
	int (*audit)(void) = (int (*)(void))test_symbol("hak_audit");
	int violations;

	fflush(stdout);
	if (!audit) {
		CHECK(test_served() != SERVED_HAKMEM, "hak_version without hak_audit");
		return 0;
	}
	violations = audit();
	CHECK(violations == 0, "%d violations", violations);
	return 0;
}

void test_skip_part(const char *reason)
{
	printf("skip: %s\n", reason);
	fflush(stdout);
}

void test_skip(const char *reason)
{
	test_skip_part(reason);
	_exit(77);
}

void test_fail(const char *file, int line, const char *what, const char *fmt, ...)
{
	char text[1024];
	int n = snprintf(text, sizeof(text), "%s:%d: not (%s): ", file, line, what);
	va_list ap;
	ssize_t r;

	va_start(ap, fmt);
	if (n > 0 && (size_t)n < sizeof(text) - 1)
		n += vsnprintf(text + n, sizeof(text) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n > sizeof(text) - 2)
		n = sizeof(text) - 2;
	text[n++] = '\n';
	r = write(STDERR_FILENO, text, (size_t)n);
	(void)r;
	_exit(1);
}

void test_bound(const char *file, int line, const char *name, long long value, long long limit)
{
	printf("%s: %lld of at most %lld\n", name, value, limit);
	fflush(stdout);
	if (value <= limit)
		return;
	if (test_served() != SERVED_HAKMEM) {
		printf("(above the bound, by this allocator's nature)\n");
		return;
	}
	test_fail(file, line, name, "%lld is above %lld", value, limit);
}

static void on_alarm(int sig)
{
	static const char text[] = "watchdog: the process hangs\n";
	ssize_t r = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)r;
	(void)sig;
	_exit(1);
}

void test_watchdog(unsigned seconds)
{
	struct sigaction act;

	memset(&act, 0, sizeof(act));
	act.sa_handler = on_alarm;
	sigaction(SIGALRM, &act, NULL);
	alarm(seconds);
}

void *test_hide(const void *p)
{
	void *hidden = (void *)(uintptr_t)p;

	__asm__ volatile("" : "+r"(hidden));
	return hidden;
}

size_t test_hide_size(size_t n)
{
	__asm__ volatile("" : "+r"(n));
	return n;
}

uint64_t test_rand(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * UINT64_C(0x2545F4914F6CDD1D);
}

size_t test_rand_size(uint64_t *state, size_t low, size_t high)
{
	unsigned low_bits = 63 - (unsigned)__builtin_clzll(low);
	unsigned high_bits = 63 - (unsigned)__builtin_clzll(high);

	for (;;) {
		unsigned bits =
			low_bits + (unsigned)(test_rand(state) >> 32) % (high_bits - low_bits + 1);
		size_t base = (size_t)1 << bits;
		size_t size = base + (test_rand(state) >> 8) % base;

		if (size >= low && size <= high)
			return size;
	}
}

static uint64_t mix(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t x = a * UINT64_C(0x9E3779B97F4A7C15) ^ b * UINT64_C(0xC2B2AE3D27D4EB4F) ^
		     c * UINT64_C(0x165667B19E3779F9);

	x ^= x >> 29;
	x *= UINT64_C(0xBF58476D1CE4E5B9);
	return x ^ (x >> 32);
}

/* The offset of the next word that the pattern covers after OFF. */
static size_t pat_step(size_t off, size_t size)
{
	if (size <= 64 * KIB || off < 4 * KIB || off + 4 * KIB + 512 >= size)
		return off + 8;
	return off + 512;
}

static void fill(unsigned char *p, size_t size, uint64_t seed)
{
	size_t off;

	for (off = 0; off + 8 <= size; off = pat_step(off, size)) {
		uint64_t word = seed + off * UINT64_C(0x9E3779B97F4A7C15);

		memcpy(p + off, &word, 8);
	}
	for (; off < size; off++)
		p[off] = (unsigned char)(seed + off);
}

static void check(const unsigned char *p, size_t size, size_t kept, uint64_t seed)
{
	size_t off;

	for (off = 0; off + 8 <= size; off = pat_step(off, size)) {
		uint64_t want = seed + off * UINT64_C(0x9E3779B97F4A7C15), got;

		if (off + 8 > kept)
			return;
		memcpy(&got, p + off, 8);
		CHECK(got == want, "block %p of %zu bytes: at offset %zu 0x%llx, not 0x%llx",
		      (const void *)p, size, off, (unsigned long long)got,
		      (unsigned long long)want);
	}
	for (; off < size && off < kept; off++)
		CHECK(p[off] == (unsigned char)(seed + off),
		      "block %p of %zu bytes: at offset %zu 0x%x, not 0x%x", (const void *)p, size,
		      off, p[off], (unsigned char)(seed + off));
}

void pat_fill(void *p, size_t size, uint64_t id)
{
	fill(p, size, mix((uintptr_t)p, size, id));
}

void pat_check(const void *p, size_t size, uint64_t id)
{
	check(p, size, size, mix((uintptr_t)p, size, id));
}

void pat_fill_moved(void *p, size_t size, uint64_t id)
{
	fill(p, size, mix(0, size, id));
}

void pat_check_moved(const void *p, size_t size, size_t kept, uint64_t id)
{
	check(p, size, kept, mix(0, size, id));
}

void check_zero(const void *p, size_t size, const char *what)
{
	const unsigned char *b = p;
	size_t off;

	if (size == 0 || (b[0] == 0 && memcmp(b, b + 1, size - 1) == 0))
		return;
	for (off = 0; b[off] == 0; off++)
		;
	test_fail(__FILE__, __LINE__, "all zero", "%s: block %p of %zu bytes: 0x%x at %zu", what, p,
		  size, b[off], off);
}

/* Reads a file of /proc whole enough: the line wanted is in the first SIZE bytes. */
static size_t read_start(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n;

	CHECK(fd >= 0, "%s: %s", path, strerror(errno));
	while (have + 1 < size && (n = read(fd, buf + have, size - 1 - have)) > 0)
		have += (size_t)n;
	close(fd);
	buf[have] = 0;
	return have;
}

long long rss_bytes(void)
{
	char buf[2048], *at;

	read_start("/proc/self/smaps_rollup", buf, sizeof(buf));
	at = strstr(buf, "\nRss:");
	CHECK(at, "no Rss in smaps_rollup");
	return strtoll(at + 5, NULL, 10) * 1024;
}

long long resident_bytes(const void *start, size_t size)
{
	unsigned char vec[1024];
	const char *at = start;
	long long pages = 0;
	size_t off, i;

	for (off = 0; off < size; off += sizeof(vec) * 4096) {
		size_t part = size - off < sizeof(vec) * 4096 ? size - off : sizeof(vec) * 4096;

		CHECK(mincore((void *)(at + off), part, vec) == 0, "%s", strerror(errno));
		for (i = 0; i < (part + 4095) / 4096; i++)
			pages += vec[i] & 1;
	}
	return pages * 4096;
}

long long vma_count(void)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	long long lines = 0;
	char buf[4096];
	ssize_t n, i;

	CHECK(fd >= 0, "/proc/self/maps: %s", strerror(errno));
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (i = 0; i < n; i++)
			lines += buf[i] == '\n';
	close(fd);
	return lines;
}

long long minor_faults(void)
{
	struct rusage use;

	CHECK(getrusage(RUSAGE_THREAD, &use) == 0, "%s", strerror(errno));
	return use.ru_minflt;
}

long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void *own_memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	CHECK(p != MAP_FAILED, "%s", strerror(errno));
	return p;
}

void child_must_pass(int pid, const char *what)
{
	int status;
	pid_t got;

	CHECK(pid > 0, "%s: no child: %s", what, strerror(errno));
	do {
		got = waitpid(pid, &status, 0);
	} while (got < 0 && errno == EINTR);
	CHECK(got == pid, "%s: waitpid: %s", what, strerror(errno));
	CHECK(!WIFSIGNALED(status), "%s: child killed by signal %d", what, WTERMSIG(status));
	CHECK(WEXITSTATUS(status) == 0, "%s: child left with %d", what, WEXITSTATUS(status));
}

static int run_part(const struct test_part *part, unsigned seconds)
{
	test_watchdog(seconds);
	part->run();
	return test_end();
}

int test_run_parts(int argc, char **argv, const struct test_part *parts, size_t count,
		   unsigned seconds)
{
	size_t i;

	test_begin();
	for (i = 0; argc > 1 && i < count; i++)
		if (strcmp(argv[1], parts[i].name) == 0)
			return run_part(&parts[i], seconds);
	CHECK(argc == 1, "no part %s", argv[1]);
	for (i = 0; i < count; i++) {
		pid_t pid;

		printf("%s\n", parts[i].name);
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			execl(argv[0], argv[0], parts[i].name, (char *)NULL);
			_exit(9);
		}
		child_must_pass(pid, parts[i].name);
	}
	return test_end();
}
