/* bench_tiny.c - many small mallocs and frees, and what one of them costs.
 *
 * The plain run: blocks of 16 bytes, 100 mallocs, then 100 frees in the same order, 10 million
 * times, one byte written to each block, in a second thread. Options change each of these.
 * The loops are in tiny_loops.c. Its own tables lie in mmap'd memory, not in what is measured.
 * Does not choose the allocator: LD_PRELOAD does, and HAK_VERIFY_LIB has it proven (verify.h). */
#define _GNU_SOURCE
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "meter.h"
#include "tiny_loops.h"
#include "verify.h"

enum { SEGMENTS = 20, MAX_THREADS = 256, RING_SIZES = 8192 };

enum kind { KIND_BATCH, KIND_SET, KIND_RING };

static struct {
	enum kind kind;
	uint64_t rounds;      /* batches, steps, or blocks a pair */
	int quick;
	enum hk_order order;
	size_t batch;
	size_t size_lo, size_hi;
	int threads;          /* workers; pairs for KIND_RING */
	uint32_t set_count;
	int on_main;
	int clock;
	int json;
	int only_verify;
	double sleep_s;
	uint64_t seed;
} opt = {.order = HK_FIFO, .batch = 100, .size_lo = 16, .size_hi = 16, .threads = 1,
	 .seed = 88172645463325252u};

struct worker {
	int index;
	int consumes;
	struct hk_batch batch;
	struct hk_set set;
	struct hk_ring *ring;
	const uint32_t *ring_sizes;
	uint64_t start_ns, end_ns;
	double best_ns;       /* per operation, best segment */
	double best_cycles;   /* 0 where no clock was taken */
};

static struct worker workers[2 * MAX_THREADS];
static pthread_barrier_t gate;

static void die(const char *what)
{
	fprintf(stderr, "bench_tiny: %s\n", what);
	exit(2);
}

static uint32_t *table_sizes(size_t count, uint64_t *random)
{
	uint32_t *t = hk_table(count * sizeof(*t));

	for (size_t i = 0; i < count; i++)
		t[i] = (uint32_t)hk_random_between(random, opt.size_lo, opt.size_hi);
	return t;
}

/* SETS permutations of 0 .. batch - 1. */
static uint32_t *table_orders(size_t sets, uint64_t *random)
{
	uint32_t *t = hk_table(sets * opt.batch * sizeof(*t));

	for (size_t k = 0; k < sets; k++) {
		uint32_t *row = t + k * opt.batch;

		for (size_t i = 0; i < opt.batch; i++)
			row[i] = (uint32_t)i;
		for (size_t i = opt.batch - 1; i > 0; i--) {
			size_t j = hk_random_between(random, 0, i);
			uint32_t other = row[j];

			row[j] = row[i];
			row[i] = other;
		}
	}
	return t;
}

static void worker_prepare(struct worker *w, int index)
{
	uint64_t random = opt.seed + 0x9e3779b97f4a7c15u * (uint64_t)index;
	/* 4096 sizes a cycle: sequential reads of 16 KiB, long enough not to be learnt */
	size_t sets = opt.batch < 4096 ? 4096 / opt.batch : 1;

	w->index = index;
	if (opt.kind == KIND_SET) {
		w->set = (struct hk_set){.slots = hk_table((size_t)opt.set_count * sizeof(char *)),
			.count = opt.set_count, .size_lo = (uint32_t)opt.size_lo,
			.size_span = (uint32_t)(opt.size_hi - opt.size_lo + 1), .random = random};
	} else if (opt.kind == KIND_BATCH) {
		w->batch = (struct hk_batch){.slots = hk_table(opt.batch * sizeof(char *)),
			.batch = opt.batch, .size = opt.size_lo, .size_sets = sets,
			.order_sets = sets > 16 ? 16 : sets, .order = opt.order};
		if (opt.size_hi != opt.size_lo)
			w->batch.sizes = table_sizes(sets * opt.batch, &random);
		if (opt.order == HK_SHUFFLED)
			w->batch.orders = table_orders(w->batch.order_sets, &random);
	} else if (index % 2 == 0) {
		w->ring = hk_table(sizeof(*w->ring));
		w->ring_sizes = table_sizes(RING_SIZES, &random);
	} else {
		w->consumes = 1;
		w->ring = w[-1].ring;
	}
}

