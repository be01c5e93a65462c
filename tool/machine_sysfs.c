/* machine_sysfs.c - what sysfs says of nodes. Everything may be missing: a kernel without NUMA has none
 * of it, another machine's files are as complete as whoever gathered them made them. */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODES "/sys/devices/system/node"

static void insert_missing(unsigned os, void *arg)
{
	struct hk_machine *m = arg;
	if (hk_machine_find(m, os) < 0)
		hk_machine_insert(m, os);
}

static void add_cpu(unsigned cpu, void *arg)
{
	hwloc_bitmap_set(arg, cpu);
}

static void read_cpus(struct hk_tool_node *n)
{
	char *list = hk_sys_text(NODES "/node%u/cpulist", n->os);
	if (!list)
		return;
	list[strcspn(list, "\n")] = 0;
	hwloc_bitmap_zero(n->cpus);
	if (*list && !hk_list(list, 1u << 20, add_cpu, n->cpus))
		hk_warn("node %u: sysfs has a malformed list of processors: %s", n->os, list);
	free(list);
}

/* "Node 0 MemFree:  123 kB" */
static bool memory_field(const char *text, const char *key, uint64_t *out)
{
	char line[64];
	if (!hk_sys_field(text, key, line, sizeof(line)))
		return false;
	line[strcspn(line, " ")] = 0;
	if (!hk_number(line, 0, UINT64_MAX >> 10, out))
		return false;
	*out <<= 10;
	return true;
}

static void read_memory(struct hk_tool_node *n)
{
	char *text = hk_sys_text(NODES "/node%u/meminfo", n->os);
	n->free_known = memory_field(text, "MemFree:", &n->free_bytes);
	/* The whole node, pages of the hugetlb pools as well. */
	memory_field(text, "MemTotal:", &n->memory_bytes);
	free(text);
}

static void read_pages(struct hk_tool_node *n)
{
	for (int kind = 0; kind < HK_PAGE_KINDS; kind++) {
		struct hk_pages *p = &n->pages[kind];
		p->known = hk_sys_number(&p->all, NODES "/node%u/hugepages/%s/nr_hugepages", n->os,
					 hk_page_dir[kind]) &&
			   hk_sys_number(&p->free, NODES "/node%u/hugepages/%s/free_hugepages",
					 n->os, hk_page_dir[kind]);
	}
}

void hk_machine_add_sysfs(struct hk_machine *m)
{
	char *online = hk_sys_text(NODES "/online");
	if (online) {
		online[strcspn(online, "\n")] = 0;
		if (!hk_list(online, HK_NODES_LIMIT, insert_missing, m))
			hk_die(HK_EXIT_FAILED, NODES "/online has no list of nodes: '%s'", online);
		m->online = online;
	}
	for (unsigned i = 0; i < m->count; i++) {
		read_cpus(&m->node[i]);
		read_memory(&m->node[i]);
		read_pages(&m->node[i]);
	}
	if (!m->foreign)
		hk_sys_line(m->boot, sizeof(m->boot), "/proc/sys/kernel/random/boot_id");
}

/* One number for each online node, in the order of their ids. */
void hk_machine_add_distances(struct hk_machine *m)
{
	for (unsigned i = 0; i < m->count; i++) {
		char *text = hk_sys_text(NODES "/node%u/distance", m->node[i].os);
		char *word = text ? strtok(text, " \n") : NULL;
		for (unsigned j = 0; word && j < m->count; j++, word = strtok(NULL, " \n")) {
			uint64_t d;
			if (!m->node[i].distance[j] && hk_number(word, 1, 255, &d))
				m->node[i].distance[j] = (unsigned)d;
		}
		free(text);
	}
}

bool hk_machine_is_numa(void)
{
	char *online = hk_sys_text(NODES "/online");
	bool several = online && strpbrk(online, "-,");
	free(online);
	return several;
}
