"""servers.py - rows of servers: started on a free port of the loopback, loaded, checked, ended.

Each function takes a harness.Run. Answers are compared, never times; workers are looked at while
they live (Run.live) and by the observer when they end.
"""
import glob
import hashlib
import http.client
import os
import random
import resource
import signal
import socket
import threading

from harness import (Failure, Skip, can_connect, free_port, group_name, limit, read_text,
                     sha256, unprivileged_user, wait_for)


class Wire:
    """A connection that reads lines and counted bytes, and hashes all it reads."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), 30)
        self.file = self.sock.makefile("rb")
        self.digest = hashlib.sha256()

    def send(self, data):
        self.sock.sendall(data)

    def line(self):
        text = self.file.readline()
        if not text.endswith(b"\r\n"):
            raise Failure("the server closed the connection")
        self.digest.update(text)
        return text[:-2]

    def bytes(self, count):
        data = self.file.read(count)
        self.digest.update(data)
        return data

    def close(self):
        self.file.close()
        self.sock.close()


# ---- redis ----

def resp(*words):
    out = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        out.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(out)


def redis_answer(wire):
    head = wire.line()
    kind, rest = head[:1], head[1:]
    if kind == b"-":
        raise Failure("redis: " + rest.decode())
    if kind == b"$":
        return None if rest == b"-1" else wire.bytes(int(rest) + 2)[:-2]
    if kind == b"*":
        return [redis_answer(wire) for _ in range(int(rest))]
    return rest


def redis_ask(wire, *words):
    wire.send(resp(*words))
    return redis_answer(wire)


def redis_dataset(count):
    """Commands of every type, with changes of size, deletes and renames; the same each time."""
    rng = random.Random(5)
    for i in range(count):
        key = b"k%d" % rng.randrange(count // 2)
        value = b"v%x" % rng.getrandbits(64) * rng.choice((1, 2, 4, 9, 40, 300))
        yield rng.choice((
            ("SET", b"s" + key, value), ("APPEND", b"s" + key, value), ("DEL", b"s" + key),
            ("SETRANGE", b"s" + key, rng.randrange(2000), value[:50]),
            ("RPUSH", b"l%d" % (i % 40), value), ("LPOP", b"l%d" % (i % 40)),
            ("HSET", b"h%d" % (i % 60), key, value), ("HDEL", b"h%d" % (i % 60), key),
            ("SADD", b"e%d" % (i % 30), key), ("SADD", b"i%d" % (i % 7), i),
            ("ZADD", b"z%d" % (i % 20), rng.randrange(10000), key),
            ("ZREMRANGEBYRANK", b"z%d" % (i % 20), 0, 0),
            ("SETBIT", b"b%d" % (i % 9), rng.randrange(1 << 16), 1),
            ("PFADD", b"p%d" % (i % 5), key), ("XADD", b"x%d" % (i % 5), "%d-1" % (i + 1), key, value),
        ))


def redis_load(run, wire, port):
    """redis-benchmark, then its data dropped and a known set written through the wire."""
    run.cmd(["/usr/bin/redis-benchmark", "-p", str(port), "-q", "-n", str(run.scale(40000, 8000)),
             "-r", "20000", "-d", "200", "-P", "8", "-c", "20", "-t",
             "set,get,incr,lpush,rpop,sadd,hset,zadd,zpopmin,mset"])
    if int(redis_ask(wire, "DBSIZE")) < 100:
        raise Failure("redis-benchmark left no data")
    redis_ask(wire, "FLUSHALL")
    commands = list(redis_dataset(run.scale(120000, 30000)))
    wire.digest = hashlib.sha256()
    for at in range(0, len(commands), 500):
        part = commands[at:at + 500]
        wire.send(b"".join(resp(*words) for words in part))
        for _ in part:
            redis_answer(wire)
    run.result("answers", wire.digest.hexdigest())


def redis_run(run, launcher, extra):
    port = free_port()
    # redis raises RLIMIT_NOFILE where it finds too little, which the filter would punish.
    argv = launcher + ["/usr/bin/redis-server", "--port", str(port), "--bind", "127.0.0.1",
                       "--enable-debug-command", "local", "--save", "", "--appendonly", "no",
                       "--dir", run.dir, "--maxclients", "200"] + extra
    proc = run.server(argv, before_exec=limit(resource.RLIMIT_NOFILE, 1024))
    wait_for("redis", lambda: proc.poll() is not None or can_connect(port))
    run.live(proc)
    wire = Wire(port)
    redis_load(run, wire, port)
    digest = redis_ask(wire, "DEBUG", "DIGEST").decode()
    if set(digest) == {"0"}:
        raise Failure("DEBUG DIGEST of an empty database")
    run.result("DEBUG DIGEST", digest)
    redis_ask(wire, "BGSAVE")
    wait_for("BGSAVE", lambda: b"rdb_bgsave_in_progress:0" in redis_ask(wire, "INFO", "persistence"))
    run.result("BGSAVE", b"rdb_last_bgsave_status:ok" in redis_ask(wire, "INFO", "persistence"))
    redis_ask(wire, "DEBUG", "RELOAD")
    run.result("DEBUG DIGEST reloaded", redis_ask(wire, "DEBUG", "DIGEST").decode())
    redis_ask(wire, "BGREWRITEAOF")
    wait_for("BGREWRITEAOF",
             lambda: b"aof_rewrite_in_progress:0" in redis_ask(wire, "INFO", "persistence"))
    for line in redis_ask(wire, "INFO", "memory").decode().splitlines():
        if line.startswith("mem_allocator:") and "libjemalloc" in "".join(
                run.bare(["/usr/bin/ldd", "/usr/bin/redis-server"]).decode()):
            run.note("links libjemalloc and says %s; malloc is served as listed" % line)
    run.live(proc)
    wire.close()
    run.stop(proc)


def redis(run):
    redis_run(run, [], ["--io-threads", "2"])


def redis_seccomp(run):
    nores = run.setup.helper("nores")
    run.cmd([nores, "-t"], ok=None, env={"LD_PRELOAD": ""})
    if run.returncode != 0:
        raise Skip("this kernel or container lets no seccomp filter be installed")
    run.note("the filter kills on mbind, set_mempolicy, set_mempolicy_home_node, move_pages, "
             "migrate_pages, sched_set*, setpriority, ioprio_set, setrlimit, and prlimit64 with a "
             "new limit")
    redis_run(run, [nores], [])


# ---- memcached ----

def memcached_client(port, number, count, digests):
    rng = random.Random(number)
    wire = Wire(port)
    model = {}
    for i in range(count):
        key = b"c%d-%d" % (number, rng.randrange(count // 3))
        action = rng.randrange(10)
        data = (b"%x" % rng.getrandbits(80)) * rng.choice((1, 3, 10, 40, 200))
        if action < 5:
            wire.send(b"set %s %d 0 %d\r\n%s\r\n" % (key, i & 0xffff, len(data), data))
            wire.line()
            model[key] = data
        elif action < 6:
            wire.send(b"append %s 0 0 %d\r\n%s\r\n" % (key, len(data), data))
            if wire.line() == b"STORED":
                model[key] += data
        elif action < 7:
            wire.send(b"delete %s\r\n" % key)
            wire.line()
            model.pop(key, None)
        else:
            wire.send(b"get %s\r\n" % key)
            head = wire.line()
            if head != b"END":
                body = wire.bytes(int(head.split()[3]) + 2)[:-2]
                if body != model.get(key) or wire.line() != b"END":
                    raise Failure("memcached: wrong value of %s" % key.decode())
            elif key in model:
                raise Failure("memcached: lost %s" % key.decode())
    wire.close()
    digests[number] = wire.digest.hexdigest()


def in_threads(function, count):
    """Calls FUNCTION(number) in COUNT threads; the first exception is passed on."""
    errors = []

    def guarded(number):
        try:
            function(number)
        except Exception as error:    # passed on below, in the thread that waits
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def memcached(run):
    port = free_port()
    argv = ["/usr/bin/memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-t", "4",
            "-m", "256"]
    if os.geteuid() == 0:
        argv += ["-u", "nobody"]
    proc = run.server(argv)
    wait_for("memcached", lambda: proc.poll() is not None or can_connect(port))
    run.live(proc)
    digests = {}
    count = run.scale(15000, 4000)
    in_threads(lambda n: memcached_client(port, n, count, digests), 4)
    run.result("answers", [digests[n] for n in sorted(digests)])
    wire = Wire(port)
    wire.send(b"stats\r\n")
    stats = {}
    while (line := wire.line()) != b"END":
        _, name, value = line.decode().split(" ", 2)
        stats[name] = value
    wire.close()
    for name in ("curr_items", "total_items", "get_hits", "get_misses", "delete_hits", "evictions"):
        run.result(name, stats[name])
    run.live(proc)
    run.stop(proc)


# ---- nginx ----

NGINX = """
daemon off; master_process on; worker_processes 2; pid %(dir)s/nginx.pid; error_log stderr warn;
%(user)s
events { worker_connections 256; }
http {
	types { text/plain txt; } default_type application/octet-stream; access_log off;
	client_body_temp_path %(dir)s/t1; proxy_temp_path %(dir)s/t2; fastcgi_temp_path %(dir)s/t3;
	uwsgi_temp_path %(dir)s/t4; scgi_temp_path %(dir)s/t5;
	gzip on; gzip_types text/plain; gzip_min_length 100; output_buffers 4 64k;
	server {
		listen 127.0.0.1:%(port)d; root %(dir)s/www; sendfile off;
		location /sub/ { sub_filter_types *; rewrite ^/sub/(.*)$ /$1 last; }
		location /proxy/ { proxy_pass http://127.0.0.1:%(port)d/; proxy_buffers 4 8k; }
	}
}
"""


def nginx_get(conn, where, headers):
    """A worker that retires after a reload may close an idle connection under a new request."""
    turn = 0
    while True:
        try:
            conn.request("GET", where, headers=headers)
            answer = conn.getresponse()
            return answer, answer.read()
        except (http.client.RemoteDisconnected, ConnectionError):
            conn.close()
            turn += 1
            if turn == 3:
                raise


def nginx_client(port, number, count, names, bodies, lock):
    rng = random.Random(number)
    conn = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for i in range(count):
        name = rng.choice(names)
        where = rng.choice(("/", "/", "/sub/", "/proxy/")) + name
        packed = rng.random() < 0.4
        answer, body = nginx_get(conn, where, {"Accept-Encoding": "gzip"} if packed else {})
        got = (answer.status, answer.getheader("Content-Encoding"), sha256(body))
        with lock:
            if bodies.setdefault((where, packed), got) != got:
                raise Failure("nginx: two bodies of %s" % where)
        if i % 100 == 99:
            conn.close()
    conn.close()


def nginx(run):
    port, rng = free_port(), random.Random(3)
    os.mkdir(run.path("www"))
    names = []
    for n in range(40):
        name = "f%d.%s" % (n, "txt" if n % 3 else "bin")
        text = b"".join(b"%d %x\n" % (n, rng.getrandbits(50))
                        for _ in range(rng.choice((1, 30, 400, 9000))))
        run.write("www/" + name, text)
        names.append(name)
    names.append("absent.txt")
    user = unprivileged_user("www-data")
    config = run.write("nginx.conf", NGINX % {
        "dir": run.dir, "port": port,
        "user": "user %s %s;" % (user.pw_name, group_name(user)) if user else ""})
    proc = run.server(["/usr/sbin/nginx", "-c", config, "-e", "stderr", "-p", run.dir])
    wait_for("nginx", lambda: proc.poll() is not None or can_connect(port))
    run.live(proc, least=3)
    bodies, lock = {}, threading.Lock()
    count = run.scale(1500, 400)
    for turn in range(2):
        in_threads(lambda n: nginx_client(port, 10 * turn + n, count, names, bodies, lock), 4)
        run.live(proc, least=3)
        if turn == 0:
            proc.send_signal(signal.SIGHUP)    # new workers, the old ones end when they are idle
    run.result("bodies", {"%s%s" % (w, " packed" if p else ""): str(v) for (w, p), v
                          in bodies.items()})
    run.compared("status and body sha256 of %d answers to %d requests"
                 % (len(bodies), 8 * count))
    run.stop(proc, signal.SIGQUIT)
    died = [line for line in read_text(run.stderr_path).splitlines() if "exited on signal" in line]
    if died:
        raise Failure(died[0])


# ---- PostgreSQL ----

PG_SQL = """
CREATE TABLE d(id int PRIMARY KEY, a int, t text, j jsonb, r int[]);
INSERT INTO d SELECT i, (i*7919)%%10007, repeat(md5(i::text), 1+i%%9), jsonb_build_object('i', i, 'l',
 jsonb_build_array(i%%7, md5((i*3)::text))), ARRAY[i, i*2, i%%5] FROM generate_series(1, %(rows)d) i;
CREATE INDEX d_a ON d(a); CREATE INDEX d_j ON d USING gin(j); CREATE INDEX d_t ON d(md5(t));
UPDATE d SET t = upper(t) WHERE a%%4=0; DELETE FROM d WHERE a%%13=2;
SELECT count(*), sum(length(t)), md5(string_agg(md5(t||j::text), ',' ORDER BY id)) FROM d;
SET work_mem='1MB';
SELECT md5(string_agg(x, ';')) FROM (SELECT t||a AS x FROM d ORDER BY t, id) q;
SELECT count(*) FROM d x JOIN d y ON x.a=y.a AND x.id<y.id;
SET jit_above_cost=0; SET jit_inline_above_cost=0; SET jit_optimize_above_cost=0;
SELECT a%%17 AS k, count(*), sum(id::numeric*a), max(length(t)) FROM d GROUP BY k ORDER BY k;
SET jit=off; SET max_parallel_workers_per_gather=2; SET parallel_setup_cost=0;
SET parallel_tuple_cost=0; SET min_parallel_table_scan_size=0;
SELECT count(*), sum(hashtext(t)) FROM d WHERE t LIKE '%%a%%';
DO $$ BEGIN FOR i IN 1..200 LOOP BEGIN PERFORM 1/(i%%2); EXCEPTION WHEN division_by_zero THEN NULL;
 END; END LOOP; END $$;
CREATE TABLE history AS SELECT tid, bid, aid, delta FROM pgbench_history ORDER BY 1,2,3,4;
DROP TABLE pgbench_history;
CLUSTER pgbench_accounts USING pgbench_accounts_pkey; CLUSTER d USING d_pkey;
CLUSTER pgbench_tellers USING pgbench_tellers_pkey; CLUSTER pgbench_branches USING pgbench_branches_pkey;
"""


def postgres_bin():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"),
                   key=lambda path: int(path.split("/")[4]))
    if not found:
        raise Skip("no initdb below /usr/lib/postgresql")
    return os.path.dirname(found[-1])


def postgresql(run):
    where, user, port = postgres_bin(), unprivileged_user("postgres"), free_port()
    env = {"PGHOST": run.dir, "PGPORT": str(port), "PGUSER": "tester", "PGDATABASE": "postgres"}

    def pg(name, *argv, **more):
        return run.cmd([os.path.join(where, name)] + list(argv), user=user, env=env, **more)

    data = run.path("data")
    pg("initdb", "-D", data, "-U", "tester", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
    proc = run.server([os.path.join(where, "postgres"), "-D", data, "-k", run.dir, "-p", str(port),
                       "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c",
                       "shared_buffers=32MB", "-c", "max_connections=20"], user=user, env=env)
    socket_path = run.path(".s.PGSQL.%d" % port)
    wait_for("postgres", lambda: proc.poll() is not None or os.path.exists(socket_path))
    wait_for("postgres", lambda: proc.poll() is not None or can_connect(port))
    pid_file = os.path.join(data, "postmaster.pid")    # its last line is the state, "ready" at last
    wait_for("postgres", lambda: proc.poll() is not None or "ready" in read_text(pid_file))
    pg("pgbench", "-i", "-q", "-s", "1")
    bench = pg("pgbench", "-n", "-c", "4", "-j", "2", "-t", str(run.scale(600, 150)),
               "--random-seed=42").decode()
    run.live(proc, least=5)
    run.result("pgbench", [line for line in bench.splitlines() if "processed" in line or
                           "failed" in line])
    run.result("queries", pg("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1",
                             input=PG_SQL % {"rows": run.scale(30000, 6000)}).decode())
    # Newer ones guard their script by \restrict with a random key.
    dump = [line for line in pg("pg_dump", "--no-sync").splitlines()
            if not line.startswith((b"\\restrict", b"\\unrestrict"))]
    run.result("pg_dump", "%d lines, sha256 %s" % (len(dump), sha256(b"\n".join(dump))))
    pg("pg_amcheck", "--install-missing", "--heapallindexed", "--rootdescend", "-a", "-j", "2")
    run.result("pg_amcheck", "exit code %d" % run.returncode)
    run.live(proc, least=5)
    run.stop(proc, signal.SIGINT)    # fast shutdown
