/* options_test.c - each option of hak_arena_create does what it says, and each mistake has its error.
 * What needs pages of the kernel's hugetlb pool is left out where root has set none aside. */
#define _GNU_SOURCE
#include "arena.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static int create(const struct hak_arena_options *options)
{
	hak_arena *arena = NULL;
	int rc = hak_arena_create(options, &arena);

	CHECK(rc == 0 || !arena, "an arena and %d", rc);
	if (!rc)
		CHECK(hak_arena_destroy(arena) == 0, "destroy");
	return rc;
}

#define MUST(rc, ...) CHECK(create(OPTIONS(__VA_ARGS__)) == (rc), "%s: %d", #__VA_ARGS__, create(OPTIONS(__VA_ARGS__)))

static void mistakes(void)
{
	struct hak_arena_options wrong = {.size_bytes = 0};
	hak_arena *none;
	void *memory = mmap(NULL, 4 * SUPER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(create(&wrong) == -EINVAL, "size_bytes 0");
	wrong.size_bytes = sizeof(wrong) - 8;
	CHECK(create(&wrong) == -EINVAL, "size_bytes too small");
	wrong.size_bytes = sizeof(wrong) + 8;
	CHECK(create(&wrong) == -EINVAL, "size_bytes too large");
	MUST(-EINVAL, .pages = 5);
	MUST(-EINVAL, .populate = 3);
	MUST(-EINVAL, .flags = 16);
	MUST(-EINVAL, .flags = ~0u);
	MUST(-EINVAL, .initial_bytes = 8 * SUPER, .max_bytes = 4 * SUPER);
	MUST(-EINVAL, .max_bytes = SUPER - 1);
	/* the two cross by being rounded: 2 MiB are wanted at least, and at most */
	MUST(-EINVAL, .initial_bytes = 2 * SUPER + 1, .max_bytes = 3 * SUPER - 1);
	MUST(-EINVAL, .initial_bytes = SUPER + 1, .max_bytes = SUPER + 1);
	MUST(-EINVAL, .initial_bytes = SUPER + 1, .max_bytes = 2 * SUPER - 1);
	MUST(-EINVAL, .max_bytes = GIB - 1, .pages = HAK_PAGES_HUGETLB_1G);
	MUST(-EINVAL, .initial_bytes = 1, .max_bytes = GIB - 1, .pages = HAK_PAGES_HUGETLB_1G);
	MUST(-EINVAL, .initial_bytes = GIB + 1, .max_bytes = GIB + SUPER, .pages = HAK_PAGES_HUGETLB_1G);
	MUST(-EINVAL, .initial_bytes = SIZE_MAX, .max_bytes = SUPER);
	MUST(0, .initial_bytes = SUPER + 1, .max_bytes = 2 * SUPER);
	MUST(0, .initial_bytes = 1, .max_bytes = SUPER);
	MUST(-EINVAL, .numa = "nonsense");
	MUST(-EINVAL, .numa = "off");
	MUST(-EINVAL, .numa = "");
	MUST(-ENODEV, .numa = "bind=999");
	MUST(-ENODEV, .numa = "preferred=63");
	MUST(-ENOMEM, .initial_bytes = SIZE_MAX);
	MUST(-ENOMEM, .initial_bytes = (size_t)1 << 60);
	MUST(-ENOMEM, .initial_bytes = (size_t)1 << 46);
	MUST(-EINVAL, .memory_bytes = 4 * SUPER);
	MUST(-EINVAL, .memory = memory);
	MUST(-EINVAL, .memory = memory, .memory_bytes = SUPER - 1);
	MUST(-EINVAL, .memory = memory, .memory_bytes = SIZE_MAX);
	MUST(-EINVAL, .memory = memory, .memory_bytes = 4 * SUPER, .pages = HAK_PAGES_THP);
	MUST(-EINVAL, .memory = memory, .memory_bytes = 4 * SUPER, .numa = "local");
	MUST(-EINVAL, .memory = memory, .memory_bytes = 4 * SUPER, .initial_bytes = 1);
	MUST(-EINVAL, .memory = memory, .memory_bytes = 4 * SUPER, .max_bytes = 8 * SUPER);
	MUST(-EINVAL, .memory = (void *)(UINTPTR_MAX - SUPER), .memory_bytes = 4 * SUPER);
	MUST(0, .memory = memory, .memory_bytes = 4 * SUPER);
	munmap(memory, 4 * SUPER);
	CHECK(hak_arena_create(NULL, &none) == -EINVAL && hak_arena_create(OPTIONS(.name = "x"), NULL) == -EINVAL,
	      "no options, no place for the arena");
	CHECK(hak_arena_destroy(NULL) == -EINVAL && hak_arena_reset(NULL) == -EINVAL, "no arena");
	CHECK(hak_arena_push(NULL) == -EINVAL && hak_arena_pop() == -EINVAL, "no arena pushed");
	CHECK(hak_arena_owner(NULL) == NULL && hak_arena_owner(&wrong) == NULL, "owner of nothing");
}

static void names(void)
{
	hak_arena *a = arena_make(OPTIONS(.name = "frames"));
	hak_arena *b = arena_make(OPTIONS(.name = "a name that is longer than what is kept of it"));
	hak_arena *c = arena_make(OPTIONS(.max_bytes = 3 * SUPER + 5));

	CHECK(strcmp(arena_stats(a).name, "frames") == 0, "%s", arena_stats(a).name);
	CHECK(strcmp(arena_stats(b).name, "a name that is longer than what") == 0, "%s", arena_stats(b).name);
	CHECK(arena_stats(c).name[0] == 0, "%s", arena_stats(c).name);
	CHECK(arena_stats(a).max_bytes == UINT64_MAX && arena_stats(c).max_bytes == 3 * SUPER, "max");
	CHECK(hak_arena_destroy(a) == 0 && hak_arena_destroy(b) == 0 && hak_arena_destroy(c) == 0, "destroy");
}

static void old_stats(void)
{
	struct hak_arena_stats s;
	hak_arena *a = arena_make(OPTIONS(.initial_bytes = SUPER));

	memset(&s, 0xee, sizeof(s));
	s.size_bytes = offsetof(struct hak_arena_stats, used_bytes);
	CHECK(hak_arena_stats(a, &s) == 0 && s.supers == 1, "a smaller struct");
	CHECK(s.used_bytes == 0xeeeeeeeeeeeeeeeeull, "written past its end");
	s.size_bytes = 0;
	CHECK(hak_arena_stats(a, &s) == -EINVAL, "size_bytes 0");
	hak_arena_destroy(a);
}

static void sizes(void)
{
	hak_arena *a = arena_make(OPTIONS(.initial_bytes = 3 * SUPER + 1, .max_bytes = 5 * SUPER));
	struct hak_arena_stats s = arena_stats(a);
	char *p;

	CHECK(s.supers == 4 && s.free_supers == 4 && s.used_bytes == 0, "%llu", (unsigned long long)s.supers);
	/* one stretch: a block as large as all of it */
	p = hak_arena_alloc(a, 4 * SUPER);
	CHECK(p && hak_arena_owner(p) == a && arena_stats(a).supers == 4, "not one stretch");
	CHECK(hak_arena_alloc(a, SUPER), "up to the maximum");
	CHECK(!hak_arena_alloc(a, 1) && errno == ENOMEM, "beyond the maximum");
	hak_arena_destroy(a);
	a = arena_make(OPTIONS(.max_bytes = 2 * SUPER - 1));
	CHECK(arena_stats(a).max_bytes == SUPER, "rounded down");
	CHECK(!hak_arena_alloc(a, SUPER + 1) && errno == ENOMEM, "a block beyond the maximum");
	hak_arena_destroy(a);
}

static void numa(void)
{
	static const char *const words[] = {"local", "auto", "bind=0", "preferred=0"};
	hak_arena *a;
	size_t i;

	for (i = 0; i < COUNT_OF(words); i++) {
		a = arena_make(OPTIONS(.numa = words[i], .initial_bytes = SUPER));
		CHECK(arena_stats(a).node >= 0, "%s: node %d", words[i], arena_stats(a).node);
		hak_arena_destroy(a);
	}
}

/* How many pages of 2^SHIFT bytes the kernel could give; 0: none. */
static long pool_pages(const char *kib)
{
	char path[128];
	long n = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%skB/free_hugepages", kib);
	f = fopen(path, "r");
	if (f && fscanf(f, "%ld", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

static void hugetlb_of(unsigned pages, size_t bytes, const char *kib)
{
	hak_arena *a;
	long have = pool_pages(kib);
	struct hak_arena_stats s;

	if (have < 4) {
		CHECK(create(OPTIONS(.pages = pages, .initial_bytes = 8 * bytes, .flags = HAK_ARENA_STRICT)) == -ENOMEM,
		      "strict, without pages");
		a = arena_make(OPTIONS(.pages = pages, .flags = HAK_ARENA_STRICT));
		CHECK(!hak_arena_alloc(a, 100) && errno == ENOMEM, "strict growth without pages");
		CHECK(arena_stats(a).supers == 0, "memory in spite of it");
		hak_arena_destroy(a);
		a = arena_make(OPTIONS(.pages = pages, .initial_bytes = bytes));
		s = arena_stats(a);
		CHECK(s.fallbacks == bytes / SUPER && !s.hugetlb_supers, "%llu fallbacks", (unsigned long long)s.fallbacks);
		memset(arena_block(a, bytes / 2), 1, bytes / 2 < 64 * MIB ? bytes / 2 : 64 * MIB);
		hak_arena_destroy(a);
		return;
	}
	a = arena_make(OPTIONS(.pages = pages, .initial_bytes = bytes, .flags = HAK_ARENA_STRICT));
	s = arena_stats(a);
	CHECK(s.hugetlb_supers == bytes / SUPER && !s.fallbacks, "hugetlb");
	memset(arena_block(a, bytes), 1, bytes);
	/* nobody else may be given what the arena has */
	for (int i = 0; i < 64; i++) {
		char *p = test_malloc(SUPER);

		CHECK(p && !hak_arena_owner(p), "malloc gave memory of the arena");
		memset(p, 2, SUPER);
	}
	hak_arena_destroy(a);
}

static void hugetlb(void)
{
	hugetlb_of(HAK_PAGES_HUGETLB_2M, SUPER, "2048");
	hugetlb_of(HAK_PAGES_HUGETLB_1G, GIB, "1048576");
	if (pool_pages("2048") < 4)
		test_skip_part("no free pages in the kernel's hugetlb pool: only their absence was tested");
}

static void no_dump(void)
{
	hak_arena *a = arena_make(OPTIONS(.initial_bytes = 4 * SUPER, .flags = HAK_ARENA_NO_DUMP));
	char *p = hak_arena_alloc(a, 4 * SUPER);
	int all, with = smaps_flag(p, 4 * SUPER, "dd", &all);

	CHECK(p && with == all && all, "%d of %d mappings have dd", with, all);
	CHECK(hak_arena_reset(a) == 0 && smaps_flag(p, 4 * SUPER, "dd", &all) == all, "lost by the reset");
	CHECK(hak_arena_alloc(a, 8 * SUPER), "growth");
	hak_arena_destroy(a);
	CHECK(smaps_flag(p, 4 * SUPER, "dd", &all) == 0, "malloc's memory has dd after the end");
}

static void locked(void)
{
	hak_arena *a = arena_make(OPTIONS(.initial_bytes = 2 * SUPER, .flags = HAK_ARENA_LOCK));
	char *p = hak_arena_alloc(a, 2 * SUPER), *q;

	CHECK(p && smaps_kib(p, 2 * SUPER, "Locked") >= 4096, "%ld KiB locked", smaps_kib(p, 2 * SUPER, "Locked"));
	q = arena_block(a, SUPER);
	CHECK(smaps_kib(q, SUPER, "Locked") >= 2048, "what grew is not locked");
	hak_arena_destroy(a);
	CHECK(smaps_kib(p, 2 * SUPER, "Locked") == 0, "%ld KiB locked after the end", smaps_kib(p, 2 * SUPER, "Locked"));
}

static void limit_locked(size_t bytes)
{
	struct rlimit lim = {bytes, bytes};

	CHECK(setrlimit(RLIMIT_MEMLOCK, &lim) == 0, "setrlimit");
}

/* One errno for the limit, and another for memory that is not there. */
static void locked_too_much(void)
{
	char *given = mmap(NULL, 4 * SUPER, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	hak_arena *a = NULL;

	limit_locked(4 * MIB);
	if (geteuid() == 0) /* whom no limit stops */
		CHECK(setgroups(0, NULL) == 0 && setresgid(65534, 65534, 65534) == 0 &&
			      setresuid(65534, 65534, 65534) == 0, "setresuid");
	MUST(-EAGAIN, .initial_bytes = 8 * SUPER, .flags = HAK_ARENA_LOCK);
	MUST(-EAGAIN, .initial_bytes = 8 * SUPER, .flags = HAK_ARENA_LOCK, .populate = HAK_POPULATE_NOW);
	MUST(-EAGAIN, .memory = given, .memory_bytes = 4 * SUPER, .flags = HAK_ARENA_LOCK);
	MUST(-ENOMEM, .initial_bytes = (size_t)1 << 46, .flags = HAK_ARENA_LOCK);
	CHECK(smaps_kib(given, 4 * SUPER, "Locked") == 0, "the program's memory stayed locked");
	a = arena_make(OPTIONS(.initial_bytes = SUPER, .flags = HAK_ARENA_LOCK));
	arena_block(a, SUPER);
	CHECK(!hak_arena_alloc(a, 4 * SUPER) && errno == ENOMEM, "growth beyond the limit");
	CHECK(arena_stats(a).supers == 1, "kept what it could not lock");
	hak_arena_destroy(a);
	limit_locked(0); /* the kernel has another errno for it */
	MUST(-EAGAIN, .initial_bytes = SUPER, .flags = HAK_ARENA_LOCK);
	MUST(0, .initial_bytes = SUPER);
}

struct seen {
	size_t bytes;
	int calls;
	char *p;
};

static void released(void *arg, void *where, size_t bytes)
{
	struct seen *s = arg;

	s->bytes += bytes;
	s->calls++;
	if ((char *)where <= s->p && s->p < (char *)where + bytes)
		CHECK(*s->p == 0x5a, "not there any more when it is released");
}

static void release_calls(void)
{
	struct seen s = {0, 0, NULL};
	hak_arena *a = arena_make(OPTIONS(.initial_bytes = 3 * SUPER, .released = released, .released_arg = &s));

	s.p = arena_block(a, 5 * SUPER);
	CHECK(hak_arena_reset(a) == 0 && s.calls == 0, "a reset releases nothing");
	CHECK(hak_arena_destroy(a) == 0 && s.bytes == 8 * SUPER, "%zu bytes", s.bytes);
}

int main(int argc, char **argv)
{
	static const struct test_part parts[] = {
		{"mistakes", mistakes}, {"names", names}, {"old_stats", old_stats}, {"sizes", sizes}, {"numa", numa},
		{"hugetlb", hugetlb}, {"no_dump", no_dump}, {"locked", locked}, {"locked_too_much", locked_too_much},
		{"release_calls", release_calls},
	};

	return test_run_parts(argc, argv, parts, COUNT_OF(parts), 60);
}
