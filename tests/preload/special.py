"""special.py - rows under limits: locked memory, a memory cgroup, address space; foreign blocks.

Each function takes a harness.Run. A limit that cannot be had here raises Skip with the reason; a
program that does not fit on glibc either would prove nothing and fails the row.
"""
import os
import resource

from harness import Failure, Skip, limit, read_text, unprivileged_user

MIB = 1 << 20

MAWK = r"""
BEGIN {
	srand(1); x = 7
	for (i = 0; i < 9000; i++) {
		x = (x * 69069 + 1) % 2147483648
		k = x % 2000; a[k] = substr(a[k] "-" x, 1, 100)
		if (i % 3 == 0) delete a[(x * 3) % 2000]
	}
	for (i = 0; i < 2000; i++) if (i in a) { n++; s = (s * 31 + length(a[i]) * i) % 1000003 }
	big = "0123456789abcdef"; while (length(big) < 131072) big = big big
	gsub(/7/, "seven", big)
	print n, s, length(big)
}
"""


def mlockall(run):
    """A real program, all of it locked, as an unprivileged user under 8 MiB of RLIMIT_MEMLOCK."""
    if os.geteuid() == 0:
        user = unprivileged_user()
    elif resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] not in (resource.RLIM_INFINITY,) and \
            resource.getrlimit(resource.RLIMIT_MEMLOCK)[1] < 8 * MIB:
        raise Skip("the hard limit of locked memory is below 8 MiB")
    else:
        user = None
    run.write("work.awk", MAWK)
    status = run.path("status")
    out = run.cmd(["/usr/bin/mawk", "-f", "work.awk"], user=user,
                  env={"LD_PRELOAD": run.preload_too("lockall.so"), "HAKLOCK_FILE": status},
                  before_exec=limit(resource.RLIMIT_MEMLOCK, 8 * MIB))
    run.result("output", out.decode())
    figures = dict(line.split(":") for line in read_text(status).splitlines())
    locked = figures.get("VmLck", "0 kB").split()[0]
    if int(locked) == 0:
        raise Failure("nothing was locked")
    run.note("%s: %s kB locked of %s at the end" % (run.side, locked,
                                                    figures["VmSize"].strip()))


PYTHON_CHURN = r"""
import hashlib, random, sys
rng = random.Random(1); keep = {}; digest = hashlib.sha256()
live = 0
for i in range(int(sys.argv[1])):
    size = rng.choice((24, 100, 900, 5000, 40000, 300000, 3000000))
    key = rng.randrange(4000)
    old = keep.pop(key, b""); live -= len(old)
    data = bytes([i & 255]) * (1 + rng.randrange(size)); keep[key] = data; live += len(data)
    while live > 48 << 20:
        old = keep.pop(next(iter(keep))); live -= len(old); digest.update(old[:64])
print(len(keep), live, digest.hexdigest())
"""


def memory_cgroup():
    """A new memory cgroup: (directory, file of the limit), or Skip."""
    base = "/sys/fs/cgroup"
    if os.path.exists(base + "/cgroup.controllers"):
        if "memory" not in read_text(base + "/cgroup.subtree_control").split():
            raise Skip("the memory controller is not enabled for children of the root cgroup")
        parent, name = base, "memory.max"
    elif os.path.exists(base + "/memory/memory.limit_in_bytes"):
        parent, name = base + "/memory", "memory.limit_in_bytes"
    else:
        raise Skip("no memory cgroup is mounted")
    directory = os.path.join(parent, "hakmem-preload-%d" % os.getpid())
    try:
        os.mkdir(directory)
    except OSError as error:
        raise Skip("no cgroup can be made: %s" % error.strerror) from None
    return directory, name


