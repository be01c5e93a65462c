/* grow.c - large blocks that grow by realloc, many times, on kernels that move mappings in different ways: to Linux
 * 6.16 one mapping at a time, and what a failed move was to cover is unmapped.
 *
 *   grow [MIB]     up to so many (128)
 *
 * Each page's mark must be there after each step: as it is, after madvise on a part of the block, and in a forked child.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void mark(char *p, size_t from, size_t to)
{
	for (size_t at = from; at < to; at += PAGE)
		*(size_t *)(p + at + at / PAGE % 64 * 64) = at + 1;
}

static void whole(const char *p, size_t bytes, const char *when)
{
	for (size_t at = 0; at < bytes; at += PAGE)
		CHECK(*(const size_t *)(p + at + at / PAGE % 64 * 64) == at + 1, "%s: byte %zu of %zu is lost", when, at, bytes);
}

/* Another block behind each keeps it from growing where it stands, half of the times. */
static void grow(size_t most, int advice, const char *when)
{
	void *behind[32];
	int n = 0;
	size_t bytes = 8 * MIB;
	char *p = malloc(bytes);

	CHECK(p, "%s: no memory", when);
	mark(p, 0, bytes);
	for (; bytes < most; bytes *= 2) {
		if (n % 2)
			CHECK((behind[n / 2] = malloc(2 * MIB)), "%s: no memory", when);
		if (advice)
			CHECK(!madvise(p + bytes / 2 / PAGE * PAGE, 2 * PAGE, advice), "%s: madvise", when);
		p = realloc(p, 2 * bytes);
		CHECK(p, "%s: no memory for %zu MiB", when, 2 * bytes / MIB);
		whole(p, bytes, when);
		mark(p, bytes, 2 * bytes);
		n++;
	}
	whole(p, bytes, when);
	free(p);
	while (n--)
		if (n % 2)
			free(behind[n / 2]);
}

int main(int argc, char **argv)
{
	size_t most = argc > 1 ? strtoul(argv[1], NULL, 10) * MIB : 128 * MIB;
	int status = 0;

	probe_begin("grow", 120);
	CHECK(probe_judges(), "hakmem does not serve");
	for (int i = 0; i < 3; i++)
		grow(most, 0, "plain");
	grow(most, MADV_DONTDUMP, "with an advice of the program's");
	pid_t child = fork();
	if (child == 0) {
		grow(most, 0, "in a child");
		_exit(0);
	}
	CHECK(child > 0, "fork: %s", strerror(errno));
	CHECK(waitpid(child, &status, 0) == child && status == 0, "the child ended with %#x", status);
	CHECK(!probe_hak.audit(), "the heap is not sound");
	return probe_end(&(struct probe_result){.note = "all marks are there"});
}
