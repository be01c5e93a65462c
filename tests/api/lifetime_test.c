/* lifetime_test.c - malloc and free before main (preinit array, constructors) and after it (atexit,
 * destructors, thread_local destructors of the main thread). Not other threads' ends: stress. */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern int __cxa_thread_atexit_impl(void (*fn)(void *), void *arg, void *dso);
extern void *__dso_handle;

enum { N = 200 };
static const size_t sizes[] = {1, 40, 700, 5000, 30 * KIB, 200 * KIB, 900 * KIB, 3 * MIB};
static void *early[3][N];
static bool in_child;

static void take(int set)
{
	int i;

	for (i = 0; i < N; i++) {
		size_t size = sizes[(size_t)i % COUNT_OF(sizes)];

		early[set][i] = i % 3 ? malloc(size) : calloc(1, size);
		CHECK(early[set][i], "malloc(%zu) in set %d", size, set);
		if (i % 3 == 0)
			check_zero(early[set][i], size, "early calloc");
		pat_fill(early[set][i], size, (uint64_t)set);
	}
}

static void give(int set)
{
	int i;

	for (i = 0; i < N; i++) {
		pat_check(early[set][i], sizes[(size_t)i % COUNT_OF(sizes)], (uint64_t)set);
		free(early[set][i]);
	}
}

/* Not stdio: it may be gone. */
static void say(const char *word)
{
	if (in_child && write(STDOUT_FILENO, word, strlen(word)) < 0)
		_exit(1);
}

static void in_preinit(int argc, char **argv, char **envp)
{
	(void)envp;
	in_child = argc > 1 && strcmp(argv[1], "child") == 0;
	take(0);
	say("preinit ");
}

__attribute__((section(".preinit_array"), used)) static void (*preinit)(int, char **,
									char **) = in_preinit;

__attribute__((constructor(101))) static void in_constructor(void)
{
	take(1);
	say("constructor ");
}

__attribute__((destructor(101))) static void in_destructor(void)
{
	take(2);
	give(2);
	give(0);
	say("destructor ");
}

static void in_atexit(void)
{
	take(2);
	give(2);
	give(1);
	say("atexit ");
}

static void in_tls_destructor(void *arg)
{
	pat_check(arg, 5000, 9);
	free(arg);
	take(2);
	give(2);
	say("thread_local ");
}

static int child_main(void)
{
	char *p = malloc(5000);

	CHECK(p, "malloc");
	pat_fill(p, 5000, 9);
	CHECK(atexit(in_atexit) == 0, "atexit");
	CHECK(__cxa_thread_atexit_impl(in_tls_destructor, p, &__dso_handle) == 0, "thread_local");
	say("main ");
	return 0;
}

int main(void)
{
	static const char want[] = "preinit constructor main thread_local atexit destructor ";
	char got[256];
	size_t have = 0;
	ssize_t n;
	int fd[2];
	pid_t pid;

	if (in_child)
		return child_main();
	test_begin();
	CHECK(pipe(fd) == 0, "pipe");
	pid = fork();
	if (pid == 0) {
		dup2(fd[1], 1);
		close(fd[0]);
		close(fd[1]);
		execl("/proc/self/exe", "lifetime_test", "child", (char *)NULL);
		_exit(9);
	}
	close(fd[1]);
	while (have < sizeof(got) - 1 && (n = read(fd[0], got + have, sizeof(got) - 1 - have)) > 0)
		have += (size_t)n;
	got[have] = 0;
	child_must_pass(pid, "child");
	CHECK(strcmp(got, want) == 0, "stages '%s', not '%s'", got, want);
	return test_end();
}
