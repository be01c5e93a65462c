"""commands - programs that end by themselves: interpreters, compilers, tools.

A function takes a measure.Run; scale(full, quick) chooses the amount. Inputs are made by the same
steps each time; those that take long are made once for all allocators by the _prepare functions.
"""
import os
import random
import shutil

import programs as checks   # tests/preload: sources, scripts and streams that are compared there
from harness import Failure, sha256, sha256_file

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scripts")


def script(run, name):
    """A copy beside the data: every account may read it."""
    return shutil.copy(os.path.join(SCRIPTS, name), run.path(name))


def python3(run):
    """Every object is a malloc of its own. (Without -E, which would make Python deaf to it.)"""
    run.result("digest", run.cmd(
        ["/usr/bin/python3", "-S", "-s", "-B", script(run, "objects.py"), str(run.scale(240, 15))],
        env={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}).decode())


def python3_pools(run):
    """As Python does by itself: small objects from its own pools, which it maps."""
    run.result("digest", run.cmd(
        ["/usr/bin/python3", "-S", "-s", "-B", script(run, "objects.py"), str(run.scale(240, 15))],
        env={"PYTHONHASHSEED": "0"}).decode())


def gcc_prepare(run):
    run.write("big.c", checks.c_source(run.scale(240, 40)))


def gcc(run):
    run.cmd(["/usr/bin/gcc", "-O2", "-g", "-c", run.shared_path("big.c"), "-o", "big.o"])
    run.result("object", sha256_file(run.path("big.o")))


def git_prepare(run):
    who = {"GIT_CONFIG_NOSYSTEM": "1"}
    repo = run.path("repo")
    run.cmd(["/usr/bin/git", "init", "-q", "--bare", "-b", "main", repo], env=who)
    run.cmd(["/usr/bin/git", "fast-import", "--quiet"], env=who, cwd=repo,
            input=checks.git_stream(run.scale(2500, 300)))


def git(run):
    shutil.copytree(run.shared_path("repo"), run.path("repo"))
    who = {"GIT_CONFIG_NOSYSTEM": "1"}
    for words in (["-c", "pack.threads=2", "repack", "-q", "-a", "-d", "-f", "--window=40"],
                  ["gc", "-q", "--prune=now"],
                  ["log", "--all", "--stat", "-n", str(run.scale(1500, 200))]):
        out = run.cmd(["/usr/bin/git", *words], env=who, cwd=run.path("repo"))
    run.result("log", sha256(out))


def perl(run):
    run.write("work.pl", checks.PERL)
    run.result("digest", run.cmd(["/usr/bin/perl", "work.pl",
                                  str(run.scale(80000, 10000))]).decode())


def lua(run):
    run.result("sums", run.cmd(["/usr/bin/lua5.4", script(run, "tables.lua"),
                                str(run.scale(250, 30))]).decode())


def node(run):
    run.write("work.js", checks.NODE)
    run.result("digests", run.cmd(["/usr/bin/node", "work.js", str(run.scale(7000, 600))]).decode())


def sqlite3(run):
    out = run.cmd(["/usr/bin/sqlite3", "-batch", "t.db"],
                  input=checks.sqlite_script(run.scale(120000, 15000)))
    if not out.rstrip().endswith(b"ok"):
        raise Failure("integrity_check: %s" % out[-200:])
    run.result("answers", sha256(out))


# ---- ghostscript ----

PAGE = """
/Times-Roman findfont %(size)d scalefont setfont
/words [ %(words)s ] def
0 1 %(lines)d { /i exch def 40 i 13 mul 30 add moveto
 i words length mod 7 { dup words exch words length mod get show ( ) show 3 add } repeat pop } for
%(shapes)s
/store 400 dict def
0 1 2000 { dup 331 mod 12 string cvs cvn exch dup 10 array astore pop store 3 1 roll put } bind
 pop pop
showpage
"""


def ghostscript_page(rng, number):
    words = " ".join("(%x)" % rng.getrandbits(40) for _ in range(60))
    shapes = []
    for _ in range(60):
        x, y, r = rng.randrange(40, 550), rng.randrange(40, 780), rng.randrange(5, 60)
        red, green, blue = (rng.random() for _ in range(3))
        shapes.append("gsave newpath %d %d %d 0 360 arc %.2f %.2f %.2f setrgbcolor %s grestore"
                      % (x, y, r, red, green, blue, rng.choice(("fill", "stroke", "eoclip"))))
        shapes.append("newpath %d %d moveto %d %d %d %d %d %d curveto stroke"
                      % tuple(rng.randrange(600) for _ in range(8)))
    return PAGE % {"size": 7 + number % 5, "words": words, "lines": 55,
                   "shapes": "\n".join(shapes)}


