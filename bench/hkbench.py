"""hkbench - what verify, anchors and try share: ELF facts, the allocators found, running a program.

Measures and judges nothing itself.
"""
import glob
import json
import mmap
import os
import struct
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(os.path.dirname(HERE), os.environ.get("BUILD") or "build")
PROGRAMS = os.path.join(BUILD, "bench")

# name, file names in order of preference, Debian package
PEERS = [
    ("mimalloc", ["libmimalloc.so.2.0", "libmimalloc.so.2"], "libmimalloc2.0"),
    ("jemalloc", ["libjemalloc.so.2"], "libjemalloc2"),
    ("tcmalloc", ["libtcmalloc_minimal.so.4"], "libtcmalloc-minimal4"),
    ("tbbmalloc", ["libtbbmalloc_proxy.so.2"], "libtbbmalloc2"),
]
ANCHORS = ("mimalloc", "jemalloc", "tcmalloc")  # the fast paths' peers, bench/anchors
OPTIONS = ("HAKMEM_", "MALLOC_", "MIMALLOC_", "TCMALLOC_", "TBB_MALLOC_")  # variables that allocators read
LIBRARY_DIRS = ["/usr/lib/*-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib"]


class Elf:
    """The few facts of an ELF file that matter here. Raises ValueError for other files."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        if self.data[:4] != b"\x7fELF":
            raise ValueError(f"{path}: not an ELF file")
        if self.data[4] != 2 or self.data[5] != 1:
            raise ValueError(f"{path}: not a 64-bit little-endian ELF file")

    def is_static(self):
        """True for a program that no loader is asked for: LD_PRELOAD can't reach it."""
        phoff, = struct.unpack_from("<Q", self.data, 32)
        size, count = struct.unpack_from("<HH", self.data, 54)
        kinds = [struct.unpack_from("<I", self.data, phoff + i * size)[0] for i in range(count)]
        return 3 not in kinds  # PT_INTERP

    def defined(self, names):
        """{name: address} of those of NAMES that .symtab or .dynsym defines."""
        wanted = {n.encode(): n for n in names}
        found = {}
        shoff, = struct.unpack_from("<Q", self.data, 40)
        size, count = struct.unpack_from("<HH", self.data, 58)
        heads = [struct.unpack_from("<IIQQQQIIQQ", self.data, shoff + i * size)
                 for i in range(count)] if shoff else []
        for head in heads:
            if head[1] not in (2, 11):  # SHT_SYMTAB, SHT_DYNSYM
                continue
            strings = heads[head[6]]
            texts = self.data[strings[4]:strings[4] + strings[5]]
            for name_at, _info, _other, section, value, _size in struct.iter_unpack(
                    "<IBBHQQ", self.data[head[4]:head[4] + head[5] // 24 * 24]):
                if not section:
                    continue
                name = texts[name_at:texts.index(b"\0", name_at)]
                if name in wanted:
                    found[wanted[name]] = value
        return found


def library_find(names):
    """The first file of one of NAMES in the usual directories, or None."""
    for name in names:
        for pattern in LIBRARY_DIRS:
            for path in sorted(glob.glob(os.path.join(pattern, name))):
                return path
    return None


def allocators_find(lib, more=(), peers=None):
    """[(name, path or None for glibc)]: glibc, hakmem where it is built, the PEERS found (None: all), MORE."""
    found = [("glibc", None)]
    if lib and os.path.exists(lib):
        found.append(("hakmem", os.path.abspath(lib)))
    for name, files, _package in PEERS:
        path = library_find(files) if peers is None or name in peers else None
        if path:
            found.append((name, path))
    for text in more:
        name, _, path = text.partition("=")
        if not os.path.exists(path):
            raise SystemExit(f"{text}: name=/path/lib.so expected, and the file must exist")
        found = [a for a in found if a[0] != name] + [(name, os.path.abspath(path))]
    return found


def environment(path, extra=None):
    """The environment under which PATH (None: glibc) serves, and must be proven to."""
    env = {k: v for k, v in os.environ.items() if k not in ("LD_PRELOAD", "GLIBC_TUNABLES")}
    env["HAK_VERIFY_LIB"] = path or "glibc"
    if path:
        env["LD_PRELOAD"] = path
    env.update(extra or {})
    return env


class RunFailed(Exception):
    """A run that gave no result, or could not prove its allocator."""


def run_json(command, path, extra=None, timeout=600):
    """Runs one of our programs under the allocator PATH; its line of JSON, proven."""
    try:
        done = subprocess.run(command, env=environment(path, extra), capture_output=True,
                              text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as late:
        raise RunFailed(f"no end within {timeout} s") from late
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RunFailed(f"status {done.returncode}: {lines[-1] if lines else 'no message'}")
    result = json.loads(done.stdout)
    if not result.get("verified"):
        raise RunFailed("the allocator was not proven")
    return result


def run_floor(command, floor):
    """The same on the object that makes calls cost nothing else; by name, it is no allocator."""
    size = command[command.index("-s") + 1] if "-s" in command else "16"
    env = environment(os.path.abspath(floor), {"HAK_FLOOR_SIZE": size})
    del env["HAK_VERIFY_LIB"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunFailed(f"status {done.returncode}")
    result = json.loads(done.stdout)
    if not os.path.samefile(result["file"], floor):
        raise RunFailed(f"{result['file']} served")
    return result


def verify_run(command, path, report, timeout=600, environ=None):
    """Runs COMMAND under bench/verify; its report (a dict). RunFailed if not proven."""
    tool = [os.path.join(HERE, "verify"), "--quiet", "--report", report,
            "--lib", path or "glibc", "--", *command]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=timeout, check=False,
                          env={**os.environ, **(environ or {})})
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise RunFailed(f"status {done.returncode}: {lines[-1] if lines else 'no message'}")
    with open(report, encoding="utf-8") as f:
        return json.load(f)


def machine_text():
    """One line: processor, cores, kernel, huge pages, load."""
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        for line in f:
            if line.startswith(("model name", "CPU part")):
                model = line.split(":", 1)[1].strip()
                break
    try:
        with open("/sys/kernel/mm/transparent_hugepage/enabled", encoding="utf-8") as f:
            huge = f.read().split("[")[1].split("]")[0]
    except (OSError, IndexError):
        huge = "none"
    with open("/proc/loadavg", encoding="utf-8") as f:
        load = f.read().split()[0]
    cores = len(os.sched_getaffinity(0))
    return (f"{model}, {cores} cores, Linux {os.uname().release}, THP {huge}, "
            f"load {load} at the start")


def table_print(head, rows):
    """Columns as wide as they must be; the first one to the left."""
    widths = [max(len(str(r[i])) for r in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        cells = [str(c).rjust(w) if i else str(c).ljust(w)
                 for i, (c, w) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())
