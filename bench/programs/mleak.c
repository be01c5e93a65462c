/* mleak.c - threads come, allocate, keep one small block alive, and end, again and again. An
 * allocator that loses what dead threads had grows.
 * After the description of mleak in mimalloc-bench: "mleak 5" is -n 5, "mleak 50" is -n 50; each
 * loop is THREADS threads. kib_per_thread is what a thread leaves, its kept blocks included. */
#include "frame.h"

static struct hk_param params[] = {
	{"blocks", 1000, 0, 1, 1000, "blocks that a thread allocates and frees"},
	{"kept", 24, 0, 8, 1 << 20, "bytes of the block that outlives the thread"},
	{0},
};

static struct {
	void **blocks;         /* one a thread */
	size_t used;           /* of the threads that ended */
} kept;

static void body(struct hk_worker *w)
{
	const size_t count = hk_param(w->f, "blocks");
	char *blocks[1000];
	size_t sizes[1000];

	hk_ready(w);
	for (size_t i = 0; i < count; i++) {
		sizes[i] = hk_pick_log(&w->random, 8, 4096);
		blocks[i] = hk_get(sizes[i]);
	}
	kept.blocks[kept.used + (size_t)w->index] = hk_get(hk_param(w->f, "kept"));
	for (size_t i = 0; i < count; i++)
		hk_put(blocks[i], sizes[i]);
	w->ops = count + 1;
}

static void run(struct hk_frame *f)
{
	size_t most = f->count * (size_t)f->threads;
	long early = 0;

	kept.blocks = hk_table_get(most * sizeof(*kept.blocks));
	kept.used = 0;
	hk_clock_start(f);
	uint64_t first = f->count / 10 + 1;
	for (uint64_t loop = 1; loop <= f->count; loop++) {
		hk_threads_run(f, f->threads, body);
		kept.used += (size_t)f->threads;
		if (loop == first)
			early = hk_resident_kib();
	}
	f->wall_s = f->cpu_s = 0; /* starting and ending the threads counts too */
	hk_clock_stop(f);
	size_t later = (f->count - first) * (size_t)f->threads;

	hk_field(f, "kib_per_thread", "%.3f",
		 later ? (double)(hk_resident_kib() - early) / (double)later : 0);
	for (size_t i = 0; i < kept.used; i++)
		hk_put(kept.blocks[i], hk_param(f, "kept"));
	hk_table_drop(kept.blocks, most * sizeof(*kept.blocks));
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "mleak",
		.what = "Threads that leave one small block behind.",
		.op = "a malloc and a free", .unit = "loops of THREADS threads",
		.params = params, .threads = 10, .count = 500, .only_count = 1, .run = run};

	return hk_frame_main(&program, argc, argv);
}
