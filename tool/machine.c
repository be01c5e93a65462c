/* machine.c - the node table from hwloc. What it does not do: read sysfs (machine_sysfs.c) or ask what
 * this process may use (use.c). */
#include "machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const hk_page_dir[] = {"hugepages-2048kB", "hugepages-1048576kB"};
const char *const hk_page_name[] = {"2M", "1G"};

char *hk_bitmap_text(hwloc_const_bitmap_t set)
{
	char *text = NULL;
	if (hwloc_bitmap_iszero(set))
		return hk_format("-");
	if (hwloc_bitmap_list_asprintf(&text, set) < 0)
		text = NULL;
	return hk_need(text);
}

int hk_machine_find(const struct hk_machine *m, unsigned os)
{
	for (unsigned i = 0; i < m->count; i++)
		if (m->node[i].os == os)
			return (int)i;
	return -1;
}

struct hk_tool_node *hk_machine_insert(struct hk_machine *m, unsigned os)
{
	unsigned at = m->count;
	m->node = hk_need(realloc(m->node, (m->count + 1) * sizeof(*m->node)));
	for (; at && m->node[at - 1].os > os; at--)
		m->node[at] = m->node[at - 1];
	m->count++;
	m->node[at] = (struct hk_tool_node){.os = os, .cpus = hk_need(hwloc_bitmap_alloc())};
	return &m->node[at];
}

enum which { ALL, WITH_MEMORY, USABLE };

static char *list_nodes(const struct hk_machine *m, enum which which)
{
	hwloc_bitmap_t set = hk_need(hwloc_bitmap_alloc());
	for (unsigned i = 0; i < m->count; i++) {
		const struct hk_tool_node *n = &m->node[i];
		if (which == ALL ||
		    (n->memory_bytes && (which == WITH_MEMORY || n->use == HK_USE_YES)))
			hwloc_bitmap_set(set, n->os);
	}
	char *text = hk_bitmap_text(set);
	hwloc_bitmap_free(set);
	return text;
}

char *hk_machine_nodes(const struct hk_machine *m)
{
	return list_nodes(m, ALL);
}

char *hk_machine_with_memory(const struct hk_machine *m)
{
	return list_nodes(m, WITH_MEMORY);
}

char *hk_machine_usable(const struct hk_machine *m)
{
	return list_nodes(m, USABLE);
}

/* ---- which machine ---- */

static const char *const elsewhere[] = {"HWLOC_XMLFILE", "HWLOC_SYNTHETIC", "HWLOC_FSROOT"};

/* "NAME=value" of the variable that shows another machine, or NULL. */
static char *foreign_of_environment(void)
{
	for (size_t i = 0; i < 3; i++) {
		const char *value = getenv(elsewhere[i]);
		if (value && *value)
			return hk_format("%s=%s", elsewhere[i], value);
	}
	return NULL;
}

/* Takes every HWLOC_ variable away from hwloc; the environment is whole again with what is returned. */
static char **hide_variables(void)
{
	size_t count = 0, kept = 0;
	while (environ[count])
		count++;
	char **without = hk_need(calloc(count + 1, sizeof(*without)));
	char **before = environ;
	for (size_t i = 0; i < count; i++)
		if (strncmp(before[i], "HWLOC_", 6))
			without[kept++] = before[i];
	environ = without;
	return before;
}

static void show_elsewhere(hwloc_topology_t t, const char *foreign)
{
	const char *value = strchr(foreign, '=') + 1;
	if (!strncmp(foreign, "HWLOC_XMLFILE=", 14)) {
		if (access(value, R_OK) || hwloc_topology_set_xml(t, value))
			hk_die(HK_EXIT_USAGE, "%s: no topology that hwloc can read (%s)", foreign,
			       strerror(errno ? errno : EINVAL));
	} else if (!strncmp(foreign, "HWLOC_SYNTHETIC=", 16)) {
		if (hwloc_topology_set_synthetic(t, value))
			hk_die(HK_EXIT_USAGE,
			       "%s: no topology in hwloc's synthetic form, such as "
			       "'node:2 core:4 pu:1'",
			       foreign);
	} else {
		struct stat st;
		if (stat(value, &st) || !S_ISDIR(st.st_mode))
			hk_die(HK_EXIT_USAGE,
			       "%s: no directory with another machine's /sys and /proc", foreign);
		hk_sys_root(value); /* hwloc takes it from the environment */
	}
}

static hwloc_topology_t topology_load(const char *foreign)
{
	hwloc_topology_t t;
	if (hwloc_topology_init(&t))
		hk_die(HK_EXIT_FAILED, "hwloc does not start: %s", strerror(errno));
	hwloc_topology_set_flags(t, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED);
	/* It would bind this process to each processor in turn, to ask for caches. */
	hwloc_topology_set_components(t, HWLOC_TOPOLOGY_COMPONENTS_FLAG_BLACKLIST, "x86");
	if (foreign)
		show_elsewhere(t, foreign);
	if (hwloc_topology_load(t))
		hk_die(foreign ? HK_EXIT_USAGE : HK_EXIT_FAILED, "hwloc finds no topology%s%s: %s",
		       foreign ? " in " : "", foreign ? foreign : "", strerror(errno));
	return t;
}

