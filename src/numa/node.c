/* node.c - from table and policy to pools. Parses nothing (policy.c), reads no topology (table.c,
 * inherit.c) but knows in which order they are asked. */
#include "numa/node.h"

#include <string.h>

#include "base/bits.h"
#include "numa/policy.h"
#include "numa/table.h"
#include "observe/options.h"
#include "observe/say.h"

#define ONLINE "/sys/devices/system/node/online"
/* The folder of the nodes, by way of two that must be in it. If it has no third, there is one node, number 0: that costs a
 * start half of what opening and reading `online` does. */
#define NODE_0_AND_POWER "/sys/devices/system/node/node0/../power/.."
#define STATUS "/proc/thread-self/status" /* a filter may be one thread's alone */
#define SAVED "/run/hakmem/topology"
#define STATUS_BYTES 4096u
#define TEXT_BYTES (64u << 10)

struct hk_numa hk_numa = {.pools = 1, .node_pools = 1, .policy = {HK_NUMA_OFF, 1}, .provider = "none"};

static uint8_t order[HK_TABLE_MAX][HK_NODES_MAX]; /* [C] pools from the nearest on, by node */
static uint8_t index_of[HK_NODES_MAX];            /* [C] the node of each pool in the table */

/* ---- what the process may do ---- */

/* The value of KEY in the thread's status; NULL if there is none. */
static char *status(const char *key, char *buf, size_t bytes)
{
	char *line = hk_os_read(STATUS, buf, bytes, false) > 0 ? strstr(buf, key) : NULL;
	if (!line)
		return NULL;
	line += strlen(key);
	line += strspn(line, " \t");
	line[strcspn(line, "\n")] = 0;
	return line;
}

/* Where that can't be known, it is. */
static bool is_filtered(void)
{
	char buf[STATUS_BYTES];
	const char *value = status("\nSeccomp:", buf, sizeof(buf));
	return !value || *value != '0';
}

bool hk_node_may_call(void)
{
	return hk_numa.may_ask && (hk_numa.asked || !is_filtered());
}

/* ---- the table ---- */

static char text[TEXT_BYTES]; /* used at start alone */

/* With the nodes that there are, to compare with. */
static void ignore(const char *what, const char *why, const char *online)
{
	hk_say("%s ignored: %s; nodes online: %s%s", what, why, online,
	       *what == '/' ? "; `hakmem topo --save` makes it anew" : "");
}

static const char *fill_table(const char *online)
{
	const char *passed = hk_options.topology, *why;
	if (passed && strlen(passed) < sizeof(text)) {
		strcpy(text, passed);
		why = hk_table_from_text(text, online);
		if (!why)
			return "inherited";
		ignore("HAKMEM_TOPOLOGY", why, online);
	} else if (passed) {
		ignore("HAKMEM_TOPOLOGY", "it is too long", online);
	}
	int got = hk_os_read(SAVED, text, sizeof(text), true);
	if (got >= 0) {
		why = got == (int)sizeof(text) - 1 ? "it is too long" : hk_table_from_text(text, online);
		if (!why)
			return "file";
		ignore(SAVED, why, online);
	} else if (got == -2) {
		ignore(SAVED, "others than root may write to it", online);
	}
	return hk_table_from_sysfs(online) ? "sysfs" : NULL;
}

static void mark_allowed(void)
{
	struct hk_os_nodes set;
	const char *list = status("\nMems_allowed_list:", text, sizeof(text));
	bool known = list && hk_list_parse(list, &set);
	for (unsigned i = 0; i < hk_table.count; i++) {
		unsigned os = hk_table.node[i].os;
		hk_table.node[i].allowed = !known || (set.bits[os / 64] >> os % 64 & 1);
	}
}

