/* given_test.c - arenas on memory of the program's: any source, never unmapped, the whole 2 MiB of it and no other;
 * and watchers, who are told of each stretch before a block of it is handed out. */
#define _GNU_SOURCE
#include "arena.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* BYTES at a multiple of SUPER, with inaccessible pages around. */
static char *mapped(size_t bytes, int fd)
{
	char *p = mmap(NULL, bytes + 3 * SUPER, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0), *at;

	CHECK(p != MAP_FAILED, "mmap");
	at = (char *)(((uintptr_t)p + 2 * SUPER - 1) / SUPER * SUPER);
	CHECK(mmap(at, bytes, PROT_READ | PROT_WRITE,
		   MAP_FIXED | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED), fd, 0) == at, "mmap");
	return at;
}

/* Takes all there is, in several sizes: nothing outside of [P, P + BYTES) is given, and most of it is. */
static void use_up(hak_arena *a, char *p, size_t bytes)
{
	static const size_t sizes[] = {16, 1000, 8 * KIB, 40 * KIB, 600 * KIB, SUPER};
	size_t s, got;
	char *q;

	for (s = 0; s < COUNT_OF(sizes); s++) {
		for (got = 0; (q = hak_arena_alloc(a, sizes[s])); got += sizes[s]) {
			CHECK(q >= p && q + sizes[s] <= p + bytes, "%p is not in what was given", (void *)q);
			memset(q, 1, sizes[s]);
			CHECK(hak_arena_owner(q) == a, "owner");
		}
		CHECK(errno == ENOMEM && got >= bytes / 2, "%zu of %zu bytes in blocks of %zu", got, bytes, sizes[s]);
		CHECK(hak_arena_reset(a) == 0, "reset");
	}
}

static void of_any_source(void)
{
	int fd = memfd_create("arena", MFD_CLOEXEC);
	char *from[2];
	int i;

	CHECK(fd >= 0 && ftruncate(fd, 4 * SUPER) == 0, "memfd");
	from[0] = mapped(4 * SUPER, -1);
	from[1] = mapped(4 * SUPER, fd);
	for (i = 0; i < 2; i++) {
		hak_arena *a = arena_make(OPTIONS(.memory = from[i], .memory_bytes = 4 * SUPER));
		struct hak_arena_stats s = arena_stats(a);

		CHECK(s.supers == 4 && s.max_bytes == 4 * SUPER && s.node == -1, "%llu", (unsigned long long)s.supers);
		CHECK(hak_owns(arena_block(a, 100)), "hak_owns does not know it");
		use_up(a, from[i], 4 * SUPER);
		CHECK(hak_arena_destroy(a) == 0, "destroy");
		memset(from[i], 2, 4 * SUPER); /* still there */
		CHECK(!hak_arena_owner(from[i]), "owner after the end");
		a = arena_make(OPTIONS(.memory = from[i], .memory_bytes = 4 * SUPER, .flags = HAK_ARENA_SINGLE));
		use_up(a, from[i], 4 * SUPER);
		for (size_t n = 1; n < 5000; n += 100) {
			char *z = hak_arena_zalloc(a, n);

			check_zero(z, n, "zalloc in memory that was written to");
		}
		hak_arena_destroy(a);
	}
}

static void what_does_not_fit(void)
{
	char *p = mapped(4 * SUPER, -1);
	hak_arena *a = arena_make(OPTIONS(.memory = p + 4096, .memory_bytes = 4 * SUPER - 4096)), *b = NULL;

	CHECK(arena_stats(a).supers == 3, "%llu", (unsigned long long)arena_stats(a).supers);
	use_up(a, p + SUPER, 3 * SUPER);
	CHECK(hak_arena_create(OPTIONS(.memory = p, .memory_bytes = 4 * SUPER), &b) == -EEXIST && !b, "given twice");
	CHECK(hak_arena_create(OPTIONS(.memory = p + SUPER, .memory_bytes = SUPER), &b) == -EEXIST, "given twice");
	b = arena_make(OPTIONS(.memory = p, .memory_bytes = SUPER));
	use_up(b, p, SUPER);
	use_up(a, p + SUPER, 3 * SUPER);
	CHECK(hak_arena_destroy(a) == 0, "destroy");
	a = arena_make(OPTIONS(.memory = p + SUPER, .memory_bytes = 3 * SUPER));
	hak_arena_destroy(a);
	hak_arena_destroy(b);
	CHECK(hak_arena_create(OPTIONS(.memory = p + 1, .memory_bytes = 2 * SUPER - 2), &b) == -EINVAL ||
		      hak_arena_destroy(b) == 0, "odd bounds");
	CHECK(hak_arena_create(OPTIONS(.memory = p + 4096, .memory_bytes = 2 * SUPER - 8192), &b) == -EINVAL, "no whole one");
}

/* hakmem's own memory is no program's to give. */
static void malloced(void)
{
	char *p = test_malloc(8 * SUPER);
	hak_arena *b = NULL;

	CHECK(hak_arena_create(OPTIONS(.memory = p, .memory_bytes = 8 * SUPER), &b) == -EEXIST && !b, "malloc's memory");
	test_free(p);
	CHECK(hak_arena_create(OPTIONS(.memory = p, .memory_bytes = 8 * SUPER), &b) == -EEXIST && !b, "freed memory");
}

