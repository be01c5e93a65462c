/* place.c - threads, one or more on each node, allocate, touch, ask the kernel where the bytes are, and
 * hand the blocks to the next node's thread, which frees them.
 *
 *   place [--churn DEATHS] [--rounds N] [--threads N] [--blocks N] [--large] [--want LIST] [--spread SHARES]
 *         [--roughly] [--report] [--forced] [--ask-fd FD] [--no-audit]
 *
 * Steady: the same threads for all rounds; each keeps every fourth block to the end, so heaps grow.
 * Churn: a wave of threads, one a node, is born, each frees what it was handed, allocates, asks, hands
 * on and dies; the order of birth turns from wave to wave. A round is 250 deaths.
 * A line for each round, then the closing line; worst_percent is that of one thread in one of its rounds
 * (in its life, where it dies). --want: the nodes that are right for every thread
 * (default: the thread's own, or where first touch goes); --spread 3,1: and each of them has its share
 * (the last one counts for all that follow), and each thread has bytes on several of them. --roughly: where
 * each thread's own turn decides page by page, which mixes sizes, shares are only about right.
 * What it does not do: measure time.
 */
#define _GNU_SOURCE
#include "probe.h"

#include <getopt.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_MOST = 64, BLOCKS_MOST = 1024, DEATHS_A_ROUND = 250, KEEP_EACH = 4 };

struct hand {
	struct probe_block block[BLOCKS_MOST];
	int count;
};

struct worker {
	int number; /* 0 .. worker_count - 1 */
	int node;
	uint64_t wanted;
	uint64_t rnd;
	struct hand *out; /* [A] written by the worker, freed by the next one after the barrier */
	const struct hand *in;
	struct probe_tally tally; /* of this round */
	uint64_t seen;            /* nodes that had bytes of its in any round */
	double worst_percent;     /* of a fill in it */
	uint64_t wrong_node_of;
};

static struct {
	long deaths, rounds, threads, blocks;
	bool large, roughly;
	const char *spread;
	uint64_t want;
} with = {.rounds = 20, .threads = 1, .blocks = 64};

static struct worker *workers;
static int worker_count;
static struct hand *hands; /* two a worker: one is filled while the other is freed */
static pthread_barrier_t barrier;
static struct probe_result result;

static size_t size_draw(struct worker *w)
{
	if (with.large)
		return probe_rand_size(&w->rnd, 128 * KIB, 4 * MIB);
	return probe_rand_size(&w->rnd, 16, 64 * KIB);
}

static void fill(struct worker *w, struct hand *hand)
{
	struct probe_tally tally = {0};
	double percent;
	int i;

	for (i = 0; i < with.blocks; i++) {
		size_t size = size_draw(w);
		void *p = malloc(size);
		int said;

		CHECK(p, "no block of %zu", size);
		probe_touch(p, size);
		said = probe_hak.node_of ? probe_hak.node_of(p) : -1;
		if (said >= 0 && !(w->wanted >> said & 1))
			w->wrong_node_of++;
		hand->block[i] = (struct probe_block){p, size};
	}
	hand->count = i;
	probe_ask_all(hand->block, (size_t)i, w->wanted, &tally);
	percent = probe_percent(&tally);
	w->worst_percent = percent > w->worst_percent ? percent : w->worst_percent;
	probe_tally_add(&w->tally, &tally);
}

/* Every KEEP_EACH-th block stays where KEEP is: the heap grows from round to round. */
static void empty(const struct hand *hand, bool keep)
{
	int i;

	for (i = 0; i < hand->count; i++)
		if (!keep || i % KEEP_EACH)
			free(hand->block[i].p);
}

static void round_end(long number)
{
	struct probe_tally all = {0};
	double worst = 0;
	int i;

	for (i = 0; i < worker_count; i++) {
		if (workers[i].worst_percent > worst)
			worst = workers[i].worst_percent;
		workers[i].worst_percent = 0;
		probe_tally_add(&all, &workers[i].tally);
		for (int id = 0; id < NODES_MOST; id++)
			workers[i].seen |= (uint64_t)(workers[i].tally.on[id] > 0) << id;
		memset(&workers[i].tally, 0, sizeof(workers[i].tally));
	}
	probe_tally_add(&result.tally, &all);
	result.worst_percent = worst > result.worst_percent ? worst : result.worst_percent;
	probe_say("{\"round\": %ld, \"asked_bytes\": %llu, \"off_bytes\": %llu, \"percent\": %.2f, "
		  "\"worst_percent\": %.2f}",
		  number, (unsigned long long)all.asked, (unsigned long long)all.off,
		  probe_percent(&all), worst);
}