def cgroup(run):
    """python3 with up to 48 MiB live of several GiB allocated, in a memory cgroup of 128 MiB."""
    directory, name = memory_cgroup()
    try:
        with open(os.path.join(directory, name), "w") as file:
            file.write(str(128 * MIB))

        def enter():
            with open(os.path.join(directory, "cgroup.procs"), "w") as file:
                file.write(str(os.getpid()))

        run.write("churn.py", PYTHON_CHURN)
        out = run.cmd(["/usr/bin/python3", "churn.py", str(run.scale(30000, 8000))],
                      env={"PYTHONMALLOC": "malloc"}, before_exec=enter)
        run.result("output", out.decode())
        peak = read_text(os.path.join(directory, "memory.peak")) or \
            read_text(os.path.join(directory, "memory.max_usage_in_bytes"))
        if peak.strip():
            run.note("%s: peak %d of 128 MiB" % (run.side, int(peak) // MIB))
        kills = [line for file in ("memory.events", "memory.oom_control")
                 for line in read_text(os.path.join(directory, file)).splitlines()
                 if line.startswith("oom_kill ")]
        run.result("killed for memory", kills)
    finally:
        try:
            os.rmdir(directory)
        except OSError:
            run.note("%s is still there" % directory)


PYTHON_FULL = r"""
import hashlib, sys
def fill(step):
    keep = []
    try:
        while True:
            keep.append(bytearray(step))
            if len(keep) * step > 4 << 30:
                return "no limit was met"
    except MemoryError:
        return "MemoryError"
print([fill(s) for s in (64 << 20, 1 << 20, 100000)])
spare = [bytes([i & 255]) * 300 for i in range(9000)]; rows = []
try:
    while len(rows) < 1 << 26:
        rows.append(("%d" % len(rows)) * 20)
    print("no limit was met")
except MemoryError:
    del spare; n = len(rows)    # a slice would want a copy of its pointers
    while len(rows) > n // 2: rows.pop()
    ok = all(rows[i] == ("%d" % i) * 20 for i in range(0, n // 2, 97)); del rows
    print("MemoryError", ok, n > 100000)
d = {i: str(i) * 9 for i in range(200000)}
print(hashlib.sha256(repr(sorted(d.values())).encode()).hexdigest())
"""

PERL_FULL = r"my @l; push @l, 'x' x 100000 while 1;"


def limits(run):
    """Memory exhausted under RLIMIT_AS and RLIMIT_DATA: errors as the standard says, no damage."""
    run.write("full.py", PYTHON_FULL)
    run.write("full.pl", PERL_FULL)
    for name, kind in (("RLIMIT_AS", resource.RLIMIT_AS), ("RLIMIT_DATA", resource.RLIMIT_DATA)):
        before = limit(kind, 512 * MIB)
        out = run.cmd(["/usr/bin/python3", "full.py"], env={"PYTHONMALLOC": "malloc"},
                      before_exec=before)
        run.result("python3 " + name, out.decode())
        run.cmd(["/usr/bin/perl", "full.pl"], ok=None, before_exec=before)
        run.result("perl " + name, run.returncode)


PYTHON_FOREIGN = r"""
import ctypes, glob, os, sys
path = glob.glob("/usr/lib/*/libsqlite3.so.0")[0]
deep = ctypes.CDLL(path, mode=os.RTLD_LOCAL | os.RTLD_NOW | os.RTLD_DEEPBIND)
here = ctypes.CDLL(None)
deep.sqlite3_mprintf.restype = ctypes.c_void_p
here.realloc.restype = ctypes.c_void_p
here.realloc.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
here.free.argtypes = (ctypes.c_void_p,)
here.malloc_usable_size.argtypes = (ctypes.c_void_p,)
here.malloc_usable_size.restype = ctypes.c_size_t
deep.sqlite3_mprintf.argtypes = (ctypes.c_char_p,)
for i in range(2000):
    text = b"foreign %d " % i * (1 + i % 50)
    p = deep.sqlite3_mprintf(text)
    # sqlite keeps the size in the 8 bytes before what it hands out, so the block begins there.
    block = p - 8
    assert here.malloc_usable_size(block) >= len(text) + 9
    if i % 2:
        block = here.realloc(block, 20000)
        assert ctypes.string_at(block + 8, len(text)) == text
    here.free(block)
print("ok")
"""


def deepbind(run):
    """Blocks of a library that was loaded with RTLD_DEEPBIND, resized and freed by the program."""
    run.write("foreign.py", PYTHON_FOREIGN)
    run.result("output", run.cmd(["/usr/bin/python3", "foreign.py"]).decode())


SELFTEST = """
END { for (i = 0; i < 500; i++) { keep[i] = i "-" i; text = big keep[i] } print text, big }
"""


def selftest(run):
    """Not a row of the table: a short program for harness_test, with larger blocks in its output."""
    run.result("output", run.cmd(["/usr/bin/mawk", MAWK + SELFTEST],
                                 input="one line\n").decode())
