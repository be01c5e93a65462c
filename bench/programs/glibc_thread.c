/* glibc_thread.c - like glibc's bench-malloc-thread: each thread replaces random blocks of a set;
 * sizes of 4 bytes to 32 KiB, their likelihood falling with the size, so that a few are large.
 * An operation is one replacement, as an iteration is there; fixed work in place of time. */
#include "frame.h"

static struct hk_param params[] = {
	{"set", 1024, 0, 1, 1 << 24, "live blocks a thread"},
	{"max", 32768, 0, 64, 1 << 24, "largest block in bytes, rounded down to a power of two"},
	{0},
};

enum { SIZES = 8192 };

/* Likelihood falls as 1 / size: each doubling from 4 bytes on is as likely as the next. */
static uint32_t *sizes_make(uint64_t *random, size_t max)
{
	uint32_t *sizes = hk_table_get(SIZES * sizeof(*sizes));
	size_t top = (size_t)1 << (63 - __builtin_clzll(max));

	for (int i = 0; i < SIZES; i++) {
		/* two picks: the square falls faster, as 1 / size^2 does over a short range */
		size_t a = hk_pick_log(random, 4, top), b = hk_pick_log(random, 4, top);

		sizes[i] = (uint32_t)(a < b ? a : b);
	}
	return sizes;
}

static void body(struct hk_worker *w)
{
	struct slot {
		void *p;
		size_t size;
	} *slots;
	const size_t set = hk_param(w->f, "set");
	uint32_t *sizes = sizes_make(&w->random, hk_param(w->f, "max"));
	size_t turn = 0;

	slots = hk_table_get(set * sizeof(*slots));
	for (size_t i = 0; i < set; i++) {
		slots[i].size = sizes[turn++ % SIZES];
		slots[i].p = hk_get(slots[i].size);
	}
	hk_ready(w);
	for (uint64_t n; (n = hk_part(w, 1000)) > 0;) {
		w->ops += n;
		for (; n; n--) {
			struct slot *s = &slots[hk_pick(&w->random, 0, set - 1)];

			hk_put(s->p, s->size);
			s->size = sizes[turn++ % SIZES];
			s->p = hk_get(s->size);
		}
	}
	hk_done(w);
	for (size_t i = 0; i < set; i++)
		hk_put(slots[i].p, slots[i].size);
	hk_table_drop(slots, set * sizeof(*slots));
	hk_table_drop(sizes, SIZES * sizeof(*sizes));
}

static void run(struct hk_frame *f)
{
	hk_threads_run(f, f->threads, body);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "glibc_thread",
		.what = "Random replacement in a set a thread; 4 bytes to 32 KiB.",
		.op = "a free and a malloc", .unit = "replacements a thread",
		.params = params, .threads = 2, .count = 20000000, .run = run};

	return hk_frame_main(&program, argc, argv);
}