static void *steady(void *arg)
{
	struct worker *w = arg;
	long round;

	probe_pin(w->node);
	for (round = 0; round < with.rounds; round++) {
		fill(w, w->out);
		pthread_barrier_wait(&barrier);
		empty(w->in, true);
		if (w->number == 0)
			round_end(round);
		/* nobody fills its hand again before the next one has emptied it */
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

static void *mortal(void *arg)
{
	struct worker *w = arg;

	probe_pin(w->node);
	empty(w->in, false);
	fill(w, w->out);
	return NULL;
}

static void run_steady(void)
{
	pthread_t threads[THREADS_MOST];
	int i;

	pthread_barrier_init(&barrier, NULL, (unsigned)worker_count);
	for (i = 0; i < worker_count; i++) {
		workers[i].out = &hands[i];
		workers[i].in = &hands[(i + worker_count - 1) % worker_count];
		CHECK(pthread_create(&threads[i], NULL, steady, &workers[i]) == 0, "no thread");
	}
	for (i = 0; i < worker_count; i++)
		pthread_join(threads[i], NULL);
}

static void run_churn(void)
{
	long dead = 0, wave, round = 0;
	int i;

	for (wave = 0; dead < with.deaths; wave++) {
		struct hand *out = hands + (wave & 1) * worker_count;
		const struct hand *in = hands + (~wave & 1) * worker_count;
		pthread_t threads[THREADS_MOST];

		for (i = 0; i < worker_count; i++) {
			struct worker *w = &workers[(i + wave) % worker_count];

			w->out = &out[w->number];
			w->in = &in[(w->number + worker_count - 1) % worker_count];
			CHECK(pthread_create(&threads[i], NULL, mortal, w) == 0, "no thread");
		}
		for (i = 0; i < worker_count; i++)
			pthread_join(threads[i], NULL);
		dead += worker_count;
		if (dead / DEATHS_A_ROUND > round || dead >= with.deaths)
			round_end(round++);
	}
}

static void workers_make(void)
{
	int nodes[NODES_MOST], count = probe_cpu_nodes(nodes), i;

	worker_count = (int)(count * with.threads);
	CHECK(worker_count > 0 && worker_count <= THREADS_MOST, "%d threads", worker_count);
	workers = probe_own(sizeof(*workers) * (size_t)worker_count);
	hands = probe_own(sizeof(*hands) * 2 * (size_t)worker_count);
	for (i = 0; i < worker_count; i++) {
		workers[i].number = i;
		workers[i].node = nodes[i % count];
		workers[i].wanted =
			with.want ? with.want : (uint64_t)1 << probe_home(nodes[i % count]);
		workers[i].rnd = 88172645463325252ull + (uint64_t)i * 7919;
	}
}

static long number(const char *text, long most)
{
	char *end;
	long value = strtol(text, &end, 10);

	CHECK(*text && !*end && value > 0 && value <= most, "not a number of 1 to %ld: %s", most,
	      text);
	return value;
}

static const struct option known[] = {
	{"churn", required_argument, NULL, 'c'},
	{"rounds", required_argument, NULL, 'r'},
	{"threads", required_argument, NULL, 't'},
	{"blocks", required_argument, NULL, 'b'},
	{"want", required_argument, NULL, 'w'},
	{"ask-fd", required_argument, NULL, 'a'},
	{"large", no_argument, NULL, 'l'},
	{"spread", required_argument, NULL, 's'},
	{"report", no_argument, NULL, 'p'},
	{"forced", no_argument, NULL, 'f'},
	{"no-audit", no_argument, NULL, 'n'},
	{"roughly", no_argument, NULL, 'y'},
	{NULL, 0, NULL, 0},
};

static void options(int argc, char **argv)
{
	int option;
	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
		switch (option) {
		case 'c':
			with.deaths = number(optarg, 10000000);
			break;
		case 'r':
			with.rounds = number(optarg, 1000000);
			break;
		case 't':
			with.threads = number(optarg, THREADS_MOST);
			break;
		case 'b':
			with.blocks = number(optarg, BLOCKS_MOST);
			break;
		case 'w':
			with.want = probe_mask(optarg);
			break;
		case 'a':
			probe_ask_through((int)number(optarg, 1000));
			break;
		case 'l':
			with.large = true;
			break;
		case 's':
			with.spread = optarg;
			break;
		case 'y':
			with.roughly = true;
			break;
		case 'p':
			result.report = true;
			break;
		case 'f':
			result.may_be_forced = true;
			break;
		case 'n':
			result.no_audit = true;
			break;
		default:
			exit(2);
		}
	}
}

/* Each wanted node has its share of the bytes, give or take a third of it, and each thread is on several. */
static void spread_check(void)
{
	long shares[NODES_MOST] = {0}, all = 0, last = 1;
	const char *at = with.spread;
	int id;

	for (id = 0; id < NODES_MOST; id++) {
		if (!(with.want >> id & 1))
			continue;
		if (*at) {
			char *end;

			last = strtol(at, &end, 10);
			CHECK(end != at && last > 0, "not shares: %s", with.spread);
			at = *end ? end + 1 : end;
		}
		shares[id] = last;
		all += last;
	}
	for (id = 0; id < NODES_MOST; id++) {
		double has = (double)result.tally.on[id] / (double)result.tally.asked;
		double due = (double)shares[id] / (double)all;

		CHECK(with.roughly ? has >= due / 4 && has <= due * 2
				   : has >= due * 2 / 3 && has <= due * 4 / 3,
		      "node %d has %.0f %% of the bytes, %.0f %% due", id, 100 * has, 100 * due);
	}
	/* Threads on all nodes give each its share with local memory, too. */
	for (int i = 0; i < worker_count; i++)
		CHECK(workers[i].seen & (workers[i].seen - 1),
		      "thread %d has bytes on one node alone", i);
}

int main(int argc, char **argv)
{
	int i;

	probe_begin("place", 1200);
	options(argc, argv);
	if (!result.report)
		result.report = !probe_judges();
	workers_make();
	if (with.deaths)
		run_churn();
	else
		run_steady();
	for (i = 0; i < worker_count; i++)
		result.wrong_node_of += workers[i].wrong_node_of;
	if (with.spread && !result.report)
		spread_check();
	if (probe_hak.audit && probe_hak.audit() != 0)
		probe_fail("hak_audit found violations");
	return probe_end(&result);
}
