/* stress.c - two threads on each node allocate, resize, hand over through shared slots and free, mixed;
 * each block's content is checked when it is freed.
 *
 *   stress [OPERATIONS]     of all threads together, default 2000000
 *
 * Every 64th new block is asked about; afterwards the library audits itself and its placement.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2048, THREADS_MOST = 2 * NODES_MOST, ASK_EACH = 64 };

/* At both ends of a block of 32 bytes or more. */
struct mark {
	uint64_t size;
	uint64_t check;
};

struct worker {
	int node;
	long operations;
	uint64_t rnd;
	struct probe_tally tally;
};

static _Atomic(char *) slots[SLOTS];
static struct worker workers[THREADS_MOST];

static void mark_write(char *p, size_t size)
{
	struct mark mark = {size, size * 0x9e3779b97f4a7c15ull};

	memcpy(p, &mark, sizeof(mark));
	memcpy(p + size - sizeof(mark), &mark, sizeof(mark));
}

static size_t mark_check(const char *p)
{
	struct mark first, last;

	memcpy(&first, p, sizeof(first));
	CHECK(first.check == first.size * 0x9e3779b97f4a7c15ull,
	      "a block was overwritten at its start");
	memcpy(&last, p + first.size - sizeof(last), sizeof(last));
	CHECK(memcmp(&first, &last, sizeof(first)) == 0, "a block was overwritten at its end");
	return first.size;
}

static size_t size_draw(struct worker *w)
{
	/* most are small, as in programs */
	if (probe_rand(&w->rnd) % 256)
		return probe_rand_size(&w->rnd, 32, 2 * KIB);
	return probe_rand_size(&w->rnd, 2 * KIB, probe_rand(&w->rnd) % 16 ? 64 * KIB : 2 * MIB);
}

static char *block_make(struct worker *w, long n)
{
	size_t size = size_draw(w);
	char *p = malloc(size);

	CHECK(p, "no block of %zu", size);
	mark_write(p, size);
	if (n % ASK_EACH == 0) {
		probe_touch(p + sizeof(struct mark), size - 2 * sizeof(struct mark) + 1);
		mark_write(p, size);
		probe_ask(p, size, (uint64_t)1 << probe_home(w->node), &w->tally);
	}
	return p;
}

static char *block_resize(struct worker *w, char *p)
{
	size_t old = mark_check(p), size = size_draw(w);

	p = realloc(p, size);
	CHECK(p, "no block of %zu", size);
	/* the end of a block that shrank is not the one written */
	CHECK(old > size || memcmp(p, p + old - sizeof(struct mark), sizeof(struct mark)) == 0,
	      "realloc lost the content");
	mark_write(p, size);
	return p;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	long n;

	probe_pin(w->node);
	for (n = 0; n < w->operations; n++) {
		_Atomic(char *) *slot = &slots[probe_rand(&w->rnd) % SLOTS];
		char *old = atomic_exchange_explicit(slot, NULL, memory_order_acq_rel), *put = NULL;

		if (old && probe_rand(&w->rnd) % 16 == 0)
			put = block_resize(w, old);
		else if (old) {
			mark_check(old);
			free(old);
		}
		if (!put)
			put = block_make(w, n);
		old = atomic_exchange_explicit(slot, put, memory_order_acq_rel);
		free(old);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct probe_result result = {0};
	pthread_t threads[THREADS_MOST];
	int nodes[NODES_MOST], count, i;
	long operations = argc > 1 ? atol(argv[1]) : 2000000;

	probe_begin("stress", 240);
	result.report = !probe_judges();
	count = 2 * probe_cpu_nodes(nodes);
	for (i = 0; i < count; i++) {
		workers[i] = (struct worker){nodes[i / 2],
					     operations / count,
					     88172645463325252ull + (uint64_t)i * 977,
					     {0}};
		CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0, "no thread");
	}
	for (i = 0; i < count; i++) {
		pthread_join(threads[i], NULL);
		probe_tally_add(&result.tally, &workers[i].tally);
	}
	result.worst_percent = probe_percent(&result.tally);
	if (probe_hak.audit)
		CHECK(probe_hak.audit() == 0, "hak_audit found violations");
	return probe_end(&result);
}