static void make_pools(void)
{
	unsigned n = 0;
	for (unsigned i = 0; i < hk_table.count; i++) {
		struct hk_node *node = &hk_table.node[i];
		node->pool = HK_NO_NODE;
		if (!node->allowed || !node->mib)
			continue;
		node->pool = (uint8_t)n;
		index_of[n] = (uint8_t)i;
		hk_numa.os[n++] = (int16_t)node->os;
	}
	for (unsigned p = 0; hk_table.count > 1 && p < n; p++)
		hk_numa.turned_away[p] = hk_node_turned_away(p);
	hk_numa.pools = hk_numa.node_pools = hk_max(n, 1);
	if (n > 1)
		hk_numa.os[hk_numa.pools++] = -1;
}

/* Nodes without processors are memory behind a bus: last, whatever their distance, but for themselves. */
static unsigned rank(unsigned from, unsigned pool)
{
	const struct hk_node *to = &hk_table.node[index_of[pool]];
	if (index_of[pool] == from)
		return 0;
	return (to->cpus ? 0u : 1u << 16) + hk_table.node[from].distance[index_of[pool]];
}

static void make_orders(void)
{
	for (unsigned i = 0; i < hk_table.count; i++)
		for (unsigned p = 0; p < hk_numa.node_pools; p++) {
			unsigned at = p;
			for (; at && rank(i, order[i][at - 1]) > rank(i, p); at--)
				order[i][at] = order[i][at - 1];
			order[i][at] = (uint8_t)p;
		}
}

uint64_t hk_node_turned_away(unsigned pool)
{
	return hk_table_number((unsigned)hk_numa.os[pool], "numastat", "numa_foreign");
}

/* The node of the processor that the thread is on, by its index in the table. Of one that was brought online after the
 * start the kernel is asked. */
static unsigned node_here(void)
{
	unsigned cpu = hk_os_cpu(), index = cpu < HK_CPUS_MAX ? hk_load(&hk_table.of_cpu[cpu]) : HK_NO_NODE;
	int os = -1;
	if (HK_UNLIKELY(index == HK_NO_NODE && cpu < HK_CPUS_MAX && hk_table.count))
		os = hk_os_node_of_cpu(&cpu);
	if (HK_UNLIKELY(os >= 0 && cpu < HK_CPUS_MAX)) {
		index = hk_table_find((unsigned)os);
		hk_store(&hk_table.of_cpu[cpu], (uint8_t)index);
	}
	return index;
}

unsigned hk_node_nearest(uint64_t mask)
{
	unsigned node;
	if (!(mask & (mask - 1)))
		return (unsigned)__builtin_ctzll(mask);
	node = node_here();
	if (node != HK_NO_NODE)
		for (unsigned k = 0; k < hk_numa.node_pools; k++)
			if (mask >> order[node][k] & 1)
				return order[node][k];
	return (unsigned)__builtin_ctzll(mask);
}

unsigned hk_node_order(unsigned pool, unsigned k)
{
	if (pool < hk_numa.node_pools)
		return order[index_of[pool]][k];
	return k; /* the pool of several nodes has no neighbours of its own */
}

int hk_node_find(int os)
{
	for (unsigned p = 0; p < hk_numa.node_pools; p++)
		if (os >= 0 && hk_numa.os[p] == os)
			return (int)p;
	return -1;
}

/* ---- where memory comes from ---- */

static void set_of(uint64_t mask, struct hk_os_nodes *set)
{
	memset(set, 0, sizeof(*set));
	for (unsigned p = 0; p < hk_numa.node_pools; p++)
		if (mask >> p & 1)
			set->bits[hk_numa.os[p] / 64] |= 1ul << hk_numa.os[p] % 64;
}

bool hk_node_is_placed(unsigned pool)
{
	bool inside = hk_numa.policy.mask >> pool & 1;
	return hk_numa.pools > 1 && hk_numa.may_ask && !(hk_numa.own && inside);
}

int hk_node_spread(enum hk_numa_kind kind, uintptr_t where, size_t bytes)
{
	struct hk_os_nodes set;
	int rc = -1;
	set_of(~0ull, &set);
	if (kind == HK_NUMA_WEIGHTED)
		rc = hk_os_place(where, bytes, HK_OS_WEIGHTED, &set, -1);
	return rc ? hk_os_place(where, bytes, HK_OS_INTERLEAVE, &set, -1) : 0;
}