static void worker_segment(struct worker *w, uint64_t rounds)
{
	if (opt.kind == KIND_BATCH)
		hk_batch_run(&w->batch, rounds);
	else if (opt.kind == KIND_SET)
		hk_set_run(&w->set, rounds);
	else if (w->consumes)
		hk_ring_consume(w->ring, rounds);
	else
		hk_ring_produce(w->ring, rounds, w->ring_sizes, RING_SIZES - 1);
}

static uint64_t ops_per_round(void)
{
	return opt.kind == KIND_BATCH ? 2 * opt.batch : 2;
}

/* Fills what must be full and runs the loop until caches and lists have settled. */
static void worker_warm(struct worker *w)
{
	if (opt.kind == KIND_SET) {
		hk_set_fill(&w->set);
		hk_set_run(&w->set, opt.set_count * 2ull + 100000);
	} else if (opt.kind == KIND_BATCH) {
		hk_batch_run(&w->batch, opt.rounds / 50 + 1);
	}
}

/* The clock is taken right before and after each segment: it moves within a second. */
static void worker_segments(struct worker *w)
{
	uint64_t left = opt.rounds;
	double ghz = opt.clock ? hk_clock_ghz() : 0;
	int segments = opt.kind == KIND_RING ? 1 : SEGMENTS;

	for (int i = segments; i > 0; i--) {
		uint64_t rounds = left / i;

		left -= rounds;
		if (!rounds)
			continue;
		uint64_t start = hk_now_ns();
		worker_segment(w, rounds);
		double ns = (double)(hk_now_ns() - start) / (double)(rounds * ops_per_round());
		double ghz_after = opt.clock ? hk_clock_ghz() : 0;
		double cycles = ns * (ghz + ghz_after) / 2;

		if (!w->best_ns || ns < w->best_ns)
			w->best_ns = ns;
		if (cycles && (!w->best_cycles || cycles < w->best_cycles))
			w->best_cycles = cycles;
		ghz = ghz_after;
	}
}

/* The two ends of a ring onto different cores: left alone, the scheduler often wakes both on one,
 * and switching is measured. */
static void worker_pin(int index)
{
	cpu_set_t all, one;
	int skip;

	if (sched_getaffinity(0, sizeof(all), &all) || CPU_COUNT(&all) < 2)
		return;
	skip = (index + index / 2) % CPU_COUNT(&all); /* a core's load: ends of different pairs */
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all) || skip--)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
		return;
	}
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	if (opt.kind == KIND_RING)
		worker_pin(w->index);
	worker_warm(w);
	if (!opt.on_main)
		pthread_barrier_wait(&gate);
	w->start_ns = hk_now_ns();
	worker_segments(w);
	w->end_ns = hk_now_ns();
	if (!opt.on_main)
		pthread_barrier_wait(&gate); /* the caller takes usage and memory now */
	if (!opt.on_main)
		pthread_barrier_wait(&gate);
	if (opt.kind == KIND_SET)
		hk_set_empty(&w->set);
	return NULL;
}

struct result {
	double wall_ns, ops, best_ns, best_cycles;
	double cpu_s;
	long faults, peak_kib, resident_kib, after_kib;
};

static void result_take(struct result *r, int count, const struct hk_usage *before)
{
	struct hk_usage after;
	uint64_t first = workers[0].start_ns, last = workers[0].end_ns;

	hk_usage_now(&after);
	r->cpu_s = after.cpu_s - before->cpu_s;
	r->faults = after.minor_faults - before->minor_faults;
	r->peak_kib = hk_peak_kib();
	r->resident_kib = hk_resident_kib();
	for (int i = 0; i < count; i++) {
		struct worker *w = &workers[i];

		first = w->start_ns < first ? w->start_ns : first;
		last = w->end_ns > last ? w->end_ns : last;
		if (!r->best_ns || w->best_ns < r->best_ns)
			r->best_ns = w->best_ns;
		if (!r->best_cycles || w->best_cycles < r->best_cycles)
			r->best_cycles = w->best_cycles;
	}
	r->wall_ns = (double)(last - first);
	r->ops = (double)opt.rounds * (double)ops_per_round() * opt.threads;
}

