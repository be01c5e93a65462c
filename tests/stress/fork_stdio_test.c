/* fork_stdio_test.c - getline, fflush and fork in 8 threads for some seconds: an allocator that
 * holds a lock across fork deadlocks with stdio's locks here. Only that it ends is checked, and
 * that each child and each line read is right.
 * time limit: 90 s, quick 60 s
 */
#define _GNU_SOURCE
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, LINES = 200 };

static FILE *shared_file;
static long long end_ms;
static atomic_int forks, lines_read, flushes;

static FILE *file_of_lines(void)
{
	FILE *f = tmpfile();
	int i;

	CHECK(f, "tmpfile: %s", strerror(errno));
	for (i = 0; i < LINES; i++)
		fprintf(f, "line %d %*s\n", i, i * 7 % 3000 + 1, "x");
	rewind(f);
	return f;
}

/* A fresh buffer for each line, so that each getline allocates and grows. */
static void read_lines(FILE *f)
{
	int i;

	rewind(f);
	for (i = 0; i < LINES; i++) {
		char *line = NULL;
		size_t room = 0;
		ssize_t n = getline(&line, &room, f);

		if (f == shared_file && n < 0) {
			rewind(f);
		} else {
			CHECK(n > 5 && strncmp(line, "line ", 5) == 0, "line %d is broken", i);
			atomic_fetch_add(&lines_read, 1);
		}
		free(line);
	}
}

static void fork_one(FILE *own)
{
	pid_t pid = fork();

	if (pid == 0) {
		char *line = NULL;
		size_t room = 0;
		int i;

		test_watchdog(20);
		for (i = 0; i < 200; i++)
			free(malloc(test_hide_size((size_t)i * 50)));
		fflush(own);
		if (getline(&line, &room, own) < -1)
			_exit(2);
		free(line);
		_exit(0);
	}
	child_must_pass(pid, "fork");
	atomic_fetch_add(&forks, 1);
}

static void *worker(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	FILE *own = file_of_lines();

	while (now_ms() < end_ms) {
		if (me % 4 == 3) {
			fflush(NULL);
			atomic_fetch_add(&flushes, 1);
		}
		if (me % 4 == 2)
			fork_one(own);
		else
			read_lines(me % 4 == 0 ? shared_file : own);
		if (me % 2)
			fork_one(own);
	}
	fclose(own);
	return NULL;
}

int main(void)
{
	pthread_t t[THREADS];
	uintptr_t i;

	test_begin();
	test_watchdog(55);
	shared_file = file_of_lines();
	end_ms = now_ms() + (test_quick() ? 4000 : 20000);
	for (i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, worker, (void *)i) == 0, "no thread");
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	fclose(shared_file);
	printf("%d forks, %d lines, %d flushes\n", forks, lines_read, flushes);
	CHECK(forks > 0 && lines_read > 0 && flushes > 0, "a part never ran");
	return test_end();
}
