"""schedule - the order of runs: warm-up, rounds that interleave the allocators, budget, progress.

A row's runs are A B C .. A', B C .. A' A, ..: each round begins with another one, so that a drift of
the machine meets all alike. A' is the twin: one of the allocators a second time, whose distance from
itself is what this machine's noise can do in that row.
"""
import math
import os
import sys
import time

from suite import execute, machine, stats

WARM_SHARE = 0.25      # of a measured run; what a warm-up takes, before it is learnt
# Of each run's line: said once for the row; and what is dropped.
OF_THE_ROW = ("op", "params", "fixed_work", "what")
DROPPED = ("bench", "threads", "quick", "verified", *OF_THE_ROW)
START_S = 0.15         # of a run's start, proof and end
# An allocator whose full run would take longer than both gets a part of the calls: its rate stays a rate.
LONG_S, LONG_TIMES = 6.0, 4
WARM_PART = 10         # a quick run has a tenth of the calls


class Stopped(Exception):
    """Interrupted between runs."""


def slim(sample, is_later):
    """What is kept of a run: figures; curves and series of the first one alone."""
    kept = {}
    for key, value in sample.items():
        if key in DROPPED or (is_later and isinstance(value, list)):
            continue
        kept[key] = float(f"{value:.7g}") if isinstance(value, float) else value
    if "file" in kept:
        kept["file"] = os.path.basename(kept["file"])
    return kept


class Plan:
    """What rows will take: guesses of the table, corrected by what was seen."""

    def __init__(self, quick, wanted, runs, budget_s, start=None):
        self.quick, self.wanted, self.runs, self.budget_s = quick, wanted, runs, budget_s
        self.seen = {}
        self.start = time.monotonic() if start is None else start

    def wanted_of(self, row):
        return row.rounds if row.rounds and not self.quick else self.wanted

    def raw(self, row):
        return row.seconds * (0.2 if self.quick else 1.0) + START_S

    def guess(self, row):
        unseen = max([1.0, *self.seen.values()])  # a slow or busy machine is slow for all groups
        return self.raw(row) * self.seen.get(row.group, unseen)

    def cost(self, row, rounds):
        return 0 if row.missing else self.guess(row) * self.runs * (rounds + WARM_SHARE)

    def learn(self, row, rounds, took):
        expected = self.cost(row, rounds)
        if expected and rounds:
            before = self.seen.get(row.group)
            factor = took / expected * (self.guess(row) / self.raw(row))
            self.seen[row.group] = factor if before is None else (before + factor) / 2

    def deadline(self):
        """When a row that runs late is cut, or None."""
        return self.start + self.budget_s if self.budget_s else None

    def elapsed(self):
        return time.monotonic() - self.start

    def remaining(self, rows, share=1.0):
        return sum(self.cost(r, max(stats.LEAST_ROUNDS, round(self.wanted_of(r) * share)))
                   for r in rows)

    def rounds(self, row, rest):
        """As many rounds as leave the others as large a part of theirs; 0: the time is up."""
        wanted = self.wanted_of(row)
        if not self.budget_s:
            return wanted
        left = self.budget_s - self.elapsed()
        if left < self.cost(row, min(wanted, stats.LEAST_ROUNDS)):
            return 0
        for rounds in range(wanted, stats.LEAST_ROUNDS, -1):
            if self.remaining([row, *rest], rounds / wanted) <= left:
                return rounds
        return min(wanted, stats.LEAST_ROUNDS)


class Progress:
    """One line on standard error: rewritten on a terminal, else a line a row."""

    def __init__(self, plan, total, quiet=False):
        self.plan, self.total, self.quiet = plan, total, quiet
        self.terminal = sys.stderr.isatty()
        self.number = 0

    def show(self, row, part, rest):
        if self.quiet or (not self.terminal and part > 0):
            return
        rounds = self.plan.wanted_of(row)
        left = self.plan.cost(row, rounds) * (1 - part) + self.plan.remaining(rest)
        if self.plan.budget_s:
            left = min(left, max(self.plan.budget_s - self.plan.elapsed(), 0))
        share = min(max(self.plan.elapsed() / (self.plan.elapsed() + left + 1e-9), 0), 1)
        bar = "#" * int(share * 24)
        text = (f"[{bar:<24}] {share * 100:3.0f} %  {clock(left)} left  "
                f"row {self.number} of {self.total}  {row.id}")
        print(f"\r{text[:118]:<118}" if self.terminal else text, end="" if self.terminal else "\n",
              file=sys.stderr, flush=True)

    def end(self):
        if self.terminal and not self.quiet:
            print(f"\r{'':<118}\r", end="", file=sys.stderr, flush=True)


