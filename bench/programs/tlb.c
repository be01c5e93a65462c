/* tlb.c - a heap of 1 GiB (-p mib=4096, 8192) in blocks of 1 KiB, walked in random order: each block
 * holds the address of the next. With 4 KiB pages nearly every step misses the TLB; huge_share is
 * the part of resident memory that lies in huge pages. ns_per_access is the figure. Ends with status
 * 77 where the memory is not there. */
#include "frame.h"

static struct hk_param params[] = {
	{"mib", 1024, 64, 1, 1 << 20, "bytes of the heap in MiB"},
	{"size", 1024, 0, 16, 1 << 20, "bytes of a block"},
	{0},
};

/* A block: its word, and where to go from there. */
struct node {
	uint64_t word;
	struct node *next;
};

static struct node **nodes;
static size_t node_count;
static void *volatile sink;

/* Shuffled, then linked in a ring: one cycle through all blocks. */
static void heap_build(struct hk_frame *f)
{
	size_t size = hk_param(f, "size");
	uint64_t random = 31337;

	for (size_t i = 0; i < node_count; i++) {
		nodes[i] = hk_get(size);
		hk_touch(nodes[i], size);
	}
	for (size_t i = node_count - 1; i > 0; i--) {
		size_t j = hk_random(&random) % (i + 1);
		struct node *other = nodes[j];

		nodes[j] = nodes[i];
		nodes[i] = other;
	}
	for (size_t i = 0; i < node_count; i++)
		nodes[i]->next = nodes[(i + 1) % node_count];
}

static struct node *walk(struct node *at, uint64_t steps)
{
	for (; steps; steps--)
		at = at->next;
	return at;
}

static void body(struct hk_worker *w)
{
	struct node *at = nodes[node_count / (size_t)w->f->threads * (size_t)w->index];

	at = walk(at, w->f->count / 20);
	hk_ready(w);
	for (uint64_t n; (n = hk_part(w, 10000)) > 0; at = walk(at, n))
		w->ops += n;
	hk_done(w);
	sink = at;
}

static void run(struct hk_frame *f)
{
	size_t bytes = hk_param(f, "mib") << 20;
	long available = hk_proc_number("/proc/meminfo", "MemAvailable:");

	node_count = bytes / hk_param(f, "size");
	if (available >= 0 && (size_t)available < (bytes >> 10) / 4 * 5)
		hk_skip("less memory is available than the heap and a quarter");
	nodes = hk_table_get(node_count * sizeof(*nodes));
	heap_build(f);
	hk_threads_run(f, f->threads, body);
	double rss = (double)hk_proc_number("/proc/self/smaps_rollup", "Rss:");
	double thp = (double)hk_proc_number("/proc/self/smaps_rollup", "AnonHugePages:");
	double hugetlb = (double)hk_proc_number("/proc/self/smaps_rollup", "Private_Hugetlb:");

	hk_field(f, "ns_per_access", "%.3f", f->wall_s * 1e9 * f->threads / f->ops);
	hk_field(f, "huge_share", "%.4f", (thp + hugetlb) / (rss + hugetlb));
	hk_field(f, "thp_kib", "%.0f", thp);
	hk_field(f, "hugetlb_kib", "%.0f", hugetlb);
	hk_field(f, "loaded_rss_kib", "%.0f", rss + hugetlb);
	for (size_t i = 0; i < node_count; i++)
		hk_put(nodes[i], sizeof(struct node));
	hk_table_drop(nodes, node_count * sizeof(*nodes));
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "tlb",
		.what = "Random reads over a large heap; its share of huge pages.",
		.op = "a read", .unit = "reads a thread",
		.params = params, .threads = 1, .count = 5000000, .no_warm = 1, .run = run};

	return hk_frame_main(&program, argc, argv);
}
