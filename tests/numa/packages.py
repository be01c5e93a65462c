"""packages.py - the guest's kernel and tools: downloaded with apt, unpacked into a cache, never installed.

The system's package state stays as it is: `apt-get download` needs no root, and the newer suite
(backports) has lists and sources of its own inside the cache. What it does not do: refresh what is
there; delete the cache folder for that.
"""
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

KERNEL = "linux-image-cloud-amd64"
TOOLS = ["busybox-static", "numactl", "libnuma1", "hwloc-nox", "libhwloc15"]
NEWER_QEMU = ["qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios"]
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = ("stable", "newer")


class Missing(Exception):
    """Something is not there and may not be had: the lab is skipped with this reason."""


class Broken(Exception):
    """The lab itself went wrong."""


def cache_folder():
    given = os.environ.get("HAKMEM_LAB_CACHE")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hakmem-lab"
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Missing(f"no cache folder {base}: {error.strerror} (HAKMEM_LAB_CACHE names another)") from None
    return base.resolve()


@contextlib.contextmanager
def locked(cache):
    """Two labs may start at once; one of them fetches."""
    with open(cache / "lock", "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def call(words, cwd=None):
    done = subprocess.run(words, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().split("\n")
        raise Missing(f"{words[0]}: {said[-1] if said[-1] else 'failed'} (is the network there? apt-get update?)")
    return done.stdout


def unpack(folder, packages, options=()):
    """FOLDER appears when it is complete, or not at all."""
    if folder.is_dir():
        return folder
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise Missing(f"no {tool}: the lab takes its guest from Debian packages")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="unpack.") as temporary:
        debs, tree = Path(temporary) / "debs", Path(temporary) / "tree"
        debs.mkdir()
        tree.mkdir()
        # apt drops to a user of its own where it can; it may then not write here, and says so at length
        call(["apt-get", *options, "-o", "APT::Sandbox::User=root", "-q", "download", *packages], cwd=debs)
        for deb in sorted(debs.glob("*.deb")):
            call(["dpkg-deb", "-x", str(deb), str(tree)])
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.rename(tree, folder)
    return folder


def image_package(options=()):
    """The package with the kernel, which the one named KERNEL only points to."""
    if not shutil.which("apt-cache"):
        raise Missing("no apt-cache: the lab takes its guest from Debian packages")
    found = re.search(r"Depends: (linux-image-\S+)", call(["apt-cache", *options, "depends", KERNEL]))
    if not found:
        raise Missing(f"apt does not know {KERNEL} (apt-get update?)")
    return found.group(1)


def newer_options(cache):
    """apt's options for the backports suite of the mirror that this machine uses, in a state of its own."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().split("\n") if "=" in line)
    name = release.get("VERSION_CODENAME", "").strip('"')
    listed = call(["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"])
    for line in listed.split("\n"):
        words = line.split()
        if len(words) == 2 and words[0] == name:
            uri = words[1]
            break
    else:
        raise Missing(f"apt has no source for {name or 'this release'}, so none for its backports")
    state = cache / "newer-apt"
    for part in ("lists/partial", "cache/archives/partial"):
        (state / part).mkdir(parents=True, exist_ok=True)
    (state / "sources.list").write_text(f"deb [signed-by={KEYRING}] {uri} {name}-backports main\n", encoding="ascii")
    options = ["-o", f"Dir::Etc::SourceList={state}/sources.list", "-o", "Dir::Etc::SourceParts=/dev/null",
               "-o", f"Dir::State::Lists={state}/lists", "-o", f"Dir::Cache={state}/cache"]
    call(["apt-get", *options, "-o", "APT::Sandbox::User=root", "-q", "update"])
    return options


class Kit:
    """What a boot needs: the QEMU command, the kernel, the folder of tools."""

    def __init__(self, suite, note):
        cache = cache_folder()
        self.cache, self.suite = cache, suite
        self.qemu = shutil.which("qemu-system-x86_64")
        if not self.qemu:
            raise Missing("no qemu-system-x86_64: apt-get install --no-install-recommends qemu-system-x86")
        self.qemu = [self.qemu]
        with locked(cache):
            self.tools = self.fetch(cache / "tools", lambda: (TOOLS, ()), note)
            if suite == "newer":
                self.fetch_newer(cache, note)
            else:
                self.fetch(cache / "stable-kernel", lambda: ([image_package()], ()), note)
        self.kernel = self.only(cache / f"{suite}-kernel", "boot/vmlinuz-*")
        self.busybox = self.only(self.tools, "**/bin/busybox")

    @staticmethod
    def fetch(folder, what, note):
        if not folder.is_dir():
            packages, options = what()
            note("fetching " + " ".join(packages))
            unpack(folder, packages, options)
        return folder

    def fetch_newer(self, cache, note):
        if not (cache / "newer-kernel").is_dir() or not (cache / "newer-qemu").is_dir():
            options = newer_options(cache)
            self.fetch(cache / "newer-kernel", lambda: ([image_package(options)], options), note)
            self.fetch(cache / "newer-qemu", lambda: (NEWER_QEMU, options), note)
        root = cache / "newer-qemu/usr"
        # the libraries are those of the QEMU that is installed
        self.qemu = [str(root / "bin/qemu-system-x86_64"), "-L", str(root / "share/qemu"), "-L", str(root / "share/seabios")]
        tried = subprocess.run([*self.qemu, "--version"], capture_output=True, text=True)
        if tried.returncode != 0:
            raise Missing("the newer QEMU does not start: " + tried.stderr.strip().split("\n")[-1])

    @staticmethod
    def only(folder, pattern):
        found = sorted(folder.glob(pattern))
        if not found:
            raise Broken(f"no {pattern} in {folder} (delete that folder, it is fetched again)")
        return found[-1]
