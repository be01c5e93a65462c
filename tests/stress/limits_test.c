/* limits_test.c - memory exhausted by RLIMIT_AS and RLIMIT_DATA, set before the program starts and
 * while it runs: malloc gives NULL and ENOMEM, what was there stays whole, and after frees malloc
 * works again. The machine's overcommit setting is left as it is, so it is not tested here.
 * time limit: 180 s, quick 90 s
 */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct block {
	struct block *next;
	size_t size;
	uint64_t id;
};

/* Only the ends of a block are written: the limits count address space, not pages. */
static void mark(struct block *b, size_t size, uint64_t id)
{
	b->size = size;
	b->id = id;
	if (size >= sizeof(*b) + 8)
		memcpy((char *)b + size - 8, &id, 8);
}

static void check_mark(const struct block *b, uint64_t id)
{
	CHECK(b->id == id, "block %p: id %llu, not %llu", (const void *)b,
	      (unsigned long long)b->id, (unsigned long long)id);
	if (b->size >= sizeof(*b) + 8)
		CHECK(memcmp((const char *)b + b->size - 8, &id, 8) == 0, "block %p: end lost",
		      (const void *)b);
}

/* Blocks of SIZE until there is no more; returns the bytes got. */
static size_t exhaust(struct block **list, size_t size, size_t limit)
{
	size_t got = 0;
	uint64_t id = *list ? (*list)->id + 1 : 1;
	struct block *b;

	for (;; id++) {
		errno = 0;
		b = malloc(size);
		if (!b)
			break;
		mark(b, size, id);
		b->next = *list;
		*list = b;
		got += size;
		CHECK(got <= limit, "%zu bytes under a limit of %zu", got, limit);
	}
	CHECK(errno == ENOMEM, "malloc(%zu) gave NULL and errno %d", size, errno);
	return got;
}

static void check_exhausted(struct block *list)
{
	struct block *b = list;
	void *p;

	errno = 0;
	p = calloc(1, 4 * GIB);
	CHECK(!p && errno == ENOMEM, "calloc: errno %d", errno);
	errno = 0;
	p = realloc(b, b->size + 4 * GIB);
	CHECK(!p && errno == ENOMEM, "realloc: errno %d", errno);
	errno = 0;
	p = aligned_alloc(4096, 4 * GIB);
	CHECK(!p && errno == ENOMEM, "aligned_alloc: errno %d", errno);
	for (; b; b = b->next)
		check_mark(b, b->next ? b->next->id + 1 : b->id);
}

static void free_half(struct block **list)
{
	struct block **at = list, *b;
	int n = 0;

	while ((b = *at)) {
		if (n++ & 1) {
			at = &b->next;
			continue;
		}
		*at = b->next;
		check_mark(b, b->id);
		free(b);
	}
}

static void free_list(struct block *b)
{
	while (b) {
		struct block *next = b->next;

		check_mark(b, b->id);
		free(b);
		b = next;
	}
}

static void use_up(size_t limit, size_t size)
{
	struct block *list = NULL;
	size_t first = exhaust(&list, size, limit), again;
	struct block *more = NULL;

	printf("limit %zu MiB: %zu MiB in blocks of %zu\n", limit / MIB, first / MIB, size);
	CHECK(first >= limit / 2, "only %zu MiB of %zu in blocks of %zu", first / MIB, limit / MIB,
	      size);
	check_exhausted(list);
	free_half(&list);
	again = exhaust(&more, size, limit);
	CHECK(again >= first / 4, "half of %zu MiB was freed, %zu MiB came back", first / MIB,
	      again / MIB);
	free_list(list);
	free_list(more);
	malloc_trim(0);
}

static void *use_up_in_thread(void *arg)
{
	use_up(*(size_t *)arg, 40 * KIB);
	return NULL;
}

/* The program of a child that was started under a limit. */
static int under_limit(size_t limit)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 256 * KIB);
	CHECK(pthread_create(&t, &attr, use_up_in_thread, &limit) == 0, "no thread");
	pthread_join(t, NULL);
	use_up(limit, MIB);
	use_up(limit, 20 * MIB);
	use_up(limit, 20 * KIB);
	use_up(limit, MIB);
	if (limit <= 512 * MIB)
		use_up(limit, 200);
	return test_end();
}

static void run_under(int resource, const char *name, size_t limit)
{
	struct rlimit r = {limit, limit};
	char number[32], what[64];
	pid_t pid;

	snprintf(number, sizeof(number), "%zu", limit);
	snprintf(what, sizeof(what), "%s of %zu MiB", name, limit / MIB);
	printf("%s\n", what);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (setrlimit((__rlimit_resource_t)resource, &r))
			_exit(8);
		execl("/proc/self/exe", "limits_test", number, (char *)NULL);
		_exit(9);
	}
	child_must_pass(pid, what);
}

/* A limit that comes later than the allocator's first reserve: no figure to reach, but order. */
static void limit_while_running(int resource, const char *name)
{
	struct rlimit r = {300 * MIB, RLIM_INFINITY};
	struct block *list = NULL, *more = NULL;
	pid_t pid;
	int i;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		for (i = 0; i < 200; i++) {
			struct block *b = malloc(100 * KIB);

			CHECK(b, "malloc");
			mark(b, 100 * KIB, (uint64_t)i + 1);
			b->next = list;
			list = b;
		}
		CHECK(setrlimit((__rlimit_resource_t)resource, &r) == 0, "setrlimit");
		for (i = 0; i < 4000; i++) {
			struct block *b;

			errno = 0;
			b = malloc(2 * MIB);
			if (!b)
				break;
			mark(b, 2 * MIB, 1);
			b->next = more;
			more = b;
		}
		CHECK(i == 4000 || errno == ENOMEM, "errno %d", errno);
		free_list(more);
		for (more = list; more; more = more->next)
			check_mark(more, more->next ? more->next->id + 1 : more->id);
		free_list(list);
		CHECK(malloc(100 * KIB), "nothing after everything was freed");
		_exit(0);
	}
	child_must_pass(pid, name);
}

int main(int argc, char **argv)
{
	static const size_t as_mib[] = {128, 256, 512, 1024, 4096};
	static const size_t data_mib[] = {64, 256, 1024};
	size_t i;

	test_begin();
	test_watchdog(test_quick() ? 85 : 170);
	if (argc > 1)
		return under_limit(strtoull(argv[1], NULL, 10));
	for (i = 0; i < COUNT_OF(as_mib); i++)
		run_under(RLIMIT_AS, "RLIMIT_AS", as_mib[i] * MIB);
	for (i = 0; i < COUNT_OF(data_mib); i++)
		run_under(RLIMIT_DATA, "RLIMIT_DATA", data_mib[i] * MIB);
	limit_while_running(RLIMIT_AS, "RLIMIT_AS while running");
	limit_while_running(RLIMIT_DATA, "RLIMIT_DATA while running");
	return test_end();
}
