/* migrate.c - a thread that has blocks on one node is moved to another by sched_setaffinity, and then
 * gets memory of the new one.
 *
 * It may use up what it held, so batches of the same sizes are allocated until one is all on the new
 * node; from there on every one must be. What it does not do: say how soon (the library looks at the
 * thread's node in slow paths, every 10 ms or so), beyond a bound on the bytes.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH = 128, BATCHES_MOST = 160, BATCHES_AFTER = 24 };

static void nap(long ms)
{
	struct timespec t = {0, ms * 1000000};

	nanosleep(&t, NULL);
}

/* Blocks of the same sizes each time; they stay. */
static void batch(int node, struct probe_tally *tally, struct probe_result *result)
{
	static const size_t sizes[] = {48, 256, 1000, 2048, 4000, 8192, 20000, 40000};
	int i;

	for (i = 0; i < BATCH; i++) {
		size_t size = sizes[i % COUNT_OF(sizes)];
		void *p = malloc(size);

		CHECK(p, "no block of %zu", size);
		probe_touch(p, size);
		probe_ask(p, size, (uint64_t)1 << node, tally);
		if (result && probe_hak.node_of && probe_hak.node_of(p) != node)
			result->wrong_node_of++;
	}
}

/* Batches until one is all on NODE; returns how many it took. */
static int settle(int node)
{
	int i;

	for (i = 1; i <= BATCHES_MOST; i++) {
		struct probe_tally tally = {0};

		nap(12);
		batch(node, &tally, NULL);
		if (tally.off == 0)
			return i;
	}
	return 0;
}

int main(void)
{
	struct probe_result result = {0};
	int nodes[NODES_MOST], count, from, to, taken, i;
	char note[96];

	probe_begin("migrate", 120);
	result.report = !probe_judges();
	count = probe_cpu_nodes(nodes);
	from = nodes[0];
	to = probe_home(nodes[count - 1]);
	if (from == to)
		probe_skip("one node with CPUs and memory: nowhere to go");
	probe_pin(from);
	batch(from, &result.tally, &result);
	probe_pin(nodes[count - 1]);
	taken = settle(to);
	CHECK(taken || result.report,
	      "moved from node %d to %d, and none of %d batches was all there", from, to,
	      BATCHES_MOST);
	for (i = 0; i < BATCHES_AFTER; i++)
		batch(to, &result.tally, &result);
	if (!result.report) {
		CHECK(probe_hak.thread_node() == to, "hak_thread_node is %d, not %d",
		      probe_hak.thread_node(), to);
		CHECK(PROBE_SUM(migrations) > 0, "no migration was counted");
	}
	snprintf(note, sizeof(note), "all on the new node from batch %d on", taken);
	result.note = note;
	return probe_end(&result);
}
