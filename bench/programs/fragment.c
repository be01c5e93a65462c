/* fragment.c - a server that lives an hour in some seconds: 60 "minutes" in which the mix of sizes
 * wanders between 16 bytes and 8 KiB, sessions and a cache turn over, and the load falls at night.
 * rss_over_live has one figure a minute: what is resident, less what was before the first block,
 * over the bytes that are live. The cache is bounded in bytes, so that every allocator holds the
 * same. Long-lived threads;
 * every fifth minute each gets the sessions of the next one. */
#include "frame.h"
#include "series.h"

#include <math.h>
#include <pthread.h>
#include <string.h>

enum { MINUTES = 60, REQUEST_BLOCKS = 8 };

static struct hk_param params[] = {
	{"sessions", 20000, 0, 1, 1 << 22, "sessions of a thread"},
	{"cache_mib", 32, 0, 1, 1 << 14, "bytes of a thread's cache in MiB"},
	{0},
};

struct slot {
	void *p;
	size_t size;
};

/* A thread's part of the server. */
struct part {
	struct slot *sessions, *cache;
	size_t session_count, cache_slots, cache_limit;
	size_t live, cache_live;         /* bytes */
} __attribute__((aligned(128)));

static struct part *parts;
static pthread_barrier_t minute_end;
static struct hk_series ratios, live_mib;
static long base_kib;
static double worst, last;

static void slot_free(struct part *p, struct slot *s)
{
	if (!s->p)
		return;
	hk_put(s->p, s->size);
	p->live -= s->size;
	s->p = NULL;
}

static void slot_fill(struct part *p, struct slot *s, size_t size)
{
	s->size = size;
	s->p = hk_get(size);
	memset((char *)s->p + 8, 0x77, size - 8);
	p->live += size;
}

/* Of the minute: most sizes within a factor of 4 of what wanders, a tenth anywhere. */
static size_t size_pick(uint64_t *random, unsigned int shift)
{
	if (hk_pick(random, 0, 9) == 0)
		return hk_pick_log(random, 16, 16384);
	return hk_pick_log(random, (size_t)1 << (shift - 1), (size_t)1 << (shift + 1));
}

/* Makes room, then puts a block of SIZE in. */
static void cache_add(struct part *p, uint64_t *random, size_t size, size_t limit)
{
	struct slot *s = &p->cache[hk_pick(random, 0, p->cache_slots - 1)];

	if (s->p)
		p->cache_live -= s->size;
	slot_free(p, s);
	for (size_t tries = 0; p->cache_live + size > limit && tries < 64; tries++) {
		struct slot *old = &p->cache[hk_pick(random, 0, p->cache_slots - 1)];

		if (old->p)
			p->cache_live -= old->size;
		slot_free(p, old);
	}
	if (p->cache_live + size > limit)
		return;
	slot_fill(p, s, size);
	p->cache_live += size;
}

static void request(struct part *p, uint64_t *random, unsigned int shift, size_t limit)
{
	struct slot scratch[REQUEST_BLOCKS];
	struct slot *session = &p->sessions[hk_pick(random, 0, p->session_count - 1)];

	for (int i = 0; i < REQUEST_BLOCKS; i++)
		slot_fill(p, &scratch[i], size_pick(random, shift));
	slot_free(p, session);
	slot_fill(p, session, size_pick(random, shift));
	cache_add(p, random, size_pick(random, shift), limit);
	for (int i = 0; i < REQUEST_BLOCKS; i++)
		slot_free(p, &scratch[i]);
}

static void minute_note(struct hk_frame *f)
{
	size_t live = 0;

	for (int i = 0; i < f->threads; i++)
		live += parts[i].live;
	last = (double)(hk_resident_about_kib() - base_kib) / ((double)live / 1024);
	worst = last > worst ? last : worst;
	hk_series_add(&ratios, (double)(long)(last * 1000) / 1000);
	hk_series_add(&live_mib, (double)(live >> 20));
}

/* All others wait at the barrier: each thread gets the next one's sessions, and frees over time what
 * that one made. */
static void sessions_move(int threads)
{
	struct slot *first = parts[0].sessions;
	size_t first_live = 0;

	for (int i = 0; i < threads; i++) {
		struct part *p = &parts[i];
		size_t live = 0;

		for (size_t k = 0; k < p->session_count; k++)
			live += p->sessions[k].p ? p->sessions[k].size : 0;
		p->live -= live;
		if (i == 0)
			first_live = live;
		else
			parts[i - 1].live += live;
		p->sessions = i + 1 < threads ? parts[i + 1].sessions : first;
	}
	parts[threads - 1].live += first_live;
}

static void part_empty(struct part *p)
{
	for (size_t i = 0; i < p->session_count; i++)
		slot_free(p, &p->sessions[i]);
	for (size_t i = 0; i < p->cache_slots; i++)
		slot_free(p, &p->cache[i]);
}

static void body(struct hk_worker *w)
{
	struct part *p = &parts[w->index];

	hk_ready(w);
	for (int minute = 0; minute < MINUTES; minute++) {
		unsigned int shift = 8 + (unsigned int)lround(3.4 * sin(minute * 6.2831853 / 17));
		int night = minute >= 40 && minute < 50;
		size_t limit = night ? p->cache_limit / 4 : p->cache_limit;

		for (uint64_t i = night ? w->f->count / 2 : 0; i < w->f->count; i++)
			request(p, &w->random, shift, limit);
		w->ops += night ? w->f->count - w->f->count / 2 : w->f->count;
		pthread_barrier_wait(&minute_end);
		if (w->index == 0) {
			minute_note(w->f);
			if (minute % 5 == 4)
				sessions_move(w->f->threads);
		}
		pthread_barrier_wait(&minute_end);
	}
	hk_done(w);
	part_empty(p);
}

static void run(struct hk_frame *f)
{
	size_t sessions = hk_param(f, "sessions"), limit = hk_param(f, "cache_mib") << 20;
	size_t slots = limit / 256;

	parts = hk_table_get(f->threads * sizeof(*parts));
	for (int i = 0; i < f->threads; i++)
		parts[i] = (struct part){.session_count = sessions, .cache_slots = slots,
			.cache_limit = limit, .sessions = hk_table_get(sessions * sizeof(struct slot)),
			.cache = hk_table_get(slots * sizeof(struct slot))};
	pthread_barrier_init(&minute_end, NULL, f->threads);
	base_kib = hk_resident_about_kib();
	hk_threads_run(f, f->threads, body);
	for (int i = 0; i < f->threads; i++) {
		hk_table_drop(parts[i].sessions, sessions * sizeof(struct slot));
		hk_table_drop(parts[i].cache, slots * sizeof(struct slot));
	}
	hk_table_drop(parts, f->threads * sizeof(*parts));
	hk_field(f, "rss_over_live_worst", "%.3f", worst);
	hk_field(f, "rss_over_live_last", "%.3f", last);
	hk_field(f, "rss_over_live", "[%s]", ratios.text);
	hk_field(f, "live_mib", "[%s]", live_mib.text);
}

int main(int argc, char **argv)
{
	static const struct hk_program program = {.name = "fragment",
		.what = "A server's hour: a mix of sizes that wanders; resident over live bytes.",
		.op = "a request of 10 blocks", .unit = "requests a thread and minute",
		.params = params, .threads = 2, .count = 20000, .only_count = 1, .no_warm = 1,
		.run = run};

	return hk_frame_main(&program, argc, argv);
}
