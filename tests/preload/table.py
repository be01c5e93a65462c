"""table.py - the list of rows, and what to install for them.

A row: name, the Debian packages that bring it, a file that must be there, how to ask its version, the
programs (as the kernel names them) that must have been served, what is compared, its limit in
seconds. Runs nothing.
"""
import glob
import os
import signal
import subprocess
import sys

import programs
import servers
import special


class Row:
    def __init__(self, name, function, packages, needs, version, mains, compared, seconds,
                 forwarder=False):
        self.name = name
        self.function = function
        self.packages = packages
        self.needs = needs
        self.version = version
        self.mains = mains
        self.compared = compared
        self.seconds = seconds
        self.forwarder = forwarder    # its glibc run needs forwarder.so before its own allocator

    def missing(self):
        """The first pattern of NEEDS that is not there, or None."""
        for pattern in self.needs:
            if not glob.glob(pattern):
                return pattern
        return None


PYTHON = "/usr/bin/python3"
REDIS = ["/usr/bin/redis-server", "/usr/bin/redis-benchmark"]

# The longest first: two rows run at a time.
ROWS = [
    Row("python3", programs.python3, ["python3", "libpython3.11-testsuite"],
        [PYTHON, "/usr/lib/python3.*/test/test_descr.py"], [PYTHON, "--version"], ["python3"],
        "outcome of each regression test", 900),
    Row("postgresql", servers.postgresql, ["postgresql"], ["/usr/lib/postgresql/*/bin/initdb"],
        ["/bin/sh", "-c", "/usr/lib/postgresql/*/bin/postgres --version"],
        ["postgres", "initdb", "pgbench", "psql", "pg_dump", "pg_amcheck"],
        "pgbench counts, query answers, pg_dump sha256, pg_amcheck", 240),
    Row("g++", programs.gxx, ["g++"], ["/usr/bin/g++"], ["/usr/bin/g++", "-dumpfullversion"],
        ["cc1plus", "as", "ld", "big"], "object and program sha256, output of the program", 240),
    Row("stress-ng", programs.stress_ng, ["stress-ng"], ["/usr/bin/stress-ng"],
        ["/usr/bin/stress-ng", "--version"], ["stress-ng"], "exit codes of stressors", 600),
    Row("gcc", programs.gcc, ["gcc"], ["/usr/bin/gcc"], ["/usr/bin/gcc", "-dumpfullversion"],
        ["cc1", "as", "ld", "big"], "object and program sha256, output of the program", 240),
    Row("redis", servers.redis, ["redis-server"], REDIS, [REDIS[0], "--version"],
        ["redis-server", "redis-benchmark"], "all answers, DEBUG DIGEST, the same after a reload",
        240, forwarder=True),
    Row("redis-seccomp", servers.redis_seccomp, ["redis-server"], REDIS, [REDIS[0], "--version"],
        ["redis-server"], "as redis, where @resources calls kill", 240, forwarder=True),
    Row("git", programs.git, ["git"], ["/usr/bin/git"], ["/usr/bin/git", "--version"], ["git"],
        "log, fsck, refs, all objects, archive, grep of two repositories", 240),
    Row("nginx", servers.nginx, ["nginx"], ["/usr/sbin/nginx"],
        ["/bin/sh", "-c", "/usr/sbin/nginx -v 2>&1"], ["nginx"], "status and body sha256", 240),
    Row("node", programs.node, ["nodejs"], ["/usr/bin/node"], ["/usr/bin/node", "--version"],
        ["node"], "sha256 of Buffers, JSON, zlib, crypto in 4 threads", 240),
    Row("bash", programs.bash, ["bash", "gawk"], ["/bin/bash", "/usr/bin/awk"],
        ["/bin/bash", "--version"], ["bash", "sed", "sort", "cut", "xargs"],
        "sha256 of the output of the pipelines", 240),
    Row("memcached", servers.memcached, ["memcached"], ["/usr/bin/memcached"],
        ["/usr/bin/memcached", "--version"], ["memcached"],
        "all answers to 4 clients, each value, item counts", 240),
    Row("sqlite3", programs.sqlite3, ["sqlite3"], ["/usr/bin/sqlite3"],
        ["/usr/bin/sqlite3", "--version"], ["sqlite3"], "query answers, .dump sha256", 240),
    Row("perl", programs.perl, ["perl"], ["/usr/bin/perl"],
        ["/usr/bin/perl", "-e", "print substr($^V, 1)"], ["perl"],
        "sha256 over hashes, sorts, regular expressions", 240),
    Row("cgroup-128M", special.cgroup, ["python3"], [PYTHON], [PYTHON, "--version"], ["python3"],
        "digest in a 128 MiB memory cgroup, no kill", 240),
    Row("limits", special.limits, ["python3", "perl"], [PYTHON, "/usr/bin/perl"],
        [PYTHON, "--version"], ["python3"],
        "MemoryError and what follows under RLIMIT_AS, RLIMIT_DATA; perl's exit code", 240),
    Row("deepbind", special.deepbind, ["python3", "libsqlite3-0"],
        [PYTHON, "/usr/lib/*/libsqlite3.so.0"], [PYTHON, "--version"], ["python3"],
        "blocks of libc's malloc resized and freed", 60),
    Row("mlockall", special.mlockall, ["mawk"], ["/usr/bin/mawk"],
        ["/bin/sh", "-c", "/usr/bin/mawk -W version 2>&1"], ["mawk"],
        "output, all memory locked, RLIMIT_MEMLOCK 8 MiB", 60),
]

# For harness_test: short, and with blocks that grow.
SELFTEST = Row("selftest", special.selftest, ["mawk"], ["/usr/bin/mawk"],
               ["/bin/sh", "-c", "/usr/bin/mawk -W version 2>&1"], ["mawk"], "output", 60)


def install(rows, say):
    """Installs what ROWS miss by apt-get, one call a row's packages; {row name: why not}."""
    reasons = {}
    missing = [row for row in rows if row.missing()]
    if not missing:
        return reasons
    packages = sorted({package for row in missing for package in row.packages})
    if os.geteuid() != 0:
        for row in missing:
            reasons[row.name] = "not installed; as root: apt-get install " + " ".join(row.packages)
        return reasons
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Where policy-rc.d is absent, a package would start its service; it is absent again afterwards.
    policy = "/usr/sbin/policy-rc.d"
    made = not os.path.exists(policy)
    if made:
        with open(policy, "w") as file:
            file.write("#!/bin/sh\nexit 101\n")
        os.chmod(policy, 0o755)

    def apt(*argv):
        return subprocess.run(["apt-get", "-y", "-q"] + list(argv), env=env, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)  # no limit: dpkg must not be cut off

    before = {s: signal.signal(s, lambda number, frame: sys.exit(128 + number))
              for s in (signal.SIGHUP, signal.SIGTERM)}  # the file must go in any case
    try:
        say("installing " + " ".join(packages))
        if apt("install", "--no-install-recommends", *packages).returncode != 0:
            apt("update")
            for row in missing:
                done = apt("install", "--no-install-recommends", *row.packages)
                if done.returncode != 0:
                    lines = [line for line in done.stdout.splitlines() if line.startswith("E:")]
                    reasons[row.name] = "could not be installed: " + (lines or ["apt-get failed"])[0]
    except OSError as error:
        for row in missing:
            reasons[row.name] = "could not be installed: %s" % error
    finally:
        if made:
            os.unlink(policy)
        for number, handler in before.items():
            signal.signal(number, handler)
    return reasons
