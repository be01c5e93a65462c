/* calloc_mix.c - zeroed blocks of 16 bytes to 64 KiB in a set that is replaced at random. Each block
 * is filled with ones before it is freed, and looked at in five places when it is new: memory that
 * was not zeroed fails the run. The filling costs the same with every allocator. */
#include "frame.h"

#include <string.h>

static struct hk_param params[] = {
	{"set", 500, 0, 1, 1 << 20, "live blocks a thread"},
	{"min", 16, 0, 16, 1 << 24, "smallest block in bytes, a power of two"},
	{"max", 65536, 0, 32, 1 << 28, "largest block in bytes, a power of two"},
	{0},
};

struct slot {
	unsigned char *p;
	size_t size;
};

static void slot_fill(struct slot *s, size_t size)
{
	s->size = size;
	s->p = calloc(1, size);
	if (!s->p)
		hk_no_memory(size);
	for (size_t k = 0; k <= 4; k++)
		if (s->p[(size - 1) * k / 4])
			hk_lost(s->p);
	hk_mark(s->p, size);
}

static void slot_empty(struct slot *s)
{
	hk_unmark(s->p, s->size);
	memset(s->p, 0xff, s->size);
	free(s->p);
}

static void body(struct hk_worker *w)
{
	const size_t set = hk_param(w->f, "set");
	const size_t lo = (size_t)1 << (63 - __builtin_clzll(hk_param(w->f, "min")));
	const size_t top = (size_t)1 << (63 - __builtin_clzll(hk_param(w->f, "max")));
	const size_t hi = top > lo ? top : 2 * lo;
	struct slot *slots = hk_table_get(set * sizeof(*slots));

	for (size_t i = 0; i < set; i++)
		slot_fill(&slots[i], hk_pick_log(&w->random, lo, hi));
	hk_ready(w);
	for (uint64_t n; (n = hk_part(w, 100)) > 0;) {
		w->ops += n;
		for (; n; n--) {
			struct slot *s = &slots[hk_pick(&w->random, 0, set - 1)];

			slot_empty(s);
			slot_fill(s, hk_pick_log(&w->random, lo, hi));
		}
	}
	hk_done(w);
	for (size_t i = 0; i < set; i++)
		slot_empty(&slots[i]);
	hk_table_drop(slots, set * sizeof(*slots));
}

static void run(struct hk_frame *f)
{
	hk_threads_run(f, f->threads, body);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "calloc_mix",
		.what = "Zeroed blocks of 16 bytes to 64 KiB, replaced at random.",
		.op = "a free and a calloc", .unit = "replacements a thread",
		.params = params, .threads = 1, .count = 1000000, .run = run};

	return hk_frame_main(&program, argc, argv);
}
