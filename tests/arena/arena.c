/* arena.c - see arena.h. */
#define _GNU_SOURCE
#include "arena.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

hak_arena *arena_make(const struct hak_arena_options *options)
{
	hak_arena *arena = NULL;
	int rc = hak_arena_create(options, &arena);

	CHECK(rc == 0 && arena, "hak_arena_create: %s", strerror(-rc));
	return arena;
}

struct hak_arena_stats arena_stats(hak_arena *arena)
{
	struct hak_arena_stats stats = {.size_bytes = sizeof(stats)};

	CHECK(hak_arena_stats(arena, &stats) == 0, "hak_arena_stats");
	return stats;
}

void *arena_block(hak_arena *arena, size_t size)
{
	void *p = hak_arena_alloc(arena, size);

	CHECK(p, "hak_arena_alloc(%zu)", size);
	CHECK(hak_arena_owner(p) == arena, "%p of another arena", p);
	memset(p, 0x5a, size);
	return p;
}

bool arena_reset_replaces(void)
{
	hak_arena *arena = arena_make(OPTIONS(.initial_bytes = SUPER, .max_bytes = SUPER));
	char *before = arena_block(arena, SUPER), *after;

	CHECK(hak_arena_reset(arena) == 0, "reset");
	after = arena_block(arena, SUPER);
	CHECK(hak_arena_destroy(arena) == 0, "destroy");
	return before != after;
}

void must_abort(const char *case_name, int number, const char *text)
{
	char said[4096], digits[12];
	int ends[2], status, lines = 0;
	size_t have = 0, i;
	ssize_t got;
	pid_t pid;

	CHECK(pipe(ends) == 0, "pipe");
	snprintf(digits, sizeof(digits), "%d", number);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], 2);
		close(ends[0]);
		close(ends[1]);
		alarm(30);
		execl("/proc/self/exe", "test", case_name, digits, (char *)NULL);
		_exit(9);
	}
	close(ends[1]);
	while (have < sizeof(said) - 1 && (got = read(ends[0], said + have, sizeof(said) - 1 - have)) > 0)
		have += (size_t)got;
	said[have] = 0;
	close(ends[0]);
	CHECK(waitpid(pid, &status, 0) == pid, "waitpid");
	for (i = 0; i < have; i++)
		lines += said[i] == '\n';
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "status 0x%x, %s %d is not aborted: %s", status, case_name, number, said);
	CHECK(lines == 1 && strstr(said, text), "%s %d: %d lines, wanted \"%s\": %s", case_name, number, lines, text, said);
}

static void forked(pid_t (*fork_here)(void), void (*run)(void), const char *what)
{
	pid_t pid;

	fflush(stdout);
	pid = fork_here();
	if (pid == 0) {
		test_watchdog(30);
		run();
		_exit(0);
	}
	child_must_pass(pid, what);
}

void in_child(void (*run)(void), const char *what)
{
	forked(fork, run, what);
}

void in_plain_child(void (*run)(void), const char *what)
{
	forked(_Fork, run, what);
}

/* Calls VISIT with each line of smaps that belongs to a mapping that overlaps the range. */
static void smaps(const void *p, size_t bytes, void (*visit)(void *arg, const char *line), void *arg)
{
	unsigned long from, to, first = (unsigned long)(uintptr_t)p;
	char line[512];
	bool in = false;
	FILE *f = fopen("/proc/self/smaps", "r");

	CHECK(f, "no smaps");
	while (fgets(line, sizeof(line), f)) {
		char dash;

		if (sscanf(line, "%lx%c%lx ", &from, &dash, &to) == 3 && dash == '-')
			in = from < first + bytes && to > first;
		else if (in)
			visit(arg, line);
	}
	fclose(f);
}

struct sum {
	const char *what;
	long kib;
	int with, all;
};

static void add_field(void *arg, const char *line)
{
	struct sum *s = arg;
	size_t n = strlen(s->what);

	if (strncmp(line, s->what, n) == 0 && line[n] == ':')
		s->kib += strtol(line + n + 1, NULL, 10);
}

static void add_flag(void *arg, const char *line)
{
	struct sum *s = arg;

	if (strncmp(line, "VmFlags:", 8))
		return;
	s->all++;
	s->with += strstr(line, s->what) != NULL;
}

long smaps_kib(const void *p, size_t bytes, const char *field)
{
	struct sum s = {.what = field};

	smaps(p, bytes, add_field, &s);
	return s.kib;
}

int smaps_flag(const void *p, size_t bytes, const char *flag, int *mappings)
{
	char padded[8];
	struct sum s = {.what = padded};

	snprintf(padded, sizeof(padded), " %s ", flag);
	smaps(p, bytes, add_flag, &s);
	*mappings = s.all;
	return s.with;
}
