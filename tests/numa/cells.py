"""cells.py - the matrix: which case runs on which machine, and by what line of shell in the guest.

A line is run in a shell of its own that has read say.sh ($all: nodes with memory, $last: the last of them, pools,
preloaded, into_cpuset); each program it starts ends with a verdict of its own. What it does not do:
run anything.
"""
from dataclasses import dataclass, field

EVERY = "1node 2node 4node cxl memless uneven distances"
SEVERAL = "2node 4node cxl memless uneven distances"
PLAIN = "2node 4node"
LARGE = "./place --rounds 4 --blocks 24 --large"
HUGETLB = "HAKMEM_STARTER_MIB=0 HAKMEM_HUGE=hugetlb"  # from the first byte on
THP = "/sys/kernel/mm/transparent_hugepage/enabled"


@dataclass
class Case:
    name: str
    text: str
    line: str
    boots: str
    longer: dict = field(default_factory=dict)  # boot: line that it has instead


@dataclass
class Boot:
    """A column: a machine, started once for all of its cases."""
    name: str
    topology: str
    options: dict = field(default_factory=dict)  # of guest.Setup
    suite: str = "stable"
    may_skip: bool = False


CHURN = {boot: "preloaded ./place --churn 10000 --blocks 24" for boot in PLAIN.split()}

