"""arena_rows - what arenas, object pools and fixed buffers are to reach, and from which rows it is read.

Data and arithmetic; runs nothing. A row holds one figure a round of each subject; a target compares two
subjects over one row or several, each judged for itself, and the worst is the target's figure.
"""
import dataclasses
import statistics

import anchors_rows
import figures

SIZES = {"pair_64": "64 B", "pair_256": "256 B", "pair_1024": "1 KiB", "pair_2048": "2 KiB",
         "pair_4096": "4 KiB", "pair_8192": "8 KiB", "churn": "random replacement"}
OBJECTS = {"object": "one at a time", "object_bulk_cached": "4 bulks of 32",
           "object_bulk_store": "64 bulks of 32"}
TIMES, MORE = "times", "more"  # peer / own at least; own - peer at most


@dataclasses.dataclass
class Target:
    name: str
    text: str
    own: str
    peer: str
    limit: float
    rows: dict                  # name: what the row is
    kind: str = TIMES
    needs: str = "hakmem"       # the program beside bench_arena (Program.name)

    @property
    def sign(self):
        return f"at least {self.limit:g}x" if self.kind == TIMES else f"at most {self.limit:g} ns more"


@dataclasses.dataclass
class Program:
    name: str
    file: str
    parts: str                  # for --parts; empty: it has no such argument
    subjects: dict              # as the program says it: as the rows here call it
    build: str                  # what to say where it is not built
    libraries: tuple = ()       # how the names of the files that may serve begin; empty: the library under test
    environment: dict = dataclasses.field(default_factory=dict)


def dpdk(name, suffix, environment):
    return Program(name, "bench_arena_dpdk", "blocks,objects",
                   {"rte_malloc": "rte_malloc" + suffix, "rte_mempool": "rte_mempool" + suffix},
                   "make bench-arena; needs libdpdk-dev", ("librte_eal.so", "librte_mempool.so"), environment)


HUGE = " on hugetlb pages"
PROGRAMS = [
    Program("hakmem", "bench_arena", "blocks,objects,reset,short",
            {n: n for n in ("hak_malloc", "arena", "arena_pushed", "arena_single", "arena_cache",
                                 "hak_pool", "hak_pool_cache")}, "make bench-arena"),
    Program("jemalloc", "bench_arena_jemalloc", "blocks", {"jemalloc_arena": "jemalloc_arena"},
            "make bench-arena; needs libjemalloc-dev", ("libjemalloc.so",)),
    Program("mimalloc", "bench_arena_mimalloc", "blocks", {"mimalloc_heap": "mimalloc_heap"},
            "make bench-arena; needs libmimalloc-dev", ("libmimalloc.so",)),
    dpdk("dpdk", "", {}),
    dpdk("dpdk-huge", HUGE, {"BENCH_DPDK_ARGS": "--in-memory"}),
    Program("uring", "bench_uring", "", {"plain": "plain"}, "make uring-bench; needs liburing-dev",
            ("libc.so",)),
]

