"""image.py - the guest's first file system: an archive in memory (cpio, "newc") that the kernel unpacks.

A file brings the shared libraries that ldd finds for it, into /lib of the guest, where the loader looks
without being told. What it does not do: know what is run; init.sh is that.
"""
import os
import re
import stat
import subprocess
from pathlib import Path

from packages import Broken

ELF = b"\x7fELF"


def entry(name, mode, data, number, device=(0, 0)):
    """One member: 13 hexadecimal fields after the magic, the name, the content, both padded to 4."""
    raw = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(raw), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + raw
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


class Image:
    def __init__(self, library_folders=()):
        self.members = {}   # path in the guest, no leading slash: (mode, content)
        self.library_folders = [str(folder) for folder in library_folders]

    def folder(self, path):
        path = path.strip("/")
        while path and path not in self.members:
            self.members[path] = (stat.S_IFDIR | 0o755, b"")
            path = os.path.dirname(path)

    def put(self, path, content, mode=0o644):
        self.folder(os.path.dirname(path))
        self.members[path.strip("/")] = (stat.S_IFREG | mode, content)

    def link(self, path, target):
        self.folder(os.path.dirname(path))
        self.members[path.strip("/")] = (stat.S_IFLNK | 0o777, target.encode())

    def add(self, host, path):
        """A file or folder of this machine, links followed, with its libraries."""
        host = Path(host)
        if host.is_dir():
            self.folder(path)
            for inner in sorted(host.iterdir()):
                self.add(inner, f"{path}/{inner.name}")
        elif host.is_file():
            content = host.read_bytes()
            self.put(path, content, host.stat().st_mode & 0o777)
            if content.startswith(ELF):
                self.add_libraries(host)
        else:
            raise Broken(f"no such file: {host}")

    def add_libraries(self, host):
        found = os.environ.get("LD_LIBRARY_PATH", "").split(":") + self.library_folders
        done = subprocess.run(["ldd", str(host)], capture_output=True, text=True,
                              env={**os.environ, "LD_LIBRARY_PATH": ":".join(f for f in found if f)})
        if "not found" in done.stdout:
            raise Broken(f"{host}: " + next(line.strip() for line in done.stdout.split("\n") if "not found" in line))
        for library in re.findall(r"(?:=> |^\s*)(/\S+) \(0x", done.stdout, re.M):
            # the loader's own path is written in each program
            path = library if os.path.basename(library).startswith("ld-linux") else "lib/" + os.path.basename(library)
            if path.strip("/") not in self.members:
                self.put(path, Path(library).read_bytes(), 0o755)

    def archive(self):
        parts = [entry("dev/console", stat.S_IFCHR | 0o600, b"", 1, (5, 1))]
        self.folder("dev")
        # a folder comes before what is in it
        for number, (path, (mode, content)) in enumerate(sorted(self.members.items()), 2):
            if path == "dev":
                parts.insert(0, entry(path, mode, content, number))
            else:
                parts.append(entry(path, mode, content, number))
        parts.append(entry("TRAILER!!!", 0, b"", 0))
        return b"".join(parts)
