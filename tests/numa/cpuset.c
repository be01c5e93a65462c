/* cpuset.c - nodes vanish from the process's cpuset while it runs, and come back.
 *
 *   cpuset GROUP    a cgroup (version 2) that this process is in, with cpuset.mems to write
 *
 * Threads on every node allocate before, during and after. While one node alone is allowed, new bytes
 * are there; nothing fails, nothing is lost. As root, in the lab.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 256 };

struct worker {
	int node;
	uint64_t wanted;
	uint64_t rnd;
	void *kept[BLOCKS];
	size_t sizes[BLOCKS];
	struct probe_tally tally;
};

static struct worker workers[NODES_MOST];
static const char *group;
static int worker_count;

static void mems_write(const char *list)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/cpuset.mems", group);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	CHECK(fd >= 0 && write(fd, list, strlen(list)) == (ssize_t)strlen(list), "%s: %s", path,
	      strerror(errno));
	close(fd);
	probe_nodes_read();
}

static void *phase(void *arg)
{
	struct worker *w = arg;
	int i;

	probe_pin(w->node);
	for (i = 0; i < BLOCKS; i++) {
		size_t size = probe_rand_size(&w->rnd, 16, 64 * KIB);
		char *p = malloc(size);

		CHECK(p, "no block of %zu", size);
		memset(p, i, size);
		probe_ask(p, size, w->wanted, &w->tally);
		/* half of what an earlier phase left goes, the content as it was */
		if (w->kept[i] && i % 2) {
			char *old = w->kept[i];

			CHECK(old[0] == (char)i && old[w->sizes[i] - 1] == (char)i,
			      "a block lost its content");
			free(old);
		}
		w->kept[i] = p;
		w->sizes[i] = size;
	}
	return NULL;
}

/* MASK: where new bytes must be; 0: each thread's own node. */
static struct probe_tally run(uint64_t mask)
{
	struct probe_tally all = {0};
	pthread_t threads[NODES_MOST];
	int i;

	for (i = 0; i < worker_count; i++) {
		workers[i].wanted = mask ? mask : (uint64_t)1 << probe_home(workers[i].node);
		memset(&workers[i].tally, 0, sizeof(workers[i].tally));
		CHECK(pthread_create(&threads[i], NULL, phase, &workers[i]) == 0, "no thread");
	}
	for (i = 0; i < worker_count; i++) {
		pthread_join(threads[i], NULL);
		probe_tally_add(&all, &workers[i].tally);
	}
	return all;
}

int main(int argc, char **argv)
{
	struct probe_result result = {0};
	struct probe_tally tally;
	int nodes[NODES_MOST], i;
	char all[16], one[16];

	probe_begin("cpuset", 120);
	CHECK(argc == 2, "usage: cpuset GROUP");
	group = argv[1];
	result.report = !probe_judges();
	worker_count = probe_cpu_nodes(nodes);
	CHECK(worker_count > 1, "one node: none can vanish");
	for (i = 0; i < worker_count; i++) {
		workers[i].node = nodes[i];
		workers[i].rnd = 362436069 + (uint64_t)i;
	}
	snprintf(all, sizeof(all), "%d-%d", nodes[0], nodes[worker_count - 1]);
	snprintf(one, sizeof(one), "%d", nodes[0]);
	mems_write(all);
	tally = run(0);
	probe_tally_add(&result.tally, &tally);
	mems_write(one);
	tally = run((uint64_t)1 << nodes[0]);
	probe_tally_add(&result.tally, &tally);
	mems_write(all);
	/* the kernel moved what was there to the one node and does not move it back: any node is right */
	tally = run(~(uint64_t)0);
	probe_tally_add(&result.tally, &tally);
	if (probe_hak.audit)
		CHECK(probe_hak.audit() == 0, "hak_audit found violations");
	/* for the same reason the library's own audit may find bytes off node here */
	result.no_audit = true;
	return probe_end(&result);
}
