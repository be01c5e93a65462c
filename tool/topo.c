/* topo.c - `hakmem topo`: the nodes as table, JSON or the library's text; saves the text. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine.h"
#include "text.h"

static const char help[] =
	"usage: hakmem topo [--json | --text] [--save [FILE]]\n"
	"\n"
	"Shows the NUMA nodes: processors, memory, huge pages, tier (0 is the best memory),\n"
	"what this process may use (cpuset, memory policy), and how far nodes are apart.\n"
	"\n"
	"  --json          the same as JSON\n"
	"  --text          as the library reads it\n"
	"  --save [FILE]   writes that text to FILE; without FILE, as root, to\n"
	"                  " HK_TOPOLOGY_FILE ", where each program that preloads the library\n"
	"                  finds it until the next boot\n"
	"\n"
	"At each boot: systemctl enable --now hakmem-topology\n"
	"Another machine, to look at: HWLOC_XMLFILE, HWLOC_SYNTHETIC or HWLOC_FSROOT.\n"
	"See hakmem(1).\n";

static const char *const use_words[] = {"yes", "no (cpuset)", "no (membind)"};

/* ---- a table whose columns are as wide as their widest cell ---- */

struct table {
	unsigned columns, rows;
	char **cell; /* rows * columns */
};

static void put(struct table *t, char *text)
{
	unsigned at = t->rows;
	t->cell = hk_need(realloc(t->cell, (at + 1) * sizeof(*t->cell)));
	t->cell[at] = text;
	t->rows++; /* cells so far, until print divides */
}

static void print(struct table *t)
{
	for (unsigned i = 0; i < t->rows; i++) {
		int width = 0;
		for (unsigned j = i % t->columns; j < t->rows; j += t->columns)
			if ((int)strlen(t->cell[j]) > width)
				width = (int)strlen(t->cell[j]);
		if (i % t->columns == t->columns - 1)
			printf("%s\n", t->cell[i]);
		else
			printf("%-*s  ", width, t->cell[i]);
	}
	for (unsigned i = 0; i < t->rows; i++)
		free(t->cell[i]);
	free(t->cell);
}

static char *size_cell(bool known, uint64_t bytes)
{
	char text[24] = "-";
	if (known)
		hk_size_text(text, sizeof(text), bytes);
	return hk_format("%s", text);
}

static char *number_cell(uint64_t x)
{
	return x ? hk_format("%llu", (unsigned long long)x) : hk_format("-");
}

static char *pages_cell(const struct hk_pages *p)
{
	if (!p->known)
		return hk_format("-");
	return hk_format("%llu/%llu", (unsigned long long)p->free, (unsigned long long)p->all);
}

static bool has_attributes(const struct hk_machine *m)
{
	for (unsigned i = 0; i < m->count; i++)
		if (m->node[i].bandwidth_mib || m->node[i].latency_ns)
			return true;
	return false;
}

static void print_nodes(const struct hk_machine *m)
{
	static const char *const heads[] = {"node",        "cpus", "memory", "free", "2M free/all",
					    "1G free/all", "tier", "MiB/s",  "ns",   "allowed"};
	bool attributes = has_attributes(m);
	struct table t = {.columns = attributes ? 10 : 8};
	for (unsigned i = 0; i < 10; i++)
		if (attributes || i < 7 || i > 8)
			put(&t, hk_format("%s", heads[i]));
	for (unsigned i = 0; i < m->count; i++) {
		const struct hk_tool_node *n = &m->node[i];
		put(&t, hk_format("%u", n->os));
		put(&t, hk_bitmap_text(n->cpus));
		put(&t, n->memory_bytes ? size_cell(true, n->memory_bytes) : hk_format("none"));
		put(&t, size_cell(n->free_known && n->memory_bytes, n->free_bytes));
		put(&t, pages_cell(&n->pages[HK_PAGES_2M]));
		put(&t, pages_cell(&n->pages[HK_PAGES_1G]));
		put(&t, n->memory_bytes ? hk_format("%u", n->tier) : hk_format("-"));
		if (attributes) {
			put(&t, number_cell(n->bandwidth_mib));
			put(&t, number_cell(n->latency_ns));
		}
		put(&t, hk_format("%s", n->memory_bytes ? use_words[n->use] : "-"));
	}
	print(&t);
}

static void print_distances(const struct hk_machine *m)
{
	struct table t = {.columns = m->count + 1};
	put(&t, hk_format("distance"));
	for (unsigned j = 0; j < m->count; j++)
		put(&t, hk_format("%u", m->node[j].os));
	for (unsigned i = 0; i < m->count; i++) {
		put(&t, hk_format("from %u", m->node[i].os));
		for (unsigned j = 0; j < m->count; j++)
			put(&t, number_cell(m->node[i].distance[j]));
	}
	print(&t);
}

