/* numa_touch.c - memory from the side of each node: for each pair (home, toucher) of nodes with processors, a thread
 * on `home` allocates blocks and writes to them, then a thread on `toucher` reads all of them in order (bandwidth) and
 * along a random chain (latency); and the share of the pages that the kernel says are on `home` (on the nearest node
 * with memory where `home` has none). Matrices go to standard error. Only a machine with several nodes shows distances; elsewhere it is one cell. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "frame.h"

enum { NODES_MAX = 64, LINE = 64, PAGE = 4096, ASK = 256 };

static struct hk_param params[] = {
	{"mib", 256, 16, 1, 1 << 20, "MiB a node"},
	{"block", 65536, 0, 64, 1 << 30, "bytes a block"},
	{"steps", 4000000, 200000, 1, 1u << 31, "steps along the chain"},
	{0},
};

struct node {
	int os;
	int home; /* where its threads' memory is: itself, or the nearest node with memory */
	cpu_set_t cpus;
};

struct cell {
	double gib_s, ns, at_home; /* at_home: share of the pages, 0 .. 1; -1 the kernel does not answer */
};

struct work {
	struct hk_frame *f;
	const struct node *on;
	char **blocks;
	size_t count, bytes;
	int home;
	struct cell *cell;
};

static struct node nodes[NODES_MAX];
static int node_count;

/* The processors of a node as the kernel lists them: 0-3,8. */
static int read_cpus(int os, cpu_set_t *set)
{
	char path[80], text[4096], *s = text;
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", os);
	FILE *file = fopen(path, "r");
	if (!file)
		return 0;
	if (!fgets(text, sizeof(text), file))
		text[0] = 0;
	fclose(file);
	CPU_ZERO(set);
	while (*s >= '0' && *s <= '9') {
		long first = strtol(s, &s, 10), last = first;
		if (*s == '-')
			last = strtol(s + 1, &s, 10);
		for (; first <= last; first++)
			CPU_SET((int)first, set);
		s += *s == ',';
	}
	return 1;
}

/* 1 if the kernel counts memory on the node, or does not say. */
static int has_memory(int os)
{
	char path[80];
	unsigned long long kib = 1;
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/meminfo", os);
	FILE *file = fopen(path, "r");
	if (!file)
		return 1;
	if (fscanf(file, " Node %*d MemTotal: %llu", &kib) != 1)
		kib = 1;
	fclose(file);
	return kib != 0;
}

/* The nearest node with memory; a row of distances is in the order of the online nodes. */
static int home_of(int os)
{
	char path[80];
	int best = os, best_distance = 256, distance;
	if (has_memory(os))
		return os;
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/distance", os);
	FILE *file = fopen(path, "r");
	for (int other = 0; file && other < 1024; other++) {
		snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", other);
		if (access(path, F_OK))
			continue;
		if (fscanf(file, "%d", &distance) != 1)
			break;
		if (distance < best_distance && has_memory(other)) {
			best = other;
			best_distance = distance;
		}
	}
	if (file)
		fclose(file);
	return best;
}

/* Nodes with a processor that this process may run on. */
static void find_nodes(void)
{
	cpu_set_t may;
	sched_getaffinity(0, sizeof(may), &may);
	for (int os = 0; os < 1024 && node_count < NODES_MAX; os++) {
		struct node *n = &nodes[node_count];
		if (!read_cpus(os, &n->cpus))
			continue;
		CPU_AND(&n->cpus, &n->cpus, &may);
		n->os = os;
		n->home = home_of(os);
		node_count += CPU_COUNT(&n->cpus) != 0;
	}
	if (!node_count) { /* no sysfs: one node, number 0 */
		nodes[0].cpus = may;
		node_count = 1;
	}
}

static void on_node(const struct node *n, void *(*body)(void *), struct work *w)
{
	pthread_attr_t attr;
	pthread_t id;
	w->on = n;
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(n->cpus), &n->cpus);
	if (pthread_create(&id, &attr, body, w))
		hk_skip("no thread on one of the nodes");
	pthread_join(id, NULL);
	pthread_attr_destroy(&attr);
}

static void *allocate(void *arg)
{
	struct work *w = arg;
	for (size_t i = 0; i < w->count; i++) {
		w->blocks[i] = hk_get(w->bytes);
		memset(w->blocks[i] + 8, 1, w->bytes - 8);
	}
	return NULL;
}

static void *give(void *arg)
{
	struct work *w = arg;
	for (size_t i = 0; i < w->count; i++)
		hk_put(w->blocks[i], w->bytes);
	return NULL;
}

