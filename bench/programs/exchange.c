/* exchange.c - threads that put their blocks on a common board and free what they find there: with
 * T threads all but one in T of the frees are another thread's block. */
#include "frame.h"

static struct hk_param params[] = {
	{"places", 4096, 0, 1, 1 << 20, "places of the board"},
	{"min", 16, 0, 16, 1 << 20, "smallest block in bytes"},
	{"max", 512, 0, 16, 1 << 20, "largest block in bytes"},
	{0},
};

static _Atomic(void *) *board;

static void body(struct hk_worker *w)
{
	const size_t places = hk_param(w->f, "places"), lo = hk_param(w->f, "min");
	const size_t hi = hk_param(w->f, "max") > lo ? hk_param(w->f, "max") : lo;

	hk_ready(w);
	for (uint64_t n; (n = hk_part(w, 100)) > 0;) {
		w->ops += n;
		for (; n; n--) {
			/* acquire sees the other's word, release shows ours */
			void *p = atomic_exchange_explicit(
				&board[hk_pick(&w->random, 0, places - 1)],
				hk_get(hk_pick(&w->random, lo, hi)), memory_order_acq_rel);

			if (p)
				hk_put(p, 16);
		}
	}
}

static void run(struct hk_frame *f)
{
	size_t places = hk_param(f, "places");

	board = hk_table_get(places * sizeof(*board));
	hk_threads_run(f, f->threads, body);
	for (size_t i = 0; i < places; i++)
		if (board[i])
			hk_put(board[i], 16);
	hk_table_drop((void *)board, places * sizeof(*board));
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "exchange",
		.what = "Threads free each other's blocks from a common board.",
		.op = "a malloc and a free", .unit = "blocks a thread",
		.params = params, .threads = 2, .count = 25000000, .run = run};

	return hk_frame_main(&program, argc, argv);
}
