"""execute - one run of one program of ours under one allocator, proven, with its memory over time.

Real programs have their own way: real/measure.py. Decides nothing about order or rounds.
"""
import json
import os
import shlex
import signal
import subprocess
import threading
import time

import hkbench
from suite.allocators import libc_path

PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
SAMPLE_S = 0.02
MOST_POINTS = 120
# The names that programs give their figures, and ours.
NAMES = {"wall_s": "seconds", "cpu_s": "cpu_seconds", "peak_kib": "peak_rss_kib",
         "after_kib": "end_rss_kib", "allocator": "file"}


class Failed(Exception):
    """A run that gave no figure, or one without proof."""


class Skipped(Exception):
    """A run that is not possible here; the text says why."""


class Sampler(threading.Thread):
    """Resident memory of one process, each 20 ms."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.points, self.over = pid, [], threading.Event()

    def run(self):
        start = time.monotonic()
        while not self.over.wait(SAMPLE_S):
            try:
                with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
                    kib = int(file.read().split()[1]) * PAGE_KIB
            except (OSError, IndexError, ValueError):
                return
            if kib:
                self.points.append((round(time.monotonic() - start, 3), kib))

    def stop(self):
        self.over.set()
        self.join()
        return thin(self.points)


def thin(points, most=MOST_POINTS):
    """At most MOST points, of each stretch the highest: a peak must not get lost."""
    if len(points) <= most:
        return points
    size = len(points) / most
    parts = [points[int(i * size):int((i + 1) * size)] for i in range(most)]
    return [max(part, key=lambda p: p[1]) for part in parts if part]


def pinned(pin, threads):
    """The processors for a run: None for no pinning."""
    if pin == "none":
        return None
    allowed = sorted(os.sched_getaffinity(0))
    if pin == "spread":
        return set(allowed[:max(threads, 1)])
    return set(pin)


class Settings:
    """How every program is started."""

    def __init__(self, pin="none", numactl="", timeout=120, at_hand=0):
        self.pin, self.numactl, self.timeout = pin, numactl, timeout
        self.at_hand = at_hand  # MiB of free memory to have at hand before each run

    def prefix(self):
        return ["numactl", *shlex.split(self.numactl)] if self.numactl else []

    def before_exec(self, threads):
        cpus = pinned(self.pin, threads)
        return (lambda: os.sched_setaffinity(0, cpus)) if cpus else None


def same_file(named, allocator):
    """Is NAMED, which the program proved, the file that was to serve?"""
    try:
        return os.path.samefile(named, allocator.path or libc_path())
    except OSError:
        return False


def normal(result):
    """The program's figures under our names."""
    out = {NAMES.get(key, key): value for key, value in result.items()}
    if "ops_per_s" not in out and out.get("ops") and out.get("seconds"):
        out["ops_per_s"] = out["ops"] / out["seconds"]
    return out


def judged(text, allocator):
    """The figures of a program's one line of JSON; Failed where it names another file."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        result = json.loads(lines[-1]) if len(lines) == 1 else None
    except ValueError:
        result = None
    if not isinstance(result, dict):
        raise Failed(f"one line of JSON was expected, not {text.strip()[:80]!r}")
    named = result.get("file") or result.get("allocator") or ""
    if not same_file(named, allocator):
        raise Failed(f"{named or 'no file'} served, {allocator.expected} was to")
    if result.get("verified") is False:
        raise Failed("the program did not prove which file served")
    return normal(result)


def run(row, allocator, settings, quick=False, sampled=False):
    """One run's figures; with SAMPLED, 'memory' holds [(seconds, KiB)]."""
    words = settings.prefix() + row.words(allocator.name, quick)
    if row.expects:
        words += ["--json", "--expect", allocator.expected]
    # Sampled, the volume of the proof is small: it would be all that the curve shows.
    more = {**row.env, **({"HAK_VERIFY_MIB": "1"} if sampled else {})}
    start = time.monotonic()
    with subprocess.Popen(
            words, env=hkbench.environment(allocator.path or None, more), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=settings.before_exec(row.threads), start_new_session=True) as child:
        sampler = Sampler(child.pid) if sampled else None
        if sampler:
            sampler.start()
        try:
            out, errors = child.communicate(timeout=settings.timeout)
        except BaseException as why:
            os.killpg(child.pid, signal.SIGKILL)  # its children too: they hold the pipes open
            child.communicate()
            if isinstance(why, subprocess.TimeoutExpired):
                raise Failed(f"no end within {settings.timeout} s") from None
            raise
        finally:
            points = sampler.stop() if sampler else None
    said = (errors.strip().splitlines() or ["no message"])[-1]
    if child.returncode == 77:
        raise Skipped(said)
    if child.returncode:
        raise Failed(f"status {child.returncode}: {said}")
    result = judged(out, allocator)
    result["run_seconds"] = round(time.monotonic() - start, 4)
    if points:
        result["memory"] = points
    return result
