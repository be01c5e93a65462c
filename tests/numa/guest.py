"""guest.py - one boot of a guest: builds its image, starts QEMU, waits, takes back what was left.

The verdict is the command's exit status from the guest's archive; without it the lab broke. Software
emulation alone: a machine may have a /dev/kvm that does not work, and speed is not measured here.
A guest's processors take turns in one thread of the host's unless they are asked to run at once: with more
of them than the host has, one that holds a lock of the kernel's loses its turn, and thread deaths took 2 to 5
times as long.
"""
import ctypes
import io
import os
import shlex
import signal
import subprocess
import tarfile
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import image
import topologies
from packages import Broken

HERE = Path(__file__).resolve().parent
GUEST_TOOLS = ["numactl", "lstopo-no-graphics", "hwloc-info"]
TIMEOUT = 124
# QEMU 7.2 gets the flags wrong after cmpxchg16b, so its guests are not to see the instruction.
CPUS = {"stable": "max,-cx16", "newer": "max"}
PARAMETERS = ("console=ttyS0 quiet panic=-1 oops=panic mitigations=off nokaslr tsc=reliable "
              "numa_balancing=disable")
PR_SET_PDEATHSIG = 1
# Now and then an emulated kernel with several CPUs hangs before its first process (seen about once in 30
# starts on a busy machine). Coming up takes 3 s, 10 on a busy machine.
UP_WITHIN = 60
STUCK_MOST = 3
NOT_UP = -1000


class Stuck(Broken):
    """Nothing of the guest's command has run."""


@dataclass
class Setup:
    topology: str
    command: list                       # one word: a line for sh; several: an argument vector
    files: list = field(default_factory=list)
    mem: int = 512                      # MiB of a node whose share is 1
    hugepages: str = "0"
    gigapages: str = "0"
    thp: str = "always"
    append: str = ""
    parallel: bool = False              # a thread of the host's for each processor
    timeout: int = 300


@dataclass
class Outcome:
    status: int
    files: dict                         # name: bytes, what the command left in $OUT
    log: str                            # the kernel's


def build(kit, setup):
    folders = sorted(kit.tools.glob("usr/lib/*-linux-gnu"))
    made = image.Image(folders)
    made.add(kit.busybox, "bin/busybox")
    listed = subprocess.run([str(kit.busybox), "--list"], capture_output=True, text=True)
    for name in listed.stdout.split():
        if name != "busybox":
            made.link(f"bin/{name}", "busybox")
    for name in GUEST_TOOLS:
        made.add(kit.tools / "usr/bin" / name, f"usr/bin/{name}")
    # loaded by name when a thread ends; ldd does not see it
    for libgcc in sorted(Path("/").glob("*lib/*-linux-gnu/libgcc_s.so.1"))[:1]:
        made.add(libgcc, "lib/libgcc_s.so.1")
    for folder in ("proc", "sys", "tmp", "run", "out", "lab", "etc"):
        made.folder(folder)
    for file in setup.files:
        made.add(file, "lab/" + Path(file).resolve().name if Path(file).name in ("", ".") else "lab/" + Path(file).name)
    conf = {"name": setup.topology, "hugepages": setup.hugepages, "thp": setup.thp}
    made.put("etc/lab.conf", "".join(f"{k}={shlex.quote(str(v))}\n" for k, v in conf.items()).encode())
    line = setup.command[0] if len(setup.command) == 1 else "exec " + shlex.join(setup.command)
    made.put("etc/lab.command", (line + "\n").encode())
    made.put("init", (HERE / "init.sh").read_bytes(), 0o755)
    return made.archive()


