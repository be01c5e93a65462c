/* info_test.c - mallinfo, mallinfo2, malloc_info, malloc_stats, malloc_trim, mallopt. The figures
 * must move as blocks come and go; their exact values are the allocator's business.
 * glibc differs by nature: blocks it maps one by one are in hblkhd and not in uordblks. */
#define _GNU_SOURCE
#include "cm.h"
#include "support.h"

#include <ctype.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t used_now(void)
{
	struct mallinfo2 m = mallinfo2();

	return test_served() == SERVED_HAKMEM ? m.uordblks : m.uordblks + m.hblkhd;
}

static void test_mallinfo_follows_blocks(void **state)
{
	static const struct {
		size_t size;
		int n;
	} loads[] = {{64, 50000},     {1000, 5000}, {16 * KIB, 400},
		     {200 * KIB, 50}, {MIB, 20},    {9 * MIB, 3}};
	static void *p[50000];
	size_t l, before, held, after, total;
	int i;

	(void)state;
	for (l = 0; l < COUNT_OF(loads); l++) {
		total = loads[l].size * (size_t)loads[l].n;
		before = used_now();
		for (i = 0; i < loads[l].n; i++) {
			p[i] = malloc(loads[l].size);
			CHECK(p[i], "malloc(%zu)", loads[l].size);
			*(char *)p[i] = 1;
		}
		held = used_now();
		CHECK(held >= before + total, "%zu bytes in blocks of %zu: in use %zu, then %zu",
		      total, loads[l].size, before, held);
		for (i = 0; i < loads[l].n; i++)
			free(p[i]);
		malloc_trim(0);
		after = used_now();
		CHECK(after <= before + total / 4, "freed %zu bytes of %zu: in use %zu, then %zu",
		      total, loads[l].size, held, after);
	}
}

static void test_mallinfo_is_consistent(void **state)
{
	void *p = malloc(300000);
	struct mallinfo2 m = mallinfo2();
	struct mallinfo old;

	(void)state;
	CHECK(p, "malloc");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	old = mallinfo();
#pragma GCC diagnostic pop
	CHECK(m.arena + m.hblkhd >= m.uordblks, "arena %zu, in use %zu", m.arena, m.uordblks);
	CHECK(m.uordblks + m.hblkhd > 300000, "in use %zu", m.uordblks);
	CHECK(m.arena + m.hblkhd >= m.uordblks + m.fordblks,
	      "arena %zu, spans %zu, in use %zu, free %zu", m.arena, m.hblkhd, m.uordblks,
	      m.fordblks);
	CHECK((size_t)(unsigned)old.arena == m.arena, "arena %d, or %zu", old.arena, m.arena);
	CHECK((size_t)(unsigned)old.uordblks == m.uordblks, "in use %d, or %zu", old.uordblks,
	      m.uordblks);
	free(p);
}

/* One tag at AT; pushes, pops or ignores it. Returns the first byte behind it. */
static const char *walk_tag(const char *at, char names[][64], int *depth)
{
	const char *start = at + 1, *end = start, *close;
	bool closing = *start == '/';
	char name[64];
	int quotes = 0;

	if (closing)
		end = ++start;
	while (isalnum((unsigned char)*end) || strchr("-_", *end ? *end : ' '))
		end++;
	CHECK(end > start && end - start < 64, "no tag name at '%.20s'", at);
	snprintf(name, sizeof(name), "%.*s", (int)(end - start), start);
	for (close = end; *close && (*close != '>' || quotes % 2); close++) {
		quotes += *close == '"';
		CHECK(*close != '<', "'<' inside of a tag: '%.40s'", at);
	}
	CHECK(*close == '>', "tag without end: '%.40s'", at);
	if (closing) {
		CHECK(*depth > 0 && strcmp(names[*depth - 1], name) == 0, "</%s> closes <%s>", name,
		      *depth > 0 ? names[*depth - 1] : "nothing");
		(*depth)--;
	} else if (close[-1] != '/') {
		CHECK(*depth < 16, "too deep");
		strcpy(names[(*depth)++], name);
	}
	return close + 1;
}

static void check_xml(const char *text)
{
	char names[16][64];
	const char *at;
	int depth = 0, roots = 0;

	CHECK(strncmp(text, "<malloc version=\"", 17) == 0, "begins with '%.30s'", text);
	for (at = text; *at;) {
		if (*at == '<') {
			roots += depth == 0;
			at = walk_tag(at, names, &depth);
			continue;
		}
		CHECK(*at != '&' && *at != '>', "stray '%c'", *at);
		CHECK(depth > 0 || isspace((unsigned char)*at), "text outside of the root");
		at++;
	}
	CHECK(depth == 0, "<%s> is not closed", names[0]);
	CHECK(roots == 1, "%d roots", roots);
}

