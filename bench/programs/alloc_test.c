/* alloc_test.c - a program's heap as OLogN's alloc-test sees it: a table of places, hot ones much
 * more often than cold ones; a place that is taken is read and freed, an empty one is filled. Sizes
 * of 8 bytes to 1 KiB, twice as large half as likely.
 * After the description at ithare.com (2018); 20 million in place of 100 million steps a thread. */
#include "frame.h"

#include <string.h>

static struct hk_param params[] = {
	{"places", 1 << 20, 0, 64, 1 << 28, "places over all threads"},
	{"max", 1024, 0, 16, 1 << 20, "largest block in bytes, rounded down to a power of two"},
	{0},
};

struct place {
	char *p;
	uint32_t size;
};

/* Pareto's 80:20, twice over: the place is the least of a chain of halves as often as not. */
static size_t place_pick(uint64_t *random, size_t places)
{
	uint64_t r = hk_random(random);
	size_t part = places >> (__builtin_ctzll(r | 1ull << 12) & 15);
	size_t at = (size_t)(((r >> 32) * (part ? part : 1)) >> 32);

	/* hot places lie all over the table, not in one corner of it */
	return (at * 0x9e3779b1u) % places;
}

static uint32_t size_pick(uint64_t *random, unsigned int top)
{
	uint64_t r = hk_random(random);
	unsigned int shift = 3 + (unsigned int)__builtin_ctzll(r | 1ull << 40) % (top - 3);

	return (uint32_t)((1u << shift) + (((r >> 32) << shift) >> 32));
}

static void body(struct hk_worker *w)
{
	size_t places = hk_param(w->f, "places") / (size_t)w->f->threads;
	unsigned int top = 63 - (unsigned int)__builtin_clzll(hk_param(w->f, "max"));
	places = places ? places : 1;
	struct place *table = hk_table_get(places * sizeof(*table));
	volatile uint64_t sum = 0;

	hk_ready(w);
	for (uint64_t n; (n = hk_part(w, 1000)) > 0;) {
		w->ops += n;
		for (; n; n--) {
			struct place *at = &table[place_pick(&w->random, places)];

			if (at->p) {
				sum += (uint8_t)at->p[at->size - 1];
				hk_put(at->p, at->size);
				at->p = NULL;
			} else {
				at->size = size_pick(&w->random, top);
				at->p = hk_get(at->size);
				if (at->size > 8)
					memset(at->p + 8, 0x2a, at->size - 8);
			}
		}
	}
	hk_done(w);
	for (size_t i = 0; i < places; i++)
		if (table[i].p)
			hk_put(table[i].p, table[i].size);
	hk_table_drop(table, places * sizeof(*table));
}

static void run(struct hk_frame *f)
{
	hk_threads_run(f, f->threads, body);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "alloc_test",
		.what = "Random places of a table, hot and cold; sizes of a Pareto kind.",
		.op = "a malloc or a free", .unit = "steps a thread",
		.params = params, .threads = 1, .count = 20000000, .run = run};

	return hk_frame_main(&program, argc, argv);
}
