"""figures - a measured figure beside its bound: met, NOT MET, or not distinguishable.

The rounds of a row are interleaved, so a figure is taken from each round by itself; the interval
between two of these, chosen so that it holds the median in nine of ten cases where there are five
rounds or more (all of them below that), is the figure's spread. A spread on both sides of the
bound proves nothing, whatever the median says. Runs nothing.
"""
import math

import anchors_rows

MET, NOT_MET, UNDECIDED, NOT_RUN = "met", "NOT MET", "not distinguishable", "not run"
CONFIDENCE = 0.9


def interval(values):
    """(low, high) by ranks: no guess at how noise is distributed."""
    values = sorted(values)
    n = len(values)
    rank = 0
    while rank + 1 <= (n - 1) // 2:
        outside = 2 * sum(math.comb(n, k) for k in range(rank + 2)) / 2 ** n
        if 1 - outside < CONFIDENCE:
            break
        rank += 1
    return values[rank], values[n - 1 - rank]


def verdict(value, margins, kind):
    """MARGINS: figure minus bound, of each round. VALUE: that of all rounds together."""
    low, high = interval(margins)
    if kind == "max":
        low, high, value = -high, -low, -value
    if low >= 0 and value >= 0:
        return MET
    if high < 0 and value < 0:
        return NOT_MET
    return UNDECIDED


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 1 \
        else f"{value:.2f}"


class Round(anchors_rows.Cells):
    """One round; the best peer is that of all rounds, or noise would choose."""

    def __init__(self, cells, number):
        super().__init__(cells.row, {name: [results[number]]
                                     for name, results in cells.results.items()}, cells.own)
        self.best = cells.best_peer()

    def best_peer(self):
        return self.best if self.best in self.results else None


def without_own(cells):
    """What calls that do nothing would show in hakmem's place; None where they were not measured."""
    if anchors_rows.FLOOR not in cells.results:
        return None
    results = {name: r for name, r in cells.results.items() if name != cells.own}
    return anchors_rows.Cells(cells.row, results, anchors_rows.FLOOR)


def floor_text(target, cells, limit, kind):
    floor = without_own(cells)
    if not floor:
        return ""
    text = f"calls alone here: {floor.median(anchors_rows.FLOOR):.2f} {cells.row.unit}"
    cycles = floor.least(anchors_rows.FLOOR, "cycles_per_op")
    text += f", {cycles:.1f} cycles" if cycles else ""
    reach = target(floor)[1]
    if reach is not None:
        text += f", which would be {number(reach)}{'x' if kind == 'min' else ''}"
        if (reach < limit) if kind == "min" else (reach > limit):
            text += ": the bound is beyond what calls alone reach here"
    return text


def judge(target, cells, rounds):
    """A dict: text, verdict, result, note."""
    text, value, limit, kind = target(cells)
    sign = "at least" if kind == "min" else "at most"
    out = {"text": f"{cells.row.title}: {text}", "value": value, "limit": limit, "kind": kind,
           "note": ""}
    if value is None or limit is None:
        out.update(verdict=NOT_RUN, result="an allocator that it needs was not found or failed")
        return out
    counts = {len(results) for results in cells.results.values()}
    if counts != {rounds}:
        out.update(verdict=NOT_RUN, result=f"not all of {rounds} rounds gave a proven result")
        return out
    singles = [target(Round(cells, i)) for i in range(rounds)]
    if any(one[1] is None or one[2] is None for one in singles):
        out.update(verdict=NOT_RUN, result="a round has no figure")
        return out
    low, high = interval([one[1] for one in singles])
    out["low"], out["high"], out["rounds"] = low, high, rounds
    out["verdict"] = verdict(value - limit, [one[1] - one[2] for one in singles], kind)
    spread = f"{number(low)} .. {number(high)}, {rounds} rounds" if rounds > 1 \
        else "one run, spread unknown"
    out["result"] = f"{number(value)} ({spread}); {sign} {number(limit)}"
    out["note"] = floor_text(target, cells, limit, kind)
    return out


# Margins and kind: what must come out.
SELF_TESTS = [
    ("all above", [0.1, 0.2, 0.1, 0.3, 0.2], "min", MET),
    ("all below", [-0.1, -0.2, -0.1, -0.3, -0.2], "min", NOT_MET),
    ("below a ceiling", [-5, -6, -7], "max", MET),
    ("above a ceiling", [5, 6, 7], "max", NOT_MET),
    ("one of five on the other side", [0.1, 0.2, -0.01, 0.3, 0.2], "min", UNDECIDED),
    ("one of nine on the other side", [0.1, 0.2, -0.01, 0.3, 0.2, 0.1, 0.2, 0.1, 0.2], "min", MET),
    ("two of nine on the other side", [0.1, 0.2, -0.01, 0.3, -0.2, 0.1, 0.2, 0.1, 0.2], "min",
     UNDECIDED),
    ("exactly the bound", [0.0], "min", MET),
    ("a ceiling crossed once of three", [-5, 1, -5], "max", UNDECIDED),
]


def self_test():
    """[(name, good, text)]"""
    out = []
    for name, margins, kind, wanted in SELF_TESTS:
        got = verdict(sorted(margins)[len(margins) // 2], margins, kind)
        out.append((name, got == wanted, f"{got}, expected {wanted}"))
    row = anchors_rows.Row("r", "row", [])
    floor = anchors_rows.FLOOR
    results = {"hakmem": [{"ns_per_op": 5.0}] * 5, "glibc": [{"ns_per_op": 5.2}] * 5,
               floor: [{"ns_per_op": 5.0}] * 5}
    found = judge(anchors_rows.over("glibc", 1.3), anchors_rows.Cells(row, results, "hakmem"), 5)
    out.append(("floor", found["verdict"] == NOT_MET and "beyond what" in found["note"], str(found)))
    results["glibc"] = results["glibc"][:4]
    found = judge(anchors_rows.over("glibc", 1.0), anchors_rows.Cells(row, results, "hakmem"), 5)
    out.append(("a failed run", found["verdict"] == NOT_RUN, str(found)))
    return out
