/* on_node.c - a table on the memory of one node, asked of the kernel page by page afterwards.
 *
 *   on_node [NODE [MIB]]     NODE 0 and 64 MiB without them
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <hakmem/arena.h>

#define PAGE 4096

/* How many of the PAGES pages from TABLE on are on NODE; -1 where the kernel says nothing. */
static long pages_on(char *table, size_t pages, int node)
{
	void *at[512];
	int where[512];
	long on = 0;
	for (size_t i = 0; i < pages; i += 512) {
		size_t n = pages - i < 512 ? pages - i : 512;
		for (size_t k = 0; k < n; k++)
			at[k] = table + (i + k) * PAGE;
		if (syscall(SYS_move_pages, 0, n, at, NULL, where, 0))
			return -1;
		for (size_t k = 0; k < n; k++)
			on += where[k] == node;
	}
	return on;
}

int main(int argc, char **argv)
{
	char policy[32];
	char *end_node = "", *end_mib = "";
	long node = argc > 1 ? strtol(argv[1], &end_node, 10) : 0, mib = argc > 2 ? strtol(argv[2], &end_mib, 10) : 64;
	if (argc > 3 || *end_node || *end_mib || node < 0 || node > 1023 || mib < 1 || mib > 1 << 20) {
		fprintf(stderr, "usage: on_node [NODE [MIB]]\n");
		return 2;
	}
	snprintf(policy, sizeof(policy), "bind=%ld", node);
	struct hak_arena_options options = {.size_bytes = sizeof(options), .name = "table", .numa = policy,
					    .populate = HAK_POPULATE_NOW, .initial_bytes = (size_t)mib << 20};
	hak_arena *arena;
	int rc = hak_arena_create(&options, &arena);
	if (rc) {
		fprintf(stderr, "on_node: an arena of %ld MiB on node %ld: %s\n", mib, node, strerror(-rc));
		return rc == -ENODEV ? 2 : 1;
	}
	size_t bytes = (size_t)mib << 20;
	char *table = hak_arena_aligned_alloc(arena, PAGE, bytes);
	if (!table) {
		fprintf(stderr, "on_node: no block of %ld MiB: %s\n", mib, strerror(errno));
		return 1;
	}
	memset(table, 1, bytes);
	long on = pages_on(table, bytes / PAGE, (int)node);
	if (on < 0)
		printf("%ld MiB; this kernel does not say where pages are\n", mib);
	else
		printf("%ld of %zu pages on node %ld\n", on, bytes / PAGE, node);
	hak_arena_destroy(arena);
	return on >= 0 && on != (long)(bytes / PAGE);
}
