/* audit.c - asks the kernel where pages are (move_pages that moves nothing), in batches, without a
 * lock: a SuperSlab that is given back meanwhile is a hole, and holes don't count. */
#include "observe/audit.h"

#include <stdio.h>
#include <string.h>

#include "heap/process.h"
#include "numa/node.h"
#include "observe/options.h"
#include "observe/snapshot.h"
#include "tiny/busy.h"

#define BATCH 512u
#define VERBOSE_MS 1000u

struct batch {
	void *page[BATCH];
	unsigned bytes[BATCH]; /* that the page stands for */
	int node[BATCH];
	unsigned count;
	uint64_t small_off, huge_off; /* pages that were off */
	int os; /* the node where they should be */
};

static int ask(struct batch *b, struct hk_placement *sum)
{
	int rc = b->count ? hk_os_page_nodes(b->page, b->count, b->node) : 0;
	if (rc)
		return rc;
	sum->pages_asked += b->count;
	for (unsigned i = 0; i < b->count; i++) {
		if (b->node[i] < 0)
			continue;
		sum->resident_bytes += b->bytes[i];
		if (b->node[i] == b->os)
			continue;
		sum->off_bytes += b->bytes[i];
		b->small_off += b->bytes[i] == HK_PAGE_BYTES;
		b->huge_off += b->bytes[i] == HK_SUPER_BYTES;
	}
	b->count = 0;
	return 0;
}

bool hk_all_huge(void)
{
	size_t huge, resident, small = 0;
	if (!hk_region.huge || !hk_report_huge(&huge, &resident))
		return false;
	for (unsigned p = 0; p < hk_region.stripes; p++)
		for (size_t i = hk_stripe_first(p); i < hk_stripe_end(p); i++)
			if (hk_super_at(i)->flags & (HK_SUPER_SMALL | HK_SUPER_BROKEN))
				small += HK_SUPER_BYTES;
	return resident <= huge + small;
}

/* Asks about the SuperSlabs of one stripe. */
static int walk(unsigned stripe, bool huge, uint32_t until_ms, struct batch *b, struct hk_placement *sum)
{
	int rc = 0;
	for (size_t i = hk_stripe_first(stripe); i < hk_stripe_end(stripe) && !rc; i++) {
		const struct hk_super *s = hk_super_at(i);
		bool one = huge && !(s->flags & (HK_SUPER_SMALL | HK_SUPER_BROKEN));
		uint8_t state = hk_load(&s->state);
		if (state == HK_SUPER_NONE || (state == HK_SUPER_FREE && s->zero == ~0u))
			continue; /* nothing there */
		if (sum->supers_seen && (int32_t)(hk_os_clock_ms() - until_ms) > 0) {
			sum->supers_skipped++;
			continue;
		}
		sum->supers_seen++;
		for (size_t at = 0; at < HK_SUPER_BYTES && !rc; at += one ? HK_SUPER_BYTES : HK_PAGE_BYTES) {
			b->page[b->count] = (void *)(hk_super_base(i) + at);
			b->bytes[b->count++] = one ? HK_SUPER_BYTES : HK_PAGE_BYTES;
			if (b->count == BATCH)
				rc = ask(b, sum);
		}
	}
	return rc ? rc : ask(b, sum);
}

int hk_placement(unsigned node, bool huge, uint32_t until_ms, struct hk_placement *sum)
{
	struct batch b = {.os = hk_numa.os[node]};
	if (b.os < 0)
		return 0; /* several nodes: nowhere off */
	int rc = walk(node, huge, until_ms, &b, sum);
	if (!rc)
		rc = walk(hk_region.nodes + node, huge, until_ms, &b, sum);
	if (b.small_off + b.huge_off) {
		/* An event is an allocation of one page; which size is not told, so the large ones come first. */
		uint64_t events = hk_node_turned_away(node) - hk_numa.turned_away[node];
		uint64_t forced = hk_min(events, b.huge_off);
		sum->forced_bytes += forced * HK_SUPER_BYTES + hk_min(events - forced, b.small_off) * HK_PAGE_BYTES;
	}
	return rc;
}

