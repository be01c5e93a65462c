/* policy.c - see policy.h and node.h. Makes no pools and places nothing. */
#include "numa/policy.h"

#include <string.h>

#include "base/bits.h"
#include "numa/table.h"

static const char *const words[] = {"auto", "local", "interleave", "weighted", "preferred=", "bind=", "off"};

const char *hk_policy_word(enum hk_numa_kind kind)
{
	static const char *const plain[] = {"auto", "local", "interleave", "weighted", "preferred", "bind", "off"};
	return plain[kind];
}

/* The pools of the nodes in SET; those that may not be used are left out. */
static uint64_t pools_of(const struct hk_os_nodes *set)
{
	uint64_t mask = 0;
	for (unsigned p = 0; p < hk_numa.node_pools; p++)
		if (hk_numa.os[p] >= 0 && set->bits[hk_numa.os[p] / 64] >> hk_numa.os[p] % 64 & 1)
			mask |= 1ull << p;
	return mask;
}

static const char *parse_nodes(const char *list, struct hk_policy *out)
{
	struct hk_os_nodes set;
	const char *rest = list;
	unsigned first, last;
	if (!*list)
		return "no node is named";
	if (!hk_list_parse(list, &set))
		return "a list of nodes such as 0-1,3 is wanted";
	if (out->kind == HK_NUMA_PREFERRED && (strspn(list, "0123456789") != strlen(list)))
		return "one node is wanted";
	while (hk_list_next(&rest, HK_OS_NODES, &first, &last))
		for (unsigned os = first; os <= last; os++) {
			unsigned index = hk_table.count ? hk_table_find(os) : hk_node_find((int)os) == 0 ? 0 : HK_NO_NODE;
			if (index == HK_NO_NODE)
				return "no such node";
			if (hk_table.count && !hk_table.node[index].mib)
				return "a node without memory";
			if (hk_node_find((int)os) < 0)
				return "a node that this process may not use";
		}
	out->mask = pools_of(&set);
	return NULL;
}

const char *hk_policy_parse(const char *text, struct hk_policy *out)
{
	struct hk_policy policy = {HK_NUMA_AUTO, hk_mask64(hk_numa.node_pools)};
	const char *why = NULL;
	for (unsigned kind = 0; kind < sizeof(words) / sizeof(*words); kind++) {
		size_t n = strlen(words[kind]);
		bool list = words[kind][n - 1] == '=';
		if (strncmp(text, words[kind], n) || (!list && text[n]))
			continue;
		policy.kind = (enum hk_numa_kind)kind;
		if (list)
			why = parse_nodes(text + n, &policy);
		if ((kind == HK_NUMA_INTERLEAVE || kind == HK_NUMA_WEIGHTED) && hk_numa.pools > 1)
			policy.mask = 1ull << hk_numa.node_pools;
		if (!why)
			*out = policy;
		return why;
	}
	return "one of auto, local, interleave, weighted, preferred=N, bind=LIST, off is wanted";
}

bool hk_policy_of_process(struct hk_policy *out)
{
	enum hk_os_mempolicy mode;
	struct hk_os_nodes set;
	if (hk_os_mempolicy(&mode, &set))
		return false;
	uint64_t mask = pools_of(&set);
	switch (mode) {
	case HK_OS_PREFERRED: /* of no node: local */
	case HK_OS_PREFERRED_MANY:
	case HK_OS_BIND:
		if (!mask)
			return false;
		*out = (struct hk_policy){mode == HK_OS_BIND ? HK_NUMA_BIND : HK_NUMA_PREFERRED, mask};
		return true;
	case HK_OS_INTERLEAVE:
	case HK_OS_WEIGHTED:
		*out = (struct hk_policy){mode == HK_OS_WEIGHTED ? HK_NUMA_WEIGHTED : HK_NUMA_INTERLEAVE,
					  1ull << hk_numa.node_pools};
		return true;
	default:
		return false;
	}
}
