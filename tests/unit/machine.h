/* machine.h - for tests of machines that this one is not: the files that say what the machine is are the
 * test's, all else is real. Programs with it are linked with --wrap=hk_os_read and
 * --wrap=hk_os_folders. Pools of nodes that this
 * machine does not have work on it, but that the kernel refuses to place their memory.
 */
#ifndef HK_UNIT_MACHINE_H
#define HK_UNIT_MACHINE_H

#include "unit.h"

#define NODES "/sys/devices/system/node/"
#define SAVED "/run/hakmem/topology"

struct unit_machine {
	const char *online;  /* NULL: this machine as it is */
	const char *allowed, *filter; /* of /proc/thread-self/status; filter NULL: no such line */
	const char *saved;            /* the file of root's; NULL: not there */
	bool saved_by_others;
	bool no_power; /* a kernel whose devices have no folder of that name */
	unsigned reads; /* of files */
	struct {
		unsigned os;
		const char *cpus, *mem_kib, *distance;
	} node[8];
};

extern struct unit_machine unit_machine;

/* Nodes 0 and 900; no machine has the second. All processors are on the first. */
void unit_two_nodes(void);

/* Processors 0 and 1 on nodes 4 and 2; 3 has none though it is nearest, 5 no memory, 6 is forbidden. */
void unit_five_nodes(void);

/* hk_os_read as it is. */
int unit_real_read(const char *path, char *buf, size_t bytes, bool roots);

#endif
