/* machine.h - the nodes of a machine, as hwloc finds them, with what sysfs has beyond that.
 *
 * hwloc gives nodes that have memory, how far they are from each other and, where the kernel knows
 * them, bandwidth and latency. Nodes without memory come from sysfs, and so do the processors of each
 * node: hwloc gives a node without processors those that are nearest.
 * HWLOC_XMLFILE, HWLOC_SYNTHETIC and HWLOC_FSROOT show another machine, to look at: nothing of it is
 * ever saved or handed over.
 */
#ifndef HK_TOOL_MACHINE_H
#define HK_TOOL_MACHINE_H

#include <hwloc.h>

#include "tool.h"

#define HK_NODES_LIMIT 4096u /* ids are below it */

enum hk_page_kind { HK_PAGES_2M, HK_PAGES_1G, HK_PAGE_KINDS };

enum hk_use { HK_USE_YES, HK_USE_NOT_BY_CPUSET, HK_USE_NOT_BY_POLICY };

struct hk_pages {
	bool known;
	uint64_t all, free;
};

struct hk_tool_node {
	unsigned os;         /* the kernel's id */
	bool by_hwloc;       /* else sysfs alone knows it */
	hwloc_bitmap_t cpus; /* its own, online */
	uint64_t memory_bytes;
	bool free_known;
	uint64_t free_bytes;
	struct hk_pages pages[HK_PAGE_KINDS];
	enum hk_use use;
	unsigned tier;           /* 0: best memory of the machine */
	uint64_t bandwidth_mib;  /* a second, from the nearest processors; 0: not known */
	uint64_t latency_ns;     /* 0: not known */
	unsigned *distance;      /* to the node at each index; 0: not known */
};

struct hk_machine {
	unsigned count;
	struct hk_tool_node *node; /* in the order of their ids */
	const char *source;        /* "hwloc 2.9.0" */
	char *foreign;             /* NULL, or "HWLOC_XMLFILE=..." of which it is */
	char boot[64];             /* "" where it is foreign or not known */
	char *online;              /* the kernel's list, or that of the nodes known */
	char *policy;              /* "default", "bind", ...; NULL: not known */
	hwloc_bitmap_t policy_nodes;
};

/* LOOK: another machine may be shown. Ends with a line where none can be read. */
struct hk_machine *hk_machine_load(bool look);

/* The index of node OS, or -1. */
int hk_machine_find(const struct hk_machine *m, unsigned os);

/* Sysfs: nodes that hwloc leaves out, processors, free memory, huge pages, lists. */
void hk_machine_add_sysfs(struct hk_machine *m);

/* Distances that hwloc does not have, to and from nodes without memory. */
void hk_machine_add_distances(struct hk_machine *m);

/* A new node in its place; NULL distances. */
struct hk_tool_node *hk_machine_insert(struct hk_machine *m, unsigned os);

/* Which nodes this process may use, by cpuset and memory policy. */
void hk_machine_add_use(struct hk_machine *m);

/* Needs processors and attributes. */
void hk_machine_set_tiers(struct hk_machine *m);

/* Nodes as "0-1,3", to be freed: those with memory that may be used, those with memory, all. */
char *hk_machine_usable(const struct hk_machine *m);
char *hk_machine_with_memory(const struct hk_machine *m);
char *hk_machine_nodes(const struct hk_machine *m);

/* "0-1,3", or "-" for an empty set. To be freed. */
char *hk_bitmap_text(hwloc_const_bitmap_t set);

/* True where the kernel has more than one node online; asks sysfs alone. */
bool hk_machine_is_numa(void);

extern const char *const hk_page_dir[HK_PAGE_KINDS]; /* "hugepages-2048kB" */
extern const char *const hk_page_name[HK_PAGE_KINDS]; /* "2M" */

#endif
