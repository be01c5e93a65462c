/* mstress.c - threads of unequal load allocate powers of two, keep some blocks, free others, trade
 * some with all; after each phase all threads end, and some blocks live on in the next.
 * After the description of mstress in mimalloc-bench; the defaults are "mstress THREADS 50 25", with four
 * times the scale, for a phase takes less time here than there.
 * Each word of a block is written and, when it is freed, checked. */
#include "frame.h"

static struct hk_param params[] = {
	{"scale", 200, 20, 1, 10000, "load: 100 * scale steps for the least busy thread"},
	{0},
};

enum { TRADED = 1000, LARGE = 100, HUGE = 10000 };
static _Atomic(uint64_t *) traded[TRADED];

/* words[0] is their number, hidden; the others follow from the address. */
static uint64_t *items_get(size_t words)
{
	uint64_t *p = malloc(words * sizeof(*p));

	if (!p)
		hk_no_memory(words * sizeof(*p));
	for (size_t i = 1; i < words; i++)
		p[i] = hk_word(p) + i;
	p[0] = hk_word(p) ^ words << 1;
	return p;
}

static void items_put(uint64_t *p)
{
	if (!p)
		return;
	size_t words = (p[0] ^ hk_word(p)) >> 1;

	if (!words || words > (size_t)1 << 24)
		hk_lost(p);
	for (size_t i = 1; i < words; i++)
		if (p[i] != hk_word(p) + i)
			hk_lost(p);
	p[0] = ~p[0];
	free(p);
}

/* 1 .. 64 words, the next power of two half as likely; 1 in 100 large, 1 in 10,000 huge. */
static size_t words_pick(uint64_t *random)
{
	uint64_t r = hk_random(random);
	size_t words = (size_t)1 << __builtin_ctzll(r >> 32 | 64);

	if (r % 10000 == 0)
		return words * HUGE;
	return r % 100 == 0 ? words * LARGE : words;
}

static int chance(uint64_t *random, unsigned int percent)
{
	return hk_pick(random, 0, 99) < percent;
}

static void body(struct hk_worker *w)
{
	size_t steps = 100 * hk_param(w->f, "scale") * (size_t)(w->index % 8 + 1);
	size_t retain = steps / 2, kept = 0, count = 0;
	uint64_t **blocks = hk_table_get(2 * steps * sizeof(*blocks)), **retained = blocks + steps;

	hk_ready(w);
	while (steps || retain) {
		if (retain && (!steps || chance(&w->random, 50))) {
			retained[kept++] = items_get(words_pick(&w->random));
			retain--;
		} else {
			blocks[count++] = items_get(words_pick(&w->random));
			steps--;
		}
		w->ops++;
		if (count && chance(&w->random, 66)) {
			size_t at = hk_pick(&w->random, 0, count - 1);

			items_put(blocks[at]);
			blocks[at] = blocks[--count];
		}
		if (count && chance(&w->random, 25)) {
			size_t at = hk_pick(&w->random, 0, count - 1);

			/* acquire sees the other's words, release shows ours */
			blocks[at] = atomic_exchange_explicit(
				&traded[hk_pick(&w->random, 0, TRADED - 1)], blocks[at],
				memory_order_acq_rel);
		}
	}
	while (kept)
		items_put(retained[--kept]);
	while (count)
		items_put(blocks[--count]);
	hk_done(w);
	hk_table_drop(blocks, 2 * 100 * hk_param(w->f, "scale") * (size_t)(w->index % 8 + 1) *
			      sizeof(*blocks));
}

/* What was traded lives over ten phases. */
static void traded_free(void)
{
	for (int i = 0; i < TRADED; i++)
		items_put(atomic_exchange(&traded[i], NULL));
}

static void run(struct hk_frame *f)
{
	hk_clock_start(f);
	for (uint64_t phase = 1; phase <= f->count; phase++) {
		hk_threads_run(f, f->threads, body);
		if (phase % 10 == 0)
			traded_free();
	}
	traded_free();
	f->wall_s = f->cpu_s = 0; /* starting and ending the threads counts too */
	hk_clock_stop(f);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "mstress",
		.what = "Threads of unequal load, blocks that outlive them, phases.",
		.op = "a malloc and a free", .unit = "phases",
		.params = params, .threads = 4, .count = 25, .only_count = 1, .run = run};

	return hk_frame_main(&program, argc, argv);
}