/* ---- what hwloc says of nodes ---- */

static void read_pages(struct hk_tool_node *n, hwloc_obj_t obj)
{
	for (unsigned i = 0; i < obj->attr->numanode.page_types_len; i++) {
		struct hwloc_memory_page_type_s *p = &obj->attr->numanode.page_types[i];
		if (p->size == 2u << 20 || p->size == 1u << 30) {
			/* how many are free, it does not say */
			n->pages[p->size == 1u << 30].all = p->count;
		}
	}
}

static uint64_t best_value(hwloc_topology_t t, hwloc_memattr_id_t id, hwloc_obj_t node)
{
	struct hwloc_location from;
	hwloc_uint64_t value;
	return hwloc_memattr_get_best_initiator(t, id, node, 0, &from, &value) ? 0 : value;
}

static void read_nodes(struct hk_machine *m, hwloc_topology_t t)
{
	hwloc_obj_t obj = NULL;
	while ((obj = hwloc_get_next_obj_by_type(t, HWLOC_OBJ_NUMANODE, obj))) {
		struct hk_tool_node *n = hk_machine_insert(m, obj->os_index);
		n->by_hwloc = true;
		n->memory_bytes = obj->attr->numanode.local_memory;
		n->bandwidth_mib = best_value(t, HWLOC_MEMATTR_ID_BANDWIDTH, obj);
		n->latency_ns = best_value(t, HWLOC_MEMATTR_ID_LATENCY, obj);
		if (!hwloc_bitmap_isset(hwloc_topology_get_allowed_nodeset(t), obj->os_index))
			n->use = HK_USE_NOT_BY_CPUSET;
		hwloc_bitmap_copy(n->cpus, obj->cpuset);
		read_pages(n, obj);
	}
}

/* hwloc lists processors at each node that is near them. They belong to the one that has the fewest:
 * memory without processors hangs at a larger part of the machine, or comes after. */
static void share_out_cpus(struct hk_machine *m)
{
	hwloc_bitmap_t taken = hk_need(hwloc_bitmap_alloc());
	bool *done = hk_need(calloc(m->count, sizeof(*done)));
	for (unsigned round = 0; round < m->count; round++) {
		int next = -1;
		for (unsigned i = 0; i < m->count; i++)
			if (!done[i] &&
			    (next < 0 || hwloc_bitmap_weight(m->node[i].cpus) <
						 hwloc_bitmap_weight(m->node[next].cpus)))
				next = (int)i;
		done[next] = true;
		hwloc_bitmap_t cpus = m->node[next].cpus;
		hwloc_bitmap_andnot(cpus, cpus, taken);
		hwloc_bitmap_or(taken, taken, cpus);
	}
	hwloc_bitmap_free(taken);
	free(done);
}

static void read_distances(struct hk_machine *m, hwloc_topology_t t)
{
	struct hwloc_distances_s *found;
	unsigned count = 1;
	for (unsigned i = 0; i < m->count; i++)
		m->node[i].distance = hk_need(calloc(m->count, sizeof(unsigned)));
	if (hwloc_distances_get_by_type(t, HWLOC_OBJ_NUMANODE, &count, &found,
					HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) ||
	    !count)
		return;
	for (unsigned i = 0; i < found->nbobjs; i++)
		for (unsigned j = 0; j < found->nbobjs; j++) {
			int a = hk_machine_find(m, found->objs[i]->os_index);
			int b = hk_machine_find(m, found->objs[j]->os_index);
			uint64_t d = found->values[i * found->nbobjs + j];
			if (a >= 0 && b >= 0 && d <= 255)
				m->node[a].distance[b] = (unsigned)d;
		}
	hwloc_distances_release(t, found);
}

struct hk_machine *hk_machine_load(bool look)
{
	struct hk_machine *m = hk_need(calloc(1, sizeof(*m)));
	m->foreign = look ? foreign_of_environment() : NULL;
	m->source = "hwloc " HWLOC_VERSION;
	m->policy_nodes = hk_need(hwloc_bitmap_alloc());
	/* What could turn hwloc away from this machine is hidden from it. */
	char **whole = m->foreign ? NULL : hide_variables();
	hwloc_topology_t t = topology_load(m->foreign);
	read_nodes(m, t);
	share_out_cpus(m);
	bool files = !m->foreign || !strncmp(m->foreign, "HWLOC_FSROOT=", 13);
	if (files)
		hk_machine_add_sysfs(m); /* before distances: it may add nodes */
	read_distances(m, t);
	if (files)
		hk_machine_add_distances(m);
	hwloc_topology_destroy(t);
	if (whole) {
		free(environ);
		environ = whole;
	}
	if (!m->foreign)
		hk_machine_add_use(m);
	if (!m->online)
		m->online = hk_machine_nodes(m);
	hk_machine_set_tiers(m);
	return m;
}
