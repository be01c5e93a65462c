"""measure - one run of a real program: meters, proof of every process, clean-up.

CPU time is that of the program under the allocator and of all its children, as the kernel counted
it when they were waited for; clients that only make load run without any preload and are not
counted. Judges who served with tests/preload's observer and rules.
"""
import os
import re
import resource
import shutil
import subprocess
import tempfile
import threading
import time

import harness    # tests/preload
import judge      # tests/preload

from real import ROOT, works
from suite import execute
import hkbench

HERE = os.path.dirname(os.path.abspath(__file__))

SAMPLE_S = 0.05
HELPERS = {"observer.so": os.path.join(ROOT, "tests", "preload", "observer.c"),
           "forwarder.so": os.path.join(ROOT, "tests", "preload", "forwarder.c"),
           "end_memory.so": os.path.join(HERE, "end_memory.c")}
LIMIT_S = 300


def cpu_of_children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def children(pid):
    """Processes below PID, itself first; cheap, since it is asked 20 times a second."""
    found, todo = [], [pid]
    while todo:
        at = todo.pop()
        found.append(at)
        try:
            for task in os.listdir(f"/proc/{at}/task"):
                text = harness.read_text(f"/proc/{at}/task/{task}/children")
                todo += [int(word) for word in text.split()]
        except OSError:
            pass
    return found


def anonymous_kib(pid):
    """Resident memory that is the process's own: neither of files nor shared."""
    words = harness.read_text(f"/proc/{pid}/statm").split()
    return (int(words[1]) - int(words[2])) * execute.PAGE_KIB if len(words) > 2 else 0


class TreeSampler(threading.Thread):
    """Memory of everything below the started processes, and whether each maps the library."""

    def __init__(self, run):
        super().__init__(daemon=True)
        self.run_of, self.points, self.over = run, [], threading.Event()
        self.unmapped = {}      # pid: name, of those seen without the library
        self.looked = {}        # (pid, program): times
        self.mine = harness.read_text("/proc/self/cmdline")

    def look(self, pid):
        """At a process's third sight, its maps: by then the loader is through."""
        try:
            program = os.readlink(f"/proc/{pid}/exe")
        except OSError:
            return
        key = (pid, program)
        self.looked[key] = self.looked.get(key, 0) + 1
        if self.looked[key] == 3 and harness.read_text(f"/proc/{pid}/cmdline") != self.mine:
            files = harness.mapped_files(pid)
            if files and self.run_of.setup.lib_copy not in files:
                self.unmapped[pid] = os.path.basename(program)

    def run(self):
        start = time.monotonic()
        while not self.over.wait(SAMPLE_S):
            total = 0
            for root in list(self.run_of.roots):
                for pid in children(root):
                    total += anonymous_kib(pid)
                    if self.run_of.side == "lib":
                        self.look(pid)
            if total:
                self.points.append((round(time.monotonic() - start, 3), total))

    def stop(self):
        self.over.set()
        self.join()


class Setup:
    """What harness.Run asks of the one who starts it."""

    def __init__(self, tmp, lib_copy, quick, must_count):
        self.tmp, self.lib_copy, self.quick, self.must_count = tmp, lib_copy, quick, must_count
        self.logs = os.path.join(tmp, "logs")

    def helper(self, name):
        return os.path.join(self.tmp, name)


