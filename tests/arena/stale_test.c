/* stale_test.c - pointers from before a reset. In the debug build each call that is given one ends the process with a
 * line that names the arena, also once as many blocks were taken again. Always built as in the debug build (arena.mk): in
 * others only what stands nowhere is seen, which is blocks_test's affair. */
#define _GNU_SOURCE
#include "arena.h"

#include <stdlib.h>
#include <string.h>

static const size_t sizes[] = {16, 100, 5000, 100 * KIB, 700 * KIB, 5 * MIB};
static hak_arena *arena;

static void arena_free(void *p)
{
	hak_arena_free(arena, p);
}

static void arena_realloc(void *p)
{
	CHECK(hak_arena_realloc(arena, p, 300), "realloc");
}

static void arena_size(void *p)
{
	CHECK(hak_arena_usable_size(arena, p), "size");
}

static void libc_free(void *p)
{
	test_free(p);
}

static void libc_realloc(void *p)
{
	CHECK(test_realloc(p, 300), "realloc");
}

static void libc_size(void *p)
{
	CHECK(test_usable(p), "size");
}

static void pushed_free(void *p)
{
	CHECK(hak_arena_push(arena) == 0, "push");
	test_free(test_malloc(100));
	test_free(p);
}

#define NAMED "block of arena requests ("
static const struct {
	void (*run)(void *p);
	const char *says;
} calls[] = {
	{arena_free, NAMED},
	{arena_realloc, NAMED},
	{arena_size, NAMED},
	{libc_free, NAMED},
	{libc_realloc, NAMED},
	{libc_size, NAMED},
	{pushed_free, NAMED},
};

/* The first block of an arena that was used, reset, and used the same way again. */
static void *stale_block(size_t size, unsigned flags)
{
	void *first;
	int i;

	arena = arena_make(OPTIONS(.name = "requests", .initial_bytes = 8 * SUPER, .flags = flags));
	first = arena_block(arena, size);
	arena_block(arena, size);
	CHECK(hak_arena_reset(arena) == 0, "reset");
	CHECK(arena_stats(arena).supers == 8 && arena_stats(arena).used_bytes == 0, "memory is kept");
	for (i = 0; i < 2; i++)
		CHECK(arena_block(arena, size) != first, "handed out again");
	return first;
}

static int misuse_one(unsigned number)
{
	test_begin();
	calls[number % COUNT_OF(calls)].run(
		test_hide(stale_block(sizes[number / COUNT_OF(calls)], number & 1 ? HAK_ARENA_SINGLE : 0)));
	return 0;
}

static void replaces(void)
{
	CHECK(arena_reset_replaces(), "not the debug build, or it does not do what it should");
}

static void misuse(void)
{
	size_t i;

	for (i = 0; i < COUNT_OF(calls) * COUNT_OF(sizes); i++)
		must_abort("misuse_one", (int)i, calls[i % COUNT_OF(calls)].says);
}

/* What is set aside is bounded, and the arena's end gives it back. */
static void many_resets(void)
{
	struct hak_stats before = {.size_bytes = sizeof(before)}, after = before;
	int round, i;

	CHECK(hak_stats_get(&before) == 0, "stats");
	for (round = 0; round < 3; round++) {
		arena = arena_make(OPTIONS(.initial_bytes = 8 * SUPER, .max_bytes = 9 * SUPER));
		for (i = 0; i < 1500; i++) {
			arena_block(arena, 1000);
			CHECK(hak_arena_reset(arena) == 0 && arena_stats(arena).supers == 8, "reset %d", i);
		}
		CHECK(hak_arena_alloc(arena, 8 * SUPER), "no longer one stretch");
		CHECK(hak_arena_destroy(arena) == 0, "destroy");
	}
	CHECK(hak_stats_get(&after) == 0 && after.committed_bytes <= before.committed_bytes + 9 * GIB, "%llu bytes committed",
	      (unsigned long long)after.committed_bytes);
	CHECK(hak_audit() == 0, "audit");
}

int main(int argc, char **argv)
{
	static const struct test_part parts[] = {{"replaces", replaces}, {"misuse", misuse}, {"many_resets", many_resets}};

	if (argc == 3)
		return misuse_one((unsigned)atoi(argv[2]));
	return test_run_parts(argc, argv, parts, COUNT_OF(parts), 80);
}
