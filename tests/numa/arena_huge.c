/* arena_huge.c - arenas on pages of the kernel's hugetlb pools, node by node: the pages are on the node that was named,
 * whoever asks, and what a pool does not have is an error with HAK_ARENA_STRICT, else replaced and counted.
 *
 *   arena_huge 2m|1g steady     every node: as many pages as its pool has, one more, and growth into the last of it
 *   arena_huge 2m|1g shared     likewise, but another process empties the pools meanwhile: either answer is right
 * An empty pool is a pool of 0 pages. The arenas are made by a thread of another node than theirs. A SIGBUS ends the
 * program and is a failure.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <hakmem/arena.h>

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	__typeof__(hak_arena_create) *create;
	__typeof__(hak_arena_alloc) *alloc;
	__typeof__(hak_arena_stats) *stats;
	__typeof__(hak_arena_destroy) *destroy;
	__typeof__(hak_arena_push) *push;
	__typeof__(hak_arena_pop) *pop;
	__typeof__(hak_arena_owner) *owner;
} hak;

enum { FREED_BY_END = 2 }; /* pages that an arena gave back stay with the node's pool and serve the next arena */

static struct probe_result result;
static bool shared;
static unsigned kind;
static size_t page;
static uint64_t had, refused, replaced;

static void on_sigbus(int sig)
{
	(void)sig;
	probe_fail("SIGBUS: a huge page was promised and not there");
}

