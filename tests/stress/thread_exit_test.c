/* thread_exit_test.c - frees and mallocs in what runs at a thread's end: key destructors in all
 * four rounds, thread_local destructors. The allocator's own key is older than the test's, so the
 * heap is gone by then. Checks that no heap stays behind for a thread that is dead. */
#define _GNU_SOURCE
#include "support.h"

#include "../../include/hakmem/hakmem.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

extern int __cxa_thread_atexit_impl(void (*fn)(void *), void *arg, void *dso);
extern void *__dso_handle;

enum { KEYS = 3, AT_ONCE = 16, BLOCKS = 12 };

struct bundle {
	int rounds; /* destructor calls so far */
	uint64_t id;
	void *p[BLOCKS];
	size_t size[BLOCKS];
};

static pthread_key_t key[KEYS];
static _Atomic uint64_t rounds_seen, tls_seen;

static struct bundle *make_bundle(uint64_t id, int rounds)
{
	struct bundle *b = malloc(sizeof(*b));
	uint64_t rnd = id * 31 + (uint64_t)rounds + 1;
	int i;

	CHECK(b, "malloc");
	b->rounds = rounds;
	b->id = id;
	for (i = 0; i < BLOCKS; i++) {
		b->size[i] = i ? test_rand_size(&rnd, 1, 9 * KIB)
			       : test_rand_size(&rnd, 9 * KIB, 2 * MIB);
		b->p[i] = i % 3 == 1 ? calloc(1, b->size[i]) : malloc(b->size[i]);
		CHECK(b->p[i], "malloc(%zu)", b->size[i]);
		if (i % 3 == 1)
			check_zero(b->p[i], b->size[i], "calloc at a thread's end");
		pat_fill(b->p[i], b->size[i], id);
	}
	return b;
}

static void free_bundle(struct bundle *b)
{
	int i;

	for (i = 0; i < BLOCKS; i++) {
		pat_check(b->p[i], b->size[i], b->id);
		if (i == 5) {
			b->p[i] = realloc(b->p[i], b->size[i] * 2);
			CHECK(b->p[i], "realloc");
		}
		free(b->p[i]);
	}
	free(b);
}

/* Re-arms itself until libc gives up after PTHREAD_DESTRUCTOR_ITERATIONS rounds. */
static void on_key(void *arg)
{
	struct bundle *b = arg;
	int rounds = b->rounds + 1, i;
	uint64_t id = b->id;

	atomic_fetch_add(&rounds_seen, 1);
	free_bundle(b);
	if (rounds == PTHREAD_DESTRUCTOR_ITERATIONS)
		return;
	for (i = 0; i < KEYS; i++)
		if (!pthread_getspecific(key[i])) {
			pthread_setspecific(key[i], make_bundle(id, rounds));
			return;
		}
}

static void on_tls(void *arg)
{
	struct bundle *b = arg;
	uint64_t id = b->id;

	atomic_fetch_add(&tls_seen, 1);
	free_bundle(b);
	free_bundle(make_bundle(id + 1, 0));
}

static void *thread(void *arg)
{
	uint64_t id = (uintptr_t)arg;
	int i;

	for (i = 0; i < KEYS; i++)
		pthread_setspecific(key[i], make_bundle(id * 8 + (uint64_t)i, 0));
	CHECK(__cxa_thread_atexit_impl(on_tls, make_bundle(id * 8 + 7, 0), &__dso_handle) == 0,
	      "thread_local");
	return NULL;
}

/* A thread that first asks for memory in its destructor. */
static void *late_thread(void *arg)
{
	pthread_setspecific(key[0], arg);
	return NULL;
}

static void run_threads(uintptr_t first, void *(*fn)(void *), void *args[])
{
	pthread_t t[AT_ONCE];
	uintptr_t i;

	for (i = 0; i < AT_ONCE; i++)
		CHECK(pthread_create(&t[i], NULL, fn, args ? args[i] : (void *)(first + i)) == 0,
		      "no thread");
	for (i = 0; i < AT_ONCE; i++)
		pthread_join(t[i], NULL);
}

static void check_heaps(void)
{
	int (*get)(struct hak_stats *) = (int (*)(struct hak_stats *))test_symbol("hak_stats_get");
	struct hak_stats st;

	if (!get)
		return;
	memset(&st, 0, sizeof(st));
	st.size_bytes = sizeof(st);
	CHECK(get(&st) == 0, "hak_stats_get");
	printf("heaps: %llu made, %llu live, %llu parked\n", (unsigned long long)st.heaps,
	       (unsigned long long)st.heaps_live, (unsigned long long)st.heaps_parked);
	CHECK(st.heaps_live <= 1, "%llu heaps have a thread, and one thread lives",
	      (unsigned long long)st.heaps_live);
	CHECK(st.heaps <= 20 * AT_ONCE, "%llu heaps for %d threads at once",
	      (unsigned long long)st.heaps, AT_ONCE);
}

int main(void)
{
	uintptr_t total = test_quick() ? 1600 : 8000, done;
	void *late[AT_ONCE];
	long long early = 0;
	int i;

	test_begin();
	test_watchdog(85);
	for (i = 0; i < KEYS; i++)
		CHECK(pthread_key_create(&key[i], on_key) == 0, "no key");
	for (done = 0; done < total; done += AT_ONCE) {
		run_threads(done, thread, NULL);
		for (i = 0; i < AT_ONCE; i++)
			late[i] = make_bundle(done + (uintptr_t)i, 0);
		run_threads(0, late_thread, late);
		if (done == total / 4)
			early = rss_bytes();
	}
	CHECK(tls_seen == total, "%llu thread_local destructors ran", (unsigned long long)tls_seen);
	CHECK(rounds_seen == total * (KEYS + 1) * PTHREAD_DESTRUCTOR_ITERATIONS,
	      "%llu key destructors ran for %zu threads", (unsigned long long)rounds_seen,
	      (size_t)total);
	BOUND("growth by three quarters of the threads", rss_bytes() - early, 24 * MIB);
	check_heaps();
	return test_end();
}