TARGETS = [
    Target("arena", "alloc and free in an arena against hak_malloc", "arena", "hak_malloc", 2, SIZES, MORE),
    Target("single", "alloc and free in a single owner's arena, inlined by its cache, against one of any thread",
           "arena_cache", "arena", 1.0, SIZES),
    Target("single-call", "alloc and free in a single owner's arena by calls against one of any thread", "arena_single",
           "arena", 1.0, SIZES),
    Target("reset", "reset of 100,000 blocks against freeing one by one", "reset", "one_by_one", 100,
           {"release_100k": "100,000 blocks"}),
    Target("rte_malloc", "alloc and free in an arena against rte_malloc", "arena", "rte_malloc", 5, SIZES,
           needs="dpdk"),
    Target("rte_mempool", "hak_pool, inlined by its cache, against rte_mempool with its per-core cache, inlined",
           "hak_pool_cache", "rte_mempool", 1.0, OBJECTS, needs="dpdk"),
    Target("rte_mempool-call", "hak_pool by calls against rte_mempool with its per-core cache, inlined", "hak_pool",
           "rte_mempool", 1.0, OBJECTS, needs="dpdk"),
    Target("rte_malloc-huge", "alloc and free in an arena against rte_malloc" + HUGE, "arena",
           "rte_malloc" + HUGE, 5, SIZES, needs="dpdk-huge"),
    Target("rte_mempool-huge", "hak_pool, inlined by its cache, against rte_mempool" + HUGE, "hak_pool_cache",
           "rte_mempool" + HUGE, 1.0, OBJECTS, needs="dpdk-huge"),
    Target("jemalloc", "alloc and free in an arena against jemalloc's (mallocx)", "arena", "jemalloc_arena",
           1.2, SIZES, needs="jemalloc"),
    Target("mimalloc", "alloc and free in an arena against mimalloc's heaps", "arena", "mimalloc_heap", 1.2,
           SIZES, needs="mimalloc"),
    Target("mimalloc-cache", "alloc and free in a single owner's arena, inlined by its cache, against mimalloc's heaps",
           "arena_cache", "mimalloc_heap", 1.2, SIZES, needs="mimalloc"),
    Target("mimalloc-pushed", "malloc and free in a pushed arena against mimalloc's heaps, of one thread too",
           "arena_pushed", "mimalloc_heap", 1.2, SIZES, needs="mimalloc"),
    Target("registration", "registration of 1 GiB of an arena against 4 KiB pages", "arena", "small_pages", 8,
           {"registration": "1 GiB"}, needs="uring"),
    Target("read-64k", "CPU time of a 64 KiB read into an arena's fixed buffers against READ into glibc's malloc",
           "fixed", "plain", 1.5, {"read_64k": "a buffer for each block of the file, O_DIRECT"}, needs="uring"),
    Target("read-256k", "CPU time of a 256 KiB read into an arena's fixed buffers against READ into glibc's malloc",
           "fixed", "plain", 3, {"read_256k": "a buffer for each block of the file, O_DIRECT"}, needs="uring"),
]
TAIL = ("p99.9", "max")
# Asked for, without a bound: (text, subject, {row: what it is}).
SHOWN = [("reads into 32 buffers used again at once, plain to fixed", "ratio",
          {"read_64k_few": "64 KiB", "read_256k_few": "256 KiB"}),
         ("an arena created, 100 allocations, destroyed", "arena", {"short_arena": ""}),
         *[(f"an allocation {words}, populate {mode}", mode, {f"stall_{half}_{what}": what for what in TAIL})
           for half, words in (("initial", "of what was asked for at creation"), ("growth", "across growth"))
           for mode in ("now", "background", "never")]]


def compared(target):
    """For figures.judge: a function of Cells."""
    def times(cells):
        return (target.text, cells.ratio(target.peer), target.limit, "min")

    def more(cells):
        own, peer = cells.median(target.own), cells.median(target.peer)
        return (target.text, own - peer if own and peer else None, target.limit, "max")
    return times if target.kind == TIMES else more


def judge_row(target, row, values, rounds):
    """VALUES: {subject: [figure of each round]} of one row."""
    head = anchors_rows.Row(row, target.rows[row], [], metric="value", unit="ns")
    results = {s: [{"value": v} for v in values.get(s, [])] for s in (target.own, target.peer)}
    judged = figures.judge(compared(target), anchors_rows.Cells(head, results, target.own), rounds)
    return {**judged, "row": row, "what": target.rows[row]}


ORDER = [figures.NOT_MET, figures.NOT_RUN, figures.UNDECIDED, figures.MET]


def worst(parts):
    """The row that decides: by verdict, then by its distance from the bound."""
    def far(one):
        value = one["value"] if one["value"] is not None else 0
        return (ORDER.index(one["verdict"]), value if one["kind"] == "min" else -value)
    return min(parts, key=far)


def judge(target, rows, rounds):
    """A dict as figures.judge gives it, and the rows' own in "parts"."""
    parts = [judge_row(target, row, rows.get(row, {}), rounds) for row in target.rows]
    least = worst(parts)
    unit = "x" if target.kind == TIMES else " ns"
    out = {"name": target.name, "text": f"{target.text}: {target.sign}", "verdict": least["verdict"],
           "value": least["value"], "limit": target.limit, "kind": least["kind"], "result": least["result"],
           "low": least.get("low"), "high": least.get("high"), "note": "", "parts": parts}
    if len(parts) > 1:
        met = sum(p["verdict"] == figures.MET for p in parts)
        out["result"] = f"{least['what']}: {least['result']}; {met} of {len(parts)} rows met"
        out["note"] = ", ".join(f"{p['what']} {figures.number(p['value'])}{unit}" for p in parts
                                if p["value"] is not None)
    return out


def shown(rows, units):
    """[text]"""
    out = []
    for text, subject, parts in SHOWN:
        found = [(what, rows[row][subject], units[row]) for row, what in parts.items() if subject in rows.get(row, {})]
        words = [f"{what} {figures.number(statistics.median(values))} {unit} "
                 f"({' .. '.join(figures.number(v) for v in figures.interval(values))})".strip()
                 for what, values, unit in found]
        out += [f"{text}: {', '.join(words)}"] if words else []
    return out
