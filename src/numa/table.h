/* table.h - the machine's nodes: what they have and how far they are from each other.
 *
 * Filled once at start by one of three providers, all giving the same table: a text that the `hakmem`
 * command made with hwloc and handed over (inherit.c), the same text in a file of root's, or sysfs
 * (table.c). Static memory, raw system calls: it runs inside the first malloc of the process.
 * Threads: written before the first heap exists, constant afterwards.
 */
#ifndef HK_NUMA_TABLE_H
#define HK_NUMA_TABLE_H

#include "base/layout.h"
#include "os/os.h"

#define HK_CPUS_MAX 4096u
#define HK_NO_NODE 255u
#define HK_TABLE_MAX (HK_NODES_MAX - 1) /* one pool is for policies over several nodes */

struct hk_node {
	uint16_t os;       /* id of the OS, 0 .. HK_OS_NODES - 1; may have holes */
	bool cpus;         /* has some: a node without is memory behind a bus (CXL) or a device */
	bool allowed;      /* by the cpuset */
	uint8_t tier;      /* 0: the machine's best memory */
	uint8_t pool;      /* of this node, HK_NO_NODE where no memory can be had from it */
	uint32_t mib;      /* memory; 0: none */
	uint8_t distance[HK_TABLE_MAX]; /* to the node at each index; 10 to itself */
};

struct hk_table {
	unsigned count; /* online nodes, in the order of their ids */
	struct hk_node node[HK_TABLE_MAX];
	uint8_t of_cpu[HK_CPUS_MAX]; /* index of a processor's node, HK_NO_NODE: not known */
};

extern struct hk_table hk_table;

/* The index of the node that the OS calls OS, or HK_NO_NODE. */
unsigned hk_table_find(unsigned os);

/* The number after KEY in the file LEAF of the node that the OS calls OS; 0 where there is none. */
size_t hk_table_number(unsigned os, const char *leaf, const char *key);

/* The next run of a list such as "0-1,3"; false at its end or where it is malformed (then *LIST is not
 * at a 0). Ids below LIMIT. */
bool hk_list_next(const char **list, unsigned limit, unsigned *first, unsigned *last);

/* LIST as a set; false if it is malformed or empty. */
bool hk_list_parse(const char *list, struct hk_os_nodes *set);

/* From sysfs; ONLINE is the kernel's list. False: it can't be read. */
bool hk_table_from_sysfs(const char *online);

/* From the text of `hakmem topo --text`; cuts TEXT into strings where it stands. NULL, or why it was
 * refused (the table is then as it was). */
const char *hk_table_from_text(char *text, const char *online);

#endif
