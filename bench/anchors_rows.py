"""anchors_rows - the rows of bench/anchors and what each is to reach.

A row is data: which program runs, which figure counts, which targets stand over it. Targets are
triples (text, value, limit) with value <= limit or >= limit, made from medians when they are
printed. No row runs anything itself.
"""
import dataclasses
import os
import statistics


@dataclasses.dataclass
class Row:
    name: str
    title: str
    command: list             # program and arguments; {n} is the count
    n: int = 0                # for a full run; a quick one takes a tenth
    metric: str = "ns_per_op"
    unit: str = "ns/op"
    targets: list = dataclasses.field(default_factory=list)
    with_tcache: bool = False  # glibc with its thread cache grown to 127, too
    with_floor: bool = False   # and calls that do nothing
    rounds: int = 0            # other than what was asked for: rows that take long
    slow: dict = dataclasses.field(default_factory=dict)  # allocator: divisor of n
    show: list = dataclasses.field(default_factory=list)  # further fields of the result
    quick_command: list = None


# Not among those to be ahead of: another setting of one of them, and no allocator at all.
TCACHE, FLOOR = "glibc+tcache", "(calls alone)"
VARIANTS = (TCACHE, FLOOR)


class Cells:
    """One row's results: {allocator: [result, ...]}."""

    def __init__(self, row, results, own):
        self.row = row
        self.own = own
        self.results = {a: r for a, r in results.items() if r}

    def median(self, allocator, field=None):
        values = [r[field or self.row.metric] for r in self.results.get(allocator, [])
                  if (field or self.row.metric) in r]
        return statistics.median(values) if values else None

    def least(self, allocator, field):
        values = [r[field] for r in self.results.get(allocator, []) if field in r]
        return min(values) if values else None

    def peers(self):
        return [a for a in self.results if a != self.own and a not in VARIANTS]

    def ratio(self, peer, field=None, least=False):
        """How many times less this costs than with PEER; None where one is missing."""
        take = self.least if least else self.median
        field = field or self.row.metric
        mine, theirs = take(self.own, field), take(peer, field)
        return theirs / mine if mine and theirs else None

    def best_peer(self):
        known = [(self.median(p), p) for p in self.peers() if self.median(p)]
        return min(known)[1] if known else None


# Each target is a function of Cells giving (text, value, limit, 'min' or 'max'); value None where
# it was not measured.
def over(peer, times):
    return lambda c: (f"{times}x {peer} by median", c.ratio(peer), times, "min")


def over_cycles(peer, times):
    return lambda c: (f"{times}x {peer} by minimum cycles",
                      c.ratio(peer, "cycles_per_op", True), times, "min")


def over_best(times):
    return lambda c: (f"{times}x the best of them ({c.best_peer()})",
                      c.ratio(c.best_peer()), times, "min")


def cycles_at_most(limit):
    return lambda c: (f"minimum cycles/op at most {limit} (for a Golden Cove core)",
                      c.least(c.own, "cycles_per_op"), limit, "max")


def at_most(field, limit, text):
    return lambda c: (text, c.median(c.own, field), limit, "max")


def above_glibc(field, limit, text):
    def target(c):
        mine, base = c.median(c.own, field), c.median("glibc", field)
        return (text, None if mine is None or base is None else mine - base, limit, "max")
    return target


def ahead_of_all(field):
    def target(c):
        peers = [c.median(p, field) for p in c.peers() if p != "glibc"]
        peers = [p for p in peers if p is not None]
        return ("ahead of every peer", c.median(c.own, field), min(peers, default=None), "max")
    return target


def growth_at_most(times):
    def target(c):
        first, last = c.median(c.own, "first_peak_kib"), c.median(c.own, "last_peak_kib")
        return ("last peak / first peak", last / first if first else None, times, "max")
    return target


def tiny(name, title, args, n, **more):
    return Row(name, title, ["bench_tiny", "-j", "-n", "{n}", *args], n, **more)