static void print_table(const struct hk_machine *m)
{
	if (m->foreign) {
		printf("NOT THIS MACHINE: %s\n", m->foreign);
		printf("%u node%s, read by %s\n\n", m->count, m->count == 1 ? "" : "s", m->source);
	} else {
		char *usable = hk_machine_usable(m), *set = hk_bitmap_text(m->policy_nodes);
		printf("%u node%s, found by %s; this process: memory of %s, policy %s%s%s\n\n",
		       m->count, m->count == 1 ? "" : "s", m->source, usable,
		       m->policy ? m->policy : "not known", *set == '-' ? "" : " ",
		       *set == '-' ? "" : set);
		free(usable);
		free(set);
	}
	print_nodes(m);
	if (m->count > 1) {
		putchar('\n');
		print_distances(m);
	}
	for (unsigned i = 0; i < m->count; i++)
		if (!m->node[i].by_hwloc)
			printf("\nnode %u: known from sysfs alone, it has no memory\n",
			       m->node[i].os);
}

/* ---- JSON: what is not known is null ---- */

static json_t *integer_or_null(bool known, uint64_t x)
{
	return known ? json_integer((json_int_t)x) : json_null();
}

static json_t *pages_json(const struct hk_tool_node *n)
{
	json_t *all = json_object();
	for (int kind = 0; kind < HK_PAGE_KINDS; kind++) {
		const struct hk_pages *p = &n->pages[kind];
		json_object_set_new(all, hk_page_name[kind],
				    json_pack("{s:o, s:o}", "all",
					      integer_or_null(p->known, p->all), "free",
					      integer_or_null(p->known, p->free)));
	}
	return all;
}

static json_t *node_json(const struct hk_machine *m, const struct hk_tool_node *n)
{
	static const char *const why[] = {NULL, "cpuset", "membind"};
	char *cpus = hk_bitmap_text(n->cpus);
	json_t *distances = json_object();
	for (unsigned j = 0; j < m->count; j++) {
		char id[16];
		snprintf(id, sizeof(id), "%u", m->node[j].os);
		json_object_set_new(distances, id, integer_or_null(n->distance[j], n->distance[j]));
	}
	json_t *out = json_pack(
		"{s:i, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:b, s:s?, s:o, s:s}", "node", (int)n->os,
		"cpus", *cpus == '-' ? "" : cpus, "memory_bytes", (json_int_t)n->memory_bytes,
		"free_bytes", integer_or_null(n->free_known, n->free_bytes), "huge_pages",
		pages_json(n), "tier", integer_or_null(n->memory_bytes, n->tier), "bandwidth_mib_s",
		integer_or_null(n->bandwidth_mib, n->bandwidth_mib), "latency_ns",
		integer_or_null(n->latency_ns, n->latency_ns), "allowed",
		n->memory_bytes && n->use == HK_USE_YES, "forbidden_by", why[n->use], "distances",
		distances, "found_by", n->by_hwloc ? "hwloc" : "sysfs");
	free(cpus);
	return hk_need(out);
}

static void print_json(const struct hk_machine *m)
{
	json_t *nodes = json_array();
	for (unsigned i = 0; i < m->count; i++)
		json_array_append_new(nodes, node_json(m, &m->node[i]));
	char *set = hk_bitmap_text(m->policy_nodes);
	json_t *all = hk_need(json_pack("{s:b, s:s?, s:s, s:s, s:{s:s?, s:s}, s:o}", "this_machine",
					!m->foreign, "shown_by", m->foreign, "source", m->source,
					"online", m->online, "policy", "mode", m->policy, "nodes",
					*set == '-' ? "" : set, "nodes", nodes));
	json_dumpf(all, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(all);
	free(set);
}

/* ---- the command ---- */

static void save(const struct hk_machine *m, const char *path, bool quiet)
{
	if (m->foreign)
		hk_die(HK_EXIT_USAGE,
		       "--save: %s shows another machine, which is never saved; unset it",
		       m->foreign);
	if (!*m->boot || !hk_sys_line((char[8192]){0}, 8192, "/sys/devices/system/node/online"))
		hk_die(HK_EXIT_FAILED,
		       "--save: this kernel has no /sys/devices/system/node/online or no "
		       "/proc/sys/kernel/random/boot_id: nothing to save");
	hk_topology_save(m, path);
	if (!quiet)
		printf("%s: %u node%s (%s) of boot %s\n", path, m->count, m->count == 1 ? "" : "s",
		       m->online, m->boot);
}

int hk_topo(int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"text", no_argument, NULL, 't'},
		{"save", optional_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	bool json = false, text = false;
	const char *path = NULL;
	int c;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == 'j')
			json = true;
		else if (c == 't')
			text = true;
		else if (c == 's')
			path = optarg ? optarg : HK_TOPOLOGY_FILE;
		else if (c == 'h')
			return fputs(help, stdout), hk_output_end(), 0;
		else
			hk_option_refused(c, argv, options);
	}
	if (json && text)
		hk_die(HK_EXIT_USAGE, "--json and --text: choose one");
	if (path && !strcmp(path, HK_TOPOLOGY_FILE) && optind < argc)
		path = argv[optind++]; /* --save FILE */
	if (optind < argc)
		hk_die(HK_EXIT_USAGE, "unexpected '%s' (see hakmem topo --help)", argv[optind]);
	if (path && !*path)
		hk_die(HK_EXIT_USAGE, "--save: the file's name is empty");
	struct hk_machine *m = hk_machine_load(true);
	if (path)
		save(m, path, json || text);
	if (json)
		print_json(m);
	else if (text)
		fputs(hk_topology_text(m, '\n'), stdout);
	else if (!path)
		print_table(m);
	hk_output_end();
	return 0;
}
