/* oversub.c - many more threads than cores: each replaces blocks of its own set, and one block in 50
 * is traded with another thread. A thread that is preempted while it holds a lock keeps all others
 * waiting; fixed work shows what that costs. */
#include "frame.h"

static struct hk_param params[] = {
	{"set", 500, 0, 1, 1 << 20, "live blocks a thread"},
	{"max", 2048, 0, 32, 1 << 20, "largest block in bytes, a power of two"},
	{"trade", 50, 0, 1, 1 << 20, "one block in so many goes to another thread"},
	{0},
};

enum { PLACES = 1024 };
static _Atomic(void *) traded[PLACES];

static void body(struct hk_worker *w)
{
	const size_t set = hk_param(w->f, "set"), trade = hk_param(w->f, "trade");
	const size_t max = (size_t)1 << (63 - __builtin_clzll(hk_param(w->f, "max")));
	void **blocks = hk_table_get(set * sizeof(*blocks));

	for (size_t i = 0; i < set; i++)
		blocks[i] = hk_get(hk_pick_log(&w->random, 16, max));
	hk_ready(w);
	for (uint64_t n; (n = hk_part(w, 100)) > 0;) {
		w->ops += n;
		for (; n; n--) {
			void **at = &blocks[hk_pick(&w->random, 0, set - 1)];

			if (hk_pick(&w->random, 0, trade - 1) == 0) /* sees theirs, shows ours */
				*at = atomic_exchange_explicit(
					&traded[hk_pick(&w->random, 0, PLACES - 1)], *at,
					memory_order_acq_rel);
			if (*at)
				hk_put(*at, 16);
			*at = hk_get(hk_pick_log(&w->random, 16, max));
		}
	}
	hk_done(w);
	for (size_t i = 0; i < set; i++)
		hk_put(blocks[i], 16);
	hk_table_drop(blocks, set * sizeof(*blocks));
}

static void run(struct hk_frame *f)
{
	hk_threads_run(f, f->threads, body);
	for (int i = 0; i < PLACES; i++) {
		void *p = atomic_exchange(&traded[i], NULL);

		if (p)
			hk_put(p, 16);
	}
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "oversub",
		.what = "64 threads on whatever cores there are.",
		.op = "a free and a malloc", .unit = "replacements a thread",
		.params = params, .threads = 64, .count = 1000000, .run = run};

	return hk_frame_main(&program, argc, argv);
}
