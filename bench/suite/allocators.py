"""allocators - what is measured: names, files, packages, versions.

Finds and installs; runs no benchmark.
"""
import dataclasses
import hashlib
import os
import subprocess
import sys

import hkbench

PEERS = hkbench.PEERS
GLIBC, OWN = "glibc", "hakmem"


class Unknown(Exception):
    """A name that stands for nothing here; the text says what to do."""


@dataclasses.dataclass
class Allocator:
    name: str
    path: str             # "" for glibc
    version: str = ""
    package: str = ""     # of Debian; empty for a file given by its path
    sha256: str = ""

    @property
    def expected(self):
        """What the proof must name."""
        return self.path or "glibc"

    def as_dict(self):
        """For the results: where a file that is no package's lies is nobody's business."""
        path = self.path if self.package else os.path.basename(self.path)
        return {**dataclasses.asdict(self), "path": path}


def output(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if not done.returncode else ""


def libc_path():
    """The file of libc that this machine's programs use."""
    with open("/proc/self/maps", encoding="utf-8") as file:
        for line in file:
            path = line.rstrip("\n").split(None, 5)[5:]
            if path and os.path.basename(path[0]).startswith("libc.so"):
                return path[0]
    return ""


def file_sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def package_version(path):
    """('libjemalloc2', '5.3.0-1') of the Debian package that owns PATH, or ('', '')."""
    real = os.path.realpath(path)
    # A package may name a file by the other end of the link from /lib to /usr/lib.
    for name in dict.fromkeys((path, real, real.removeprefix("/usr"), "/usr" + real)):
        owner = output(["dpkg-query", "-S", name]).split(":")[0]
        if owner:
            return owner, output(["dpkg-query", "-W", "-f", "${Version}", owner])
    return "", ""


def own_version(path):
    """What hak_version_string() of PATH says; asked of a process of its own."""
    code = ("import ctypes, sys; f = ctypes.CDLL(sys.argv[1]).hak_version_string; "
            "f.restype = ctypes.c_char_p; print(f().decode())")
    return output([sys.executable, "-c", code, path])


def describe(name, path):
    """An Allocator with everything that can be said of the file."""
    found = Allocator(name, path)
    file = path or libc_path()
    if not file:
        return found
    found.package, found.version = package_version(file)
    if not found.version:
        found.version = own_version(file) or os.path.basename(os.path.realpath(file))
    found.sha256 = file_sha256(file)
    return found


def names():
    return [GLIBC, OWN, *[name for name, _, _ in PEERS]]


def find_one(text, lib):
    """An Allocator of a name or of name=/path/lib.so. Raises Unknown."""
    name, equals, path = text.partition("=")
    if equals:
        if not name or not os.path.isfile(path):
            raise Unknown(f"{text}: name=/path/lib.so is expected, and the file must exist")
        try:
            hkbench.Elf(path)
        except ValueError as why:
            raise Unknown(str(why)) from why
        return describe(name, os.path.realpath(path))
    if name == GLIBC:
        return describe(name, "")
    if name == OWN:
        if not os.path.isfile(lib):
            raise Unknown(f"hakmem is not built: no {lib} (make, or --lib FILE)")
        return describe(name, os.path.realpath(lib))
    for peer, files, package in PEERS:
        if peer == name:
            found = hkbench.library_find(files)
            if not found:
                raise Unknown(f"{name} is not installed: --install, or apt-get install {package}")
            return describe(name, os.path.realpath(found))
    raise Unknown(f"no allocator is named {name}: {', '.join(names())}, or name=/path/lib.so")


def find(wanted, lib):
    """(allocators, [what was left out and why]). WANTED None: all that are found."""
    if wanted:
        found = [find_one(text, lib) for text in wanted]
        doubled = {a.name for a in found if sum(b.name == a.name for b in found) > 1}
        if doubled:
            raise Unknown(f"named twice: {', '.join(sorted(doubled))}")
        return found, []
    found, left_out = [], []
    for name in names():
        try:
            found.append(find_one(name, lib))
        except Unknown as why:
            if name == OWN:
                raise
            left_out.append(str(why))
    return found, left_out


def packages_missing(wanted=None):
    return [package for name, files, package in PEERS
            if (not wanted or name in wanted) and not hkbench.library_find(files)]
