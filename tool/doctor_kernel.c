/* doctor_kernel.c - sysctls that change what memory costs, and io_uring. */
#include <errno.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "doctor.h"

#define MAPS_DEFAULT 65530u
#define MAPS_FEW 8192u /* threads' stacks and libraries alone need hundreds to thousands */

static void check_balancing(struct hk_findings *f)
{
	uint64_t mode;
	const char *why =
		"1 makes the kernel unmap pages to see who touches them, and move them: faults, for "
		"memory that hakmem has on the right node already (memory bound by mbind is left alone)";
	if (!hk_sys_number(&mode, "/proc/sys/kernel/numa_balancing")) {
		hk_found(f, HK_GOOD, "numa_balancing", hk_format("not in this kernel"), why, NULL);
		return;
	}
	bool bad = mode & 1 && f->several;
	hk_found(f, bad ? HK_ADVICE : HK_GOOD, "numa_balancing",
		 hk_format("%llu%s", (unsigned long long)mode,
			   f->several ? "" : ", one node: no effect"),
		 why, "sysctl -w kernel.numa_balancing=0");
}

static void check_reclaim(struct hk_findings *f)
{
	uint64_t mode;
	if (!hk_sys_number(&mode, "/proc/sys/vm/zone_reclaim_mode"))
		return;
	hk_found(
		f, mode && f->several ? HK_ADVICE : HK_GOOD, "zone_reclaim",
		hk_format("%llu%s", (unsigned long long)mode,
			  f->several ? "" : ", one node: no effect"),
		"other than 0, a full node drops page cache and stalls the fault before another node's free "
		"memory is used",
		"sysctl -w vm.zone_reclaim_mode=0");
}

static bool meminfo_kib(const char *text, const char *key, uint64_t *out)
{
	char line[64];
	if (!hk_sys_field(text, key, line, sizeof(line)))
		return false;
	line[strcspn(line, " ")] = 0;
	return hk_number(line, 0, UINT64_MAX, out);
}

static void check_overcommit(struct hk_findings *f)
{
	static const char *const words[] = {"0 (heuristic)", "1 (always)", "2 (strict)"};
	uint64_t mode, limit = 0, used = 0;
	if (!hk_sys_number(&mode, "/proc/sys/vm/overcommit_memory") || mode > 2)
		return;
	if (mode < 2) {
		hk_found(
			f, HK_GOOD, "overcommit", hk_format("%s", words[mode]),
			"0 and 1 let hakmem keep given-back memory mapped; 2 charges it, and costs more calls",
			NULL);
		return;
	}
	char *text = hk_sys_text("/proc/meminfo");
	bool known = meminfo_kib(text, "CommitLimit:", &limit) &&
		     meminfo_kib(text, "Committed_AS:", &used);
	free(text);
	bool full = known && used > limit - limit / 20;
	char have[24] = "?", all[24] = "?";
	if (known) {
		hk_size_text(have, sizeof(have), used << 10);
		hk_size_text(all, sizeof(all), limit << 10);
	}
	hk_found(
		f, full ? HK_PROBLEM : HK_ADVICE, "overcommit",
		hk_format("%s, %s of %s committed", words[2], have, all),
		full ? "malloc fails when the commit limit is reached, free memory or not"
		     : "hakmem makes what it gives back inaccessible, which costs more calls and mappings",
		full ? "sysctl -w vm.overcommit_memory=0 (or raise vm.overcommit_ratio)"
		     : "sysctl -w vm.overcommit_memory=0");
}

static void check_maps(struct hk_findings *f)
{
	uint64_t most, strict = 0;
	if (!hk_sys_number(&most, "/proc/sys/vm/max_map_count"))
		return;
	hk_sys_number(&strict, "/proc/sys/vm/overcommit_memory");
	enum hk_verdict v = most < MAPS_FEW ? HK_PROBLEM
			    : most < MAPS_DEFAULT || (strict == 2 && most < 4 * MAPS_DEFAULT)
				    ? HK_ADVICE
				    : HK_GOOD;
	hk_found(
		f, v, "max_map_count", hk_format("%llu", (unsigned long long)most),
		"mappings that one process may have: memory on several nodes, or given back in pieces under strict "
		"overcommit, takes some each; at the limit mmap and mprotect fail",
		"sysctl -w vm.max_map_count=262144");
}

static void check_io_uring(struct hk_findings *f)
{
	static const char *const words[] = {"", " (io_uring_disabled=1: privileged only)",
					    " (io_uring_disabled=2)"};
	struct io_uring_params params = {0};
	uint64_t disabled = 0;
	hk_sys_number(&disabled, "/proc/sys/kernel/io_uring_disabled");
	int fd = (int)syscall(SYS_io_uring_setup, 1, &params);
	int why = errno;
	if (fd >= 0)
		close(fd);
	char *is = fd >= 0 ? hk_format("answers%s", words[disabled > 2 ? 0 : disabled])
			   : hk_format("%s%s", strerror(why),
				       disabled && disabled < 3 ? words[disabled]
				       : why == EPERM           ? " (by a seccomp filter)"
								: "");
	hk_found(
		f, fd >= 0 ? HK_GOOD : HK_ADVICE, "io_uring", is,
		"malloc works without; programs can register hakmem's memory as io_uring buffers only where it answers",
		disabled
			? "sysctl -w kernel.io_uring_disabled=0"
			: "allow io_uring_setup in the service's SystemCallFilter= or the container's seccomp profile");
}

void hk_check_kernel(struct hk_findings *f)
{
	check_balancing(f);
	check_reclaim(f);
	check_overcommit(f);
	check_maps(f);
	check_io_uring(f);
}
