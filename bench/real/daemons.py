"""daemons - servers under load by clients that run without a preload.

The load is fixed; the server's CPU time counts, from its start to its end.
"""
import os
import random
import shutil
import signal
import socket

import servers as checks   # tests/preload: how these servers are asked
from harness import (Failure, can_connect, free_port, read_text, unprivileged_user, wait_for)

BENCHMARK = "/usr/bin/redis-benchmark"


# ---- redis ----

def redis(run, mixes, keys, flags=()):
    """Starts redis, runs each of MIXES [(tests, requests, more arguments)], stops it."""
    port = free_port()
    proc = run.server(["/usr/bin/redis-server", "--port", str(port), "--bind", "127.0.0.1",
                       "--save", "", "--appendonly", "no", "--dir", run.dir, *flags])
    wait_for("redis", lambda: proc.poll() is not None or can_connect(port))
    run.live(proc)

    def load():
        for tests, requests, more in mixes:
            run.bare([BENCHMARK, "-p", str(port), "-q", "-r", str(keys), "-n", str(requests),
                      "-t", tests, *more])

    run.timed(load)
    wire = checks.Wire(port)
    size = int(checks.redis_ask(wire, "DBSIZE"))
    info = checks.redis_ask(wire, "INFO", "memory").decode()
    wire.close()
    if size < 2:
        raise Failure("redis-benchmark left %d keys" % size)
    said = [line.strip() for line in info.splitlines() if line.startswith("mem_allocator:")]
    if said and "libc" not in said[0]:
        run.note("Debian's redis links jemalloc and says %s; its malloc is served as listed, in "
                 "the glibc runs by an object that hands over to libc" % said[0])
    run.settle(proc)
    run.live(proc)
    run.stop(proc)


def redis_strings(run):
    count = run.scale(300000, 40000)
    redis(run, [("set,get,incr", count, ["-d", "64", "-P", "32", "-c", "20"])], 100000)


def redis_large(run):
    count = run.scale(80000, 10000)
    redis(run, [("set,get", count, ["-d", "4096", "-P", "8", "-c", "20"])], 20000)


