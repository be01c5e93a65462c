/* rptest.c - like rpmalloc's benchmark: each thread frees and allocates bursts at moving places of a
 * table, sizes falling linearly in likelihood, and every other loop hands a burst to another thread.
 * After the description of rpmalloc-benchmark; the defaults are "rptest THREADS 0 1 2 500 1000 100
 * 8 16000". An operation is a malloc or a free, as there. Blocks are touched. */
#include "frame.h"

static struct hk_param params[] = {
	{"cross", 2, 0, 0, 1000, "every so many loops a burst goes to another thread; 0: never"},
	{"blocks", 1000, 0, 1, 1 << 20, "places of the table of a thread"},
	{"burst", 100, 0, 1, 10000, "blocks freed and allocated at a time"},
	{"passes", 100, 0, 1, 1 << 20, "bursts a loop"},
	{"min", 8, 0, 8, 1 << 24, "smallest block in bytes"},
	{"max", 16000, 0, 8, 1 << 24, "largest block in bytes"},
	{0},
};

struct slot {
	void *p;
	size_t size;
};

/* Blocks on their way to another thread. */
struct bag {
	struct bag *next;
	size_t count;
	struct slot slots[];
};

static _Atomic(struct bag *) given[HK_THREADS_MAX];

/* The smaller of two picks: likelihood falls linearly from LO to HI. */
static struct slot slot_get(uint64_t *random, size_t lo, size_t hi)
{
	size_t a = hk_pick(random, lo, hi), b = hk_pick(random, lo, hi);
	struct slot s = {.size = a < b ? a : b};

	s.p = hk_get(s.size);
	hk_touch(s.p, s.size);
	return s;
}

static void slot_put(struct hk_worker *w, struct slot *s)
{
	if (!s->p)
		return;
	hk_put(s->p, s->size);
	s->p = NULL;
	w->ops++;
}

static void bags_free(struct hk_worker *w, int index)
{
	/* acquire pairs with bag_give's release */
	struct bag *bag = atomic_exchange_explicit(&given[index], NULL, memory_order_acquire);

	while (bag) {
		struct bag *next = bag->next;

		for (size_t i = 0; i < bag->count; i++)
			hk_put(bag->slots[i].p, bag->slots[i].size);
		w->ops += bag->count + 1;
		free(bag);
		bag = next;
	}
}

static void bag_give(struct hk_worker *w, size_t count, size_t lo, size_t hi)
{
	int to = (w->index + 1) % w->f->threads;
	struct bag *bag = malloc(sizeof(*bag) + count * sizeof(struct slot));

	if (!bag)
		hk_no_memory(sizeof(*bag) + count * sizeof(struct slot));
	bag->count = count;
	for (size_t i = 0; i < count; i++)
		bag->slots[i] = slot_get(&w->random, lo, hi);
	w->ops += count + 1;
	bag->next = atomic_load_explicit(&given[to], memory_order_relaxed);
	/* release pairs with bags_free's acquire */
	while (!atomic_compare_exchange_weak_explicit(&given[to], &bag->next, bag,
						      memory_order_release, memory_order_relaxed))
		continue;
}

static void body(struct hk_worker *w)
{
	const size_t blocks = hk_param(w->f, "blocks"), burst = hk_param(w->f, "burst");
	const size_t lo = hk_param(w->f, "min"), hi = hk_param(w->f, "max");
	const uint64_t cross = hk_param(w->f, "cross"), passes = hk_param(w->f, "passes");
	struct slot *slots = hk_table_get(blocks * sizeof(*slots));
	size_t free_at = 0, get_at = blocks / 2;

	hk_ready(w);
	for (uint64_t loop = 0; hk_part(w, 1); loop++) {
		bags_free(w, w->index);
		for (uint64_t pass = 0; pass < passes; pass++) {
			for (size_t i = 0; i < burst; i++, free_at = (free_at + 7) % blocks)
				slot_put(w, &slots[free_at]);
			for (size_t i = 0; i < burst; i++, get_at = (get_at + 7) % blocks) {
				slot_put(w, &slots[get_at]);
				slots[get_at] = slot_get(&w->random, lo, hi);
			}
			w->ops += burst;
		}
		if (cross && loop % cross == 0)
			bag_give(w, burst, lo, hi);
	}
	for (size_t i = 0; i < blocks; i++)
		slot_put(w, &slots[i]);
	bags_free(w, w->index);
	hk_done(w);
	bags_free(w, w->index); /* given after the last look */
	hk_table_drop(slots, blocks * sizeof(*slots));
}

static void run(struct hk_frame *f)
{
	hk_threads_run(f, f->threads, body);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "rptest",
		.what = "Bursts of 8..16000 bytes at moving places; bursts for other threads.",
		.op = "a malloc or a free", .unit = "loops a thread",
		.params = params, .threads = 2, .count = 500, .run = run};

	return hk_frame_main(&program, argc, argv);
}
