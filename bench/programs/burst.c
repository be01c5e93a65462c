/* burst.c - a thread allocates many blocks at once, then frees them all, in an order that is not that
 * of the mallocs; again and again. No cache of a thread holds so many: refill, carving and giving
 * back are what counts here. */
#include "frame.h"

static struct hk_param params[] = {
	{"blocks", 200000, 20000, 7, 1 << 26, "blocks of a burst"},
	{"min", 16, 0, 8, 1 << 20, "smallest block in bytes"},
	{"max", 512, 0, 8, 1 << 20, "largest block in bytes"},
	{0},
};

static void body(struct hk_worker *w)
{
	const size_t count = hk_param(w->f, "blocks"), lo = hk_param(w->f, "min");
	const size_t hi = hk_param(w->f, "max") > lo ? hk_param(w->f, "max") : lo;
	char **blocks = hk_table_get(count * sizeof(*blocks));

	hk_ready(w);
	while (hk_part(w, 1)) {
		for (size_t i = 0; i < count; i++)
			blocks[i] = hk_get(hk_pick(&w->random, lo, hi));
		for (size_t first = 0; first < 7; first++)
			for (size_t i = first; i < count; i += 7)
				hk_put(blocks[i], lo);
		w->ops += count;
	}
	hk_done(w);
	hk_table_drop(blocks, count * sizeof(*blocks));
}

static void run(struct hk_frame *f)
{
	hk_threads_run(f, f->threads, body);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "burst",
		.what = "Many blocks at once, then none.",
		.op = "a malloc and a free", .unit = "bursts a thread",
		.params = params, .threads = 1, .count = 40, .run = run};

	return hk_frame_main(&program, argc, argv);
}
