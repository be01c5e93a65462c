/* report.c - the snapshot as lines of text. */
#include <stdio.h>
#include <string.h>

#include "observe/snapshot.h"
#include "os/syscalls.h"

#define TEXT_BYTES 200

struct out {
	void (*line)(void *arg, const char *text);
	void *arg;
};

static void figure(struct out *o, const char *name, uint64_t value, const char *what)
{
	char text[TEXT_BYTES];
	if (!value)
		return;
	snprintf(text, sizeof(text), "%-22s %14llu  %s", name, (unsigned long long)value, what);
	o->line(o->arg, text);
}

static void memory(struct out *o, const struct hk_snapshot *s)
{
	size_t huge, resident;
	figure(o, "region_bytes", s->region_bytes, "address space reserved");
	figure(o, "committed_bytes", s->committed_bytes, "of it readable and writable");
	figure(o, "chunk_bytes", s->chunk_bytes, "in slabs and spans");
	figure(o, "span_bytes", s->span_bytes, "of these in spans");
	figure(o, "spans", s->spans, "blocks above 512 KiB");
	figure(o, "slabs", s->slabs, "slabs");
	figure(o, "partial_slabs", s->partial_slabs, "of these with room");
	figure(o, "slab_live_bytes", s->slab_live_bytes, "in blocks of slabs, bins and queues included");
	figure(o, "bin_bytes", s->bin_bytes, "cached in thread bins");
	figure(o, "free_chunk_bytes", s->free_chunk_bytes, "free in partial SuperSlabs");
	figure(o, "dirty_chunk_bytes", s->dirty_chunk_bytes, "of these resident");
	figure(o, "hugetlb_bytes", s->hugetlb_bytes, "on pages of the hugetlb pool, used or not");
	figure(o, "warm_bytes", s->warm_bytes, "free SuperSlabs kept resident");
	if (hk_report_huge(&huge, &resident)) {
		figure(o, "resident_bytes", resident, "of the region, by the kernel's account");
		figure(o, "huge_bytes", huge, "of these on huge pages");
	}
}

static void pool(struct out *o, const struct hk_pool_counters *p)
{
	figure(o, "super_warm", p->warm_supers_reused, "SuperSlabs taken from the warm cache");
	figure(o, "super_free", p->free_supers_reused, "free SuperSlabs taken that were not warm: purged ones, or committed ahead");
	figure(o, "super_os", p->supers_committed, "SuperSlabs committed: pages asked of the OS");
	figure(o, "super_broken", p->broken_supers, "SuperSlabs whose huge page was split by a purge");
	figure(o, "hugetlb_refused", p->hugetlb_refused, "SuperSlabs asked of the hugetlb pool and not had");
	figure(o, "purges", p->purges, "kernel calls that gave memory back");
	figure(o, "purge_failures", p->purge_failures, "of these refused");
	figure(o, "purged_bytes", p->purged_bytes, "given back");
	figure(o, "span_grown_in_place", p->spans_grown, "large spans grown in place");
	figure(o, "span_moved_pages", p->spans_moved, "spans whose pages were moved");
	figure(o, "super_promoted", p->promoted, "first SuperSlabs given a huge page when the process outgrew them");
	figure(o, "pool_fallbacks", p->fallbacks, "requests that another node's pool served");
	figure(o, "pool_out_of_memory", p->out_of_memory, "requests that the pool could not serve");
}

void hk_report(void (*line)(void *arg, const char *text), void *arg)
{
	struct out o = {line, arg};
	struct hk_snapshot s;
	hk_snapshot(&s);
	figure(&o, "malloc_blocks", s.malloc_blocks, "blocks handed out");
	figure(&o, "free_blocks", s.free_blocks, "blocks taken back");
	figure(&o, "heaps", s.heaps, "heaps made");
	figure(&o, "heaps_live", s.heaps_live, "with a thread");
	figure(&o, "heaps_parked", s.heaps_parked, "waiting for one");
	figure(&o, "heaps_quarantined", s.heaps_quarantined, "lost to a fork in the middle of a change");
	memory(&o, &s);
	pool(&o, &s.pool);
#define HK_COUNTER(name, what) figure(&o, #name, s.sum.name, what);
#include "observe/counters.def"
#undef HK_COUNTER
}

/* ---- what the kernel did, from smaps ---- */

struct smaps {
	bool inside; /* the mapping at hand is part of the region */
	size_t huge_kib, resident_kib;
};

static size_t number(const char *s, unsigned base)
{
	size_t x = 0;
	s += strspn(s, " ");
	for (;; s++) {
		unsigned digit = *s >= '0' && *s <= '9'   ? (unsigned)(*s - '0')
				 : *s >= 'a' && *s <= 'f' ? (unsigned)(*s - 'a') + 10
							  : 99;
		if (digit >= base)
			return x;
		x = x * base + digit;
	}
}

static void smaps_line(struct smaps *m, const char *line)
{
	const char *dash = strchr(line, '-'), *colon = strchr(line, ':');
	if (dash && strspn(line, "0123456789abcdef-") > (size_t)(dash - line) + 1) {
		m->inside = number(line, 16) - hk_region.base < (size_t)hk_region.stripes << hk_region.stripe_shift;
		return;
	}
	if (!m->inside || !colon)
		return;
	if (!strncmp(line, "Rss:", 4))
		m->resident_kib += number(colon + 1, 10);
	else if (!strncmp(line, "AnonHugePages:", 14))
		m->huge_kib += number(colon + 1, 10);
	else if (!strncmp(line, "Private_Hugetlb:", 16)) {
		m->huge_kib += number(colon + 1, 10);
		m->resident_kib += number(colon + 1, 10); /* Rss has none of them */
	}
}

bool hk_report_huge(size_t *huge_bytes, size_t *resident_bytes)
{
	struct smaps m = {false, 0, 0};
	char buf[4096 + 1];
	size_t have = 0;
	ssize_t got;
	int fd = hk_sys_open("/proc/self/smaps", O_RDONLY);
	if (fd < 0)
		return false;
	while ((got = hk_sys_read(fd, buf + have, sizeof(buf) - 1 - have)) > 0) {
		char *line = buf, *end;
		have += (size_t)got;
		buf[have] = 0;
		while ((end = strchr(line, '\n'))) {
			*end = 0;
			smaps_line(&m, line);
			line = end + 1;
		}
		have -= (size_t)(line - buf);
		if (have == sizeof(buf) - 1)
			have = 0; /* a line longer than any of interest */
		memmove(buf, line, have);
	}
	hk_sys_close(fd);
	*huge_bytes = m.huge_kib << 10;
	*resident_bytes = m.resident_kib << 10;
	return true;
}