/* The times start at the gate, after every worker is warm. */
static void run_threads(struct result *r, int count)
{
	pthread_t ids[2 * MAX_THREADS];
	struct hk_usage before;

	pthread_barrier_init(&gate, NULL, count + 1);
	for (int i = 0; i < count; i++)
		if (pthread_create(&ids[i], NULL, worker_main, &workers[i]))
			die("pthread_create failed");
	pthread_barrier_wait(&gate);
	hk_usage_now(&before);
	pthread_barrier_wait(&gate);
	result_take(r, count, &before);
	pthread_barrier_wait(&gate);
	for (int i = 0; i < count; i++)
		pthread_join(ids[i], NULL);
}

static void run(struct result *r)
{
	int count = opt.kind == KIND_RING ? 2 * opt.threads : opt.threads;

	for (int i = 0; i < count; i++)
		worker_prepare(&workers[i], i);
	if (opt.on_main) {
		struct hk_usage before;

		/* as in the threads' case the usage of warming up is left out */
		worker_warm(&workers[0]);
		hk_usage_now(&before);
		workers[0].start_ns = hk_now_ns();
		worker_segments(&workers[0]);
		workers[0].end_ns = hk_now_ns();
		result_take(r, 1, &before);
		if (opt.kind == KIND_SET)
			hk_set_empty(&workers[0].set);
	} else {
		run_threads(r, count);
	}
	if (opt.sleep_s > 0) {
		struct timespec t = {(time_t)opt.sleep_s,
				     (long)((opt.sleep_s - (time_t)opt.sleep_s) * 1e9)};

		nanosleep(&t, NULL);
	}
	r->after_kib = hk_resident_kib();
}

static const char *const order_names[] = {"fifo", "lifo", "shuffled"};

static void describe(char *out, size_t bytes)
{
	char sizes[48];

	if (opt.size_lo == opt.size_hi)
		snprintf(sizes, sizeof(sizes), "%zu B", opt.size_lo);
	else
		snprintf(sizes, sizeof(sizes), "%zu..%zu B", opt.size_lo, opt.size_hi);
	if (opt.kind == KIND_BATCH)
		snprintf(out, bytes, "%s, batch %zu %s, %d thread(s)%s", sizes, opt.batch,
			 order_names[opt.order], opt.threads, opt.on_main ? ", main" : "");
	else if (opt.kind == KIND_SET)
		snprintf(out, bytes, "%s, random replacement of %u, %d thread(s)%s", sizes,
			 opt.set_count, opt.threads, opt.on_main ? ", main" : "");
	else
		snprintf(out, bytes, "%s, %d producer/consumer pair(s)", sizes, opt.threads);
}

static void print_json(const struct result *r, const char *what)
{
	const struct hk_verify_state *v = hk_verify_result();

	printf("{\"what\": \"%s\", \"file\": \"%s\", \"verified\": %s, \"ops\": %.0f, "
	       "\"wall_s\": %.6f, \"ns_per_op\": %.4f, \"mops\": %.3f, \"best_ns_per_op\": %.4f, ",
	       what, v->file, v->wanted ? "true" : "false", r->ops, r->wall_ns / 1e9,
	       r->wall_ns / r->ops, r->ops * 1e3 / r->wall_ns, r->best_ns);
	if (r->best_cycles)
		printf("\"cycles_per_op\": %.3f, ", r->best_cycles);
	printf("\"cpu_s\": %.4f, \"cpu_ns_per_op\": %.4f, \"minor_faults\": %ld, "
	       "\"peak_kib\": %ld, \"resident_kib\": %ld, \"after_kib\": %ld}\n",
	       r->cpu_s, r->cpu_s * 1e9 / r->ops, r->faults, r->peak_kib, r->resident_kib,
	       r->after_kib);
}

static void print_text(const struct result *r, const char *what)
{
	const struct hk_verify_state *v = hk_verify_result();

	printf("%s\n  malloc served by %s (%s)\n", what, v->file,
	       v->wanted ? "proven" : "by name; HAK_VERIFY_LIB was not set");
	printf("  %.3f ns/op, %.1f M ops/s (best of %d parts %.3f ns)", r->wall_ns / r->ops,
	       r->ops * 1e3 / r->wall_ns, opt.kind == KIND_RING ? 1 : SEGMENTS, r->best_ns);
	if (r->best_cycles)
		printf(", %.2f cycles/op", r->best_cycles);
	printf("\n  cpu %.3f s, minor faults %ld, resident peak %ld KiB, loaded %ld KiB, "
	       "after all was freed %ld KiB\n",
	       r->cpu_s, r->faults, r->peak_kib, r->resident_kib, r->after_kib);
}

