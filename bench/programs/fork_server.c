/* fork_server.c - a server with a heap that forks a child for each request, while another thread of
 * it allocates: the child looks at blocks of the parent, allocates, frees its own and some of the
 * parent's, and ends. -t is how many children live at a time. Times are those of the main thread and
 * its children; the busy thread's are left out. */
#define _GNU_SOURCE
#include "frame.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct hk_param params[] = {
	{"heap_mib", 32, 16, 1, 1 << 14, "live bytes of the parent in MiB"},
	{"blocks", 2000, 0, 1, 1 << 20, "blocks that a child allocates"},
	{"busy", 1, 0, 0, 64, "threads of the parent that allocate meanwhile"},
	{0},
};

struct slot {
	void *p;
	size_t size;
};

static struct slot *heap;
static size_t heap_count;

static void *busy(void *arg)
{
	struct hk_frame *f = arg;
	void *blocks[256] = {0};
	uint64_t random = 424242;

	while (!atomic_load_explicit(&f->stop, memory_order_relaxed)) {
		void **at = &blocks[hk_pick(&random, 0, 255)];

		if (*at)
			hk_put(*at, 16);
		*at = hk_get(hk_pick_log(&random, 16, 4096));
	}
	for (int i = 0; i < 256; i++)
		if (blocks[i])
			hk_put(blocks[i], 16);
	return NULL;
}

/* One request. What the child frees of the parent's is the child's copy. */
static void child(struct hk_frame *f, uint64_t serial)
{
	size_t count = hk_param(f, "blocks"), first = serial * 977 % heap_count;
	struct slot *slots = hk_table_get(count * sizeof(*slots));
	uint64_t random = serial * 2 + 1;

	for (size_t i = 0; i < count; i++) {
		slots[i].size = hk_pick_log(&random, 16, 4096);
		slots[i].p = hk_get(slots[i].size);
	}
	for (size_t i = 0; i < 500 && i < heap_count; i++) {
		struct slot *s = &heap[(first + i * 13) % heap_count];

		if (s->p)
			hk_put(s->p, s->size);
		s->p = NULL;
	}
	for (size_t i = 0; i < count; i++)
		hk_put(slots[i].p, slots[i].size);
	_exit(0);
}

static void child_wait(void)
{
	int status;
	pid_t pid;

	while ((pid = wait(&status)) < 0 && errno == EINTR)
		continue;
	if (pid < 0 || status) {
		fprintf(stderr, "fork_server: a child ended with status %d\n", status);
		_exit(1);
	}
}

static void heap_fill(struct hk_frame *f)
{
	size_t bytes = hk_param(f, "heap_mib") << 20;
	uint64_t random = 99;

	heap = hk_table_get(bytes / 64 * sizeof(*heap));
	for (heap_count = 0; bytes > 4096; heap_count++) {
		struct slot *s = &heap[heap_count];

		s->size = hk_pick_log(&random, 64, 4096);
		s->p = hk_get(s->size);
		bytes -= s->size;
	}
}

static void heap_empty(struct hk_frame *f)
{
	for (size_t i = 0; i < heap_count; i++)
		hk_put(heap[i].p, heap[i].size);
	hk_table_drop(heap, (hk_param(f, "heap_mib") << 20) / 64 * sizeof(*heap));
}

static double cpu_now(void)
{
	static const int who[] = {RUSAGE_THREAD, RUSAGE_CHILDREN};
	struct rusage u;
	double s = 0;

	for (int i = 0; i < 2; i++) {
		getrusage(who[i], &u);
		s += (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
		     (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
	}
	return s;
}

static void children_run(struct hk_frame *f)
{
	int alive = 0;

	for (uint64_t i = 0; i < f->count; i++) {
		if (alive == f->threads) {
			child_wait();
			alive--;
		}
		pid_t pid = fork();

		if (pid < 0) {
			fprintf(stderr, "fork_server: fork: %s\n", strerror(errno));
			_exit(1);
		}
		if (!pid)
			child(f, i);
		alive++;
	}
	while (alive--)
		child_wait();
}

static void run(struct hk_frame *f)
{
	uintptr_t ids[64];
	int threads = (int)hk_param(f, "busy");

	heap_fill(f);
	atomic_store(&f->stop, 0);
	for (int i = 0; i < threads; i++)
		hk_thread_start(&ids[i], busy, f);
	double cpu = cpu_now();
	hk_clock_start(f);
	children_run(f);
	hk_clock_stop(f);
	f->cpu_s = cpu_now() - cpu;
	f->ops += (double)f->count;
	atomic_store(&f->stop, 1);
	for (int i = 0; i < threads; i++)
		hk_thread_join(ids[i]);
	heap_empty(f);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "fork_server",
		.what = "A server that forks a child a request, while it allocates.",
		.op = "a child", .unit = "children",
		.params = params, .threads = 2, .threads_max = 256, .count = 400,
		.only_count = 1, .run = run};

	return hk_frame_main(&program, argc, argv);
}
