/* glibc_simple.c - like glibc's bench-malloc-simple: 25, 100, 400 and 1600 blocks of one size,
 * allocated, then freed in the same order; in the main thread alone, in the main thread beside
 * another one, and in a second thread. The fields give nanoseconds a pair. Always one thread. */
#include "frame.h"

#include <semaphore.h>
#include <stdio.h>

static struct hk_param params[] = {
	{"size", 16, 0, 8, 1 << 20, "bytes of a block"},
	{0},
};

static const int counts[] = {25, 100, 400, 1600};

static void phase(struct hk_frame *f, const char *where)
{
	static char *blocks[1600];
	const size_t size = hk_param(f, "size");

	for (size_t k = 0; k < sizeof(counts) / sizeof(*counts); k++) {
		uint64_t rounds = f->count / 12 / (uint64_t)counts[k] + 1, start = hk_now_ns();
		char name[64];

		for (uint64_t round = 0; round < rounds; round++) {
			for (int i = 0; i < counts[k]; i++)
				blocks[i] = hk_get(size);
			for (int i = 0; i < counts[k]; i++)
				hk_put(blocks[i], size);
		}
		double pairs = (double)rounds * counts[k];

		f->ops += pairs;
		snprintf(name, sizeof(name), "%s_%04d_ns", where, counts[k]);
		hk_field(f, name, "%.3f", (double)(hk_now_ns() - start) / pairs);
	}
}

static sem_t come, go;

static void *second(void *arg)
{
	struct hk_frame *f = arg;

	sem_post(&come);
	while (sem_wait(&go))
		continue;
	phase(f, "thread");
	return NULL;
}

static void run(struct hk_frame *f)
{
	uintptr_t id;

	sem_init(&come, 0, 0);
	sem_init(&go, 0, 0);
	hk_clock_start(f);
	phase(f, "main_alone");
	hk_thread_start(&id, second, f);
	while (sem_wait(&come))
		continue;
	phase(f, "main_beside");
	sem_post(&go);
	hk_thread_join(id);
	hk_clock_stop(f);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "glibc_simple",
		.what = "Batches of one size, by the main thread and by another one.",
		.op = "a malloc and a free", .unit = "blocks over all phases",
		.params = params, .threads = 1, .threads_max = 1, .count = 60000000,
		.only_count = 1, .run = run};

	return hk_frame_main(&program, argc, argv);
}