/* What the other options say holds for it too, or they are refused. */
static void with_options(void)
{
	char *p = mapped(4 * SUPER, -1);
	hak_arena *a = NULL;
	int all, rc;

	rc = hak_arena_create(OPTIONS(.memory = p, .memory_bytes = 4 * SUPER, .populate = HAK_POPULATE_NOW), &a);
	CHECK(rc == -EINVAL || resident_bytes(p, 4 * SUPER) == (long long)(4 * SUPER), "populate now: accepted, %lld bytes are there",
	      resident_bytes(p, 4 * SUPER));
	CHECK(rc || hak_arena_destroy(a) == 0, "destroy");
	p = mapped(4 * SUPER, -1);
	rc = hak_arena_create(OPTIONS(.memory = p, .memory_bytes = 4 * SUPER, .flags = HAK_ARENA_LOCK), &a);
	CHECK(rc == -EINVAL || smaps_kib(p, 4 * SUPER, "Locked") == 8192, "lock: accepted, and not locked");
	CHECK(rc || hak_arena_destroy(a) == 0, "destroy");
	p = mapped(4 * SUPER, -1);
	rc = hak_arena_create(OPTIONS(.memory = p, .memory_bytes = 4 * SUPER, .flags = HAK_ARENA_NO_DUMP), &a);
	CHECK(rc == -EINVAL || smaps_flag(p, 4 * SUPER, "dd", &all) == all, "no dump: accepted, and in dumps");
	CHECK(rc || hak_arena_destroy(a) == 0, "destroy");
}

static void *frees(void *p)
{
	test_free(p);
	return NULL;
}

static void from_all_threads(void)
{
	char *p = mapped(4 * SUPER, -1), *q;
	hak_arena *a = arena_make(OPTIONS(.memory = p, .memory_bytes = 4 * SUPER));
	pthread_t t;
	int i;

	for (i = 0; i < 500; i++) {
		q = arena_block(a, 1 + (size_t)i * 1000);
		CHECK(test_usable(q) >= 1 + (size_t)i * 1000, "usable");
		q = test_realloc(q, 2 + (size_t)i * 1500);
		CHECK(q && hak_arena_owner(q) == a, "realloc");
		CHECK(pthread_create(&t, NULL, frees, q) == 0, "no thread");
		pthread_join(t, NULL);
	}
	CHECK(hak_arena_reset(a) == 0 && arena_stats(a).free_supers == 4, "reset");
	hak_arena_destroy(a);
}

/* Two processes, one memory: what one writes the other reads. */
static void shared_with_a_child(void)
{
	int fd = memfd_create("arena", MFD_CLOEXEC);
	char *p, *q;
	hak_arena *a;
	pid_t pid;

	CHECK(fd >= 0 && ftruncate(fd, 4 * SUPER) == 0, "memfd");
	p = mapped(4 * SUPER, fd);
	a = arena_make(OPTIONS(.memory = p, .memory_bytes = 4 * SUPER));
	q = arena_block(a, 1000);
	pid = fork();
	if (pid == 0) {
		CHECK(q[999] == 0x5a, "the parent's block");
		q[0] = 7;
		_exit(0);
	}
	child_must_pass(pid, "child");
	CHECK(q[0] == 7, "not shared");
	hak_arena_destroy(a);
}

/* ---- watchers ---- */

static struct {
	char *where[64];
	size_t bytes[64];
	int calls;
} told;

static void watcher(void *arg, void *where, size_t bytes)
{
	CHECK(arg == &told && told.calls < 64, "arg");
	told.where[told.calls] = where;
	told.bytes[told.calls++] = bytes;
}

static int knows(const char *p)
{
	int i;

	for (i = 0; i < told.calls; i++)
		if (p >= told.where[i] && p < told.where[i] + told.bytes[i])
			return 1;
	return 0;
}

static void watched(void)
{
	hak_arena *a = arena_make(OPTIONS(.initial_bytes = 2 * SUPER));
	size_t i, sum = 0;
	int calls;

	CHECK(hak_arena_unwatch(a) == -EINVAL && hak_arena_watch(a, NULL, NULL) == -EINVAL, "no watcher");
	CHECK(hak_arena_watch(a, watcher, &told) == 0 && told.calls >= 1, "not told of what is there");
	CHECK(hak_arena_watch(a, watcher, &told) == -EBUSY, "two watchers");
	CHECK(arena_stats(a).attached == 1, "attached");
	for (i = 0; i < 20; i++)
		CHECK(knows(arena_block(a, 300 * KIB + i)) && knows(arena_block(a, SUPER + i)), "a block in memory not told of");
	for (i = 0; i < (size_t)told.calls; i++)
		sum += told.bytes[i];
	CHECK(sum == arena_stats(a).supers * SUPER, "told of %zu bytes of %llu", sum,
	      (unsigned long long)arena_stats(a).supers * SUPER);
	CHECK(hak_arena_reset(a) == -EBUSY && hak_arena_destroy(a) == -EBUSY, "while watched");
	CHECK(knows(arena_block(a, 100)), "works on");
	CHECK(hak_arena_unwatch(a) == 0 && hak_arena_unwatch(a) == -EINVAL, "unwatch");
	calls = told.calls;
	arena_block(a, 30 * SUPER);
	CHECK(told.calls == calls, "told after unwatch");
	CHECK(hak_arena_reset(a) == 0 && hak_arena_destroy(a) == 0, "destroy");
}

int main(int argc, char **argv)
{
	static const struct test_part parts[] = {
		{"of_any_source", of_any_source}, {"what_does_not_fit", what_does_not_fit}, {"malloced", malloced},
		{"with_options", with_options}, {"from_all_threads", from_all_threads},
		{"shared_with_a_child", shared_with_a_child}, {"watched", watched},
	};

	return test_run_parts(argc, argv, parts, COUNT_OF(parts), 60);
}
