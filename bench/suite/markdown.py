"""markdown - a summary as the tables of the project's documents: means, memory, goals, every row.

Says what tables.py says, for README.md and docs/benchmarks.md; knows no program and judges nothing.
"""
from suite import goals, stats, summary, tables

WORDS = {stats.AHEAD: "ahead", stats.BEHIND: "behind", stats.SAME: "even"}
GROUPS = {"synthetic": "programs", "anchor": "single paths", "real": "real programs"}


def table(head, body, left):
    """Rows of a table whose first and last LEFT = (n, m) columns are text, the others figures."""
    first, last = left
    rule = ["---" if i < first or i >= len(head) - last else "---:" for i in range(len(head))]
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(rule) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in body]


def two(ratio):
    return f"{ratio.value:.2f}" if ratio else "-"


def means(s):
    body = []
    for group in s.groups():
        for threads in s.thread_counts(group):
            found = s.means(group, threads)
            if not found:
                continue
            name = GROUPS.get(group, group)
            if threads:
                name += f", {threads} thread" + ("s" if threads > 1 else "")
            elif group == "synthetic":
                name += " that choose their own threads"
            count = summary.span([n for _, n in found.values()])
            body.append([f"{name} ({count})"] + [two(found.get(p, (None, 0))[0]) for p in s.peers])
    return table([f"{s.own}'s speed relative to, geometric means", *s.peers], body, (1, 0))


def memory(s):
    body = [[text] + [two(s.memory_mean(p, metric)[0]) for p in s.peers] for metric, text in summary.MEMORY]
    return table([f"{s.own}'s memory over, geometric means (below 1: less)", *s.peers], body, (1, 0))


def judged(s):
    body = [[g.text, g.verdict, g.value, g.target, g.detail] for g in goals.all_goals(s)]
    return table(["goal", "verdict", "figure", "target", "against"], body, (5, 0))


def name_of(line):
    """The program and its threads; of a single path what it is."""
    if line.row["group"] == "anchor":
        return line.row["title"]
    name = line.row["name"].split(":")[-1]
    return name + (f", {line.row['threads']} T" if line.row["threads"] else "")


def verdict(line):
    if not line.ratio or not line.best:
        return "-"
    said = f"{line.ratio.value:.2f}x {line.best}"
    if line.ratio.low is None:
        return said
    return f"{said} ({WORDS.get(line.verdict, line.verdict)}, {line.ratio.low:.2f}-{line.ratio.high:.2f})"


def rows(s):
    names, body = [s.own, *s.peers], []
    for group in s.groups():
        for line in s.group(group):
            figures = [tables.middle(line, n) for n in names]
            body.append([name_of(line), line.unit, *figures, verdict(line)])
    return table(["", "unit", *names, f"{s.own} to the best other"], body, (2, 1))


def text(s):
    return [*means(s), "", *memory(s), "", *judged(s), "", *rows(s)]
