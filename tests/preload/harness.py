"""harness.py - one run of a program: processes, servers, observer, results, clean-up.

A row is run twice in a worker process of its own: on glibc and on the library. What a row compares it
gives to Run.result(); what it starts it starts through Run.cmd() and Run.server(), so that it is
ended by pid whatever happens. Knows nothing of single programs.
"""
import ctypes
import glob
import grp
import hashlib
import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import time

PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


class Skip(Exception):
    """The row cannot be run here; the text is the reason."""


class Failure(Exception):
    """The row went wrong; the text says how."""


class TimeLimit(Exception):
    """The time limit of the row was reached."""


def sha256(data):
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    return hashlib.sha256(data).hexdigest()


def sha256_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def free_port():
    """A TCP port of the loopback that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.02)
    raise Failure("%s: not ready after %d s" % (what, seconds))


def can_connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def read_text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


# ---- processes ----

def become_subreaper():
    """Orphans of what is started here become children of this process, so that none is lost."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(36, 1, 0, 0, 0) != 0:    # PR_SET_CHILD_SUBREAPER
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")


def processes():
    """{pid: (ppid, comm, state)} of the machine."""
    table = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        text = read_text(path)
        if text:
            head, _, tail = text.rpartition(")")
            pid, _, comm = head.partition(" (")
            fields = tail.split()
            table[int(pid)] = (int(fields[1]), comm, fields[0])
    return table


def descendants(root):
    table = processes()
    found, todo = [], [root]
    while todo:
        parent = todo.pop()
        for pid, (ppid, _, state) in table.items():
            if ppid == parent and pid not in found:
                todo.append(pid)
                if state != "Z":
                    found.append(pid)
    return found


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def kill_descendants(root):
    """Ends every process below ROOT, pid by pid, until none is left."""
    for _ in range(100):
        pids = descendants(root)
        if not pids:
            break
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        time.sleep(0.02)
        if root == os.getpid():
            reap()


def mapped_files(pid):
    """What a process maps; nothing where it has ended, which cuts its list short while it is read."""
    maps = "/proc/%d/maps" % pid
    files = []
    text = read_text(maps)
    if not read_text(maps):
        return files
    for line in text.splitlines():
        fields = line.split(None, 5)
        if len(fields) == 6 and fields[5].startswith("/") and fields[5] not in files:
            files.append(fields[5])
    return files


# ---- one run ----