def clock(seconds):
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class RowRun:
    """One row for all allocators."""

    def __init__(self, row, allocators, twin, settings, quick):
        self.row, self.settings, self.quick = row, settings, quick
        self.entries = [(a, False) for a in allocators]
        self.entries += [(a, True) for a in allocators if a.name == twin]
        self.samples = {a.name: [] for a in allocators}
        self.twin = []
        self.failures = []
        self.program = {}
        self.skipped = None
        self.broken = set()
        self.said = []
        self.work = None
        if row.group == "real":
            from real import measure
            self.work = measure.Work(row, settings)

    def one(self, allocator, quick, sampled=False):
        machine.have_at_hand(self.settings.at_hand)
        if self.work:
            return self.work.run(allocator, quick)
        return execute.run(self.row, allocator, self.settings, quick, sampled)

    def attempt(self, allocator, is_twin, quick, keep, sampled=False):
        """The run's figures; None where there are none."""
        if allocator.name in self.broken:
            return None
        try:
            sample = self.one(allocator, quick, sampled)
        except execute.Skipped as why:
            self.skipped = str(why)
        except execute.Failed as why:
            self.failures.append([allocator.name, str(why)])
            self.broken.add(allocator.name)  # the rest of the row would only cost time
        else:
            if keep:
                self.program = self.program or {k: sample[k] for k in OF_THE_ROW if k in sample}
                kept = self.twin if is_twin else self.samples[allocator.name]
                kept.append(slim(sample, bool(kept) or is_twin))
            return sample
        return None

    def shorten(self, warm):
        """Fewer calls for those that WARM, {name: seconds of a quick run}, shows to be slow."""
        if not self.row.n or not warm:
            return
        typical = stats.median(list(warm.values()))
        for name, seconds in warm.items():
            full = seconds if self.quick else seconds * WARM_PART
            if full > LONG_S and seconds > LONG_TIMES * typical:
                part = min(math.ceil(full / LONG_S), self.row.n)
                self.row.slow = {**self.row.slow, name: self.row.slow.get(name, 1) * part}
                self.said.append(f"{name}: one in {part} of the calls, for a run with all takes about {full:.0f} s")

    def cut(self, rounds):
        """Keeps what all allocators have: ROUNDS whole rounds."""
        for kept in (*self.samples.values(), self.twin):
            del kept[rounds:]

    def measure(self, rounds, tick, deadline):
        """The number of whole rounds; fewer than asked for where the time was up."""
        warm = {}
        for allocator, is_twin in self.entries if self.row.warm else ():
            if deadline and time.monotonic() > deadline:
                return 0
            if not is_twin and not self.skipped:
                found = self.attempt(allocator, False, True, False)
                if found and found.get("seconds"):
                    warm[allocator.name] = found["seconds"]
        self.shorten(warm)
        for number in range(rounds):
            at = number % len(self.entries)
            for allocator, is_twin in self.entries[at:] + self.entries[:at]:
                if self.skipped:
                    return 0
                if deadline and time.monotonic() > deadline:
                    self.cut(number)
                    return number
                self.attempt(allocator, is_twin, self.quick, True, number == 0 and not is_twin)
            tick((number + 1) / rounds)
        return rounds

    def close(self):
        if self.work:
            self.work.close()

    def as_dict(self, rounds, load, seconds):
        return {**self.row.as_dict(), "rounds": rounds, "load": load, "seconds": round(seconds, 2),
                "samples": self.samples, "twin": self.twin, "failures": self.failures,
                "skipped": self.skipped, "program": self.program,
                "notes": self.said + (self.work.notes() if self.work else [])}


def skipped_row(row, why):
    return {**row.as_dict(), "rounds": 0, "load": {}, "seconds": 0.0, "samples": {}, "twin": [],
            "failures": [], "skipped": why, "notes": []}


def measure_row(row, rounds, allocators, twin, settings, quick, tick, deadline=None):
    """The row's dict; None where the time was up before it had rounds enough."""
    load, start = machine.Load(), time.monotonic()
    run = RowRun(row, allocators, twin, settings, quick)
    try:
        got = run.measure(rounds, tick, deadline)
    finally:
        run.close()
    if got < min(rounds, stats.LEAST_ROUNDS) and not run.skipped:
        return None
    return run.as_dict(got, load.share(), time.monotonic() - start)


def run_rows(rows, plan, allocators, twin, settings, quick, done, progress):
    """Measures ROWS; DONE(dict) takes each as it is finished. The ids that the budget left out."""
    left_out = []
    for number, row in enumerate(rows):
        rest = rows[number + 1:]
        progress.number = number + 1
        if row.missing:
            done(skipped_row(row, row.missing))
            continue
        rounds = plan.rounds(row, rest)
        if not rounds:
            left_out.append(row.id)
            continue
        progress.show(row, 0, rest)
        found = measure_row(row, rounds, allocators, twin, settings, quick,
                            lambda part, r=row, s=rest: progress.show(r, part, s),
                            plan.deadline())
        if found is None:
            left_out.append(row.id)
            continue
        plan.learn(row, found["rounds"], found["seconds"])
        done(found)
    progress.end()
    return left_out
