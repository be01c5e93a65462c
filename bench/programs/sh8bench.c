/* sh8bench.c - like MicroQuill's benchmark of that name: sh6bench in several threads, where a third
 * of the blocks is freed by another thread than the one that allocated it.
 * Written from the public description alone ("just as in larson, some objects are freed by other
 * threads, and some in reverse as in sh6bench"); compares in kind, not number by number. */
#include "frame.h"
#include "bunch.h"

/* Bunches that wait for the next thread that comes by. */
enum { POCKETS = 64 };
static _Atomic(struct hk_bunch *) pockets[POCKETS];

static void body(struct hk_worker *w)
{
	struct hk_bunch *bunch = hk_table_get(sizeof(*bunch));
	size_t places = (size_t)w->f->threads < POCKETS ? (size_t)w->f->threads : POCKETS;

	hk_ready(w);
	for (uint64_t n; (n = hk_part(w, HK_BUNCH_BLOCKS)) > 0;) {
		w->ops += n;
		hk_bunch_fill(bunch, n, &w->random);
		hk_bunch_free_range(bunch, 0, n / 3, 0);
		hk_bunch_free_range(bunch, n - n / 3, n, 1);
		/* acquire sees the other's bunch, release shows ours */
		bunch = atomic_exchange_explicit(&pockets[hk_pick(&w->random, 0, places - 1)], bunch,
						 memory_order_acq_rel);
		hk_bunch_free_rest(bunch, 1);
	}
	hk_done(w);
	hk_table_drop(bunch, sizeof(*bunch));
}

static void run(struct hk_frame *f)
{
	for (int i = 0; i < POCKETS; i++)
		atomic_store(&pockets[i], hk_table_get(sizeof(struct hk_bunch)));
	hk_threads_run(f, f->threads, body);
	for (int i = 0; i < POCKETS; i++) {
		struct hk_bunch *b = atomic_load(&pockets[i]);

		hk_bunch_free_rest(b, 0);
		hk_table_drop(b, sizeof(*b));
	}
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "sh8bench",
		.what = "Runs of one size; a third of the blocks is freed by another thread.",
		.op = "a malloc and a free", .unit = "blocks a thread",
		.threads = 4, .count = 5000000, .run = run};

	return hk_frame_main(&program, argc, argv);
}