class Run:
    """One side of a row: 'glibc' or 'lib'."""

    def __init__(self, side, row, setup, directory):
        self.side = side
        self.row = row
        self.setup = setup
        self.quick = setup.quick
        self.dir = directory
        self.results = {}
        self.notes = []
        self.live_seen = {}
        self.last_argv = []
        self.compared_text = row.compared
        self.logs = os.path.join(setup.logs, row.name)
        self.stderr_path = os.path.join(self.logs, side + ".stderr")
        self.observed = os.path.join(setup.tmp, "%s.%s.lines" % (row.name, side))
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)
        os.chmod(directory, 0o777)
        os.makedirs(self.logs, exist_ok=True)
        for path in (self.observed, self.stderr_path):
            with open(path, "wb"):
                os.chmod(path, 0o666)
        self.env = self._environment()

    def _environment(self):
        env = {"PATH": PATH, "HOME": self.dir, "TMPDIR": self.dir, "LC_ALL": "C", "TZ": "UTC",
               "HAKOBS_FILE": self.observed}
        if self.side == "lib":
            # A caller may try an option or a profile on all programs.
            env.update({k: v for k, v in os.environ.items() if k.startswith("HAKMEM_")})
            preload = [self.setup.lib_copy]
        else:
            preload = [self.setup.helper("forwarder.so")] if self.row.forwarder else []
        env["LD_PRELOAD"] = ":".join(preload + [self.setup.helper("observer.so")])
        return env

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def write(self, name, text):
        path = self.path(name)
        with open(path, "wb" if isinstance(text, bytes) else "w") as file:
            file.write(text)
        return path

    def scale(self, full, quick):
        return quick if self.quick else full

    def result(self, name, value):
        self.results[name] = value if isinstance(value, (list, dict)) else str(value)

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def compared(self, text):
        """Says in the table what was compared, where the row's own words are too general."""
        self.compared_text = text

    def preload_too(self, helper):
        """One more helper object, after the allocator and the observer."""
        return self.env["LD_PRELOAD"] + ":" + self.setup.helper(helper)

    def bare(self, argv, timeout=120):
        """A command without any preload, for what is not under test. Its stdout."""
        env = {"PATH": PATH, "LC_ALL": "C", "TZ": "UTC", "HOME": self.dir}
        return subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=True, timeout=timeout, cwd=self.dir).stdout

    def _popen(self, argv, user, env, cwd, before_exec, **streams):
        more = {}
        if user is not None and os.geteuid() == 0:
            more = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.last_argv = argv
        return subprocess.Popen(argv, env={**self.env, **(env or {})}, cwd=cwd or self.dir,
                                preexec_fn=before_exec, **more, **streams)

    def cmd(self, argv, input=None, ok=(0,), user=None, env=None, cwd=None, before_exec=None):
        """Runs ARGV to its end; its stdout. An exit code that is not in OK fails the row."""
        if isinstance(input, str):
            input = input.encode()
        with open(self.stderr_path, "ab") as errors:
            start = errors.tell()
            proc = self._popen(argv, user, env, cwd, before_exec, stdout=subprocess.PIPE,
                               stderr=errors,
                               stdin=subprocess.DEVNULL if input is None else subprocess.PIPE)
            out = proc.communicate(input)[0]
        self.returncode = proc.returncode
        if ok is not None and proc.returncode not in ok:
            with open(self.stderr_path, "rb") as file:
                file.seek(start)
                said = file.read().decode("utf-8", "replace").strip()
            raise Failure("'%s' ended with %s%s" % (short(argv), exit_text(proc.returncode),
                          ": " + said[-600:] if said else ""))
        return out

    def server(self, argv, user=None, env=None, cwd=None, before_exec=None):
        """Starts a server; its stdout and stderr go to the log."""
        with open(self.stderr_path, "ab") as errors:
            return self._popen(argv, user, env, cwd, before_exec, stdin=subprocess.DEVNULL,
                               stdout=errors, stderr=errors)

    def stop(self, proc, sig=signal.SIGTERM, seconds=30, ok=(0,)):
        """Ends a server in its own way; it must leave by itself and with a code in OK."""
        if proc.poll() is None:
            proc.send_signal(sig)
        try:
            code = proc.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure("'%s' did not end %d s after signal %d"
                          % (short(proc.args), seconds, sig)) from None
        if code not in ok:
            raise Failure("'%s' ended with %s%s" % (short(proc.args), exit_text(code),
                          ": " + read_text(self.stderr_path).strip()[-600:]))

    def live(self, proc, least=1):
        """Checks the maps of a running server and of all below it; LEAST processes must be there."""
        if proc.poll() is not None:
            raise Failure("'%s' ended with %s: %s" % (short(proc.args), exit_text(proc.returncode),
                          read_text(self.stderr_path).strip()[-600:]))
        table = processes()
        seen = 0
        for pid in [proc.pid] + descendants(proc.pid):
            files = mapped_files(pid)
            if not files:
                continue    # gone meanwhile
            seen += 1
            mapped = self.setup.lib_copy in files
            comm = table.get(pid, (0, "?", ""))[1]
            self.live_seen["%d %s" % (pid, comm)] = mapped
            if mapped != (self.side == "lib"):
                raise Failure("/proc/%d/maps of %s: library %s" % (pid, comm, "mapped in the glibc"
                              " run" if mapped else "not mapped"))
        if seen < least:
            raise Failure("%d live processes, at least %d expected" % (seen, least))

    def lines(self):
        """What the observer wrote: a list of dicts."""
        names = ("kind", "pid", "comm", "exe", "file", "blocks", "place")
        return [dict(zip(names, line.split("\t"))) for line in read_text(self.observed).splitlines()]


def short(argv):
    text = " ".join(str(a) for a in argv)
    return text if len(text) <= 200 else text[:197] + "..."


def exit_text(code):
    if code is not None and code < 0:
        try:
            return "signal %s" % signal.Signals(-code).name
        except ValueError:
            return "signal %d" % -code
    return "exit code %s" % code


def unprivileged_user(*names):
    """The first of NAMES that is an account; None where this process is unprivileged itself."""
    if os.geteuid() != 0:
        return None
    for name in names + ("nobody",):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    raise Skip("no unprivileged account to run as")


def group_name(user):
    return grp.getgrgid(user.pw_gid).gr_name


def limit(kind, soft, hard=None):
    """For before_exec: sets a resource limit."""
    return lambda: resource.setrlimit(kind, (soft, soft if hard is None else hard))