static void add_pool(struct hk_node_figures *out, unsigned index)
{
	struct hk_pool *pool = &hk_pools[index];
	hk_lock(&pool->lock);
	size_t committed = hk_region.stripe[index].committed_bytes;
	size_t cut = hk_align_up(committed, HK_SUPER_BYTES) - committed;
	out->used_supers += pool->used_supers;
	out->warm_bytes += (pool->warm_supers + pool->kept_supers) << HK_SUPER_SHIFT;
	out->committed_bytes += committed;
	out->used_bytes += (pool->used_supers << HK_SUPER_SHIFT) - (pool->free_chunks << HK_CHUNK_SHIFT) - cut;
	out->hugetlb_bytes += pool->hugetlb_supers << HK_SUPER_SHIFT;
	out->fallbacks += hk_load(&pool->count.fallbacks);
	hk_unlock(&pool->lock);
}

void hk_node_figures(unsigned index, struct hk_node_figures *out)
{
	uint32_t made = hk_min(hk_load(&hk_heaps_made), HK_HEAPS_MAX);
	struct hk_heap *me = hk_heap_ordinary();
	memset(out, 0, sizeof(*out));
	if (hk_pools_are_mine())
		return;
	uint8_t was = hk_busy_begin(me);
	add_pool(out, index);
	add_pool(out, hk_region.nodes + index);
	hk_busy_end(me, was);
	for (uint32_t i = 0; i < made; i++)
		if (hk_load_acq(&hk_heap_states[i]) != HK_HEAP_NONE && hk_heap_at(i)->node == index)
			hk_counters_add(&out->sum, &hk_heap_at(i)->count);
}

struct out {
	void (*line)(void *arg, const char *text);
	void *arg;
};

static void report_pool(struct out *o, unsigned index, bool huge)
{
	struct hk_placement at = {0};
	struct hk_node_figures f;
	char text[360], where[100];
	hk_node_figures(index, &f);
	bool knows = hk_numa.os[index] < 0 || hk_node_may_call();
	int rc = knows ? hk_placement(index, huge, hk_os_clock_ms() + VERBOSE_MS, &at) : -1;
	if (rc)
		snprintf(where, sizeof(where), "off_node_bytes=unknown forced_bytes=unknown");
	else
		snprintf(where, sizeof(where), "off_node_bytes=%llu forced_bytes=%llu skipped_supers=%llu",
			 (unsigned long long)at.off_bytes, (unsigned long long)at.forced_bytes,
			 (unsigned long long)at.supers_skipped);
	snprintf(text, sizeof(text),
		 "numa node=%d supers=%zu used_bytes=%zu %s fallbacks=%llu remote_frees=%llu "
		 "remote_adoptions=%llu migrations=%llu",
		 hk_numa.os[index], f.used_supers, f.used_bytes, where, (unsigned long long)f.fallbacks,
		 (unsigned long long)f.sum.ss_remote, (unsigned long long)f.sum.refill_far,
		 (unsigned long long)f.sum.heap_moves);
	o->line(o->arg, text);
}

void hk_report_nodes(void (*line)(void *arg, const char *text), void *arg)
{
	struct out o = {line, arg};
	char text[300];
	int at = snprintf(text, sizeof(text), "numa provider=%s policy=%s%s refused=%llu nodes=", hk_numa.provider,
			  hk_policy_word(hk_numa.policy.kind), hk_numa.own ? " (the process's own)" : "",
			  (unsigned long long)hk_load(&hk_numa.refused));
	for (unsigned i = 0; i < hk_numa.node_pools && at < (int)sizeof(text) - 8; i++)
		at += snprintf(text + at, sizeof(text) - (size_t)at, i ? ",%d" : "%d", hk_numa.os[i]);
	line(arg, text);
	bool huge = hk_numa.pools > 1 && hk_all_huge();
	for (unsigned i = 0; i < hk_node_count(); i++)
		report_pool(&o, i, huge);
}
