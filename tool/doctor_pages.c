/* doctor_pages.c - transparent huge pages and hugetlb pools. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "doctor.h"

#define THP "/sys/kernel/mm/transparent_hugepage"

static void check_mode(struct hk_findings *f)
{
	char mode[32];
	const char *why =
		"hakmem asks for huge pages by madvise; without them large heaps miss the TLB";
	if (!hk_sys_choice(mode, sizeof(mode), THP "/enabled")) {
		hk_found(f, HK_ADVICE, "thp", hk_format("not in this kernel"), why,
			 "a kernel with CONFIG_TRANSPARENT_HUGEPAGE");
		return;
	}
	hk_found(f, strcmp(mode, "never") ? HK_GOOD : HK_ADVICE, "thp", hk_format("%s", mode), why,
		 "echo madvise > " THP "/enabled");
}

static void check_defrag(struct hk_findings *f)
{
	char mode[32];
	if (!hk_sys_choice(mode, sizeof(mode), THP "/defrag"))
		return;
	hk_found(
		f, strcmp(mode, "always") ? HK_GOOD : HK_ADVICE, "thp-defrag",
		hk_format("%s", mode),
		"with no huge page free: 'always' stalls every program's fault to compact memory, 'madvise' and "
		"'defer+madvise' those that asked (hakmem), 'defer' none",
		"echo defer+madvise > " THP "/defrag");
}

/* Sizes below 2 MiB (multi-size THP, kernel 6.8) and whether the 2 MiB size follows the mode. */
static void check_sizes(struct hk_findings *f)
{
	char on[256] = "", mode[32];
	size_t used = 0;
	for (unsigned kib = 8; kib < 2048; kib *= 2)
		if (hk_sys_choice(mode, sizeof(mode), THP "/hugepages-%ukB/enabled", kib) &&
		    strcmp(mode, "never") && used < sizeof(on))
			used += (size_t)snprintf(on + used, sizeof(on) - used, "%s%u KiB %s",
						 used ? ", " : "", kib, mode);
	if (!hk_sys_choice(mode, sizeof(mode), THP "/hugepages-2048kB/enabled")) {
		hk_found(f, HK_GOOD, "thp-sizes", hk_format("one size (kernel before 6.8)"),
			 "newer kernels have a switch for each size; hakmem wants 2 MiB", NULL);
		return;
	}
	hk_found(
		f, strcmp(mode, "never") ? HK_GOOD : HK_ADVICE, "thp-sizes",
		hk_format("2 MiB %s%s%s", mode, *on ? ", " : "; smaller sizes off", on),
		"hakmem's SuperSlabs are 2 MiB: 'never' for that size keeps huge pages away whatever the mode is",
		"echo inherit > " THP "/hugepages-2048kB/enabled");
}

/* A virtual machine that tells its host which blocks of memory are free. */
static void check_reporting(struct hk_findings *f)
{
	uint64_t order;
	if (hk_sys_number(&order, "/sys/module/page_reporting/parameters/page_reporting_order") && order < 32)
		hk_found(f, HK_GOOD, "page-reporting", hk_format("free blocks of 2^%u pages go back to the host", (unsigned)order),
			 "the host takes such a block's memory away, and the first touch of a huge page there waits for all of "
			 "it again (milliseconds); a short-lived program may do better with a larger HAKMEM_STARTER_MIB",
			 NULL);
}

static void check_disabled(struct hk_findings *f)
{
	int off = prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0);
	hk_found(
		f, off > 0 ? HK_ADVICE : HK_GOOD, "thp-process",
		hk_format(off > 0 ? "switched off" : "on"),
		"prctl(PR_SET_THP_DISABLE), which is inherited, keeps transparent huge pages from this process",
		"take PR_SET_THP_DISABLE out of what started this shell or service");
}

/* "node 0: 32/32, node 1: 0/0" free of all, and whether some have pages and others don't. */
static char *pools_text(const struct hk_machine *m, enum hk_page_kind kind, bool *any, bool *uneven)
{
	char *text = NULL;
	bool empty = false;
	*any = false;
	for (unsigned i = 0; i < m->count; i++) {
		const struct hk_tool_node *n = &m->node[i];
		if (!n->memory_bytes || !n->pages[kind].known)
			continue;
		char *longer =
			hk_format("%s%snode %u %llu/%llu", text ? text : "", text ? ", " : "",
				  n->os, (unsigned long long)n->pages[kind].free,
				  (unsigned long long)n->pages[kind].all);
		free(text);
		text = longer;
		*any |= n->pages[kind].all != 0;
		empty |= !n->pages[kind].all;
	}
	*uneven = *any && empty;
	return text;
}

static void check_pools(struct hk_findings *f, enum hk_page_kind kind, const char *name)
{
	bool any, uneven;
	char *pools = pools_text(f->machine, kind, &any, &uneven);
	char *set = hk_format("echo N > /sys/devices/system/node/nodeX/hugepages/%s/nr_hugepages",
			      hk_page_dir[kind]);
	char *is = !pools ? hk_format("none in this kernel")
		   : any  ? hk_format("free/all %s", pools)
			  : hk_format("empty");
	hk_found(
		f, uneven ? HK_ADVICE : HK_GOOD, name, is,
		uneven ? "HAKMEM_HUGE=hugetlb takes pages of the thread's node: nodes without any fall back to "
			 "ordinary memory"
		       : "for HAKMEM_HUGE=hugetlb alone, which is opt-in; `hakmem run --hugepages N` fills it for a run",
		set);
	free(set);
	free(pools);
}

void hk_check_pages(struct hk_findings *f)
{
	check_mode(f);
	check_defrag(f);
	check_sizes(f);
	check_disabled(f);
	check_reporting(f);
	check_pools(f, HK_PAGES_2M, "hugetlb-2M");
	check_pools(f, HK_PAGES_1G, "hugetlb-1G");
}
