/* malloc_large.c - blocks of 5 to 25 MiB, up to 20 alive at a time, one replaced after the other; a
 * byte in each 4 KiB is written.
 * After the description of malloc-large in mimalloc-bench (2000 blocks there; -n). */
#include "frame.h"

static struct hk_param params[] = {
	{"live", 20, 0, 1, 1000, "blocks alive at a time, over all threads"},
	{"min_mib", 5, 1, 1, 1024, "smallest block in MiB"},
	{"max_mib", 25, 5, 1, 1024, "largest block in MiB"},
	{0},
};

static void body(struct hk_worker *w)
{
	struct slot {
		void *p;
		size_t size;
	} slots[1000] = {{0}};
	size_t live = hk_param(w->f, "live") / (size_t)w->f->threads;
	size_t lo = hk_param(w->f, "min_mib") << 20, hi = hk_param(w->f, "max_mib") << 20;

	live = live ? live : 1;
	hi = hi > lo ? hi : lo;
	hk_ready(w);
	while (hk_part(w, 1)) {
		struct slot *s = &slots[hk_pick(&w->random, 0, live - 1)];

		if (s->p)
			hk_put(s->p, s->size);
		s->size = hk_pick(&w->random, lo, hi);
		s->p = hk_get(s->size);
		hk_touch(s->p, s->size);
		w->ops++;
	}
	for (size_t i = 0; i < live; i++)
		if (slots[i].p)
			hk_put(slots[i].p, slots[i].size);
}

static void run(struct hk_frame *f)
{
	hk_threads_run(f, f->threads, body);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "malloc_large",
		.what = "Blocks of 5 to 25 MiB, 20 of them alive.",
		.op = "a free and a malloc", .unit = "blocks a thread",
		.params = params, .threads = 1, .count = 1000, .run = run};

	return hk_frame_main(&program, argc, argv);
}