def timed_rows():
    slow = {"glibc": 4, TCACHE: 4}
    fixed = {"slow": slow, "with_floor": True}
    batch = 1500000
    yield tiny("anchor", "16 B, batch 100 fifo, worker thread", ["-c"], batch, **fixed,
               with_tcache=True, targets=[over("mimalloc", 1.05), over_cycles("mimalloc", 1.08),
                                          cycles_at_most(5.6)])
    yield tiny("anchor-main", "16 B, batch 100 fifo, main thread", ["-c", "-M"], batch, **fixed,
               with_tcache=True)
    for order in ("lifo", "shuffled"):
        yield tiny(order, f"16 B, batch 100 {order}", ["-c", "-o", order], batch, **fixed,
                   targets=[over_best(1.15)])
    for size in (32, 64, 128, 256, 512, 1024):
        yield tiny(f"size-{size}", f"{size} B, batch 100 fifo", ["-c", "-s", str(size)], batch,
                   **fixed, targets=[over_best(1.15) if size < 1024 else over("tcmalloc", 1.0)])
    yield tiny("mixed", "16..1024 B, batch 100 fifo", ["-c", "-s", "16..1024"], batch, slow=slow,
               targets=[over("tcmalloc", 1.15), over("mimalloc", 2.0)])
    yield tiny("live-10k", "16..1024 B, 10,000 live blocks in random order",
               ["-c", "-s", "16..1024", "-b", "10000", "-o", "shuffled"], 4000,
               targets=[over_best(1.2)])
    for count, n in ((3000, 10000000), (30000, 10000000), (300000, 5000000), (2000000, 4000000)):
        yield tiny(f"replace-{count // 1000}k", f"16..256 B, random replacement of {count:,}",
                   ["-c", "-s", "16..256", "-w", str(count)], n,
                   targets=[over_best(1.15), over("mimalloc", 1.5)])
    for pairs in (1, 2):
        yield tiny(f"pairs-{pairs}", f"16 B, {pairs} producer/consumer pair(s)",
                   ["-x", str(pairs)], 8000000,
                   targets=[over("mimalloc", 5.0), over("jemalloc", 2.0)])
        yield tiny(f"pairs-{pairs}-mixed", f"16..256 B, {pairs} producer/consumer pair(s)",
                   ["-x", str(pairs), "-s", "16..256"], 8000000)
    yield tiny("threads-8", "16 B, batch 100 fifo, 8 threads", ["-t", "8"], 300000, slow=slow,
               targets=[over_best(1.1)])
    for kib, n in ((8, 200000), (16, 200000), (64, 100000), (256, 50000)):
        yield tiny(f"medium-{kib}k", f"{kib} KiB, batch 20 fifo",
                   ["-c", "-s", str(kib * 1024), "-b", "20"], n)


def warm_mib():
    """HAKMEM_WARM_MIB as it is by itself; less where a control group has less memory than the machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    return min(max(memory // 96, 128), 1024)


def memory_rows(warm_mib):
    yield Row("rss-small", "resident memory of a small program", ["memory", "small"],
              metric="resident_kib", unit="KiB", rounds=3,
              targets=[above_glibc("resident_kib", 1024, "KiB above glibc")])
    yield Row("rss-threads-8", "peak of bench_tiny -t 8",
              ["bench_tiny", "-j", "-n", "100000", "-t", "8"], metric="peak_kib", unit="KiB",
              rounds=3, targets=[at_most("peak_kib", 4096, "KiB")],
              quick_command=["bench_tiny", "-j", "-n", "10000", "-t", "8"])
    yield Row("sleepers", "100 threads asleep, a block of each of 3 classes",
              ["memory", "sleepers", "100"], metric="kib_per_thread", unit="KiB a thread",
              rounds=3, targets=[at_most("kib_per_thread", 100, "KiB a thread")])
    yield Row("visitors", "left by 1,000 threads that came and went",
              ["memory", "visitors", "1000"], metric="left_kib", unit="KiB", rounds=3)
    yield Row("idle", "200 ms of load, then 30 s asleep: resident above live",
              ["memory", "idle", "200", "30"], metric="over_live_kib", unit="KiB", rounds=1,
              show=["freed_kib", "slept_kib", "live_kib"],
              targets=[at_most("over_live_kib", warm_mib * 1024,
                               f"KiB above live (warm cap {warm_mib} MiB)")],
              quick_command=["memory", "idle", "200", "3"])
    yield Row("cycle", "20 x (1 GiB of mixed sizes allocated, freed), then trim: above start",
              ["memory", "cycle", "1024", "20"], metric="over_start_kib", unit="KiB", rounds=1,
              show=["first_peak_kib", "last_peak_kib", "freed_kib"],
              targets=[growth_at_most(1.05),
                       at_most("over_start_kib", 32 * 1024, "KiB above start after trim")],
              quick_command=["memory", "cycle", "128", "5"])


def startup_row():
    return Row("startup", "start of /bin/true, compared with preloading an empty object (glibc: no preload)",
               ["startup"], metric="over_empty_us", unit="us", show=["median_us", "minor_faults"],
               targets=[at_most("over_empty_us", 40, "us above an empty object"),
                        ahead_of_all("over_empty_us")])


def all_rows(warm_mib):
    return [*timed_rows(), startup_row(), *memory_rows(warm_mib)]
