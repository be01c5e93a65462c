/* doctor_process.c - what holds for this process and its children, and what is installed. */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "doctor.h"
#include "program.h"
#include "text.h"
#include "variables.h"

static char *limit_text(rlim_t limit)
{
	char text[24] = "unlimited";
	if (limit != RLIM_INFINITY)
		hk_size_text(text, sizeof(text), limit);
	return hk_format("%s", text);
}

static void check_limits(struct hk_findings *f)
{
	struct rlimit lock = {RLIM_INFINITY, RLIM_INFINITY}, space = lock, data = lock;
	getrlimit(RLIMIT_MEMLOCK, &lock);
	getrlimit(RLIMIT_AS, &space);
	getrlimit(RLIMIT_DATA, &data);
	hk_found(
		f, HK_GOOD, "memlock", limit_text(lock.rlim_cur),
		"concerns programs that call mlock or mlockall, and registered io_uring buffers of old kernels; where "
		"it is finite hakmem reserves address space little by little",
		NULL);
	hk_found(
		f, space.rlim_cur == RLIM_INFINITY ? HK_GOOD : HK_ADVICE, "address-space",
		limit_text(space.rlim_cur),
		"hakmem reserves address space ahead; under a limit (RLIMIT_AS) it gets little of it and asks often",
		"ulimit -v unlimited (LimitAS=infinity in a unit); limit memory by cgroup: MemoryMax=");
	hk_found(
		f, data.rlim_cur == RLIM_INFINITY ? HK_GOOD : HK_ADVICE, "data-limit",
		limit_text(data.rlim_cur),
		"under RLIMIT_DATA hakmem makes what it gives back inaccessible, which costs more calls and mappings",
		"ulimit -d unlimited (LimitDATA=infinity in a unit)");
}

static void check_cpuset(struct hk_findings *f)
{
	char cpus[4096] = "?", mems[4096] = "?";
	char *text = hk_sys_text("/proc/self/status");
	hk_sys_field(text, "Cpus_allowed_list:", cpus, sizeof(cpus));
	hk_sys_field(text, "Mems_allowed_list:", mems, sizeof(mems));
	free(text);
	/* Does a processor of ours have memory on its own node? */
	hwloc_bitmap_t mine = hk_need(hwloc_bitmap_alloc());
	bool local = false;
	if (hwloc_bitmap_list_sscanf(mine, cpus))
		local = true; /* not known: nothing to say */
	for (unsigned i = 0; i < f->machine->count; i++) {
		const struct hk_tool_node *n = &f->machine->node[i];
		local |= n->memory_bytes && n->use == HK_USE_YES &&
			 hwloc_bitmap_intersects(mine, n->cpus);
	}
	hwloc_bitmap_free(mine);
	bool bad = f->several && !local && !f->machine->foreign;
	hk_found(
		f, bad ? HK_PROBLEM : HK_GOOD, "cpuset",
		hk_format("cpus %s, memory of nodes %s", cpus, mems),
		bad ? "no processor that this process may use has memory it may use: every access is remote"
		    : "hakmem places memory on the nodes that the cpuset allows",
		"let AllowedCPUs= and AllowedMemoryNodes= (cpuset) or numactl name the same nodes");
}

static void check_policy(struct hk_findings *f)
{
	const struct hk_machine *m = f->machine;
	char *set = hk_bitmap_text(m->policy_nodes);
	if (m->foreign) {
		free(set);
		return;
	}
	char *is = !m->policy    ? hk_format("get_mempolicy does not answer")
		   : *set == '-' ? hk_format("%s", m->policy)
				 : hk_format("%s %s", m->policy, set);
	hk_found(
		f, !m->policy && f->several ? HK_ADVICE : HK_GOOD, "mempolicy", is,
		"the process's own policy (numactl, NUMAPolicy=) is obeyed unless HAKMEM_NUMA says otherwise; "
		"'default' is local memory",
		"allow get_mempolicy and mbind in the service's SystemCallFilter=, or leave placing to first touch");
	free(set);
}

static void check_filter(struct hk_findings *f)
{
	char mode[8] = "";
	char *text = hk_sys_text("/proc/self/status");
	if (hk_sys_field(text, "\nSeccomp:", mode, sizeof(mode)))
		hk_found(
			f, *mode == '2' && f->several ? HK_ADVICE : HK_GOOD, "seccomp",
			hk_format(*mode == '2'   ? "filtered"
				  : *mode == '1' ? "strict"
						 : "none"),
			"under a filter hakmem makes no NUMA call unless HAKMEM_NUMA is set, since filters may kill: "
			"first touch places memory then",
			"where the filter allows mbind: HAKMEM_NUMA=local in the service's environment");
	free(text);
}

static void check_options(struct hk_findings *f)
{
	unsigned set;
	char *fault = hk_variables_fault(&set);
	hk_found(f, fault ? HK_ADVICE : HK_GOOD, "options",
		 fault ? hk_format("%s", fault)
		 : set ? hk_format("%u in the environment", set)
		       : hk_format("none in the environment"),
		 "an option HAKMEM_* that the library does not know, or cannot read, is named once and ignored",
		 "unset it, or set it as hakmem(7) says");
	free(fault);
}

void hk_check_process(struct hk_findings *f)
{
	check_options(f);
	check_limits(f);
	check_cpuset(f);
	check_policy(f);
	check_filter(f);
}

void hk_check_install(struct hk_findings *f)
{
	struct hk_elf elf;
	bool none;
	char *lib = hk_library_beside(&elf);
	hk_found(f, lib ? HK_GOOD : HK_PROBLEM, "library",
		 hk_format("%s", lib ? lib : "not found beside this tool"),
		 "what `hakmem run` preloads", "apt install libhakmem0 (or hakmem run --lib FILE)");
	free(lib);
	if (f->machine->foreign)
		return;
	const char *refused = hk_topology_refused(HK_TOPOLOGY_FILE, &none);
	bool needed = f->machine->count > 1;
	hk_found(
		f,
		!refused ? HK_GOOD
		: !none  ? HK_PROBLEM
		: needed ? HK_ADVICE
			 : HK_GOOD,
		"topology",
		!refused ? hk_format("saved in " HK_TOPOLOGY_FILE)
		: none   ? hk_format("not saved%s", needed ? "" : ", one node: not needed")
			 : hk_format(HK_TOPOLOGY_FILE ": %s", refused),
		refused && !none
			? "each program that preloads the library refuses that file, and says so"
			: "a plain LD_PRELOAD takes from it what hwloc found (tiers, bandwidth), else it asks "
			  "sysfs",
		needed ? "systemctl enable --now hakmem-topology (or hakmem topo --save)"
		       : "hakmem topo --save (or rm " HK_TOPOLOGY_FILE ")");
}