def ghostscript_prepare(run):
    rng = random.Random(13)
    pages = [ghostscript_page(rng, n) for n in range(run.scale(14, 2))]
    run.write("document.ps", "%!PS-Adobe-3.0\n" + "\n".join(pages))


def ghostscript(run):
    run.cmd(["/usr/bin/gs", "-q", "-dBATCH", "-dNOPAUSE", "-dSAFER", "-sDEVICE=ppmraw",
             "-dTextAlphaBits=4", "-dGraphicsAlphaBits=4", "-r90", "-sOutputFile=page%03d.ppm",
             run.shared_path("document.ps")])
    names = sorted(n for n in os.listdir(run.dir) if n.endswith(".ppm"))
    if not names:
        raise Failure("no page was drawn")
    run.result("pages", [sha256_file(run.path(n)) for n in names])


# ---- z3 ----

def smt_pigeons(pigeons):
    """More pigeons than holes, as clauses: no solution."""
    holes = pigeons - 1
    lines = ["(declare-const p%d_%d Bool)" % (i, j) for i in range(pigeons) for j in range(holes)]
    lines += ["(assert (or %s))" % " ".join("p%d_%d" % (i, j) for j in range(holes))
              for i in range(pigeons)]
    lines += ["(assert (not (and p%d_%d p%d_%d)))" % (a, j, b, j) for j in range(holes)
              for a in range(pigeons) for b in range(a)]
    return lines


def smt_vectors(rng, count):
    """A chain of equations over 32-bit vectors that a multiplication closes."""
    lines = ["(declare-const v%d (_ BitVec 16))" % i for i in range(count)]
    for i in range(1, count):
        lines.append("(assert (= v%d (bvadd (bvmul v%d #x%04x) (bvxor v%d #x%04x))))"
                     % (i, i - 1, rng.getrandbits(16) | 1, rng.randrange(i), rng.getrandbits(16)))
    lines.append("(assert (= ((_ extract 3 0) v%d) #x5))" % (count - 1))
    return lines


def smt_arithmetic(rng, count):
    lines = ["(declare-const i%d Int)" % i for i in range(count)]
    lines += ["(assert (and (>= i%d 0) (<= i%d 1000)))" % (i, i) for i in range(count)]
    for _ in range(count * 2):
        a, b, c = rng.sample(range(count), 3)
        lines.append("(assert (<= (+ i%d (* %d i%d)) (+ i%d %d)))"
                     % (a, rng.randrange(1, 4), b, c, rng.randrange(300, 2500)))
    return lines


def z3_prepare(run):
    rng = random.Random(17)
    parts = [smt_pigeons(run.scale(9, 7)), smt_vectors(rng, run.scale(40, 12)),
             smt_arithmetic(rng, run.scale(420, 40))]
    text = []
    for part in parts:
        text += ["(push)", *part, "(check-sat)", "(pop)"]
    run.write("problem.smt2", "\n".join(text) + "\n")


def z3(run):
    out = run.cmd(["/usr/bin/z3", "-smt2", run.shared_path("problem.smt2")]).decode().split()
    if len(out) != 3 or out[0] != "unsat":
        raise Failure("three answers were expected, not: %s" % " ".join(out)[:200])
    run.result("answers", out)


# ---- rocksdb, xz ----

def rocksdb(run):
    count = run.scale(60000, 8000)
    out = run.cmd(["/usr/bin/db_bench", "--benchmarks=fillrandom,overwrite,readrandom,readseq",
                   "--db=" + run.path("db"), "--num=%d" % count, "--threads=2", "--seed=3",
                   "--value_size=200", "--compression_type=none", "--cache_size=16777216",
                   "--write_buffer_size=8388608", "--disable_wal=1"]).decode()
    done = [line.split(":")[0].strip() for line in out.splitlines() if "micros/op" in line]
    if len(done) != 4:
        raise Failure("four parts were expected: %s" % out[-300:])
    run.result("parts", done)


def xz_prepare(run):
    rng = random.Random(23)
    lines = ["%d %x %s" % (n, rng.getrandbits(48), "abcdefghij"[n % 10] * (n % 37))
             for n in range(run.scale(70000, 12000))]
    run.write("text", "\n".join(lines) + "\n")


def xz(run):
    out = run.cmd(["/usr/bin/xz", "-6", "-T2", "--block-size=1MiB", "-c", run.shared_path("text")])
    run.result("packed", "%d bytes %s" % (len(out), sha256(out)))
