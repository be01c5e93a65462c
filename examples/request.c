/* request.c - an arena for each worker, emptied after each request: no block of a request is freed one by one, and a
 * library that calls malloc inside is served from it too.
 *
 *   request [REQUESTS]       prints the longest word of each request, and what the arena had to do for all of them
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hakmem/arena.h>

struct word {
	struct word *next;
	size_t length;
	char text[];
};

static void fail(const char *what, int error)
{
	fprintf(stderr, "request: %s: %s\n", what, strerror(error));
	exit(1);
}

/* The request's words as a list in ARENA. */
static struct word *parse(hak_arena *arena, const char *line)
{
	struct word *list = NULL;
	for (const char *at = line; *at; at += strspn(at, " ")) {
		size_t n = strcspn(at, " ");
		struct word *word = hak_arena_alloc(arena, sizeof(*word) + n + 1);
		if (!word)
			fail("the arena is used up", errno);
		memcpy(word->text, at, n);
		word->text[n] = 0;
		word->length = n;
		word->next = list;
		list = word;
		at += n;
	}
	return list;
}

/* Uses libc's strdup, which calls malloc: pushed, the arena serves it, and nobody has to free the copy. */
static char *answer(hak_arena *arena, const struct word *list)
{
	const struct word *longest = list;
	for (; list; list = list->next)
		if (list->length > longest->length)
			longest = list;
	int rc = hak_arena_push(arena);
	if (rc)
		fail("hak_arena_push", -rc);
	char *copy = strdup(longest ? longest->text : "");
	hak_arena_pop();
	if (!copy)
		fail("the arena is used up", errno);
	return copy;
}

int main(int argc, char **argv)
{
	static const char *const lines[] = {"get the longest word", "an arena for each request", "reset"};
	struct hak_arena_options options = {.size_bytes = sizeof(options), .name = "request",
					    .populate = HAK_POPULATE_NOW, .initial_bytes = 4 << 20,
					    .max_bytes = 64 << 20}; /* a request can't take more than that */
	struct hak_arena_stats stats = {.size_bytes = sizeof(stats)};
	long requests = argc > 1 ? strtol(argv[1], NULL, 10) : 100000;
	hak_arena *arena;
	size_t letters = 0;

	if (requests < 1 || argc > 2) {
		fprintf(stderr, "usage: request [REQUESTS]\n");
		return 2;
	}
	int rc = hak_arena_create(&options, &arena);
	if (rc)
		fail("hak_arena_create", -rc);
	for (long i = 0; i < requests; i++) {
		char *said = answer(arena, parse(arena, lines[i % 3]));
		letters += strlen(said);
		if (i < 3)
			printf("%s\n", said);
		rc = hak_arena_reset(arena);
		if (rc)
			fail("hak_arena_reset", -rc);
	}
	hak_arena_stats(arena, &stats);
	printf("%ld requests, %zu letters, %llu MiB had, %llu bytes in use\n", requests, letters,
	       (unsigned long long)stats.supers * 2, (unsigned long long)stats.used_bytes);
	hak_arena_destroy(arena);
	return 0;
}