/* Pages of this size that NODE's pool could give. */
static size_t free_pages(int node)
{
	char path[160];
	unsigned long pages = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/hugepages/hugepages-%zukB/free_hugepages", node,
		 page / KIB);
	f = fopen(path, "r");
	if (f && fscanf(f, "%lu", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return pages;
}

static int create(int node, size_t pages, unsigned flags, hak_arena **arena)
{
	char where[32];
	struct hak_arena_options o = {
		.size_bytes = sizeof(o),
		.name = "huge",
		.numa = where,
		.pages = kind,
		.populate = flags & HAK_ARENA_STRICT ? HAK_POPULATE_NOW : HAK_POPULATE_NEVER,
		.flags = flags,
		.initial_bytes = pages * page,
	};

	snprintf(where, sizeof(where), "bind=%d", node);
	*arena = NULL;
	return hak.create(&o, arena);
}

static struct hak_arena_stats stats_of(hak_arena *arena, int node)
{
	struct hak_arena_stats s = {.size_bytes = sizeof(s)};

	CHECK(hak.stats(arena, &s) == 0 && s.node == node, "an arena of node %d says %d", node, s.node);
	return s;
}

/* Something of each page is written to, and asked for. */
static void use(hak_arena *arena, int node, size_t bytes)
{
	char *p = hak.alloc(arena, bytes);
	size_t at, part = 256 * KIB;

	CHECK(p && hak.owner(p) == arena, "no block of %zu in an arena made with as much", bytes);
	for (at = 0; at < bytes; at += page) {
		memset(p + at, 1, part);
		probe_ask(p + at, part, (uint64_t)1 << node, &result.tally);
	}
}

static void end(hak_arena *arena)
{
	CHECK(hak.destroy(arena) == 0, "hak_arena_destroy");
}

/* Strict: what is had is huge, and of the node. */
static void try_strict(int node, size_t pages, bool there)
{
	hak_arena *arena;
	int rc = create(node, pages, HAK_ARENA_STRICT, &arena);

	CHECK(shared ? rc == 0 || rc == -ENOMEM : rc == (there ? 0 : -ENOMEM),
	      "strict, %zu pages of node %d, which has %zu: %d", pages, node, free_pages(node), rc);
	refused += rc != 0;
	if (rc)
		return;
	struct hak_arena_stats s = stats_of(arena, node);
	CHECK(s.hugetlb_supers * 2 * MIB == pages * page && !s.fallbacks, "strict, and %llu of %zu huge",
	      (unsigned long long)s.hugetlb_supers, pages);
	had += pages;
	use(arena, node, pages * page);
	end(arena);
}

/* What is not there comes from elsewhere, counted, and can be written to. */
static void try_fallback(int node, size_t pages)
{
	hak_arena *arena;
	int rc = create(node, pages, 0, &arena);

	CHECK(rc == 0, "without strict, %zu pages of node %d: %d", pages, node, rc);
	struct hak_arena_stats s = stats_of(arena, node);
	CHECK(s.fallbacks + s.hugetlb_supers >= s.supers, "%llu SuperSlabs, %llu huge, %llu counted as replaced",
	      (unsigned long long)s.supers, (unsigned long long)s.hugetlb_supers, (unsigned long long)s.fallbacks);
	CHECK(shared || s.fallbacks, "more pages than there are, and none replaced");
	replaced += s.fallbacks;
	use(arena, node, pages * page);
	end(arena);
}

/* Block by block into the last page: refused then, and not killed. */
static void grow(int node)
{
	hak_arena *arena;
	size_t most = free_pages(node) + FREED_BY_END, n;
	char *p;

	CHECK(create(node, 0, HAK_ARENA_STRICT, &arena) == 0, "an arena that has nothing yet");
	for (n = 0; (p = hak.alloc(arena, 2 * MIB)); n++) {
		memset(p, 1, 256 * KIB);
		probe_ask(p, 256 * KIB, (uint64_t)1 << node, &result.tally);
		CHECK(shared || n < (most + had) * (page / (2 * MIB)), "more blocks than pages: %zu", n);
	}
	CHECK(errno == ENOMEM, "errno %d", errno);
	struct hak_arena_stats s = stats_of(arena, node);
	CHECK(s.hugetlb_supers == s.supers && s.supers >= n && !s.fallbacks, "a strict arena grew on other pages");
	end(arena);
}

/* A node that is named counts, also while malloc takes from an arena. */
static void onnode(int node)
{
	hak_arena *arena;
	char *p;

	CHECK(create(node, 0, 0, &arena) == 0 && hak.push(arena) == 0, "push");
	for (int id = 0; id < NODES_MOST; id++) {
		if (!probe_nodes[id].usable)
			continue;
		p = probe_hak.malloc_onnode(100 * KIB, id);
		CHECK(p && !hak.owner(p), "hak_malloc_onnode took from the arena that was pushed");
		probe_touch(p, 100 * KIB);
		probe_ask(p, 100 * KIB, (uint64_t)1 << id, &result.tally);
		free(p);
	}
	CHECK(hak.pop() == 0, "pop");
	end(arena);
}

struct pair {
	int from, node;
};

static void *tour(void *arg)
{
	const struct pair *at = arg;
	size_t pages = free_pages(at->node);

	probe_pin(at->from);
	onnode(at->node);
	if (pages)
		try_strict(at->node, pages, true);
	/* beyond them: whoever is refused must have changed nothing */
	try_strict(at->node, pages + 1, false);
	try_fallback(at->node, pages + 1);
	if (pages)
		try_strict(at->node, pages, true);
	grow(at->node);
	return NULL;
}

/* A node without memory is none for an arena, however it is named. */
static void no_memory(int node)
{
	static const char *const words[] = {"bind=%d", "preferred=%d"};
	char where[32];
	size_t i;

	for (i = 0; i < COUNT_OF(words); i++) {
		struct hak_arena_options o = {.size_bytes = sizeof(o), .numa = where, .pages = kind};
		hak_arena *arena;

		snprintf(where, sizeof(where), words[i], node);
		CHECK(hak.create(&o, &arena) == -ENODEV, "an arena on node %d, which has no memory", node);
	}
}

static void look_up(void)
{
	*(void **)&hak.create = dlsym(RTLD_DEFAULT, "hak_arena_create");
	*(void **)&hak.alloc = dlsym(RTLD_DEFAULT, "hak_arena_alloc");
	*(void **)&hak.stats = dlsym(RTLD_DEFAULT, "hak_arena_stats");
	*(void **)&hak.destroy = dlsym(RTLD_DEFAULT, "hak_arena_destroy");
	*(void **)&hak.push = dlsym(RTLD_DEFAULT, "hak_arena_push");
	*(void **)&hak.pop = dlsym(RTLD_DEFAULT, "hak_arena_pop");
	*(void **)&hak.owner = dlsym(RTLD_DEFAULT, "hak_arena_owner");
	CHECK(hak.create && hak.alloc && hak.stats && hak.destroy && hak.push && hak.pop && hak.owner, "no arenas");
}

int main(int argc, char **argv)
{
	int cpu_nodes[NODES_MOST], count, turns, i, id;
	char note[96];

	probe_begin("arena_huge", 120);
	CHECK(argc == 3, "usage: arena_huge 2m|1g steady|shared");
	if (!probe_judges())
		probe_skip("not hakmem");
	look_up();
	signal(SIGBUS, on_sigbus);
	kind = strcmp(argv[1], "1g") ? HAK_PAGES_HUGETLB_2M : HAK_PAGES_HUGETLB_1G;
	page = kind == HAK_PAGES_HUGETLB_1G ? 1024 * MIB : 2 * MIB;
	shared = !strcmp(argv[2], "shared");
	count = probe_cpu_nodes(cpu_nodes);
	for (turns = 0, i = 0; turns < (shared ? 10 : 1); turns++)
		for (id = 0; id < NODES_MOST; id++) {
			struct pair at = {.node = id};
			pthread_t thread;

			if (probe_nodes[id].online && !probe_nodes[id].usable)
				no_memory(id);
			if (!probe_nodes[id].usable)
				continue;
			do
				at.from = cpu_nodes[i++ % count];
			while (at.from == id && count > 1);
			CHECK(pthread_create(&thread, NULL, tour, &at) == 0, "no thread");
			pthread_join(thread, NULL);
		}
	CHECK(!probe_hak.audit || probe_hak.audit() == 0, "hak_audit found violations");
	snprintf(note, sizeof(note), "%llu pages had, %llu times refused, %llu replaced", (unsigned long long)had,
		 (unsigned long long)refused, (unsigned long long)replaced);
	result.note = note;
	return probe_end(&result);
}