static double share_at_home(const struct work *w)
{
	size_t home = 0, all = 0;
	for (size_t i = 0; i < w->count; i += ASK) {
		void *page[ASK];
		int node[ASK];
		size_t n = w->count - i < ASK ? w->count - i : ASK;
		for (size_t k = 0; k < n; k++) {
			page[k] = (void *)((uintptr_t)(w->blocks[i + k] + w->bytes / 2) & ~(uintptr_t)(PAGE - 1));
			node[k] = -1;
		}
		if (syscall(SYS_move_pages, 0, n, page, NULL, node, 0))
			return -1;
		for (size_t k = 0; k < n; k++) {
			all += node[k] >= 0;
			home += node[k] == w->home;
		}
	}
	return all ? (double)home / (double)all : -1;
}

static double seconds_since(uint64_t start)
{
	return (double)(hk_now_ns() - start) * 1e-9;
}

static void *touch(void *arg)
{
	struct work *w = arg;
	uint64_t sum = 0, start = hk_now_ns(), random = 0x9e3779b97f4a7c15;
	for (size_t i = 0; i < w->count; i++)
		for (size_t at = 0; at + 8 <= w->bytes; at += LINE)
			sum += *(volatile uint64_t *)(w->blocks[i] + at);
	double read_s = seconds_since(start);
	size_t steps = hk_param(w->f, "steps"), block = sum % w->count;
	start = hk_now_ns();
	for (size_t i = 0; i < steps; i++) { /* the next place depends on what was read: one access after another */
		uint64_t got = *(volatile uint64_t *)(w->blocks[block] + (hk_random(&random) % (w->bytes / LINE)) * LINE);
		block = (size_t)((hk_random(&random) ^ (got & 1)) % w->count);
	}
	w->cell->ns = seconds_since(start) * 1e9 / (double)steps;
	w->cell->gib_s = (double)w->count * (double)w->bytes / read_s / (1 << 30);
	return NULL;
}

static void print(const char *what, struct cell (*cells)[NODES_MAX], size_t offset)
{
	fprintf(stderr, "%s\n%8s", what, "");
	for (int to = 0; to < node_count; to++)
		fprintf(stderr, " by %-6d", nodes[to].os);
	for (int home = 0; home < node_count; home++) {
		fprintf(stderr, "\n  on %-3d", nodes[home].os);
		for (int to = 0; to < node_count; to++)
			fprintf(stderr, " %9.2f", *(double *)((char *)&cells[home][to] + offset));
	}
	fprintf(stderr, "\n");
}

static void run(struct hk_frame *f)
{
	static struct cell cells[NODES_MAX][NODES_MAX];
	size_t bytes = hk_param(f, "block"), count = ((size_t)hk_param(f, "mib") << 20) / bytes;
	char **blocks = hk_table_get((count ? count : 1) * sizeof(*blocks));
	double least = 1;
	hk_clock_start(f);
	for (int home = 0; home < node_count; home++) {
		struct work w = {.f = f, .blocks = blocks, .count = count ? count : 1, .bytes = bytes, .home = nodes[home].home};
		on_node(&nodes[home], allocate, &w);
		double share = share_at_home(&w);
		least = share < least ? share : least;
		for (int to = 0; to < node_count; to++) {
			w.cell = &cells[home][to];
			on_node(&nodes[to], touch, &w);
			cells[home][to].at_home = share;
			f->ops += (double)w.count;
		}
		on_node(&nodes[(home + 1) % node_count], give, &w); /* freed by a neighbour */
	}
	hk_clock_stop(f);
	hk_table_drop(blocks, (count ? count : 1) * sizeof(*blocks));
	hk_field(f, "nodes", "%d", node_count);
	hk_field(f, "least_share_at_home", "%.4f", least);
	if (f->warming)
		return;
	print("read in order, GiB/s", cells, offsetof(struct cell, gib_s));
	print("read at random, ns", cells, offsetof(struct cell, ns));
	print("share of the pages on the node of the thread that allocated, or where that has no memory on the nearest one (-1: not known)", cells,
	      offsetof(struct cell, at_home));
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "numa_touch",
		.what = "Each node's memory, allocated there, read from every node.",
		.op = "a block read", .unit = "rounds (always 1)", .params = params, .threads = 1,
		.count = 1, .only_count = 1, .no_warm = 1, .run = run};

	find_nodes();
	return hk_frame_main(&program, argc, argv);
}
