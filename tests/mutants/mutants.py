#!/usr/bin/env python3
"""Breaks the allocator line by line, and expects a named test to go red each time.

  tests/mutants/mutants.py              all of mutants.txt
  tests/mutants/mutants.py --only REGEX those whose file, line or test matches
  tests/mutants/mutants.py --check      only sees whether each line is found

The tree is copied to a temporary folder once and built there; each mutant is one line replaced in
that copy, a build, the named test, and the line put back. First each named test must be green
unbroken. Passed: red. A mutant that survives, does not build, or whose line is not found once in
its file is a failure. What it does not do: touch the tree that it was copied from.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TABLE = HERE / "mutants.txt"
COPIED = ["Makefile", "config", "include", "src", "tests", "bench"]
TEST_SECONDS = 100
PRELOADED = ("api", "arena", "stress", "death")


class Mutant:
    def __init__(self, record):
        self.file, self.line, self.new, self.test = (record[k] for k in ("file", "line", "with", "test"))
        self.says = record.get("says")


def read_table(text):
    """Records of 'key: value' lines, separated by empty lines."""
    mutants = []
    for block in re.split(r"\n\s*\n", text):
        pairs = [line.split(":", 1) for line in block.split("\n") if line.strip() and line[0] != "#"]
        if pairs:
            mutants.append(Mutant({k.strip(): v.strip() for k, v in pairs}))
    return mutants


def broken(text, mutant):
    """TEXT with the line replaced, or None unless it is there exactly once."""
    lines = text.split("\n")
    at = [i for i, line in enumerate(lines) if line.strip() == mutant.line]
    if len(at) != 1:
        return None
    indent = re.match(r"\s*", lines[at[0]])[0]
    lines[at[0]] = indent + mutant.new
    return "\n".join(lines)


class Tree:
    def __init__(self, folder):
        self.root = Path(folder)
        for name in COPIED:
            src = ROOT / name
            if src.is_dir():
                shutil.copytree(src, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
            elif src.exists():
                shutil.copy2(src, self.root / name)
        self.env = {k: v for k, v in os.environ.items()
                    if k not in ("LD_PRELOAD", "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES")
                    and not k.startswith("HAKMEM_")}

    def run(self, command, seconds=TEST_SECONDS):
        """Exit code (None: out of time) and output."""
        with subprocess.Popen(command, cwd=self.root, env=self.env, stdin=subprocess.DEVNULL, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
                              start_new_session=True) as p:
            try:
                out, _ = p.communicate(timeout=seconds)
                return p.returncode, out
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, 9)
                return None, p.communicate()[0]

    def make(self, *targets):
        code, out = self.run(["make", "-s", "-j2", *targets], 300)
        return code == 0, out

    def targets(self, test):
        suite, _, rest = test.partition("/")
        if suite in PRELOADED or suite == "unit":
            program = f"build/tests/{suite}/{rest.split()[0]}_test"
            return [program] if suite == "unit" else ["build/libhakmem.so", program]
        return ["build/libhakmem.so"]

    def command(self, test):
        suite, _, rest = test.partition("/")
        if suite == "unit":
            name, *case = rest.split()
            return [f"build/tests/unit/{name}_test", *case]
        if suite in PRELOADED:
            return ["tests/run", "--lib", "build/libhakmem.so", "--quick", "--timeout", "40",
                    "--suite", suite, "--only", f"^{suite}/{rest}_test$"]
        return [sys.executable, f"tests/{suite}/{suite}.py", "--lib", "build/libhakmem.so"]

    def is_red(self, mutant):
        """True: red. False: green. None: skipped. With SAYS, red is to print that."""
        code, out = self.run(self.command(mutant.test))
        if mutant.says:
            return mutant.says in out
        return None if code == 77 else code != 0


def baseline(tree, mutants):
    """Tests that are not green unbroken: {test: why}."""
    ok, out = tree.make("build/libhakmem.so", *sorted({t for m in mutants for t in tree.targets(m.test)}))
    if not ok:
        sys.exit(f"mutants: the unbroken tree does not build:\n{out[-3000:]}")
    bad = {}
    for m in {(m.test, m.says): m for m in mutants}.values():
        red = tree.is_red(m)
        if red or red is None:
            bad[m.test, m.says] = "red without it" if red else "skipped"
    return bad


def judge(tree, mutant, bad):
    """'' if the test caught it, else why not."""
    if (mutant.test, mutant.says) in bad:
        return f"the test is {bad[mutant.test, mutant.says]}"
    path = tree.root / mutant.file
    text = path.read_text()
    new = broken(text, mutant)
    if new is None:
        return "the line is not there exactly once"
    path.write_text(new)
    try:
        ok, out = tree.make(*tree.targets(mutant.test))
        if not ok:
            first = re.search(r"error:.*", out)
            return "does not build: " + (first[0] if first else out[-200:].strip())
        red = tree.is_red(mutant)
        return "" if red else "skipped" if red is None else "SURVIVED"
    finally:
        path.write_text(text)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--only", default="")
    p.add_argument("--check", action="store_true")
    args = p.parse_args()
    mutants = [m for m in read_table(TABLE.read_text())
               if re.search(args.only, f"{m.file} {m.line} {m.test}")]
    if not mutants:
        print("mutants: none of that name")
        return 1
    if args.check:
        lost = [m for m in mutants if broken((ROOT / m.file).read_text(), m) is None]
        for m in lost:
            print(f"not there exactly once: {m.file}: {m.line}")
        print(f"{len(mutants) - len(lost)} passed, {len(lost)} failed, 0 skipped")
        return 1 if lost else 0
    failed = 0
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="hakmem-mutants-") as folder:
        tree = Tree(folder)
        bad = baseline(tree, mutants)
        print(f"{len(mutants)} mutants; tests green unbroken after {time.monotonic() - start:.0f} s")
        for m in mutants:
            why = judge(tree, m, bad)
            failed += bool(why)
            print(f"{'FAILED' if why else 'red':6} {m.file:22} {m.test:42} {m.new[:60]}")
            if why:
                print(f"       | {why}; the line was: {m.line}")
            sys.stdout.flush()
    print(f"{time.monotonic() - start:.0f} s")
    print(f"{len(mutants) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