def redis_types(run):
    count = run.scale(110000, 12000)
    redis(run, [("lpush,rpop,sadd,hset,spop,zadd,zpopmin", count,
                 ["-d", "100", "-P", "32", "-c", "20"]),
                ("mset", count // 10, ["-d", "100", "-P", "8", "-c", "20"])], 50000)


# ---- memcached ----

SIZES = (20, 60, 200, 700, 3000)


def memcached_chunk(rng, count, keys):
    """COUNT requests in one write; the no-op at its end tells when all are answered."""
    parts = []
    for _ in range(count):
        key = b"key-%d" % rng.randrange(keys)
        kind = rng.randrange(20)
        if kind < 7:
            data = b"%x" % rng.getrandbits(64) * (1 + rng.choice(SIZES) // 16)
            parts.append(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(data), data))
        elif kind < 8:
            parts.append(b"delete %s\r\n" % key)
        else:
            parts.append(b"get %s\r\n" % key)
    return b"".join(parts) + b"mn\r\n"


def memcached_load(port, chunks, turns):
    """Sends CHUNKS in turn over four connections at once: all of them have work."""
    conns = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
    for turn in range(turns):
        for n, conn in enumerate(conns):
            conn.sendall(chunks[(turn * 4 + n) % len(chunks)])
        for conn in conns:
            tail = b""
            while not tail.endswith(b"MN\r\n"):
                data = conn.recv(1 << 18)
                if not data:
                    raise Failure("memcached closed a connection")
                tail = (tail + data)[-4:]
    for conn in conns:
        conn.close()


def memcached(run):
    port = free_port()
    argv = ["/usr/bin/memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "4",
            "-m", "200", "-R", "1000"]
    if os.geteuid() == 0:
        argv += ["-u", "nobody"]
    proc = run.server(argv)
    wait_for("memcached", lambda: proc.poll() is not None or can_connect(port))
    rng = random.Random(31)
    chunks = [memcached_chunk(rng, 200, 40000) for _ in range(run.scale(160, 40))]
    turns = run.scale(450, 50)
    memcached_load(port, chunks[:4], 1)    # threads and connections are there
    run.timed(lambda: memcached_load(port, chunks, turns))
    run.live(proc)
    run.settle(proc)
    run.stop(proc)


# ---- PostgreSQL ----

QUERIES = """
SET work_mem='8MB'; SET jit=off; SET max_parallel_workers_per_gather=0;
CREATE TEMP TABLE d AS SELECT i AS id, (i*7919)%%10007 AS a, repeat(md5(i::text), 1+i%%5) AS t,
 jsonb_build_object('i', i, 'l', jsonb_build_array(i%%7, md5((i*3)::text))) AS j
 FROM generate_series(1, %(rows)d) i;
SELECT count(*), sum(length(t)) FROM d;
SELECT md5(string_agg(x, ';')) FROM (SELECT t||a AS x FROM d ORDER BY t, id) q;
SELECT count(*) FROM d x JOIN d y ON x.a=y.a AND x.id<y.id;
SELECT a%%17 AS k, count(*), sum(id::numeric*a), max(length(t)) FROM d GROUP BY k ORDER BY k;
SELECT sum((j->>'i')::int), count(DISTINCT j->'l'->>1) FROM d;
"""


class Postgres:
    """A server of a data directory; everything as the unprivileged account it wants."""

    def __init__(self, run, data):
        self.run, self.data = run, data
        self.where, self.user = checks.postgres_bin(), unprivileged_user("postgres")
        self.port = free_port()
        self.env = {"PGHOST": run.dir, "PGPORT": str(self.port), "PGUSER": "tester",
                    "PGDATABASE": "postgres"}
        self.proc = None

    def tool(self, name, *argv, **more):
        """A client or initdb, under the run's environment."""
        return self.run.cmd([os.path.join(self.where, name), *argv], user=self.user, env=self.env,
                            **more)

    def client(self, name, *argv, text=None):
        """A client without any preload."""
        pairs = ["%s=%s" % item for item in self.env.items()]
        words = ["/usr/bin/env", *pairs, os.path.join(self.where, name), *argv]
        if text is not None:
            words += ["-f", self.run.write("queries.sql", text)]
        return self.run.bare(words)

    def start(self):
        run = self.run
        self.proc = run.server(
            [os.path.join(self.where, "postgres"), "-D", self.data, "-k", run.dir, "-p",
             str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c",
             "shared_buffers=64MB", "-c", "max_connections=20", "-c", "autovacuum=off"],
            user=self.user, env=self.env)
        pid_file = os.path.join(self.data, "postmaster.pid")
        wait_for("postgres", lambda: self.proc.poll() is not None
                 or "ready" in read_text(pid_file))

    def stop(self):
        self.run.stop(self.proc, sig=signal.SIGINT)


def postgresql_prepare(run):
    postgres = Postgres(run, run.path("data"))
    postgres.tool("initdb", "-D", postgres.data, "-U", "tester", "-A", "trust", "--no-sync", "-E",
                  "UTF8", "--locale=C")
    postgres.start()
    postgres.tool("pgbench", "-i", "-q", "-s", "1")
    postgres.stop()


def copy_owned(source, target):
    """A copy that keeps its owner, which the server insists on."""
    shutil.copytree(source, target)
    for directory, names, files in os.walk(source):
        there = os.path.join(target, os.path.relpath(directory, source))
        for name in [".", *names, *files]:
            stat = os.lstat(os.path.join(directory, name))
            os.chown(os.path.join(there, name), stat.st_uid, stat.st_gid, follow_symlinks=False)


def postgresql(run):
    copy_owned(run.shared_path("data"), run.path("data"))
    postgres = Postgres(run, run.path("data"))
    postgres.start()
    run.live(postgres.proc, least=3)

    def load():
        done = postgres.client("pgbench", "-n", "-c", "4", "-j", "1", "-t",
                               str(run.scale(700, 60)), "--random-seed=42").decode()
        answers = postgres.client("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1",
                                  text=QUERIES % {"rows": run.scale(40000, 5000)})
        return done, answers

    done, answers = run.timed(load)
    run.result("pgbench", [line for line in done.splitlines() if "actually processed" in line])
    run.result("queries", answers.decode())
    run.live(postgres.proc, least=3)
    run.settle(postgres.proc)
    postgres.stop()
