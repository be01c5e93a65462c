"""rows - what is run: one row is a program with its arguments at one thread count.

A row is data and runs nothing. Programs of bench/programs are found where they are built; what
differs from the rule stands in KNOWN. Rows of bench/anchors and the real programs join them here.
"""
import dataclasses
import fnmatch
import os

import anchors_rows
import hkbench

SYNTHETIC, ANCHOR, REAL = "synthetic", "anchor", "real"
GROUPS = (SYNTHETIC, ANCHOR, REAL)


class Unknown(Exception):
    """No row is named so."""


@dataclasses.dataclass
class Row:
    name: str
    group: str
    title: str
    threads: int = 0             # 0: as many as the program itself chooses
    command: list = dataclasses.field(default_factory=list)
    quick_arguments: list = dataclasses.field(default_factory=list)
    expects: bool = False        # takes --expect FILE and proves by itself
    metric: str = "ops_per_s"
    unit: str = "M ops/s"
    scale: float = 1e-6          # of the metric, to the unit
    higher_is_better: bool = True
    n: int = 0                   # replaces {n}; a quick run takes a tenth
    by_time: float = 0.0         # replaces {s}; a quick run takes a fifth
    warm: bool = True            # begins with a run that does not count
    slow: dict = dataclasses.field(default_factory=dict)  # allocator: divisor of n
    rounds: int = 0              # other than what was asked for
    seconds: float = 1.0         # of one full run, roughly; what it takes is learnt
    missing: str = ""            # why it can't run here
    compared: bool = True        # counts in the geometric means
    also: tuple = ()             # further figures: (metric, unit, scale, higher is better)
    env: dict = dataclasses.field(default_factory=dict)  # for all allocators
    asked: bool = False          # only where its name is asked for

    @property
    def id(self):
        return f"{self.name}/{self.threads}" if self.threads else self.name

    def words(self, allocator, quick):
        """The command line for one run."""
        n = max(1, self.n // self.slow.get(allocator, 1) // (10 if quick else 1))
        seconds = self.by_time / (5 if quick else 1)
        words = [w.replace("{n}", str(n)).replace("{s}", f"{seconds:g}") for w in self.command]
        return words + (self.quick_arguments if quick else [])

    def as_dict(self):
        keys = ("name", "group", "title", "threads", "metric", "unit", "scale", "higher_is_better",
                "compared", "also")
        return {"id": self.id, **{key: getattr(self, key) for key in keys},
                **({"env": self.env} if self.env else {}),
                "command": [os.path.basename(self.command[0]), *self.command[1:]]
                if self.command else []}


@dataclasses.dataclass
class Known:
    """What is particular to one program of bench/programs."""
    title: str
    n: int = 0                   # -n at one and two threads; less with more, so that runs last alike
    threads: tuple = ()          # (): those that were asked for; (0,): one row, its own choice
    arguments: tuple = ()
    seconds: float = 0.8
    program: str = ""            # where the row's name is not the program's
    also: tuple = ()             # further figures to compare: (metric, unit, scale, higher is better)
    rounds: int = 0
    warm: bool = True
    metric: dict = dataclasses.field(default_factory=dict)
    compared: bool = True
    env: dict = dataclasses.field(default_factory=dict)
    asked: bool = False
    missing: str = ""


BY_TIME_S = 0.8


def tail(what):
    return (f"{what}_p99_ns", "ns", 1.0, False), (f"{what}_p99.9_ns", "ns", 1.0, False), \
        (f"{what}_max_ns", "ns", 1.0, False)


def walk(gib, title, **more):
    """Random reads over GIB; minutes with seven allocators, so from 8 GiB on and on other pages only where asked for."""
    return Known(title, 6000000, threads=(1,), seconds=2.3 * gib, metric=WALK, compared=False, program="tlb",
                 arguments=("-p", f"mib={gib * 1024}"), rounds=3, warm=False,
                 also=(("huge_share", "of memory", 1.0, True),), **more)


def hugetlb_missing(gib):
    """Why a heap of so much can't be on hugetlb pages here."""
    with open("/proc/meminfo", encoding="ascii") as file:
        free = [int(line.split()[1]) for line in file if line.startswith("HugePages_Free:")]
    need = gib * 512 + 64
    return "" if free and free[0] >= need else f"{need} free hugetlb pages are needed"


WALK = {"metric": "ns_per_access", "unit": "ns", "scale": 1.0, "higher_is_better": False}
# With two cores a run takes about a second; counts are of each thread.
KNOWN = {
    "aligned": Known("aligned blocks of 16 B to 16 KiB", 4000000),
    "alloc_test": Known("hot and cold places of a table, sizes of a Pareto kind", 8000000),
    "burst": Known("200,000 blocks at once, then none", 12),
    "cache_scratch": Known("passive false sharing", 400),
    "cache_thrash": Known("active false sharing", 400),
    "calloc_mix": Known("zeroed blocks of 16 B to 64 KiB", 2000000),
    "exchange": Known("threads that free each other's blocks", 6000000),
    "fork_server": Known("a child a request, out of a heap of 64 MiB", 60, threads=(0,)),
    "fragment": Known("a server's hour: sizes that wander", 6000, threads=(2,),
                      also=(("rss_over_live_worst", "x live", 1.0, False),
                            ("rss_over_live_last", "x live", 1.0, False))),
    "glibc_simple": Known("batches of one size", 60000000, threads=(1,)),
    "glibc_thread": Known("random replacement, 4 B to 32 KiB", 15000000),
    "larson": Known("server: replace blocks, hand over, die", arguments=("-s", "{s}"), seconds=1.0),
    "larson-sized": Known("larson with operator new and sized delete", program="larson",
                          arguments=("-s", "{s}", "-p", "sized=1"), seconds=1.0),
    "latency": Known("every single call timed", 5000000, threads=(1, 2),
                     also=(*tail("malloc"), *tail("free"))),
    "malloc_large": Known("blocks of 5 to 25 MiB", 800, threads=(1,)),
    "mleak": Known("10 threads at a time that leave a block behind", 800, threads=(0,)),
    "mstress": Known("unequal threads, blocks that outlive them", 120),
    "numa_touch": Known("each node's memory, read from every node", threads=(0,), compared=False),
    "oversub": Known("64 threads on these cores", 300000, threads=(0,)),
    "realloc_growth": Known("buffers that grow by half", 2000000),
    "rptest": Known("bursts of 8 to 16,000 B, some for other threads", 1200),
    "sh6bench": Known("runs of one size, freed in order and in reverse", 8000000),
    "sh8bench": Known("a third freed by another thread", 5000000),
    "thread_churn": Known("threads that live for 100 blocks", 8000),
    "tlb": Known("random reads over 1 GiB", 10000000, threads=(1,), seconds=4.0, metric=WALK,
                 compared=False, also=(("huge_share", "of memory", 1.0, True),)),
    "tlb-4g": walk(4, "random reads over 4 GiB"),
    "tlb-4g-small": walk(4, "random reads over 4 GiB, hakmem too on 4 KiB pages", asked=True,
                         env={"HAKMEM_HUGE": "never"}),
    "tlb-4g-hugetlb": walk(4, "random reads over 4 GiB, hakmem's on hugetlb pages", asked=True,
                           env={"HAKMEM_HUGE": "hugetlb"}, missing=hugetlb_missing(4)),
    "tlb-8g": walk(8, "random reads over 8 GiB", asked=True),
    "waves": Known("load and idleness in turn", 4, threads=(2,), seconds=2.0, compared=False),
    "xmalloc": Known("producers allocate, consumers free", 10000000),
}

# Rows of bench/anchors for the full run: one of each kind, the longest left to that command.
ANCHORS = ("anchor", "anchor-main", "lifo", "shuffled", "size-64", "size-1024", "mixed", "live-10k",
           "replace-3k", "replace-30k", "replace-300k", "pairs-1", "pairs-1-mixed", "threads-8",
           "medium-64k")
ANCHOR_ROUNDS = 10


def built(directory):
    """Names of the programs that are there."""
    if not os.path.isdir(directory):
        return set()
    return {name for name in os.listdir(directory) if "." not in name
            and os.access(os.path.join(directory, name), os.X_OK)
            and os.path.isfile(os.path.join(directory, name))}


def synthetic(directory, threads):
    """A row a program and thread count; KNOWN programs that are not built say so."""
    found = built(directory)
    rows = []
    for name in sorted(found | set(KNOWN)):
        known = KNOWN.get(name, Known(name))
        program = known.program or name
        path = os.path.join(directory, program)
        for count in known.threads or threads:
            words = ["-t", str(count)] if count else []
            if known.n:
                words += ["-n", "{n}"]
            rows.append(Row(
                name, SYNTHETIC, known.title, count, [path, *words, *known.arguments],
                ["--quick"], expects=True, by_time=BY_TIME_S, warm=known.warm,
                n=max(1, known.n * 2 // max(count, 2)), seconds=known.seconds,
                compared=known.compared, also=known.also,
                rounds=known.rounds, env=known.env, asked=known.asked,
                missing=known.missing if program in found else f"{path} is not built (make bench-suite)",
                **known.metric))
    return rows


def anchors(directory):
    rows = []
    for row in anchors_rows.timed_rows():
        if row.name not in ANCHORS:
            continue
        path = os.path.join(directory, row.command[0])
        rows.append(Row(
            "anchor:" + row.name, ANCHOR, row.title, 0, [path, *row.command[1:]], [],
            metric=row.metric, unit=row.unit, scale=1.0, higher_is_better=False, n=row.n // 2,
            slow=row.slow, rounds=ANCHOR_ROUNDS, seconds=0.6,
            missing="" if os.path.exists(path) else f"{path} is not built (make bench-programs)"))
    return rows


def real():
    from real import works  # here, so that a listing of programs alone needs no C compiler
    return [Row("real:" + work.name, REAL, work.title, metric="cpu_seconds", unit="CPU s",
                scale=1.0, higher_is_better=False, seconds=work.seconds,
                missing=work.missing()) for work in works.WORKS]


def every(threads, programs=hkbench.PROGRAMS):
    return [*synthetic(os.path.join(programs, "suite"), threads), *anchors(programs), *real()]


def choose(rows, patterns):
    """Rows whose name, id or group fits one of PATTERNS. Raises Unknown for one that fits none."""
    chosen = []
    for pattern in patterns:
        fits = [r for r in rows if any(fnmatch.fnmatch(text, pattern)
                                       for text in (r.name, r.id, r.group, r.name.split(":")[-1]))
                and (not r.asked or pattern in (r.name, r.id))]
        if not fits:
            raise Unknown(f"no benchmark or group is named {pattern} (see --list)")
        chosen += [r for r in fits if r not in chosen]
    return [r for r in rows if r in chosen]


# For --quick, what shows most in little time; the most telling first, should the time be up.
QUICK = ("larson", "anchor:anchor", "real:python3", "xmalloc", "fragment", "real:redis", "latency",
         "anchor:mixed", "mstress", "glibc_thread", "real:sqlite3", "rptest", "anchor:pairs-1",
         "alloc_test", "real:perl", "cache_scratch", "anchor:replace-30k")


def quick(rows):
    return [row for name in QUICK for row in rows if row.name == name]
