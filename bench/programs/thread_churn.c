/* thread_churn.c - threads that live for 100 blocks: each frees what its forerunner left, allocates,
 * frees half, leaves the rest to its heir. What starting and ending a thread costs an allocator, and
 * what it makes of the blocks of the dead. */
#include "frame.h"

static struct hk_param params[] = {
	{"blocks", 100, 0, 2, 1000, "blocks that a thread allocates"},
	{"max", 1024, 0, 32, 1 << 20, "largest block in bytes, a power of two"},
	{0},
};

struct line {
	struct hk_worker *w;
	void *left[1000];
	size_t sizes[1000];
	size_t count;       /* of left */
};

static void *visitor(void *arg)
{
	struct line *l = arg;
	const size_t blocks = hk_param(l->w->f, "blocks");
	const size_t max = (size_t)1 << (63 - __builtin_clzll(hk_param(l->w->f, "max")));

	while (l->count) {
		l->count--;
		hk_put(l->left[l->count], l->sizes[l->count]);
	}
	for (size_t i = 0; i < blocks; i++) {
		l->sizes[i] = hk_pick_log(&l->w->random, 16, max);
		l->left[i] = hk_get(l->sizes[i]);
	}
	for (size_t i = blocks / 2; i < blocks; i++)
		hk_put(l->left[i], l->sizes[i]);
	l->count = blocks / 2;
	return NULL;
}

static void body(struct hk_worker *w)
{
	struct line *l = hk_table_get(sizeof(*l));
	uintptr_t id;

	l->w = w;
	hk_ready(w);
	while (hk_part(w, 1)) {
		hk_thread_start(&id, visitor, l);
		hk_thread_join(id);
		w->ops++;
	}
	hk_done(w);
	while (l->count) {
		l->count--;
		hk_put(l->left[l->count], l->sizes[l->count]);
	}
	hk_table_drop(l, sizeof(*l));
}

/* A worker's clock doesn't run while its visitor works: the time of the whole process counts. */
static void run(struct hk_frame *f)
{
	hk_clock_start(f);
	hk_threads_run(f, f->threads, body);
	f->wall_s = f->cpu_s = 0;
	hk_clock_stop(f);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "thread_churn",
		.what = "Threads that live for 100 blocks and leave half of them.",
		.op = "a thread", .unit = "threads of each line, one after another",
		.params = params, .threads = 2, .threads_max = HK_THREADS_MAX / 2, .count = 10000,
		.run = run};

	return hk_frame_main(&program, argc, argv);
}
