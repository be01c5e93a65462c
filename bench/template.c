/* template.c - the frame of a new benchmark: copy it to programs/NAME.c, and it is part of the suite.
 *
 * Command line, proof of which file serves malloc, warm-up, threads, times, memory and the line of
 * JSON are in programs/frame.h; docs/benchmarking.md is the checklist for what goes in here.
 * This one, random replacement in a set of live blocks, is built and tested as "template". */
#include "programs/frame.h"

static struct hk_param params[] = {
	{"live", 1000, 0, 1, 1 << 24, "live blocks a thread"},
	{"min", 16, 0, 8, 1 << 20, "smallest block in bytes"},
	{"max", 256, 0, 8, 1 << 20, "largest block in bytes"},
	{0},
};

/* One thread. Sizes are kept beside the blocks, outside of the heap that is measured. */
static void body(struct hk_worker *w)
{
	struct slot {
		void *p;
		size_t size;
	} *slots;
	const size_t live = hk_param(w->f, "live"), lo = hk_param(w->f, "min");
	const size_t hi = hk_param(w->f, "max") > lo ? hk_param(w->f, "max") : lo;

	slots = hk_table_get(live * sizeof(*slots));
	for (size_t i = 0; i < live; i++) {
		slots[i].size = hk_pick(&w->random, lo, hi);
		slots[i].p = hk_get(slots[i].size);
	}
	hk_ready(w); /* from here on it is measured */
	for (uint64_t n; (n = hk_part(w, 1000)) > 0;) {
		w->ops += n;
		for (; n; n--) {
			struct slot *s = &slots[hk_pick(&w->random, 0, live - 1)];

			hk_put(s->p, s->size);
			s->size = hk_pick(&w->random, lo, hi);
			s->p = hk_get(s->size);
		}
	}
	hk_done(w); /* up to here */
	for (size_t i = 0; i < live; i++)
		hk_put(slots[i].p, slots[i].size);
	hk_table_drop(slots, live * sizeof(*slots));
}

static void run(struct hk_frame *f)
{
	hk_threads_run(f, f->threads, body);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "template",
		.what = "Random replacement in a set of live blocks.",
		.op = "a free and a malloc", .unit = "replacements a thread",
		.params = params, .threads = 1, .count = 5000000, .run = run};

	return hk_frame_main(&program, argc, argv);
}
