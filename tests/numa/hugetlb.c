/* hugetlb.c - memory of the kernel's pools of huge pages, node by node, that may be too small.
 *
 *   hugetlb fill MIB some|none    a thread on each node takes MIB, touches it, frees half, takes it again;
 *                                 'some': huge pages must have been used, 'none': must not
 *   hugetlb children MIB          vfork and exec, posix_spawn, fork and exec with live huge pages; then
 *                                 one fork whose child only reads; the content stays, and huge pages
 *                                 are not taken any more
 *   hugetlb drain SECONDS         without a preload, beside it: takes pages of the pools and gives them
 *                                 back, over and over
 * A SIGBUS ends the program and is a failure. HAKMEM_HUGE is set by who runs it.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 256 * 1024, BLOCKS_MOST = 4096 };

struct worker {
	int node;
	int count;
	unsigned char *blocks[BLOCKS_MOST];
	struct probe_tally tally;
};

static struct worker workers[NODES_MOST];
static int worker_count;
static struct probe_result result;

static void on_sigbus(int sig)
{
	(void)sig;
	probe_fail("SIGBUS: a huge page was promised and not there");
}

static void take(struct worker *w, int i)
{
	unsigned char *p = malloc(BLOCK);

	CHECK(p, "no block of %d", BLOCK);
	memset(p, (i + w->node) & 0xff, BLOCK);
	probe_ask(p, BLOCK, (uint64_t)1 << probe_home(w->node), &w->tally);
	w->blocks[i] = p;
}

static void content_check(const struct worker *w)
{
	int i;

	for (i = 0; i < w->count; i++) {
		unsigned char wanted = (unsigned char)(i + w->node);

		CHECK(w->blocks[i][0] == wanted && w->blocks[i][BLOCK - 1] == wanted,
		      "a block lost its content");
	}
}

static void *fill(void *arg)
{
	struct worker *w = arg;
	int i;

	probe_pin(w->node);
	for (i = 0; i < w->count; i++)
		take(w, i);
	for (i = 0; i < w->count; i += 2)
		free(w->blocks[i]);
	for (i = 0; i < w->count; i += 2)
		take(w, i);
	content_check(w);
	return NULL;
}

static void fill_all(int mib)
{
	pthread_t threads[NODES_MOST];
	int nodes[NODES_MOST], i;

	worker_count = probe_cpu_nodes(nodes);
	for (i = 0; i < worker_count; i++) {
		workers[i].node = nodes[i];
		workers[i].count = mib * (int)(MIB / BLOCK);
		CHECK(workers[i].count <= BLOCKS_MOST, "too many MiB");
		CHECK(pthread_create(&threads[i], NULL, fill, &workers[i]) == 0, "no thread");
	}
	for (i = 0; i < worker_count; i++) {
		pthread_join(threads[i], NULL);
		probe_tally_add(&result.tally, &workers[i].tally);
	}
}

static void child_wait(int pid, const char *how)
{
	int status;

	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
		      WEXITSTATUS(status) == 0,
	      "%s: the child did not end well", how);
}

static void children(void)
{
	char *args[] = {"/bin/true", NULL};
	extern char **environ;
	uint64_t before;
	int pid, i;

	pid = vfork();
	if (pid == 0) {
		execv(args[0], args);
		_exit(1);
	}
	child_wait(pid, "vfork and exec");
	CHECK(posix_spawn(&pid, args[0], NULL, NULL, args, environ) == 0, "posix_spawn");
	child_wait(pid, "posix_spawn");
	for (i = 0; i < 2; i++) {
		pid = fork();
		if (pid == 0) {
			execv(args[0], args);
			_exit(1);
		}
		child_wait(pid, "fork and exec");
	}
	pid = fork();
	if (pid == 0) {
		for (i = 0; i < worker_count; i++)
			content_check(&workers[i]);
		_exit(0);
	}
	child_wait(pid, "fork and read");
	for (i = 0; i < worker_count; i++)
		content_check(&workers[i]);
	before = PROBE_SUM(hugetlb_bytes);
	for (i = 0; i < worker_count; i++) {
		workers[i].count *= 2;
		while (workers[i].count > BLOCKS_MOST)
			workers[i].count /= 2;
	}
	fill_all(workers[0].count / (int)(MIB / BLOCK));
	CHECK(PROBE_SUM(hugetlb_bytes) <= before || result.report,
	      "huge pages were taken after a fork");
}

/* Takes what the pools have, page by page, and gives it back. */
static int drain(int seconds)
{
	time_t end = time(NULL) + seconds;
	long turns = 0;

	while (time(NULL) < end) {
		size_t size = 2 * MIB, count;
		char *pages[256];

		for (count = 0; count < COUNT_OF(pages); count++) {
			pages[count] = mmap(NULL, size, PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
			if (pages[count] == MAP_FAILED)
				break;
			/* reserved for this process, so there */
			pages[count][0] = 1;
		}
		usleep(2000);
		while (count)
			munmap(pages[--count], size);
		usleep(2000);
		turns++;
	}
	probe_say("drained %ld times", turns);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	int amount = argc > 2 ? atoi(argv[2]) : 0;
	uint64_t huge;
	char note[64];

	probe_begin("hugetlb", 120);
	CHECK(amount > 0, "usage: hugetlb fill, children or drain, and a number");
	if (!strcmp(what, "drain"))
		return drain(amount);
	signal(SIGBUS, on_sigbus);
	result.report = !probe_judges();
	fill_all(amount);
	huge = PROBE_SUM(hugetlb_bytes);
	if (!strcmp(what, "children"))
		children();
	else if (!result.report && argc > 3)
		CHECK(!strcmp(argv[3], "none") ? huge == 0 : huge > 0,
		      "%llu bytes in huge pages, %s wanted", (unsigned long long)huge, argv[3]);
	if (probe_hak.audit)
		CHECK(probe_hak.audit() == 0, "hak_audit found violations");
	snprintf(note, sizeof(note), "%llu MiB in huge pages", (unsigned long long)(huge / MIB));
	result.note = note;
	return probe_end(&result);
}
