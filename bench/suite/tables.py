"""tables - a summary as text: one table a group, what is missing, what the noise was."""
import math

from suite import goals, stats, summary


def number(value, scale=1.0):
    value *= scale
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 1:
        return f"{value:.1f}" if size >= 100 else f"{value:.2f}"
    digits = 2 - math.floor(math.log10(size)) if size else 3
    return f"{value:.{min(digits, 9)}f}"


def ratio_text(ratio):
    if ratio is None:
        return "-"
    if ratio.low is None:
        return f"{ratio.value:.2f}"
    return f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def percent(share):
    return "-" if share is None else f"{share * 100:.1f} %"


def middle(line, name):
    """The median, or why there is none."""
    if name in line.medians:
        return number(line.medians[name], line.scale)
    return "failed" if any(name == who for who, _ in line.row["failures"]) else "-"


def cell(line, name):
    """Median and spread, or why there is none."""
    text, spread = middle(line, name), line.spreads.get(name)
    return text if spread is None else f"{text} ±{spread * 50:.0f}%"


def group_table(s, group):
    lines = s.group(group)
    head = [group, "unit", "n", *s.names, "best peer", "ratio [95 %]", "A/A", "verdict"]
    body = [[line.id, line.unit, str(line.row["rounds"]), *[cell(line, n) for n in s.names],
             line.best or "-", ratio_text(line.ratio), percent(line.twin), line.verdict or "-"]
            for line in lines]
    return head, body


def aligned(head, body):
    widths = [max(len(r[i]) for r in [head, *body]) for i in range(len(head))]
    return ["  ".join(c.ljust(w) if i in (0, 1) else c.rjust(w)
                      for i, (c, w) in enumerate(zip(row, widths))).rstrip()
            for row in [head, *body]]


def mean_lines(s):
    out = []
    for group in s.groups():
        for threads in s.thread_counts(group):
            means = s.means(group, threads)
            if not means:
                continue
            where = f"{group}, {threads} thread(s)" if threads else group
            name, best, _ = summary.best_peer(means)
            count = summary.span([n for _, n in means.values()])
            out.append(f"{where}: geometric mean over {count} rows, {s.own} to each: " + ", ".join(
                f"{p} {ratio_text(r)}" for p, (r, _) in means.items()))
            if best:
                out.append(f"  best single peer: {name}, {ratio_text(best)}, {best.verdict()}")
    return out


def memory_lines(s):
    out = []
    for metric, text in summary.MEMORY:
        parts = [(p, *s.memory_mean(p, metric)) for p in s.peers]
        parts = [f"{p} {ratio_text(r)}" for p, r, _ in parts if r]
        if parts:
            out.append(f"{text}, {s.own} over each (below 1: less): " + ", ".join(parts))
    return out


def noise_lines(s):
    typical = s.twin_typical()
    if not typical:
        return ["A/A: no allocator was run beside itself"]
    worst, line = s.twins()[-1]
    return [f"A/A, {s.record['twin']} against itself: median {percent(typical[0])}, 9 in 10 rows "
            f"below {percent(typical[1])}, worst {percent(worst)} ({line.id})"]


def text(s):
    """The whole, as lines."""
    out = []
    for group in s.groups():
        out += ["", *aligned(*group_table(s, group))]
    if s.also:
        head = ["further figures", "unit", *s.names, "best peer", "ratio [95 %]", "A/A", "verdict"]
        body = [[f"{line.id} {line.metric}", line.unit, *[cell(line, n) for n in s.names],
                 line.best or "-", ratio_text(line.ratio), percent(line.twin), line.verdict or "-"]
                for line in s.also]
        out += ["", *aligned(head, body)]
    out += ["", *mean_lines(s), *memory_lines(s), *noise_lines(s)]
    counts = s.verdicts()
    out.append("rows: " + ", ".join(f"{counts.get(v, 0)} {v}" for v in (
        stats.AHEAD, stats.SAME, stats.BEHIND, stats.UNKNOWN) if v in counts))
    out.append("")
    judged = [g for g in goals.all_goals(s) if g.verdict != goals.OPEN]
    if judged:
        out += aligned(["goal", "target", "figure", "verdict"],
                       [[g.text, g.target, g.value, g.verdict] for g in judged])
    out += [f"skipped {row['id']}: {row['skipped']}" for row in s.skipped]
    out += [f"FAILED {row_id}, {name}: {why}" for row_id, name, why in s.failures]
    return out
