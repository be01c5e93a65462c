"""arena_test - bench/arena measures what it says, notices a wrong library, and gives hugetlb pages back.

Real programs, run briefly; no time is asserted. Part of runner_test (BUILD, LIB).
"""
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from xml.etree import ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("BUILD") or os.path.join(ROOT, "build"))
LIB = os.path.abspath(os.environ.get("LIB") or os.path.join(BUILD, "libhakmem.so"))
CC = (os.environ.get("CC") or "cc").split()
sys.path[:0] = [os.path.join(ROOT, "bench"), os.path.join(ROOT, "tests", "acceptance")]

import arena_rows  # noqa: E402
import figures  # noqa: E402


def arena(*words):
    return subprocess.run([sys.executable, os.path.join(ROOT, "bench", "arena"), *words], text=True, cwd=ROOT,
                          env={**os.environ, "BUILD": BUILD}, capture_output=True, check=False, timeout=600)


def make(words):
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")}
    done = subprocess.run(["make", "-s", f"CC={' '.join(CC)}", *words], cwd=ROOT, env=env, text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise AssertionError(done.stderr)


def module():
    loader = importlib.machinery.SourceFileLoader("arena_command", os.path.join(ROOT, "bench", "arena"))
    found = importlib.util.module_from_spec(importlib.util.spec_from_loader("arena_command", loader))
    loader.exec_module(found)
    return found


class ArenaTargets(unittest.TestCase):
    """Verdicts over fixed figures."""
    times = arena_rows.Target("t", "text", "own", "peer", 2, {"a": "row a", "b": "row b"})
    more = arena_rows.Target("t", "text", "own", "peer", 2, {"a": "row a"}, arena_rows.MORE)

    def judge(self, target, rows):
        return arena_rows.judge(target, rows, 3)

    def test_the_worst_row_decides(self):
        good, bad = {"own": [1, 1, 1], "peer": [3, 3, 3]}, {"own": [1, 1, 1], "peer": [1.5, 1.5, 1.5]}
        found = self.judge(self.times, {"a": good, "b": good})
        self.assertEqual((found["verdict"], found["value"]), (figures.MET, 3))
        found = self.judge(self.times, {"a": good, "b": bad})
        self.assertEqual((found["verdict"], found["value"]), (figures.NOT_MET, 1.5))
        self.assertIn("row b", found["result"])

    def test_a_spread_over_the_bound_proves_nothing(self):
        wide = {"own": [1, 1, 1], "peer": [1.5, 3, 3]}
        self.assertEqual(self.judge(self.times, {"a": wide, "b": wide})["verdict"], figures.UNDECIDED)

    def test_a_row_that_is_gone(self):
        good = {"own": [1, 1, 1], "peer": [3, 3, 3]}
        self.assertEqual(self.judge(self.times, {"a": good})["verdict"], figures.NOT_RUN)
        self.assertEqual(self.judge(self.times, {"a": good, "b": {"own": [1, 1], "peer": [3, 3, 3]}})["verdict"],
                         figures.NOT_RUN)

    def test_at_most_more(self):
        for own, verdict in ((5, figures.MET), (8, figures.NOT_MET), (3, figures.MET)):
            found = self.judge(self.more, {"a": {"own": [own] * 3, "peer": [4] * 3}})
            self.assertEqual((found["verdict"], found["value"]), (verdict, own - 4))


@unittest.skipUnless(os.path.exists(LIB), f"no {LIB}")
class ArenaRuns(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        make(["-f", "bench/bench_arena.mk", f"BUILD={BUILD}", f"LIB={LIB}",
              os.path.join(BUILD, "bench", "bench_arena")])
        cls.tmp = tempfile.TemporaryDirectory()
        cls.out = os.path.join(cls.tmp.name, "out.json")

    @classmethod
    def tearDownClass(cls):
        cls.tmp.cleanup()

    def record(self):
        with open(self.out, encoding="utf-8") as f:
            return json.load(f)

    def folder(self, name):
        path = os.path.join(self.tmp.name, name)
        os.mkdir(path)
        return path

    def test_rounds_rows_and_lines(self):
        picture = os.path.join(self.tmp.name, "stalls.svg")
        done = arena("--quick", "--rounds", "2", "--lib", LIB, "--only", "arena,reset", "--json", self.out,
                     "--plot", picture)
        self.assertEqual(done.returncode, 0, done.stderr)
        found = self.record()
        for row in (*arena_rows.SIZES, "release_100k"):
            subjects = ("reset", "one_by_one") if row == "release_100k" else ("hak_malloc", "arena", "arena_single",
                                                                               "arena_cache")
            for subject in subjects:
                values = found["rows"][row][subject]
                self.assertEqual((len(values), all(v > 0 for v in values)), (2, True), (row, subject))
        for subject in ("hak_malloc", "arena", "arena_single", "arena_cache", "hak_pool"):
            self.assertTrue(os.path.samefile(found["served"][subject], LIB))
        self.assertEqual([t["name"] for t in found["targets"]], ["arena", "reset"])
        for target in found["targets"]:
            self.assertIn(target["verdict"], (figures.MET, figures.NOT_MET, figures.UNDECIDED))
            self.assertIn(f"{target['verdict']}: {target['text']}", done.stdout)
        words = ElementTree.parse(picture)
        kinds = [e.get("class") for e in words.iter("{http://www.w3.org/2000/svg}path")]
        self.assertEqual(sorted(kinds), sorted(2 * ["line l0", "line l2", "line l3"]))

    def test_a_broken_library_is_no_figure(self):
        """It serves, under the right name, from the file that was meant; what it serves is wrong."""
        archive = os.path.join(BUILD, "libhakmem.a")
        make([f"BUILD={BUILD}", archive])
        # Writing to blocks that are too short may end the process before it is asked.
        for kind, why in (("OTHER", "a block is not its own"), ("SHORT", "hakmem: status"),
                          ("TWICE", "lost what was written")):
            folder = self.folder("broken-" + kind)
            lib = os.path.join(folder, "libhakmem.so")
            subprocess.run([*CC, "-O2", "-fPIC", "-shared", "-fno-builtin", f"-DBROKEN_{kind}", "-Iinclude", "-o", lib,
                            "tests/bench/arena_test_broken.c", "-Wl,--allow-multiple-definition",
                            "-Wl,--whole-archive", archive, "-Wl,--no-whole-archive", "-Wl,-Bsymbolic-functions",
                            "-Wl,-soname,libhakmem.so.0", "-Wl,--version-script=src/api/hakmem.map", "-pthread",
                            "-ldl"],
                           cwd=ROOT, check=True)
            os.symlink("libhakmem.so", lib + ".0")
            done = arena("--quick", "--rounds", "1", "--lib", lib, "--only", "arena", "--json", self.out)
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertIn(why, self.record()["failures"][0], kind)
            self.assertEqual((self.record()["rows"], self.record()["targets"][0]["verdict"]), ({}, figures.NOT_RUN))

    def test_another_file_serves(self):
        """No libhakmem.so.0 beside the library that was meant: the one that the program was linked with serves."""
        lib = os.path.join(self.folder("copy"), "libhakmem.so")
        shutil.copy(LIB, lib)
        done = arena("--quick", "--rounds", "1", "--lib", lib, "--only", "arena", "--json", self.out)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("is served by", self.record()["failures"][0])

    def test_a_peer_that_is_another(self):
        programs = self.folder("programs")
        shutil.copy(os.path.join(BUILD, "bench", "bench_arena"), programs)
        shutil.copy(os.path.join(BUILD, "bench", "bench_arena"), os.path.join(programs, "bench_arena_jemalloc"))
        done = arena("--quick", "--rounds", "1", "--lib", LIB, "--programs", programs, "--only", "jemalloc,mimalloc",
                     "--json", self.out)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("jemalloc_arena did not say", self.record()["failures"][0])
        jemalloc, mimalloc = self.record()["targets"]
        self.assertEqual(jemalloc["verdict"], figures.NOT_RUN)
        self.assertEqual(mimalloc["verdict"], figures.NOT_RUN)
        self.assertIn("needs libmimalloc-dev", mimalloc["result"])

    def test_nothing_built(self):
        done = arena("--quick", "--lib", LIB, "--programs", self.folder("none"), "--json", self.out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual({t["verdict"] for t in self.record()["targets"]}, {figures.NOT_RUN})

    def test_bad_arguments(self):
        for words in (["--only", "no-such"], ["--only", ""], ["--rounds", "-1"], ["--hugepages", "-1"],
                      ["--json", "/nonexistent/x"], ["--plot", "/nonexistent/x"], ["--lib", "/nonexistent"]):
            done = arena("--lib", LIB, *words)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1), f"{words}: {done.stderr}")
        for words in (["--rounds", "0"], ["--rounds", "2x"], ["--parts", "blocks,no-such"], ["--parts", ""],
                      ["--rounds"]):
            done = subprocess.run([os.path.join(BUILD, "bench", "bench_arena"), *words], text=True,
                                  capture_output=True, check=False, timeout=60)
            self.assertEqual((done.returncode, len(done.stderr.splitlines())), (2, 1), f"{words}: {done.stderr}")

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_hugetlb_pages_come_back(self):
        """On a file in place of the kernel's: the machine's own pool is not a test's to change."""
        command = module()
        for number in (None, signal.SIGINT, signal.SIGTERM):
            with tempfile.NamedTemporaryFile("w+") as file:
                file.write("3")
                file.flush()
                command.POOL = file.name
                try:
                    with contextlib.redirect_stdout(io.StringIO()), command.pool(10):
                        self.assertEqual(command.pool_read(), 10)
                        if number:
                            os.kill(os.getpid(), number)
                            self.fail("the signal was lost")
                except SystemExit as end:
                    self.assertEqual(end.code, 128 + number)
                self.assertEqual(command.pool_read(), 3)