static const char usage_text[] =
	"usage: bench_tiny [options]\n"
	"  -n N         rounds: batches, steps of -w, or blocks a pair of -x (10 million)\n"
	"  -q, --quick  a twentieth of that\n"
	"  -o ORDER     of the frees: fifo, lifo, shuffled\n"
	"  -b N         blocks in a batch (100)\n"
	"  -s N|LO..HI  size of a block, or a range of random sizes (16)\n"
	"  -t N         threads, each with its own loop (1)\n"
	"  -w N         random replacement in a set of N live blocks\n"
	"  -x N         N producer/consumer pairs through a ring\n"
	"  -M, --main   in the main thread, not in a second one\n"
	"  -c           cycles per operation (minimum over parts of the run)\n"
	"  -S SEC, --sleep SEC  sleep after all was freed, then read resident memory\n"
	"  -j           one line of JSON\n"
	"  -v           only say and prove which file serves malloc\n"
	"  -r SEED      of the random numbers\n";

static uint64_t number(const char *text)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);

	if (end == text || *end)
		die("a number is expected; see --help");
	return n;
}

static void parse_sizes(char *text)
{
	char *dots = strstr(text, "..");

	if (dots)
		*dots = 0;
	opt.size_lo = number(text);
	opt.size_hi = dots ? number(dots + 2) : opt.size_lo;
	if (!opt.size_lo || opt.size_lo > opt.size_hi || opt.size_hi > UINT32_MAX / 2)
		die("sizes are 1 .. 2^31");
}

static void parse_order(const char *text)
{
	for (size_t i = 0; i < 3; i++) {
		if (!strcmp(text, order_names[i])) {
			opt.order = (enum hk_order)i;
			return;
		}
	}
	die("order is fifo, lifo or shuffled");
}

static void parse_option(int c)
{
	switch (c) {
	case 'n':
		opt.rounds = number(optarg);
		break;
	case 'q':
		opt.quick = 1;
		break;
	case 'o':
		parse_order(optarg);
		break;
	case 'b':
		opt.batch = number(optarg);
		break;
	case 's':
		parse_sizes(optarg);
		break;
	case 't':
		opt.threads = (int)number(optarg);
		break;
	case 'w':
		opt.kind = KIND_SET;
		opt.set_count = (uint32_t)number(optarg);
		break;
	case 'x':
		opt.kind = KIND_RING;
		opt.threads = (int)number(optarg);
		break;
	case 'r':
		opt.seed = number(optarg);
		break;
	case 'S':
		opt.sleep_s = strtod(optarg, NULL);
		break;
	}
}

static void parse(int argc, char **argv)
{
	static const struct option names[] = {{"quick", 0, 0, 'q'}, {"main", 0, 0, 'M'},
		{"sleep", 1, 0, 'S'}, {"help", 0, 0, 'h'}, {0}};
	int c;

	while ((c = getopt_long(argc, argv, "n:qo:b:s:t:w:x:McS:jvr:h", names, NULL)) != -1) {
		opt.on_main |= c == 'M';
		opt.clock |= c == 'c';
		opt.json |= c == 'j';
		opt.only_verify |= c == 'v';
		if (c == 'h' || c == '?') {
			fputs(usage_text, c == 'h' ? stdout : stderr);
			exit(c == 'h' ? 0 : 2);
		}
		parse_option(c);
	}
	if (optind != argc)
		die("no arguments are expected; see --help");
	if (!opt.rounds)
		opt.rounds = 10000000;
	if (opt.quick)
		opt.rounds = opt.rounds / 20 + 1;
	if (!opt.batch || opt.batch > 1u << 28 || opt.threads < 1 || opt.threads > MAX_THREADS ||
	    (opt.kind == KIND_SET && !opt.set_count))
		die("a count is out of range");
	if (opt.on_main && (opt.kind == KIND_RING || opt.threads > 1))
		die("--main runs one loop");
}

int main(int argc, char **argv)
{
	struct result r = {0};
	char what[160];

	parse(argc, argv);
	describe(what, sizeof(what));
	hk_verify_begin_or_exit();
	if (!opt.only_verify)
		run(&r);
	hk_verify_end_or_exit();
	if (opt.only_verify)
		printf("%s %s\n", hk_verify_result()->wanted ? "proven:" : "by name:",
		       hk_verify_result()->file);
	else if (opt.json)
		print_json(&r, what);
	else
		print_text(&r, what);
	return 0;
}
