/* overcommit.c - memory runs out where the kernel promises no more than it has (vm.overcommit_memory=2).
 *
 *   overcommit [MIB]     asks for so many at most (default: twice what the kernel may promise)
 *
 * malloc, calloc, realloc and aligned_alloc say ENOMEM, what was had before is whole, what is
 * freed can be had again, and once all is freed and trimmed the kernel has its promises back: another process can have
 * them.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS_MOST = 1 << 16 };

static struct {
	unsigned char *p;
	size_t size;
} blocks[BLOCKS_MOST];
static int block_count;

static size_t promised(const char *what)
{
	char line[128];
	unsigned long kib = 0;
	FILE *f = fopen("/proc/meminfo", "r");

	CHECK(f, "/proc/meminfo: %s", strerror(errno));
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, what, strlen(what)))
			kib = strtoul(line + strlen(what), NULL, 10);
	fclose(f);
	CHECK(kib, "no %s in /proc/meminfo", what);
	return kib * KIB;
}

static unsigned char mark(int i)
{
	return (unsigned char)(i * 37 + 1);
}

/* Small, medium and large ones until the kernel has no more. */
static size_t fill(size_t most)
{
	static const size_t sizes[] = {1000, 24 * KIB, 300 * KIB, 1 * MIB, 5 * MIB};
	size_t all = 0;

	while (all < most && block_count < BLOCKS_MOST) {
		size_t size = sizes[block_count % (int)COUNT_OF(sizes)];
		errno = 0;
		unsigned char *p = block_count % 2 ? malloc(size) : calloc(1, size);
		if (!p) {
			CHECK(errno == ENOMEM, "errno is %d", errno);
			return all;
		}
		memset(p, mark(block_count), size);
		blocks[block_count].p = p;
		blocks[block_count++].size = size;
		all += size;
	}
	return all;
}

static void whole(void)
{
	for (int i = 0; i < block_count; i++)
		for (size_t at = 0; blocks[i].p && at < blocks[i].size; at += 100)
			CHECK(blocks[i].p[at] == mark(i), "block %d has lost a byte", i);
}

static void refuse(void)
{
	size_t all = promised("CommitLimit:");
	void *p;

	errno = 0;
	CHECK(!malloc(all) && errno == ENOMEM, "malloc beyond the limit: errno %d", errno);
	errno = 0;
	CHECK(!aligned_alloc(1 << 22, all) && errno == ENOMEM, "aligned_alloc beyond the limit: errno %d", errno);
	p = blocks[4].p; /* a large one */
	errno = 0;
	CHECK(!realloc(p, all) && errno == ENOMEM, "realloc beyond the limit: errno %d", errno);
}

static void empty(int every)
{
	for (int i = 0; i < block_count; i += every) {
		free(blocks[i].p);
		blocks[i].p = NULL;
	}
}

int main(int argc, char **argv)
{
	char note[128];
	probe_begin("overcommit", 120);
	CHECK(probe_judges(), "hakmem does not serve");
	size_t before = promised("Committed_AS:"), limit = promised("CommitLimit:");
	size_t most = argc > 1 ? strtoul(argv[1], NULL, 10) * MIB : 2 * limit, had, left;

	had = fill(most);
	CHECK(had < most, "%zu MiB were had and nothing was refused: is vm.overcommit_memory 2?", had / MIB);
	CHECK(had > (limit - before) / 2, "only %zu MiB were had of %zu", had / MIB, (limit - before) / MIB);
	refuse();
	whole();
	empty(2);
	for (int i = 0; i < 100; i++) {
		void *p = malloc(300 * KIB);
		CHECK(p, "freed memory can't be had again");
		free(p);
	}
	whole();
	empty(1);
	probe_hak.trim(0);
	left = promised("Committed_AS:");
	CHECK(left < before + had / 4, "%zu MiB of %zu are still promised after a trim", (left - before) / MIB, had / MIB);
	CHECK(!probe_hak.audit(), "the heap is not sound");
	snprintf(note, sizeof(note), "%zu MiB had, %ld MiB still promised after the trim", had / MIB,
		 ((long)left - (long)before) / (long)MIB);
	return probe_end(&(struct probe_result){.note = note});
}