CASES = [
    Case("place", "two threads a node, blocks handed to the next node", "preloaded ./place --rounds 24 --threads 2", EVERY),
    Case("spans", "likewise, blocks of 128 KiB to 8 MiB", f"preloaded {LARGE}", EVERY),
    Case("churn", "thread deaths and births: 10,000 on 2node and 4node, else 1,000",
         "preloaded ./place --churn 1000 --blocks 24", EVERY, CHURN),
    Case("stress", "two threads a node, mixed, 2,000,000 operations on 2node and 4node, else 400,000",
         "preloaded ./stress 400000", EVERY, {boot: "preloaded ./stress 2000000" for boot in PLAIN.split()}),
    Case("migrate", "a thread is moved to another node", "preloaded ./migrate", SEVERAL),
    Case("adopt", "threads exit, others take over what they leave", "preloaded ./adopt", EVERY),
    Case("exhaust", "one node is full", "preloaded ./exhaust", SEVERAL),
    Case("policies", "a thread's policy and hak_malloc_onnode", "preloaded ./policies", EVERY),
    Case("providers", "sysfs, string, file and hwloc agree", "./providers.sh", EVERY),
    Case("audit", "hakmem audit of running programs", "./audit.sh", PLAIN),
    Case("touch", "numa_touch: each node read from every node", "./touch.sh", "2node 4node cxl memless"),
    Case("membind", "numactl --membind", "numactl --membind=$last env LD_PRELOAD=$LIB ./place --want $last", "2node 4node cxl memless"),
    Case("membind-all", "numactl --membind of every node: local in it",
         "numactl --membind=all env LD_PRELOAD=$LIB ./place", PLAIN),
    Case("cpunodebind", "numactl --cpunodebind", "numactl --cpunodebind=1 env LD_PRELOAD=$LIB ./place", "2node 4node cxl"),
    Case("interleave", "numactl --interleave", f"numactl --interleave=all env LD_PRELOAD=$LIB {LARGE} --want $all --spread 1 --roughly", "2node 4node cxl memless"),
    Case("preferred", "numactl --preferred", "numactl --preferred=$last env LD_PRELOAD=$LIB ./place --want $last", "2node 4node cxl"),
    Case("localalloc", "numactl --localalloc", "numactl --localalloc env LD_PRELOAD=$LIB ./place", "2node 4node cxl memless"),
    Case("numa-local", "HAKMEM_NUMA=local over numactl --membind=0",
         "HAKMEM_NUMA=local numactl --membind=0 env LD_PRELOAD=$LIB ./place", PLAIN),
    Case("numa-interleave", "HAKMEM_NUMA=interleave", f"HAKMEM_NUMA=interleave preloaded {LARGE} --want $all --spread 1 --roughly", "2node 4node cxl memless"),
    Case("numa-preferred", "HAKMEM_NUMA=preferred=N", "HAKMEM_NUMA=preferred=$last preloaded ./place --want $last", "2node 4node cxl"),
    Case("numa-bind", "HAKMEM_NUMA=bind=LIST",
         "HAKMEM_NUMA=bind=$last preloaded ./place --want $last; HAKMEM_NUMA=bind=$all preloaded ./place --want $all", "2node 4node cxl memless"),
    Case("numa-off", "HAKMEM_NUMA=off runs", "HAKMEM_NUMA=off preloaded ./place --report", PLAIN),
    Case("thp-never", "no transparent huge pages",
         f"echo never >{THP}; preloaded ./place; preloaded {LARGE}; preloaded ./place --churn 500 --blocks 24", PLAIN),
    Case("balancing", "the kernel's numa_balancing on",
         "echo 1 >/proc/sys/kernel/numa_balancing; preloaded ./place --rounds 60; preloaded ./stress 400000", PLAIN),
    Case("cpuset", "a cpuset of one node", "into_cpuset $last; preloaded ./place --want $last", PLAIN),
    Case("cpuset-vanish", "nodes leave the cpuset and come back", "into_cpuset $all; preloaded ./cpuset /sys/fs/cgroup/lab", PLAIN),
    Case("deny-eperm", "mbind, move_pages, set_mempolicy, get_mempolicy denied",
         "./denied eperm $LIB ./place --rounds 10; ./denied eperm $LIB ./place --churn 250 --blocks 24", PLAIN),
    Case("deny-kill", "a filter that kills on mbind, move_pages, set_mempolicy",
         "./denied kill $LIB ./place --rounds 10 --no-audit; ./denied kill $LIB ./place --churn 250 --blocks 24 --no-audit", PLAIN),
    Case("huge-0", "pools of huge pages that are empty", f"{HUGETLB} preloaded ./hugetlb fill 16 none", PLAIN),
    Case("huge-1", "pools of one page a node", f"pools 1; {HUGETLB} preloaded ./hugetlb fill 16", PLAIN),
    Case("huge-32", "pools of 32 pages a node", f"pools 32; {HUGETLB} preloaded ./hugetlb fill 24 some", "2node 4node uneven"),
    Case("huge-32-0", "pools 32,0: one on the first node alone", f"pools 32,0; {HUGETLB} preloaded ./hugetlb fill 16 some", PLAIN),
    Case("huge-drain", "another process empties the pools meanwhile",
         f"pools 16; ./hugetlb drain 4 & for i in 1 2 3 4; do {HUGETLB} preloaded ./hugetlb fill 24; done; wait", PLAIN),
    Case("huge-children", "vfork, posix_spawn, fork and exec with huge pages; the fork is said once",
         f"pools 32; {HUGETLB} preloaded ./hugetlb children 16 2>/tmp/err; cat /tmp/err; "
         "[ $(grep -c '^hakmem: .*fork.*MiB' /tmp/err) = 1 ] || verdict fail \"said: $(head -n3 /tmp/err)\"", PLAIN),
    Case("huge-run", "hakmem run --hugepages: pools for a run, set back after it", "./hugepages.sh", PLAIN),
    Case("huge-1g", "pages of 1 GiB", f"{HUGETLB}-1g preloaded ./hugetlb fill 64 some", "2node-1g"),
    Case("huge-arena", "arenas on the pools of each node: strict, replaced, grown, empty, and drained meanwhile",
         "preloaded ./arena_huge 2m steady; pools 6; preloaded ./arena_huge 2m steady; "
         "pools 8; ./hugetlb drain 2 & preloaded ./arena_huge 2m shared; wait", PLAIN + " memless"),
    Case("huge-arena-1g", "likewise, pages of 1 GiB", "preloaded ./arena_huge 1g steady", "2node-1g"),
    Case("weighted", "HAKMEM_NUMA=weighted: by the kernel's weights, or evenly on a kernel that has none",
         f"HAKMEM_NUMA=weighted preloaded {LARGE} --want $all --spread 1", "2node 2node-new",
         {"2node-new": "w=/sys/kernel/mm/mempolicy/weighted_interleave; echo 4 >$w/node0; echo 1 >$w/node1; "
                       f"HAKMEM_NUMA=weighted preloaded {LARGE} --want $all --spread 4,1"}),
    Case("newer-kernel", "place, spans and thread deaths on the newer kernel",
         f"preloaded ./place; preloaded {LARGE}; preloaded ./place --churn 500 --blocks 24", "2node-new"),
    Case("overcommit", "vm.overcommit_memory=2: memory that was not promised is ENOMEM, and goes back when it is freed",
         "echo 2 >/proc/sys/vm/overcommit_memory; preloaded ./overcommit", "1node 2node"),
    Case("grow", "large blocks grow by realloc, over and over, in one mapping and in several",
         "echo 0 >/proc/sys/vm/overcommit_memory; preloaded ./grow",
         "1node 2node 2node-new"),
    Case("badinput", "what a user may get wrong", "./badinput.sh", "2node memless"),
]

# On these the processors run at once; on the others they take turns, which is faster.
PARALLEL = "uneven distances"

BOOTS = [Boot(name, name, {"parallel": name in PARALLEL.split()}) for name in EVERY.split()] + [
    Boot("2node-1g", "2node", {"mem": 4096, "gigapages": "1"}),
    Boot("2node-new", "2node", {}, "newer", may_skip=True),
]
