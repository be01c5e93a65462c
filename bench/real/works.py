"""works - the table of real programs: packages, files that must be there, what counts as memory.

Runs nothing. A function takes a measure.Run, does a fixed amount of work, and hands over what the
program computed; that must be the same under every allocator.
"""
import glob

from real import commands, daemons


class Work:
    """One row. It has what tests/preload's harness asks of a row: name, mains, forwarder, compared."""

    def __init__(self, name, title, function, packages, needs, mains, seconds, prepare=None,
                 memory="main", forwarder=False):
        self.name, self.title, self.function = name, title, function
        self.packages, self.needs, self.mains = packages, needs, mains
        self.seconds, self.prepare = seconds, prepare
        self.memory = memory          # 'main': the program's own peak; 'tree': all processes' sum
        self.forwarder = forwarder    # its glibc run needs an object that hands over to libc
        self.compared = title

    def missing(self):
        """Why it can't run here, or ''."""
        for pattern in self.needs:
            if not glob.glob(pattern):
                return (f"not installed: no {pattern} (--install, or apt-get install "
                        f"{' '.join(self.packages)})")
        return ""


PYTHON = "/usr/bin/python3"
REDIS = ["/usr/bin/redis-server", "/usr/bin/redis-benchmark"]


def redis(name, title, function, seconds):
    return Work(name, title, function, ["redis-server", "redis-tools"], REDIS, ["redis-server"],
                seconds, forwarder=True)


WORKS = [
    Work("python3", "Python: objects, JSON, regular expressions, sorting; PYTHONMALLOC=malloc",
         commands.python3, ["python3"], [PYTHON], ["python3"], 2.0),
    Work("python3-pools", "the same with Python's own pools above malloc",
         commands.python3_pools, ["python3"], [PYTHON], ["python3"], 1.6),
    redis("redis", "redis: SET, GET and INCR of 64 bytes, pipelined", daemons.redis_strings, 1.5),
    redis("redis-large", "redis: SET and GET of 4 KiB over 20,000 keys", daemons.redis_large, 1.5),
    redis("redis-types", "redis: lists, hashes, sets, sorted sets", daemons.redis_types, 2.0),
    Work("memcached", "memcached: sets, gets, deletes from 4 connections, 4 threads",
         daemons.memcached, ["memcached"], ["/usr/bin/memcached"], ["memcached"], 1.5),
    Work("postgresql", "PostgreSQL: pgbench, then sorts, joins, JSON", daemons.postgresql,
         ["postgresql"], ["/usr/lib/postgresql/*/bin/initdb"], ["postgres"], 4.0,
         prepare=daemons.postgresql_prepare, memory="tree"),
    Work("sqlite3", "sqlite3: inserts, indexes, updates, full text, VACUUM", commands.sqlite3,
         ["sqlite3"], ["/usr/bin/sqlite3"], ["sqlite3"], 1.5),
    Work("gcc", "gcc -O2 -g of a generated file of 240 functions", commands.gcc, ["gcc"],
         ["/usr/bin/gcc"], ["cc1"], 4.5, prepare=commands.gcc_prepare),
    Work("git", "git repack -f and gc of a generated repository", commands.git, ["git"],
         ["/usr/bin/git"], ["git"], 2.0, prepare=commands.git_prepare),
    Work("node", "node: Buffers, JSON, zlib, crypto in 4 threads", commands.node, ["nodejs"],
         ["/usr/bin/node"], ["node"], 2.5),
    Work("perl", "perl: hashes, sorts, regular expressions", commands.perl, ["perl"],
         ["/usr/bin/perl"], ["perl"], 1.0),
    Work("lua", "lua: tables, strings, closures, garbage collection", commands.lua, ["lua5.4"],
         ["/usr/bin/lua5.4"], ["lua5.4"], 1.2),
    Work("ghostscript", "ghostscript: a generated document to 24-bit images", commands.ghostscript,
         ["ghostscript"], ["/usr/bin/gs"], ["gs"], 1.5, prepare=commands.ghostscript_prepare),
    Work("z3", "z3: bit vectors, arithmetic and a pigeonhole", commands.z3, ["z3"],
         ["/usr/bin/z3"], ["z3"], 2.0, prepare=commands.z3_prepare),
    Work("rocksdb", "rocksdb's db_bench: fill, overwrite, read at random, 2 threads",
         commands.rocksdb, ["rocksdb-tools"], ["/usr/bin/db_bench"], ["db_bench"], 2.5),
    Work("xz", "xz -6 in 2 threads, in memory", commands.xz, ["xz-utils"], ["/usr/bin/xz"],
         ["xz"], 2.5, prepare=commands.xz_prepare),
]


def by_name(name):
    return next(work for work in WORKS if work.name == name)


def packages_missing():
    return sorted({package for work in WORKS if work.missing() for package in work.packages})
