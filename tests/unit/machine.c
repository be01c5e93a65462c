/* machine.c - see machine.h. Knows no policy and asserts nothing of nodes. */
#include "machine.h"

#include <string.h>

struct unit_machine unit_machine;

int __real_hk_os_read(const char *path, char *buf, size_t bytes, bool roots);
int __wrap_hk_os_read(const char *path, char *buf, size_t bytes, bool roots);

int __real_hk_os_folders(const char *path);
int __wrap_hk_os_folders(const char *path);

int unit_real_read(const char *path, char *buf, size_t bytes, bool roots)
{
	return __real_hk_os_read(path, buf, bytes, roots);
}

static int give(const char *text, char *buf, size_t bytes)
{
	return text ? snprintf(buf, bytes, "%s", text) < (int)bytes ? (int)strlen(buf) : (int)bytes - 1 : -1;
}

static int give_node(const char *path, char *buf, size_t bytes)
{
	unsigned os;
	char leaf[20], text[100];
	if (sscanf(path, NODES "node%u/%19s", &os, leaf) != 2)
		return -1;
	for (unsigned i = 0; i < COUNT_OF(unit_machine.node); i++) {
		if (unit_machine.node[i].os != os || !unit_machine.node[i].cpus)
			continue;
		snprintf(text, sizeof(text), "Node %u MemTotal: %s kB\n", os, unit_machine.node[i].mem_kib);
		return give(!strcmp(leaf, "cpulist")    ? unit_machine.node[i].cpus
			    : !strcmp(leaf, "meminfo")  ? text
			    : !strcmp(leaf, "distance") ? unit_machine.node[i].distance
							: NULL,
			    buf, bytes);
	}
	return -1;
}

int __wrap_hk_os_folders(const char *path)
{
	int folders = !unit_machine.no_power;
	bool zero = false;
	if (!unit_machine.online)
		return __real_hk_os_folders(path);
	assert_string_equal(path, NODES "node0/../power/..");
	for (unsigned i = 0; i < COUNT_OF(unit_machine.node); i++) {
		folders += unit_machine.node[i].cpus != NULL;
		zero |= unit_machine.node[i].cpus && !unit_machine.node[i].os;
	}
	return zero && !unit_machine.no_power ? folders : -1;
}

int __wrap_hk_os_read(const char *path, char *buf, size_t bytes, bool roots)
{
	char text[200];
	if (!unit_machine.online)
		return __real_hk_os_read(path, buf, bytes, roots);
	unit_machine.reads++;
	if (!strcmp(path, NODES "online"))
		return give(unit_machine.online, buf, bytes);
	if (!strcmp(path, "/proc/thread-self/status")) {
		snprintf(text, sizeof(text), "Name:\tx\n%s%s\nMems_allowed:\t1\nMems_allowed_list:\t%s\n",
			 unit_machine.filter ? "Seccomp:\t" : "x:", unit_machine.filter ? unit_machine.filter : "",
			 unit_machine.allowed);
		return give(text, buf, bytes);
	}
	if (!strcmp(path, SAVED)) {
		assert_true(roots);
		return unit_machine.saved_by_others ? -2 : give(unit_machine.saved, buf, bytes);
	}
	return strncmp(path, NODES, strlen(NODES)) ? __real_hk_os_read(path, buf, bytes, roots)
						   : give_node(path, buf, bytes);
}

void unit_two_nodes(void)
{
	unit_machine.online = "0,900\n";
	unit_machine.allowed = "0-1023";
	unit_machine.filter = "0";
	unit_machine.node[0].os = 0;
	unit_machine.node[0].cpus = "0-4095\n";
	unit_machine.node[0].mem_kib = "1048576";
	unit_machine.node[0].distance = "10 20\n";
	unit_machine.node[1] = unit_machine.node[0];
	unit_machine.node[1].os = 900;
	unit_machine.node[1].cpus = "\n";
	unit_machine.node[1].distance = "20 10\n";
}

void unit_five_nodes(void)
{
	unit_machine.online = "2-6\n";
	unit_machine.allowed = "2-5";
	unit_machine.filter = "0";
	static const char *const cpus[] = {"1\n", "\n", "0\n", "2\n", "3\n"};
	static const char *const distance[] = {"10 12 21 15 15\n", "12 10 13 14 15\n", "21 13 10 15 15\n",
					       "14 12 15 10 15\n", "15 15 15 15 10\n"};
	for (unsigned i = 0; i < 5; i++) {
		unit_machine.node[i].os = i + 2;
		unit_machine.node[i].cpus = cpus[i];
		unit_machine.node[i].mem_kib = i == 3 ? "0" : "1048576";
		unit_machine.node[i].distance = distance[i];
	}
}
