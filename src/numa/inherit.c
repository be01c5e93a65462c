/* inherit.c - the table as text, from `hakmem run` or `hakmem topo --save`. Checks every byte: it may
 * be old, cut, or made for another machine.
 *
 *   v1;boot=UUID;online=0-1;node=0 cpus=0-1 mem=512 tier=0 dist=0:10,1:21;node=1 ...;end
 *
 * Records end at ';' or at a line's end, fields at spaces. */
#include "numa/table.h"

#include <string.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define MIB_MAX (1u << 30)

static struct hk_table fresh;
static unsigned online_count; /* nodes that it must have */

static bool number(const char *s, unsigned limit, unsigned *out)
{
	unsigned first, last;
	if (!hk_list_next(&s, limit, &first, &last) || *s || first != last)
		return false;
	*out = first;
	return true;
}

/* Cuts the next word off *S at SEPARATOR (or NEWLINE); NULL at the end. */
static char *cut(char **s, char separator, char newline)
{
	char *word = *s;
	if (!*word)
		return NULL;
	while (**s && **s != separator && **s != newline)
		++*s;
	if (**s)
		*(*s)++ = 0;
	return word;
}

static char *value_of(char *word, const char *key)
{
	size_t n = strlen(key);
	return !strncmp(word, key, n) && word[n] == '=' ? word + n + 1 : NULL;
}

static bool same_line(const char *a, const char *b)
{
	size_t n = strcspn(a, "\n");
	return n == strcspn(b, "\n") && !strncmp(a, b, n);
}

static const char *read_cpus(unsigned index, const char *list)
{
	unsigned first, last;
	if (!strcmp(list, "-"))
		return NULL;
	while (hk_list_next(&list, HK_CPUS_MAX, &first, &last)) {
		fresh.node[index].cpus = true;
		memset(&fresh.of_cpu[first], (int)index, last - first + 1);
	}
	return *list ? "a malformed list of processors" : NULL;
}

static const char *read_distances(unsigned index, char *list)
{
	char *pair;
	while ((pair = cut(&list, ',', ','))) {
		char *colon = strchr(pair, ':');
		unsigned os, d;
		if (!colon)
			return "a malformed distance";
		*colon = 0;
		if (!number(pair, HK_OS_NODES, &os) || !number(colon + 1, 256, &d) || !d)
			return "a malformed distance";
		for (unsigned i = 0; i < online_count; i++)
			if (fresh.node[i].os == os)
				fresh.node[index].distance[i] = (uint8_t)d;
	}
	return NULL;
}

static const char *read_node(char *record)
{
	unsigned index = fresh.count, x;
	const char *why = NULL;
	char *word, *value;
	if (index == HK_TABLE_MAX)
		return NULL; /* more nodes than pools: the first ones serve */
	while (!why && (word = cut(&record, ' ', ' '))) {
		if ((value = value_of(word, "node"))) {
			if (!number(value, HK_OS_NODES, &x))
				return "a malformed node number";
			if (index == online_count || x != fresh.node[index].os)
				return "it has other nodes than the machine";
		} else if ((value = value_of(word, "cpus"))) {
			why = read_cpus(index, value);
		} else if ((value = value_of(word, "mem"))) {
			if (!number(value, MIB_MAX, &x))
				return "a malformed size of memory";
			fresh.node[index].mib = x;
		} else if ((value = value_of(word, "tier"))) {
			if (!number(value, 256, &x))
				return "a malformed tier";
			fresh.node[index].tier = (uint8_t)x;
		} else if ((value = value_of(word, "dist"))) {
			why = read_distances(index, value);
		}
	}
	fresh.count++;
	return why;
}

/* The nodes that must follow, in the order of their ids. */
static void expect(const char *online)
{
	unsigned first, last;
	memset(fresh.of_cpu, HK_NO_NODE, sizeof(fresh.of_cpu));
	memset(fresh.node, 0, sizeof(fresh.node));
	fresh.count = online_count = 0;
	while (hk_list_next(&online, HK_OS_NODES, &first, &last))
		for (unsigned os = first; os <= last && online_count < HK_TABLE_MAX; os++) {
			struct hk_node *node = &fresh.node[online_count];
			memset(node->distance, 20, sizeof(node->distance));
			node->distance[online_count++] = 10;
			node->os = (uint16_t)os;
		}
}

static const char *read_records(char *text, const char *online)
{
	char boot[64], *record, *value;
	const char *why = NULL;
	bool booted = false, same = false;
	record = cut(&text, ';', '\n');
	if (!record || strcmp(record, "v1"))
		return "it is of another version, or none of ours";
	while (!why && (record = cut(&text, ';', '\n'))) {
		if (!strcmp(record, "end"))
			return !booted ? "it does not say which boot it is of"
			       : !same ? "it does not say which nodes are online"
			       : fresh.count < online_count ? "it does not have all nodes"
							    : NULL;
		if ((value = value_of(record, "boot"))) {
			booted = hk_os_read(BOOT_ID, boot, sizeof(boot), false) > 0 && same_line(boot, value);
			why = booted ? NULL : "it is of an earlier boot, or of another machine";
		} else if ((value = value_of(record, "online"))) {
			same = same_line(online, value);
			why = same ? NULL : "other nodes are online now";
		} else if (!strncmp(record, "node=", 5)) {
			why = read_node(record);
		} else if (*record) {
			why = "a record that is none of ours";
		}
	}
	return why ? why : "it is cut: its end is missing";
}

const char *hk_table_from_text(char *text, const char *online)
{
	expect(online);
	const char *why = read_records(text, online);
	if (!why)
		hk_table = fresh;
	return why;
}