static void test_malloc_info_is_xml(void **state)
{
	char *text = NULL;
	size_t size = 0, digits = 0, i;
	FILE *f = open_memstream(&text, &size);
	int r;

	(void)state;
	CHECK(f, "open_memstream");
	r = malloc_info(0, f);
	fclose(f);
	CHECK(r == 0, "malloc_info gave %d", r);
	check_xml(text);
	for (i = 0; i < size; i++)
		digits += isdigit((unsigned char)text[i]) != 0;
	CHECK(digits > 10, "no figures in malloc_info");
	free(text);
	CHECK(malloc_info(1, stdout) != 0, "malloc_info with unknown options gave 0");
}

/* A process of its own: where messages go is settled by what stderr was at its start. */
static void test_malloc_stats_prints(void **state)
{
	char text[16384];
	size_t have = 0;
	ssize_t n;
	int fd[2];
	pid_t pid;

	(void)state;
	CHECK(pipe(fd) == 0, "pipe");
	pid = fork();
	if (pid == 0) {
		dup2(fd[1], 2);
		close(fd[0]);
		close(fd[1]);
		execl("/proc/self/exe", "info_test", "stats", (char *)NULL);
		_exit(9);
	}
	close(fd[1]);
	while (have < sizeof(text) - 1 &&
	       (n = read(fd[0], text + have, sizeof(text) - 1 - have)) > 0)
		have += (size_t)n;
	text[have] = 0;
	close(fd[0]);
	child_must_pass(pid, "malloc_stats");
	CHECK(strpbrk(text, "0123456789"), "malloc_stats printed '%s'", text);
}

static void test_trim_gives_memory_back(void **state)
{
	enum { N = 4096 };
	static void *p[N];
	long long start, full, trimmed;
	int i, gave;

	(void)state;
	malloc_trim(0);
	start = rss_bytes();
	for (i = 0; i < N; i++) {
		p[i] = malloc(32 * KIB);
		CHECK(p[i], "malloc");
		memset(p[i], 1, 32 * KIB);
	}
	full = rss_bytes();
	CHECK(full - start >= (long long)(120 * MIB), "128 MiB written, %lld resident",
	      full - start);
	for (i = 0; i < N; i++)
		free(p[i]);
	gave = malloc_trim(0);
	trimmed = rss_bytes();
	CHECK(gave == 1 || trimmed < full - (long long)(64 * MIB), "malloc_trim gave %d", gave);
	BOUND("resident after malloc_trim, over the start", trimmed - start, 16 * MIB);
	/* glibc says 1 whenever it called madvise */
	if (test_served() == SERVED_HAKMEM)
		CHECK(malloc_trim(0) == 0, "nothing was left, yet malloc_trim gave 1");
}

static void test_mallopt(void **state)
{
	static const int params[] = {M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, M_TOP_PAD,
				     M_MMAP_MAX,       M_ARENA_MAX,      M_ARENA_TEST};
	size_t i;
	void *p;
	int r;

	(void)state;
	for (i = 0; i < COUNT_OF(params); i++) {
		r = mallopt(params[i], 128 * 1024);
		CHECK(r == 0 || r == 1, "mallopt(%d) gave %d", params[i], r);
	}
	r = mallopt(12345, 1);
	CHECK(r == 0 || r == 1, "mallopt(12345) gave %d", r);
	p = malloc(200 * KIB);
	CHECK(p, "malloc after mallopt");
	memset(p, 1, 200 * KIB);
	free(p);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mallinfo_follows_blocks),
		cmocka_unit_test(test_mallinfo_is_consistent),
		cmocka_unit_test(test_malloc_info_is_xml),
		cmocka_unit_test(test_malloc_stats_prints),
		cmocka_unit_test(test_trim_gives_memory_back),
		cmocka_unit_test(test_mallopt),
	};

	test_begin();
	if (argc > 1 && strcmp(argv[1], "stats") == 0) {
		free(test_hide(malloc(1000)));
		malloc_stats();
		return 0;
	}
	if (cmocka_run_group_tests(tests, NULL, NULL))
		return 1;
	return test_end();
}
