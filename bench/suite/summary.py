"""summary - the figures of a results file: medians, ratios to the best peer, geometric means.

Reads a record of results.py; knows no program and draws nothing. A ratio above 1 means that the own
allocator is better, whatever the metric; memory is the exception: there it is own over theirs, and
below 1 is better.
"""
import dataclasses

from suite import stats

MEMORY = (("peak_rss_kib", "peak resident memory"), ("end_rss_kib", "resident memory at the end"),
          ("trimmed_rss_kib", "resident memory after each one's own purge"))


def values(row, allocator, metric=None):
    """The figures of one allocator in one row, [] where it has none."""
    metric = metric or row["metric"]
    found = [s.get(metric) for s in row["samples"].get(allocator, [])]
    return [v for v in found if isinstance(v, (int, float))]


@dataclasses.dataclass
class Line:
    """One row by one metric: what the tables and charts show."""
    row: dict
    metric: str
    unit: str
    scale: float
    higher_is_better: bool
    medians: dict = dataclasses.field(default_factory=dict)   # allocator: median, unscaled
    spreads: dict = dataclasses.field(default_factory=dict)
    best: str = ""            # the best peer
    ratio: object = None      # stats.Ratio of the own allocator to it
    twin: object = None       # |ratio - 1| of an allocator to itself
    verdict: str = ""

    @property
    def id(self):
        return self.row["id"]


def line_make(row, own, metric=None, unit=None, scale=None, higher_is_better=None):
    line = Line(row, metric or row["metric"], unit or row["unit"],
                row["scale"] if scale is None else scale,
                row["higher_is_better"] if higher_is_better is None else higher_is_better)
    for name in row["samples"]:
        found = values(row, name, line.metric)
        if found:
            line.medians[name] = stats.median(found)
            line.spreads[name] = stats.spread(found)
    line.twin = twin_distance(row, line.metric)
    peers = {n: m for n, m in line.medians.items() if n != own and m > 0}
    if own in line.medians and peers:
        choose = max if line.higher_is_better else min
        line.best = choose(peers, key=peers.get)
        line.ratio = ratio_to(row, own, line.best, line.metric, line.higher_is_better)
    if line.ratio:
        line.verdict = line.ratio.verdict(line.twin)
    return line


def pair(row, own, peer, metric, higher_is_better):
    """(above, below): their quotient is above 1 where OWN is better."""
    mine, theirs = values(row, own, metric), values(row, peer, metric)
    return (mine, theirs) if higher_is_better else (theirs, mine)


def ratio_to(row, own, peer, metric=None, higher_is_better=None):
    if higher_is_better is None:
        higher_is_better = row["higher_is_better"]
    above, below = pair(row, own, peer, metric or row["metric"], higher_is_better)
    return stats.ratio(above, below, f"{row['id']}/{peer}/{metric}")


def twin_distance(row, metric):
    """How far the twin's median is from that of the same allocator's other runs."""
    again = [s.get(metric) for s in row["twin"] if isinstance(s.get(metric), (int, float))]
    first = values(row, row.get("twin_of", ""), metric)
    if not stats.usable(again) or not stats.usable(first):
        return None
    ratio = stats.median(again) / stats.median(first)
    return max(ratio, 1 / ratio) - 1


class Summary:
    """Everything that is shown of one record."""

    def __init__(self, record):
        self.record = record
        self.own = record["own"]
        self.kept = {}    # means: they are asked for by tables, goals and charts
        for row in record["rows"]:
            row["twin_of"] = record["twin"] or ""
        self.rows = [r for r in record["rows"] if not r["skipped"]]
        self.skipped = [r for r in record["rows"] if r["skipped"]]
        self.names = [a["name"] for a in record["allocators"]]
        self.peers = [n for n in self.names if n != self.own]
        self.lines = [line_make(r, self.own) for r in self.rows]
        self.also = [line_make(r, self.own, metric, unit, scale, better) for r in self.rows
                     for metric, unit, scale, better in r["also"]]
        self.failures = [(r["id"], name, why) for r in record["rows"] for name, why in r["failures"]]

    def group(self, name, threads=None):
        return [line for line in self.lines if line.row["group"] == name
                and (threads is None or line.row["threads"] == threads)]

    def groups(self):
        return list(dict.fromkeys(line.row["group"] for line in self.lines))

    def thread_counts(self, group):
        return sorted({line.row["threads"] for line in self.group(group)})

    def twins(self):
        """[(distance, line)] of all rows that have one, the least first."""
        return sorted(((line.twin, line) for line in self.lines if line.twin is not None),
                      key=lambda item: item[0])

    def twin_typical(self):
        """(median, 90th percentile) of the distances of an allocator from itself, or None."""
        found = [distance for distance, _ in self.twins()]
        return (stats.median(found), stats.percentile(found, 0.9)) if found else None

    def common(self, lines, peer):
        """Rows that both the own allocator and PEER finished: only those can be averaged."""
        return [line for line in lines if line.row["compared"]
                and self.own in line.medians and peer in line.medians]

    def mean_to(self, peer, lines, seed):
        pairs = [pair(line.row, self.own, peer, line.metric, line.higher_is_better)
                 for line in lines]
        return stats.geometric_ratio(pairs, f"{seed}/{peer}")

    def means(self, group, threads=None):
        """{peer: (Ratio of geometric means, number of rows)}, over the rows that it finished: what another one
        could not do says nothing of this one."""
        seed = f"{group}/{threads}"
        if seed not in self.kept:
            lines = {p: self.common(self.group(group, threads), p) for p in self.peers}
            self.kept[seed] = {p: (self.mean_to(p, found, seed), len(found)) for p, found in lines.items() if found}
        return self.kept[seed]

    def memory_mean(self, peer, metric, group=None):
        """(Ratio own / PEER of a memory metric over rows, number of rows); below 1 is better."""
        seed = f"{metric}/{peer}/{group}"
        if seed not in self.kept:
            pairs = [(values(r, self.own, metric), values(r, peer, metric)) for r in self.rows
                     if group in (None, r["group"])]
            pairs = [p for p in pairs if stats.usable(p[0]) and stats.usable(p[1])]
            self.kept[seed] = stats.geometric_ratio(pairs, seed), len(pairs)
        return self.kept[seed]

    def verdicts(self):
        """{verdict: count} over the rows."""
        counts = {}
        for line in self.lines:
            if line.verdict:
                counts[line.verdict] = counts.get(line.verdict, 0) + 1
        return counts

    def rounds(self):
        """Of the rows: what was asked for, or fewer where the time was short."""
        return [row["rounds"] for row in self.rows if row["samples"]]

    def rounds_text(self):
        """'5', '3-10'; '0' where no row was measured."""
        return span(self.rounds() or [0])

    def find(self, row_id, metric=None):
        for line in self.lines + self.also:
            if line.id == row_id and (metric is None or line.metric == metric):
                return line
        return None


def best_peer(means):
    """The peer that comes nearest: (name, Ratio, number of rows), or (None, None, 0)."""
    known = {name: found for name, found in means.items() if found[0]}
    if not known:
        return None, None, 0
    name = min(known, key=lambda n: known[n][0].value)
    return name, *known[name]


def span(counts):
    """How many rows: '19', or '16-19' where some allocators did not finish all."""
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}-{high}"
