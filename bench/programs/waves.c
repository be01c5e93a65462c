/* waves.c - load and idleness in turn: each wave fills a set, replaces it for a while, frees it; then
 * all threads sleep. Speed is that of the load alone; rss_idle_kib and rss_load_kib have one figure a
 * wave: what stays resident while nothing is asked for. */
#include "frame.h"
#include "series.h"

#include <pthread.h>
#include <time.h>

static struct hk_param params[] = {
	{"blocks", 100000, 20000, 1, 1 << 26, "blocks that a thread holds under load"},
	{"idle_ms", 300, 50, 1, 3600000, "milliseconds of sleep after each wave"},
	{"max", 1024, 0, 32, 1 << 20, "largest block in bytes, a power of two"},
	{0},
};

static pthread_barrier_t together;
static struct hk_series loaded, idle;
static double slept_s;

static void sleep_ms(uint64_t ms)
{
	struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

static void wave(struct hk_worker *w, void **blocks, size_t count, size_t max)
{
	for (size_t i = 0; i < count; i++)
		blocks[i] = hk_get(hk_pick_log(&w->random, 16, max));
	for (size_t i = 0; i < 2 * count; i++) {
		void **at = &blocks[hk_pick(&w->random, 0, count - 1)];

		hk_put(*at, 16);
		*at = hk_get(hk_pick_log(&w->random, 16, max));
	}
	if (w->index == 0 && !w->f->warming)
		hk_series_add(&loaded, (double)hk_resident_about_kib());
	for (size_t i = 0; i < count; i++)
		hk_put(blocks[i], 16);
	w->ops += 3 * count;
}

static void body(struct hk_worker *w)
{
	const size_t count = hk_param(w->f, "blocks");
	const size_t max = (size_t)1 << (63 - __builtin_clzll(hk_param(w->f, "max")));
	void **blocks = hk_table_get(count * sizeof(*blocks));

	hk_ready(w);
	for (uint64_t left = w->left; left; left--) {
		wave(w, blocks, count, max);
		pthread_barrier_wait(&together);
		uint64_t start = hk_now_ns();

		sleep_ms(hk_param(w->f, "idle_ms"));
		if (w->index == 0) {
			if (!w->f->warming)
				hk_series_add(&idle, (double)hk_resident_about_kib());
			slept_s += (double)(hk_now_ns() - start) / 1e9;
		}
		pthread_barrier_wait(&together);
	}
	hk_done(w);
	hk_table_drop(blocks, count * sizeof(*blocks));
}

static void run(struct hk_frame *f)
{
	slept_s = 0;
	pthread_barrier_init(&together, NULL, f->threads);
	hk_threads_run(f, f->threads, body);
	pthread_barrier_destroy(&together);
	f->wall_s -= slept_s;
	hk_field(f, "slept_s", "%.3f", slept_s);
	hk_field(f, "rss_load_kib", "[%s]", loaded.text);
	hk_field(f, "rss_idle_kib", "[%s]", idle.text);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "waves",
		.what = "Load and idleness in turn; resident memory in both.",
		.op = "a malloc and a free", .unit = "waves",
		.params = params, .threads = 2, .count = 10, .only_count = 1, .run = run};

	return hk_frame_main(&program, argc, argv);
}
