/* adopt.c - threads exit with live blocks; what they leave is taken over on the same node, not across.
 *
 * For each pair of nodes (A, B), some rounds: a thread on A allocates, frees half, and dies; a thread on B
 * is born, allocates (its bytes must be B's, so it took nothing of A's) and dies; a thread on A is born,
 * frees the first one's blocks and allocates. No adoption across nodes may be counted, and far fewer
 * heaps may be made than there were threads, else nothing was adopted at all.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCKS = 96, ROUNDS = 6 };

struct life {
	int node;
	uint64_t wanted;
	void *left[BLOCKS]; /* blocks that stay; NULL elsewhere */
	void **found;       /* blocks of a dead thread to free first, or NULL */
};

static struct probe_result result;
static uint64_t seed = 2463534242;

static void free_all(void **blocks)
{
	int i;

	for (i = 0; i < BLOCKS; i++) {
		free(blocks[i]);
		blocks[i] = NULL;
	}
}

/* Threads of this program run one at a time, so the result needs no lock. */
static void *live(void *arg)
{
	struct life *life = arg;
	int i;

	probe_pin(life->node);
	if (life->found)
		free_all(life->found);
	for (i = 0; i < BLOCKS; i++) {
		size_t size = probe_rand_size(&seed, 16, 32 * KIB);
		void *p = malloc(size);
		int said;

		CHECK(p, "no block of %zu", size);
		probe_touch(p, size);
		probe_ask(p, size, life->wanted, &result.tally);
		said = probe_hak.node_of ? probe_hak.node_of(p) : -1;
		if (said >= 0 && !(life->wanted >> said & 1))
			result.wrong_node_of++;
		life->left[i] = p;
	}
	for (i = 0; i < BLOCKS; i += 2) {
		free(life->left[i]);
		life->left[i] = NULL;
	}
	return NULL;
}

static void run(struct life *life, int node, void **found)
{
	pthread_t thread;

	life->node = node;
	life->wanted = (uint64_t)1 << probe_home(node);
	life->found = found;
	CHECK(pthread_create(&thread, NULL, live, life) == 0, "no thread");
	pthread_join(thread, NULL);
}

static int rounds(int a, int b)
{
	static struct life first, other, next;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		run(&first, a, NULL);
		run(&other, b, NULL);
		run(&next, a, first.left);
		free_all(other.left);
		free_all(next.left);
	}
	return 3 * ROUNDS;
}

static void heaps_check(int threads)
{
	int (*stats_get)(struct hak_stats *);
	struct hak_stats stats = {.size_bytes = sizeof(stats)};

	*(void **)&stats_get = dlsym(RTLD_DEFAULT, "hak_stats_get");
	CHECK(stats_get && stats_get(&stats) == 0, "no hak_stats_get");
	CHECK(stats.heaps <= (uint64_t)threads / 2,
	      "%llu heaps for %d threads: nothing was adopted", (unsigned long long)stats.heaps,
	      threads);
	CHECK(PROBE_SUM(remote_adoptions) == 0, "%llu heaps were adopted across nodes",
	      (unsigned long long)PROBE_SUM(remote_adoptions));
}

int main(void)
{
	int nodes[NODES_MOST], count, a, b, threads = 0;
	char note[64];

	probe_begin("adopt", 120);
	result.report = !probe_judges();
	count = probe_cpu_nodes(nodes);
	for (a = 0; a < count; a++)
		for (b = 0; b < count; b++)
			if (a != b || count == 1)
				threads += rounds(nodes[a], nodes[b]);
	if (!result.report)
		heaps_check(threads);
	snprintf(note, sizeof(note), "%d threads", threads);
	result.note = note;
	return probe_end(&result);
}