def command_line(kit, setup, folder):
    if setup.topology not in topologies.TOPOLOGIES:
        raise Broken(f"no topology {setup.topology} (there are: {' '.join(topologies.TOPOLOGIES)})")
    words = [*kit.qemu, "-accel", "tcg,thread=" + ("multi" if setup.parallel else "single"), "-cpu", CPUS[kit.suite]]
    words += topologies.arguments(topologies.TOPOLOGIES[setup.topology], setup.mem)
    words += ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    for number, sink in enumerate((f"file,path={folder}/console", "stdio,signal=off", f"file,path={folder}/archive")):
        words += ["-chardev", f"{sink},id=line{number}", "-serial", f"chardev:line{number}"]
    return words + ["-kernel", str(kit.kernel), "-initrd", f"{folder}/image",
                    "-append", " ".join([PARAMETERS, *gigapages(setup), setup.append])]


def gigapages(setup):
    """Asked for at boot: later no node has 1 GiB in one piece that is sure to be free."""
    nodes = topologies.TOPOLOGIES[setup.topology].nodes
    counts = setup.gigapages.split(",")
    counts += counts[-1:] * (len(nodes) - len(counts))
    wanted = [f"{n}:{count}" for n, (count, node) in enumerate(zip(counts, nodes)) if int(count) and node.share]
    return ["hugepagesz=1G", "hugepages=" + ",".join(wanted)] if wanted else []


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def is_up(console):
    try:
        return b"lab-up" in Path(console).read_bytes()
    except OSError:
        return False


def wait(process, seconds, console):
    """QEMU's status, TIMEOUT, or NOT_UP; QEMU is ended in any case."""
    began, up = time.monotonic(), False
    try:
        while process.poll() is None:
            passed = time.monotonic() - began
            up = up or is_up(console)
            if passed > seconds:
                return TIMEOUT
            if not up and passed > UP_WITHIN:
                return NOT_UP
            time.sleep(0.05)
        return process.returncode
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def boot(kit, setup, output):
    """OUTPUT: a file for what the command writes. Raises Broken where the guest gave no verdict, Stuck
    where it did not even come up."""
    with tempfile.TemporaryDirectory(prefix="hakmem-lab.") as folder:
        Path(folder, "image").write_bytes(build(kit, setup))
        with open(f"{folder}/errors", "wb") as errors, open(os.devnull, "rb") as nothing:
            words = command_line(kit, setup, folder)
            with subprocess.Popen(words, stdin=nothing, stdout=output, stderr=errors,
                                  preexec_fn=die_with_parent) as process:
                status = wait(process, setup.timeout, f"{folder}/console")
        log = Path(folder, "console").read_text(errors="replace") if Path(folder, "console").exists() else ""
        log += Path(folder, "errors").read_text(errors="replace")
        if status == NOT_UP:
            raise Stuck(f"the guest was not up within {UP_WITHIN} s\n{log}")
        if status == TIMEOUT:
            return Outcome(TIMEOUT, {}, log)
        files = unpack(Path(folder, "archive"))
        if ".status" not in files:
            raise Broken(f"the guest ended without a verdict (QEMU {status}):\n" + "\n".join(log.split("\n")[-30:]))
        return Outcome(int(files.pop(".status")), files, log)


def unpack(path):
    """Regular files by name. The guest's archive is not trusted to stay inside a folder."""
    try:
        with tarfile.open(fileobj=io.BytesIO(path.read_bytes()), mode="r:gz") as archive:
            return {os.path.normpath(member.name): archive.extractfile(member).read()
                    for member in archive if member.isreg() and ".." not in member.name.split("/")}
    except (OSError, EOFError, tarfile.TarError):
        return {}


def run(kit, setup, output, note):
    """boot(), tried once more where the lab broke; what the first try wrote to a file of its own is dropped.
    A guest that is stuck on its way up has run nothing yet and is simply started again."""
    tries = 0
    while True:
        try:
            return boot(kit, setup, output)
        except Broken as error:
            tries += 1 if isinstance(error, Stuck) else STUCK_MOST
            if tries > STUCK_MOST:
                raise
            note(f"{error}\ntrying once more")
            if not isinstance(output, int):
                os.truncate(output.name, 0)
                output.seek(0)
