"""goals - what the suite is to show, judged from a summary: met, not met, not distinguishable, open.

A goal is met only where the whole interval reaches it and excludes 1, and missed where the whole interval
does not reach it: what can't be told from noise is not distinguishable, and never met. Where the own allocator
failed in a row, what is said of its group is not met, whatever the other rows show.
"""
import dataclasses

from suite import stats, summary
from suite.rows import REAL, SYNTHETIC

MET, MISSED, SAME, OPEN = "met", "not met", "not distinguishable", "not measured"


@dataclasses.dataclass
class Goal:
    text: str
    target: str
    value: str = "-"
    verdict: str = OPEN
    detail: str = ""


def figure(ratio):
    if ratio is None:
        return "-"
    if ratio.low is None:
        return f"{ratio.value:.3f}"
    return f"{ratio.value:.3f} ({ratio.low:.3f} .. {ratio.high:.3f})"


def judge_least(ratio, least):
    """For a ratio that is to be at least LEAST (above 1 is better)."""
    if ratio is None or ratio.low is None:
        return OPEN
    if ratio.high < least:
        return MISSED
    return SAME if ratio.low < least or ratio.low <= 1 <= ratio.high else MET


def judge_most(ratio, most):
    """For a ratio that is to be at most MOST (below 1 is better)."""
    return OPEN if ratio is None else judge_least(ratio.inverse(), 1 / most)


def judge_floor(lines, floor):
    """No row below FLOOR: (verdict, the worst line, how many are below).

    Met where every interval lies above; missed where one lies below, or its row is behind for sure.
    """
    lines = [line for line in lines if line.ratio]
    if not lines or any(line.ratio.low is None for line in lines):
        return OPEN, None, 0
    worst = min(lines, key=lambda line: line.ratio.value)
    below = [line for line in lines if line.ratio.value < floor]
    if any(line.ratio.high < floor or line.verdict == stats.BEHIND for line in below):
        return MISSED, worst, len(below)
    return (MET if all(line.ratio.low >= floor for line in lines) else SAME), worst, len(below)


def floor_goal(text, target, lines, floor):
    verdict, worst, below = judge_floor(lines, floor)
    goal = Goal(text, target, verdict=verdict)
    if worst:
        goal.value = f"worst {figure(worst.ratio)}"
        goal.detail = f"{worst.id} against {worst.best}; {below} of {len(lines)} below"
    return goal


def with_failures(s, goals):
    """GOALS, none of them met where a row of theirs could not be measured because the own allocator failed in it."""
    for goal, rows in goals:
        failed = sorted({i for i, name, _ in s.failures if name == s.own} & {row["id"] for row in rows})
        if failed:
            goal.verdict = MISSED
            goal.detail = f"{s.own} failed in {', '.join(failed)}"
        yield goal


def rows_of(s, group, threads=None):
    return [row for row in s.rows if row["group"] == group and threads in (None, row["threads"])]


def speed_goals(s):
    for threads in sorted({1, 2, 4, 8} | set(s.thread_counts(SYNTHETIC)) - {0}):
        goal = Goal(f"programs, {threads} thread{'s' * (threads > 1)}: geometric mean to the best "
                    "single peer's", "at least 1.15")
        name, ratio, count = summary.best_peer(s.means(SYNTHETIC, threads))
        if ratio:
            goal.value, goal.verdict = figure(ratio), judge_least(ratio, 1.15)
            goal.detail = f"{name}, {count} programs"
        yield goal, rows_of(s, SYNTHETIC, threads)
    yield floor_goal("each program against its own best peer", "at least 0.9 in every row",
                     [line for line in s.group(SYNTHETIC) if line.row["compared"]], 0.9), rows_of(s, SYNTHETIC)
    for name, threads in (("larson", (2, 4, 8)), ("larson-sized", (1, 2, 8)), ("xmalloc", (1, 2, 4)),
                          ("rptest", (2, 8)), ("glibc_thread", (2,)), ("mstress", (4, 8)),
                          ("malloc_large", (1,))):
        for count in threads:
            yield row_goal(s, f"{name}/{count}"), [row for row in s.rows if row["id"] == f"{name}/{count}"]


def row_goal(s, row_id):
    goal = Goal(f"{row_id}: ahead of the best peer", "above 1")
    line = s.find(row_id)
    if line and line.ratio:
        goal.value, goal.detail = figure(line.ratio), line.best
        goal.verdict = {stats.AHEAD: MET, stats.BEHIND: MISSED, stats.SAME: SAME}.get(
            line.verdict, OPEN)
    return goal


def real_goals(s):
    lines = s.group(REAL)
    yield floor_goal("real programs, CPU time: each against its best peer",
                     "at most 3 % slower (at least 0.971)", lines, 1 / 1.03), rows_of(s, REAL)
    means = s.means(REAL)
    for peer, least in (("glibc", 1.05), ("mimalloc", 1.0)):
        ratio, count = means.get(peer, (None, 0))
        yield Goal(f"real programs: geometric mean to {peer}'s",
                   f"at least {least:.2f}" if least > 1 else "above 1", figure(ratio),
                   judge_least(ratio, least), f"{count} programs" if ratio else ""), rows_of(s, REAL)


def tlb_goal(s):
    """Against the best of those that stay on small pages in the same run."""
    goal = Goal("random reads over 4 GiB, to the best allocator on 4 KiB pages", "at least 1.5")
    line = s.find("tlb-4g/1")
    if line and s.own in line.medians:
        small = [n for n in line.medians if n != s.own
                 and stats.median(summary.values(line.row, n, "huge_share") or [1]) < 0.1]
        if small:
            best = min(small, key=line.medians.get)
            ratio = summary.ratio_to(line.row, s.own, best)
            goal.value, goal.verdict, goal.detail = figure(ratio), judge_least(ratio, 1.5), best
    return goal


def memory_goals(s):
    for peer, metric, text, most in (
            ("jemalloc", "peak_rss_kib", "peak resident memory", 1.05),
            ("mimalloc", "peak_rss_kib", "peak resident memory", 1.0),
            ("jemalloc", "trimmed_rss_kib", "resident memory at the end, after each one's own purge", 1.0)):
        ratio, count = s.memory_mean(peer, metric)
        yield Goal(f"{text}: geometric mean, own over {peer}'s", f"at most {most:.2f}",
                   figure(ratio), judge_most(ratio, most), f"{count} rows" if ratio else "")


def latency_goals(s):
    for what in ("malloc", "free"):
        goal = Goal(f"p99.9 of {what}, one thread: no worse than the best peer", "at least 1")
        line = s.find("latency/1", f"{what}_p99.9_ns")
        if line and line.ratio:
            goal.value, goal.detail = figure(line.ratio), line.best
            goal.verdict = judge_least(line.ratio, 1.0)
        yield goal
    line = s.find("latency/1", "malloc_max_ns")
    goal = Goal("longest stall of a malloc, one thread", "reported")
    if line and s.own in line.medians:
        goal.value = f"{line.medians[s.own] / 1000:.1f} us"
        goal.verdict = "reported"
    yield goal


def all_goals(s):
    return [*with_failures(s, [*speed_goals(s), *real_goals(s)]), tlb_goal(s), *memory_goals(s), *latency_goals(s)]
