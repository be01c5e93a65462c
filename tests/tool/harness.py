"""What the cases of tests/tool share: the command, other machines to show it, checks."""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.path.join(ROOT, os.environ.get("BUILD") or "build"))
CC = os.environ.get("CC") or "cc"
TOOL = os.path.join(BUILD, "hakmem")
DATA = os.path.join(HERE, "data")
NOBODY = 65534
NODES = "/sys/devices/system/node"


class Skip(Exception):
    """A case that can't run here; its text is the reason."""


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def same(got, expected, what):
    check(got == expected, f"{what}: expected {expected!r}, got {got!r}")


def need_root():
    if os.geteuid():
        raise Skip("needs root")


def clean_environment(extra=None):
    env = {k: v for k, v in os.environ.items()
           if not k.startswith(("HWLOC_", "HAKMEM_")) and k != "LD_PRELOAD"}
    env["LC_ALL"] = "C"
    env.update(extra or {})
    return env


def run(*args, env=None, status=0, tool=TOOL, **more):
    """Output and errors of `hakmem ARGS`, which must end with STATUS (None: any)."""
    done = subprocess.run([tool, *args], env=clean_environment(env), text=True, timeout=60,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          **{"stdin": subprocess.DEVNULL, **more})
    if status is not None:
        same(done.returncode, status, f"status of {' '.join(args)}; it said {done.stderr!r}")
    return done


def refused(*args, status=2, words=(), **more):
    """One line on standard error that has WORDS; nothing on standard output."""
    done = run(*args, status=status, **more)
    lines = done.stderr.splitlines()
    same(len(lines), 1, f"lines of {' '.join(args)}: {done.stderr!r}")
    check(lines[0].startswith("hakmem"), f"the line begins with the command: {lines[0]!r}")
    for word in words:
        check(word in lines[0], f"{word!r} in {lines[0]!r}")
    same(done.stdout, "", f"output of {' '.join(args)}")
    return lines[0]


def topo(env=None, **more):
    return json.loads(run("topo", "--json", env=env, **more).stdout)


def nodes_of(machine):
    return {n["node"]: n for n in machine["nodes"]}


def xml(name):
    return {"HWLOC_XMLFILE": os.path.join(DATA, name + ".xml")}


def id_list(text):
    ids = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            ids += range(int(first), int(last or first) + 1)
    return ids


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def tree_unfold(folder, changes=None):
    """The files of data/memless.tree below FOLDER; CHANGES: path: text, or None to leave it out."""
    files = dict(re.findall(r"^== (\S+)\n(.*?)(?=^== |\Z)", read(os.path.join(DATA, "memless.tree")),
                            re.M | re.S))
    files.update(changes or {})
    for path, text in files.items():
        if text is not None:
            write(folder + path, text)
    return {"HWLOC_FSROOT": folder}


def folder():
    return tempfile.TemporaryDirectory(prefix="hakmem-tool-")


def compile_c(path, text, *flags):
    done = subprocess.run([*CC.split(), "-x", "c", "-", "-o", path, *flags], input=text, text=True,
                          stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise Skip(f"{' '.join(flags)} does not link here: {done.stderr.splitlines()[-1]}")
    return path


def as_nobody():
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def tool_for_nobody(into):
    """The command and the library where any user may read them."""
    os.chmod(into, 0o755)
    for name in ("hakmem", "libhakmem.so.0"):
        shutil.copy(os.path.join(BUILD, name), into)
    return os.path.join(into, "hakmem")


def in_namespace(script, *args):
    """SCRIPT in bash with mounts of its own, $tool set; needs root."""
    need_root()
    probe = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "x", "/mnt"],
                           stderr=subprocess.PIPE, text=True, check=False)
    if probe.returncode:
        raise Skip(f"no mounts of one's own here: {probe.stderr.strip()}")
    with subprocess.Popen(["unshare", "-m", "bash", "-euc", script, "bash", *args], text=True,
                          env=clean_environment({"tool": TOOL}), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as p:
        try:
            out, err = p.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(p.pid, signal.SIGKILL)  # what it started in the background, too
            raise AssertionError("not done after 60 s") from None
    same(p.returncode, 0, f"status; {err}")
    return out
