/* latency.c - how long each single malloc and free takes: a set of blocks replaced at random, most of
 * 16 bytes to 1 KiB, 1 in 100 up to 32 KiB, 1 in 10,000 up to 1 MiB; a clock around every call.
 * Buckets are log-linear, 16 a doubling: a percentile is at most 6 % above the truth. clock_ns is
 * what two readings with nothing between give on average, and is in every figure; clock_step_ns is
 * the clock's grain: smaller differences are none. Interruptions by the kernel are in the tail, with
 * every allocator alike. The curves have [ns, calls] a bucket. */
#include "frame.h"

#include <stdio.h>

enum { SUB_SHIFT = 4, SUB = 1 << SUB_SHIFT, BUCKETS = 64 * SUB };

static struct hk_param params[] = {
	{"set", 20000, 0, 1, 1 << 24, "live blocks a thread"},
	{"curve", 1, 0, 0, 1, "1: the line has the curves"},
	{0},
};

struct histogram {
	uint64_t calls[BUCKETS];
	uint64_t most;           /* ticks */
};

struct own {
	struct histogram gets, puts;
};

static struct own sum;

static inline uint64_t ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	return hk_now_ns();
#endif
}

static unsigned int bucket_of(uint64_t t)
{
	if (t < SUB)
		return (unsigned int)t;
	unsigned int top = 63 - (unsigned int)__builtin_clzll(t);

	return (top - SUB_SHIFT + 1) * SUB + ((t >> (top - SUB_SHIFT)) & (SUB - 1));
}

/* The largest number of ticks in a bucket. */
static uint64_t bucket_top(unsigned int bucket)
{
	if (bucket < SUB)
		return bucket;
	unsigned int shift = bucket / SUB - 1;

	return ((uint64_t)(SUB + bucket % SUB + 1) << shift) - 1;
}

static inline void note(struct histogram *h, uint64_t t)
{
	h->calls[bucket_of(t)]++;
	h->most = t > h->most ? t : h->most;
}

static void merge(struct histogram *to, const struct histogram *from)
{
	for (int i = 0; i < BUCKETS; i++)
		to->calls[i] += from->calls[i];
	to->most = from->most > to->most ? from->most : to->most;
}

static size_t size_pick(uint64_t *random)
{
	size_t r = hk_pick(random, 0, 9999);

	if (r == 0)
		return hk_pick_log(random, 32768, 1048576);
	return r < 100 ? hk_pick_log(random, 1024, 32768) : hk_pick_log(random, 16, 1024);
}

static void step(struct own *own, void **at, size_t size)
{
	hk_unmark(*at, 16);
	uint64_t t0 = ticks();
	free(*at);
	uint64_t t1 = ticks();
	void *p = malloc(size);
	uint64_t t2 = ticks();

	if (!p)
		hk_no_memory(size);
	hk_mark(p, 16);
	*at = p;
	note(&own->puts, t1 - t0);
	note(&own->gets, t2 - t1);
}

static void body(struct hk_worker *w)
{
	const size_t set = hk_param(w->f, "set");
	struct own *own = hk_table_get(sizeof(*own));
	void **blocks = hk_table_get(set * sizeof(*blocks));
	static _Atomic int lock;

	for (size_t i = 0; i < set; i++)
		blocks[i] = hk_get(size_pick(&w->random));
	hk_ready(w);
	for (uint64_t n; (n = hk_part(w, 100)) > 0;) {
		w->ops += 2 * n;
		for (; n; n--)
			step(own, &blocks[hk_pick(&w->random, 0, set - 1)], size_pick(&w->random));
	}
	hk_done(w);
	for (size_t i = 0; i < set; i++)
		hk_put(blocks[i], 16);
	while (atomic_exchange_explicit(&lock, 1, memory_order_acquire))
		continue; /* pairs with the release below; once a thread */
	if (!w->f->warming) {
		merge(&sum.gets, &own->gets);
		merge(&sum.puts, &own->puts);
	}
	atomic_store_explicit(&lock, 0, memory_order_release);
	hk_table_drop(own, sizeof(*own));
	hk_table_drop(blocks, set * sizeof(*blocks));
}

static double ticks_per_ns(void)
{
	uint64_t start_ns = hk_now_ns(), start = ticks();

	while (hk_now_ns() - start_ns < 20000000)
		continue;
	return (double)(ticks() - start) / (double)(hk_now_ns() - start_ns);
}

static void report(struct hk_frame *f, const char *name, const struct histogram *h, double per_ns)
{
	static const double shares[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
	static const char *const labels[] = {"p50", "p90", "p99", "p99.9", "p99.99"};
	char field[32];
	uint64_t all = 0, seen = 0;
	unsigned int next = 0;

	for (int i = 0; i < BUCKETS; i++)
		all += h->calls[i];
	for (unsigned int i = 0; i < BUCKETS && all; i++) {
		seen += h->calls[i];
		for (; next < 5 && (double)seen >= shares[next] * (double)all; next++) {
			snprintf(field, sizeof(field), "%s_%s_ns", name, labels[next]);
			hk_field(f, field, "%.1f", (double)bucket_top(i) / per_ns);
		}
	}
	snprintf(field, sizeof(field), "%s_max_ns", name);
	hk_field(f, field, "%.1f", (double)h->most / per_ns);
}

static void report_curve(struct hk_frame *f, const char *name, const struct histogram *h,
			 double per_ns)
{
	static char text[7000];
	size_t used = 0;

	text[0] = 0;
	for (unsigned int i = 0; i < BUCKETS && used < sizeof(text) - 64; i++)
		if (h->calls[i])
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%s[%.4g,%llu]",
						 used ? "," : "", (double)bucket_top(i) / per_ns,
						 (unsigned long long)h->calls[i]);
	hk_field(f, name, "[%s]", text);
}

static void clock_report(struct hk_frame *f, double per_ns)
{
	enum { PAIRS = 20000 };
	uint64_t step = UINT64_MAX, all = 0;

	for (int i = 0; i < PAIRS; i++) {
		uint64_t t0 = ticks(), t1 = ticks(), t = t1 - t0;

		step = t && t < step ? t : step;
		all += t < 1000 ? t : 0; /* but for interruptions */
	}
	hk_field(f, "clock_ns", "%.2f", (double)all / PAIRS / per_ns);
	hk_field(f, "clock_step_ns", "%.2f", (double)step / per_ns);
}

static void run(struct hk_frame *f)
{
	hk_threads_run(f, f->threads, body);
	double per_ns = ticks_per_ns();

	clock_report(f, per_ns);
	report(f, "malloc", &sum.gets, per_ns);
	report(f, "free", &sum.puts, per_ns);
	if (hk_param(f, "curve")) {
		report_curve(f, "malloc_curve", &sum.gets, per_ns);
		report_curve(f, "free_curve", &sum.puts, per_ns);
	}
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "latency",
		.what = "The time of every single call, as percentiles.",
		.op = "a malloc or a free", .unit = "replacements a thread",
		.params = params, .threads = 1, .count = 10000000, .run = run};

	return hk_frame_main(&program, argc, argv);
}