void hk_node_place(unsigned pool, uintptr_t where, size_t bytes)
{
	const struct hk_policy *policy = &hk_numa.policy;
	struct hk_os_nodes set;
	int rc;
	if (!hk_node_is_placed(pool))
		return;
	if (pool == hk_numa.node_pools) {
		rc = hk_node_spread(hk_numa.spread_kind, where, bytes);
	} else if (policy->kind == HK_NUMA_BIND && policy->mask >> pool & 1) {
		set_of(policy->mask, &set);
		rc = hk_os_place(where, bytes, HK_OS_BIND, &set, hk_numa.os[pool]);
	} else {
		set_of(1ull << pool, &set);
		rc = hk_os_place(where, bytes, HK_OS_PREFERRED, &set, -1);
	}
	if (rc)
		hk_add(&hk_numa.refused, 1);
}

void hk_node_bind(unsigned pool, uintptr_t where, size_t bytes)
{
	struct hk_os_nodes set;
	if (pool >= hk_numa.node_pools)
		return hk_node_place(pool, where, bytes);
	set_of(1ull << pool, &set);
	if (hk_os_place(where, bytes, HK_OS_BIND, &set, -1))
		hk_add(&hk_numa.refused, 1);
}

/* ---- start ---- */

static void print_nodes(char *out, size_t bytes)
{
	size_t at = 0;
	for (unsigned p = 0; p < hk_numa.node_pools && at + 8 < bytes; p++) {
		unsigned os = (unsigned)hk_numa.os[p];
		if (at)
			out[at++] = ',';
		for (unsigned ten = 1000; ten; ten /= 10)
			if (os >= ten || ten == 1)
				out[at++] = (char)('0' + os / ten % 10);
	}
	out[at] = 0;
}

/* HAKMEM_NUMA if it makes sense, else as if it were not given. */
static void choose_policy(void)
{
	const char *given = hk_options.numa, *why;
	char nodes[256];
	hk_numa.policy = (struct hk_policy){HK_NUMA_AUTO, hk_mask64(hk_numa.node_pools)};
	if (given) {
		why = hk_policy_parse(given, &hk_numa.policy);
		print_nodes(nodes, sizeof(nodes));
		if (why)
			hk_say("HAKMEM_NUMA=%s ignored: %s; nodes with memory for this process: %s", given,
			       why, nodes);
		if (why)
			hk_options.numa = NULL;
		hk_numa.asked = !why && hk_numa.policy.kind != HK_NUMA_AUTO;
	}
	hk_numa.spread_kind = hk_numa.policy.kind;
	hk_numa.may_ask = hk_numa.pools > 1 && (hk_numa.asked || !is_filtered());
	if (hk_numa.policy.kind == HK_NUMA_AUTO && hk_numa.may_ask)
		hk_numa.own = hk_policy_of_process(&hk_numa.policy);
}

void hk_node_init(void)
{
	char online[256];
	if (hk_options.numa && !strcmp(hk_options.numa, "off")) {
		hk_numa.os[0] = -1;
		return;
	}
	if (!hk_options.numa && !hk_options.topology && hk_os_folders(NODE_0_AND_POWER) == 2) {
		hk_numa.os[0] = 0;
		hk_numa.policy.kind = HK_NUMA_AUTO;
		return;
	}
	if (hk_os_read(ONLINE, online, sizeof(online), false) <= 0)
		strcpy(online, "0");
	online[strcspn(online, "\n")] = 0;
	if (!online[strspn(online, "0123456789")] && !hk_options.numa && !hk_options.topology) {
		unsigned first = 0, last;
		const char *list = online;
		hk_list_next(&list, HK_OS_NODES, &first, &last);
		hk_numa.os[0] = (int16_t)first;
		hk_numa.policy.kind = HK_NUMA_AUTO;
		return;
	}
	hk_numa.provider = fill_table(online);
	if (!hk_numa.provider) {
		hk_numa.provider = "none";
		return;
	}
	mark_allowed();
	make_pools();
	make_orders();
	choose_policy();
}
