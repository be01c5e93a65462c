/* xmalloc.c - half of the threads only allocate, the others only free: batches of blocks go from one
 * to the other through one queue.
 * After: Lever and Boreham, "malloc() performance in a multithreaded Linux environment", USENIX
 * 2000, and the description of xmalloc-test. The defaults are "xmalloc-test -w THREADS -s 64" with
 * fixed work in place of 5 seconds; -t N is N producers and N consumers. */
#include "frame.h"

#include <pthread.h>
#include <string.h>

static struct hk_param params[] = {
	{"size", 64, 0, 0, 1 << 20, "bytes of a block; 0: 8..512, mixed"},
	{"batch", 4096, 0, 1, 1 << 20, "blocks in a batch"},
	{"queue", 4, 0, 1, 1024, "batches for each producer that may wait"},
	{0},
};

struct batch {
	struct batch *next;
	size_t size;
	size_t count;
	char *blocks[];
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled, emptied;
	struct batch *full, *empty;   /* [L:lock] */
	int producers;                /* [L:lock] that are still at work */
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER,
	   .emptied = PTHREAD_COND_INITIALIZER};

static struct batch *list_pop(struct batch **list)
{
	struct batch *b = *list;

	*list = b ? b->next : NULL;
	return b;
}

static void list_push(struct batch **list, struct batch *b)
{
	b->next = *list;
	*list = b;
}

static void produce(struct hk_worker *w)
{
	size_t size = hk_param(w->f, "size"), most = hk_param(w->f, "batch");

	for (uint64_t n; (n = hk_part(w, most)) > 0;) {
		pthread_mutex_lock(&queue.lock);
		struct batch *b;
		while (!(b = list_pop(&queue.empty)))
			pthread_cond_wait(&queue.emptied, &queue.lock);
		pthread_mutex_unlock(&queue.lock);
		/* one size a batch, so that the consumer knows it without a look */
		b->size = size ? size : hk_pick(&w->random, 8, 512);
		b->count = n;
		for (size_t i = 0; i < n; i++) {
			b->blocks[i] = hk_get(b->size);
			if (b->size > 8)
				memset(b->blocks[i] + 8, (int)i, (b->size < 128 ? b->size : 128) - 8);
		}
		pthread_mutex_lock(&queue.lock);
		list_push(&queue.full, b);
		pthread_cond_signal(&queue.filled);
		pthread_mutex_unlock(&queue.lock);
	}
	pthread_mutex_lock(&queue.lock);
	queue.producers--;
	pthread_cond_broadcast(&queue.filled);
	pthread_mutex_unlock(&queue.lock);
}

static void consume(struct hk_worker *w)
{
	for (;;) {
		pthread_mutex_lock(&queue.lock);
		struct batch *b;
		while (!(b = list_pop(&queue.full)) && queue.producers)
			pthread_cond_wait(&queue.filled, &queue.lock);
		pthread_mutex_unlock(&queue.lock);
		if (!b)
			return;
		for (size_t i = 0; i < b->count; i++)
			hk_put(b->blocks[i], b->size);
		w->ops += b->count;
		pthread_mutex_lock(&queue.lock);
		list_push(&queue.empty, b);
		pthread_cond_signal(&queue.emptied);
		pthread_mutex_unlock(&queue.lock);
	}
}

static void body(struct hk_worker *w)
{
	hk_ready(w);
	if (w->index % 2)
		consume(w);
	else
		produce(w);
}

static void run(struct hk_frame *f)
{
	size_t batches = f->threads * hk_param(f, "queue");
	size_t bytes = sizeof(struct batch) + hk_param(f, "batch") * sizeof(char *);

	bytes = (bytes + 63) & ~(size_t)63;
	char *table = hk_table_get(batches * bytes);
	queue.full = queue.empty = NULL;
	queue.producers = f->threads;
	for (size_t i = 0; i < batches; i++)
		list_push(&queue.empty, (struct batch *)(table + i * bytes));
	hk_threads_run(f, 2 * f->threads, body);
	hk_table_drop(table, batches * bytes);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "xmalloc",
		.what = "Producers allocate batches, consumers free them.",
		.op = "a malloc and a free", .unit = "blocks a producer",
		.params = params, .threads = 1, .threads_max = HK_THREADS_MAX / 2,
		.count = 20000000, .run = run};

	return hk_frame_main(&program, argc, argv);
}
