/* table.c - lists, and the table from sysfs. Knows no policy. */
#include "numa/table.h"

#include <string.h>

#include "base/bits.h"

#define SYSFS "/sys/devices/system/node/node"
#define TEXT_BYTES 2048u

struct hk_table hk_table;

unsigned hk_table_find(unsigned os)
{
	for (unsigned i = 0; i < hk_table.count; i++)
		if (hk_table.node[i].os == os)
			return i;
	return HK_NO_NODE;
}

static bool number(const char **s, unsigned limit, unsigned *out)
{
	unsigned x = 0;
	if (**s < '0' || **s > '9')
		return false;
	for (; **s >= '0' && **s <= '9'; ++*s) {
		x = x * 10 + (unsigned)(**s - '0');
		if (x >= limit)
			return false;
	}
	*out = x;
	return true;
}

bool hk_list_next(const char **list, unsigned limit, unsigned *first, unsigned *last)
{
	const char *s = *list;
	if (!*s || !number(&s, limit, first))
		return false;
	*last = *first;
	if (*s == '-' && (s++, !number(&s, limit, last) || *last < *first))
		return false;
	if (*s == ',' && s[1])
		s++;
	else if (*s && *s != '\n')
		return false;
	*list = *s == '\n' ? "" : s;
	return true;
}

bool hk_list_parse(const char *list, struct hk_os_nodes *set)
{
	unsigned first, last;
	if (!*list)
		return false;
	memset(set, 0, sizeof(*set));
	while (hk_list_next(&list, HK_OS_NODES, &first, &last))
		for (unsigned i = first; i <= last; i++)
			set->bits[i / 64] |= 1ul << i % 64;
	return !*list;
}

/* ---- sysfs ---- */

/* /sys/devices/system/node/nodeN/LEAF as text. */
static bool read_leaf(unsigned os, const char *leaf, char *text)
{
	char path[sizeof(SYSFS) + 32] = SYSFS, digits[8];
	size_t at = sizeof(SYSFS) - 1, n = 0;
	do
		digits[n++] = (char)('0' + os % 10);
	while (os /= 10);
	while (n)
		path[at++] = digits[--n];
	path[at++] = '/';
	strcpy(path + at, leaf);
	return hk_os_read(path, text, TEXT_BYTES, false) >= 0;
}

static void read_cpus(struct hk_table *t, unsigned index, char *text)
{
	const char *list = text;
	unsigned first, last;
	if (!read_leaf(t->node[index].os, "cpulist", text))
		return;
	while (hk_list_next(&list, HK_CPUS_MAX, &first, &last)) {
		t->node[index].cpus = true;
		memset(&t->of_cpu[first], (int)index, last - first + 1);
	}
}

size_t hk_table_number(unsigned os, const char *leaf, const char *key)
{
	char text[TEXT_BYTES];
	size_t x = 0;
	const char *s = read_leaf(os, leaf, text) ? strstr(text, key) : NULL;
	if (!s)
		return 0;
	s += strlen(key);
	for (s += strspn(s, ": "); *s >= '0' && *s <= '9'; s++)
		x = x * 10 + (size_t)(*s - '0');
	return x;
}

static void read_distances(struct hk_table *t, unsigned index, char *text)
{
	const char *s = text;
	if (!read_leaf(t->node[index].os, "distance", text))
		return;
	for (unsigned i = 0; i < t->count; i++) {
		unsigned d;
		s += strspn(s, " ");
		if (!number(&s, 256, &d))
			return;
		t->node[index].distance[i] = (uint8_t)d;
	}
}

bool hk_table_from_sysfs(const char *online)
{
	static char text[TEXT_BYTES];
	struct hk_table *t = &hk_table;
	unsigned first, last;
	t->count = 0;
	memset(t->of_cpu, HK_NO_NODE, sizeof(t->of_cpu));
	while (hk_list_next(&online, HK_OS_NODES, &first, &last))
		for (unsigned os = first; os <= last && t->count < HK_TABLE_MAX; os++)
			t->node[t->count++] = (struct hk_node){.os = (uint16_t)os};
	for (unsigned i = 0; i < t->count; i++) {
		memset(t->node[i].distance, 20, sizeof(t->node[i].distance));
		t->node[i].distance[i] = 10;
		read_cpus(t, i, text);
		t->node[i].mib = (uint32_t)(hk_table_number(t->node[i].os, "meminfo", "MemTotal") >> 10);
		read_distances(t, i, text);
		t->node[i].tier = !t->node[i].cpus;
	}
	return t->count != 0;
}