class Run(harness.Run):
    """A run of tests/preload with meters."""

    def __init__(self, work, setup, side, directory, settings, shared):
        self.roots, self.settings, self.shared = [], settings, shared
        self.cpu_s = self.wall_s = 0.0
        self.figures = {}
        self.memory_lines = os.path.join(setup.tmp, "memory.lines")
        with open(self.memory_lines, "wb"):
            os.chmod(self.memory_lines, 0o666)
        super().__init__(side, work, setup, directory)
        self.env.update({k: v for k, v in os.environ.items() if k.startswith(hkbench.OPTIONS)})
        self.env["LD_PRELOAD"] += ":" + setup.helper("end_memory.so")
        self.env["HAK_MEMORY_FILE"] = self.memory_lines

    def _popen(self, argv, user, env, cwd, before_exec, **streams):
        pin = self.settings.before_exec(0)

        def before():
            if pin:
                pin()
            if before_exec:
                before_exec()

        proc = super()._popen(self.settings.prefix() + argv, user, env, cwd, before, **streams)
        self.roots.append(proc.pid)
        return proc

    def cmd(self, argv, **more):
        """Counts the command's CPU and wall time."""
        cpu, start = cpu_of_children(), time.monotonic()
        out = super().cmd(argv, **more)
        self.cpu_s += cpu_of_children() - cpu
        self.wall_s += time.monotonic() - start
        return out

    def stop(self, proc, **more):
        """A server's whole CPU time comes to light when it is waited for."""
        cpu = cpu_of_children()
        super().stop(proc, **more)
        self.cpu_s += cpu_of_children() - cpu

    def timed(self, load):
        """Counts the wall time of LOAD(), the client's part; its CPU time is not the program's."""
        start = time.monotonic()
        value = load()
        self.wall_s += time.monotonic() - start
        return value

    def settle(self, proc):
        """Resident memory after the load, some idle time later."""
        time.sleep(self.scale(1.0, 0.3))
        total = sum(anonymous_kib(pid) for pid in children(proc.pid))
        self.figures["end_rss_kib"] = total

    def shared_path(self, *names):
        """Of the data that WORK.prepare made once for all allocators."""
        return os.path.join(self.shared, *names)

    def last_memory(self):
        """[(name, peak KiB, last KiB)] of the processes that ended in order."""
        lines = [line.split("\t") for line in harness.read_text(self.memory_lines).splitlines()]
        return [(name, int(peak), int(last)) for _, name, peak, last in lines]


class Preparation(harness.Run):
    """For WORK.prepare: the same tools without a preload and without meters."""

    def _environment(self):
        return {"PATH": harness.PATH, "HOME": self.dir, "TMPDIR": self.dir, "LC_ALL": "C",
                "TZ": "UTC"}


