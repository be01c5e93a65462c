/* audit.c - `hakmem audit PID`: where the memory of a running process is, pool by pool, by the kernel's own
 * account (numa_maps). Stops nothing in the process and calls nothing there; what it reads may change
 * under its eyes, so figures are of about one moment. Memory that a program gave to an arena itself is
 * not of a pool and not in it. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "api/root.h"
#include "arena/region.h"
#include "hakmem/hakmem.h"
#include "machine.h"
#include "numa/node.h"
#include "process.h"

static const char help[] =
	"usage: hakmem audit PID\n"
	"\n"
	"Asks the kernel where the memory of a process is that runs on hakmem: a line for each\n"
	"pool, with its node, what is resident, and what of that is on other nodes.\n"
	"'spread' is the pool of policies over several nodes: nothing there is off.\n"
	"Run it as root or, where kernel.yama.ptrace_scope allows, as the process's user.\n"
	"\n"
	"At a program's end: hakmem run --verbose -- PROGRAM\n"
	"In it: hak_numa_audit(3). See hakmem(1).\n";

#define ROOT_NUMA \
	80 /* where struct hak_root has its struct hk_numa: kept by tests/abi/layout.txt */

struct pool_row {
	uint64_t resident, off;
	uint64_t *at; /* bytes by node */
};

struct audit {
	int pid;
	struct hk_region region;
	struct hk_numa numa;
	unsigned nodes_end; /* ids seen are below it */
	struct pool_row row[HK_NODES_MAX];
};

static void need_read(int pid, const void *at, void *out, size_t bytes)
{
	struct iovec here = {out, bytes}, there = {(void *)at, bytes};
	ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);
	if (got == (ssize_t)bytes)
		return;
	if (got < 0 && errno == EPERM)
		hk_die(HK_EXIT_FAILED, "process %d may not be read: sudo hakmem audit %d", pid,
		       pid);
	hk_die(HK_EXIT_FAILED, "process %d cannot be read: %s", pid,
	       got < 0 ? strerror(errno) : "its memory ends there");
}

static void read_process(struct audit *a)
{
	struct hak_root root;
	const void *numa = NULL;
	uintptr_t where = hk_process_symbol(a->pid, "hak_root");
	if (!where)
		hk_die(HK_EXIT_FAILED,
		       "process %d is not served by hakmem: none of its files has it", a->pid);
	need_read(a->pid, (const void *)where, &root, sizeof(root));
	if (root.magic != HAK_ROOT_MAGIC || root.version != HAK_ROOT_VERSION ||
	    root.library_version != HAK_VERSION || root.bytes < ROOT_NUMA + sizeof(numa))
		hk_die(HK_EXIT_FAILED,
		       "process %d runs another version of hakmem: take the tool that came with it",
		       a->pid);
	need_read(a->pid, (const char *)where + ROOT_NUMA, &numa, sizeof(numa));
	need_read(a->pid, root.region, &a->region, sizeof(a->region));
	need_read(a->pid, numa, &a->numa, sizeof(a->numa));
	if (!a->region.base)
		hk_die(HK_EXIT_FAILED, "process %d has not allocated anything yet", a->pid);
	if (a->numa.pools > HK_NODES_MAX || a->region.stripes > HK_POOLS_MAX ||
	    a->region.stripe_shift > 46)
		hk_die(HK_EXIT_FAILED, "process %d: what it says of itself makes no sense", a->pid);
}

/* "N1=300" of a line of numa_maps: pages of node 1. */
static void add_word(struct audit *a, unsigned pool, const char *word, uint64_t page_bytes)
{
	unsigned node;
	unsigned long long pages;
	int os = a->numa.os[pool];
	if (sscanf(word, "N%u=%llu", &node, &pages) != 2 || node >= HK_NODES_LIMIT)
		return;
	struct pool_row *row = &a->row[pool];
	if (!row->at)
		row->at = hk_need(calloc(HK_NODES_LIMIT, sizeof(*row->at)));
	row->at[node] += pages * page_bytes;
	row->resident += pages * page_bytes;
	if (os >= 0 && (int)node != os)
		row->off += pages * page_bytes;
	if (node >= a->nodes_end)
		a->nodes_end = node + 1;
}

/* A mapping never has memory of two pools: what lies between two stripes' memory is mapped otherwise. */
static void add_line(struct audit *a, char *line)
{
	unsigned long long page_kib = 4;
	char *rest, *size = strstr(line, "kernelpagesize_kB=");
	uintptr_t start = strtoul(line, &rest, 16);
	size_t stripe = (start - a->region.base) >> a->region.stripe_shift;
	if (rest == line || start < a->region.base || stripe >= a->region.stripes)
		return;
	if (size)
		page_kib = strtoull(size + strlen("kernelpagesize_kB="), NULL, 10);
	unsigned pool = (unsigned)(stripe < a->region.nodes ? stripe : stripe - a->region.nodes);
	if (pool >= a->numa.pools)
		return;
	for (char *save, *word = strtok_r(rest, " \n", &save); word;
	     word = strtok_r(NULL, " \n", &save))
		add_word(a, pool, word, page_kib << 10);
}

static void print(const struct audit *a)
{
	char resident[24], off[24], name[16];
	uint64_t sum = 0, all = 0;
	printf("%-7s  %10s  %10s  %s\n", "node", "resident", "off node", "by node");
	for (unsigned p = 0; p < a->numa.pools; p++) {
		const struct pool_row *row = &a->row[p];
		int os = a->numa.os[p];
		snprintf(name, sizeof(name), os < 0 ? "%s" : "%.0s%d",
			 a->numa.pools > 1 ? "spread" : "any", os);
		hk_size_text(resident, sizeof(resident), row->resident);
		hk_size_text(off, sizeof(off), row->off);
		printf("%-7s  %10s  %10s ", name, resident, os < 0 ? "-" : off);
		for (unsigned n = 0; row->at && n < a->nodes_end; n++)
			if (row->at[n])
				printf(" %u:%llu", n, (unsigned long long)row->at[n]);
		printf("%s\n", row->resident ? "" : " -");
		sum += row->off;
		all += row->resident;
	}
	printf("%llu of %llu resident bytes are off their node\n", (unsigned long long)sum,
	       (unsigned long long)all);
}

int hk_audit(int argc, char **argv)
{
	static const struct option options[] = {{"help", no_argument, NULL, 'h'}, {0}};
	static struct audit a;
	uint64_t pid;
	int c;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c != 'h')
			hk_option_refused(c, argv, options);
		fputs(help, stdout);
		hk_output_end();
		return 0;
	}
	if (optind + 1 != argc)
		hk_die(HK_EXIT_USAGE, "which process? hakmem audit PID");
	if (!hk_number(argv[optind], 1, INT32_MAX, &pid))
		hk_die(HK_EXIT_USAGE, "'%s' is no process number", argv[optind]);
	a.pid = (int)pid;
	read_process(&a);
	char *text = hk_sys_text("/proc/%d/numa_maps", a.pid);
	if (!text && errno == ENOENT && kill(a.pid, 0) && errno == ESRCH)
		hk_die(HK_EXIT_FAILED, "no process %d any more", a.pid);
	if (!text)
		hk_die(HK_EXIT_FAILED, "/proc/%d/numa_maps cannot be read: %s", a.pid,
		       errno == ENOENT ? "this kernel has no NUMA" : strerror(errno));
	for (char *save, *line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		add_line(&a, line);
	free(text);
	print(&a);
	hk_output_end();
	return 0;
}
