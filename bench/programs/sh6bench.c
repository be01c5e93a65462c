/* sh6bench.c - like MicroQuill's benchmark of that name: blocks of 1 to 1000 bytes, small ones more
 * often, in runs of one size; of each bunch one part is freed in the order of allocation, one in
 * reverse, and one lives until the next bunch.
 * Written from the public description alone ("some objects are freed in the usual last-allocated,
 * first-freed order, others in reverse order"); figures compare in kind, not number by number. */
#include "frame.h"
#include "bunch.h"

static void body(struct hk_worker *w)
{
	struct hk_bunch *bunch = hk_table_get(sizeof(*bunch)), *older = hk_table_get(sizeof(*older));

	hk_ready(w);
	for (uint64_t n; (n = hk_part(w, HK_BUNCH_BLOCKS)) > 0;) {
		struct hk_bunch *next = older;

		w->ops += n;
		hk_bunch_fill(bunch, n, &w->random);
		hk_bunch_free_range(bunch, 0, n / 3, 0);
		hk_bunch_free_range(bunch, n - n / 3, n, 1);
		hk_bunch_free_rest(older, 1);
		older = bunch;
		bunch = next;
	}
	hk_bunch_free_rest(older, 0);
	hk_done(w);
	hk_table_drop(bunch, sizeof(*bunch));
	hk_table_drop(older, sizeof(*older));
}

static void run(struct hk_frame *f)
{
	hk_threads_run(f, f->threads, body);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "sh6bench",
		.what = "Runs of one size, freed in order and in reverse.",
		.op = "a malloc and a free", .unit = "blocks a thread",
		.threads = 4, .count = 5000000, .run = run};

	return hk_frame_main(&program, argc, argv);
}