class Work:
    """One real program for all allocators: helpers, data, the proof of each run."""

    def __init__(self, row, settings):
        self.work = works.by_name(row.name.split(":", 1)[1])
        self.settings = settings
        self.tmp = tempfile.mkdtemp(prefix="hak-real-")
        os.chmod(self.tmp, 0o755)
        self.copies, self.prepared, self.answers = {}, {}, {}
        self.said = []
        for name, source in HELPERS.items():
            self.build(os.path.join(self.tmp, name), source)

    @staticmethod
    def build(target, source):
        words = (os.environ.get("CC") or "cc").split()
        done = subprocess.run(
            [*words, "-std=gnu11", "-O2", "-fno-builtin", "-I" + os.path.join(ROOT, "include"),
             source, "-o", target, "-fPIC", "-shared", "-Wl,-z,now"],
            capture_output=True, text=True, check=False)
        if done.returncode:
            raise execute.Failed(f"{os.path.basename(source)}: {done.stderr.strip()[:200]}")
        os.chmod(target, 0o755)

    def copy_of(self, allocator):
        """A file that every account may read: the program may run as another one."""
        if allocator.package or not allocator.path:
            return allocator.path
        if allocator.name not in self.copies:
            directory = os.path.join(self.tmp, "lib-" + allocator.name)
            os.mkdir(directory)
            os.chmod(directory, 0o755)
            copy = os.path.join(directory, os.path.basename(allocator.path))
            shutil.copyfile(allocator.path, copy)
            os.chmod(copy, 0o755)
            self.copies[allocator.name] = copy
        return self.copies[allocator.name]

    def prepare(self, quick):
        if quick not in self.prepared:
            directory = os.path.join(self.tmp, "data-quick" if quick else "data")
            setup = Setup(self.tmp, "", quick, False)
            self.prepared[quick] = directory
            run = Preparation("data", self.work, setup, directory)
            if self.work.prepare:
                self.work.prepare(run)
        return self.prepared[quick]

    def run(self, allocator, quick):
        try:
            return self.run_once(allocator, quick)
        except harness.Skip as why:
            raise execute.Skipped(str(why)) from why
        except (harness.Failure, OSError, subprocess.SubprocessError) as why:
            raise execute.Failed(str(why)[:400]) from why
        finally:
            harness.reap()

    def run_once(self, allocator, quick):
        shared = self.prepare(quick)
        setup = Setup(self.tmp, self.copy_of(allocator), quick,
                      "hak_root" in exported(allocator.path))
        side = "lib" if allocator.path else "glibc"
        run = Run(self.work, setup, side, os.path.join(self.tmp, "work"), self.settings, shared)
        sampler = TreeSampler(run)
        guard = threading.Timer(LIMIT_S, lambda: [harness.kill_descendants(p) or kill(p)
                                                  for p in run.roots])
        guard.daemon = True
        sampler.start()
        guard.start()
        try:
            self.work.function(run)
        finally:
            guard.cancel()
            sampler.stop()
            for pid in run.roots:
                if os.path.exists(f"/proc/{pid}"):
                    harness.kill_descendants(pid)
                    kill(pid)
        self.said += [n for n in run.notes if n not in self.said]
        blocks = self.proof(run, sampler, setup, allocator)
        self.same_answers(run, quick, allocator)
        return self.sample(run, sampler, allocator, blocks)

    @staticmethod
    def proof(run, sampler, setup, allocator):
        """Blocks served (None where the library can't tell); Failed where a process had another."""
        lines = run.lines()
        if not setup.must_count:
            # Others may take memory from brk themselves; where a block lies says nothing of them.
            lines = [{**line, "place": "map"} for line in lines]
        counted = [int(line["blocks"]) for line in lines
                   if line["kind"] == "E" and line["blocks"] != "-"]
        blocks = sum(counted) if setup.must_count else None
        problems = judge.served_file_problems(run, lines)
        if run.side == "lib":
            problems += judge.block_problems(run, lines, blocks)
        problems += [f"pid {pid} ({name}) ran without {allocator.name}"
                     for pid, name in sampler.unmapped.items()]
        if not lines:
            problems.append("no process was observed")
        if problems:
            raise execute.Failed("not proven: " + problems[0])
        return blocks

    def same_answers(self, run, quick, allocator):
        """What the program computed must not depend on the allocator."""
        first = self.answers.setdefault(quick, (allocator.name, run.results))
        if first[1] != run.results:
            raise execute.Failed(f"its results differ from those with {first[0]}: " + "; ".join(
                judge.compare(first[1], run.results))[:200])

    def sample(self, run, sampler, allocator, blocks):
        ends = run.last_memory()
        mains = [e for e in ends if e[0] in self.work.mains] or ends
        points = sampler.points
        figures = {
            "cpu_seconds": run.cpu_s, "seconds": run.wall_s, "blocks": blocks,
            "file": allocator.expected, "processes": len({line["pid"] for line in run.lines()}),
            "end_rss_kib": max((last for _, _, last in mains), default=None),
        }
        figures["peak_rss_kib"] = max((peak for _, peak, _ in mains), default=None)
        if self.work.memory == "tree" and points:
            figures["peak_rss_kib"] = max(kib for _, kib in points)
        if len(points) > 3:
            figures["memory"] = execute.thin(points)
        figures.update(run.figures)
        return figures

    def notes(self):
        return self.said

    def close(self):
        shutil.rmtree(self.tmp, ignore_errors=True)


def kill(pid):
    try:
        os.kill(pid, 9)
    except OSError:
        pass


def exported(path, cache={}):    # noqa: B006 - a cache
    if path and path not in cache:
        cache[path] = hkbench.Elf(path).defined(["hak_root"])
    return cache.get(path, {})


def version(argv):
    """The number in what ARGV says of itself."""
    try:
        said = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    return (re.findall(r"\d+(?:\.\d+)+", said.stdout + said.stderr) or ["?"])[0]
