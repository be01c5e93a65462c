"""programs.py - rows of programs that run to their end: interpreters, compilers, git, pipelines.

Each function takes a harness.Run, runs its program and hands over results; it knows neither which
side it is on nor what the other side gave.
"""
import os
import random
import re
import xml.etree.ElementTree

from harness import Failure, sha256, sha256_file, exit_text, read_text, short

# Tests that mostly wait, need the network, or leave modules reloaded for those after them are out.
PYTHON_TESTS_QUICK = """
    test_dict test_list test_set test_tuple test_unicode test_bytes test_json test_thread test_zlib
    test_struct test_gc test_itertools test_sort test_memoryview test_heapq test_ctypes test_re
    test_collections test_array test_functools test_fork1 test_sqlite3
""".split()
PYTHON_TESTS = PYTHON_TESTS_QUICK + """
    test_threading test_pickle test_pickletools test_os test_bz2 test_lzma test_hashlib test_decimal
    test_mmap test_ast test_compile test_tokenize test_exceptions test_generators test_random
    test_shelve test_codecs test_email test_buffer test_long test_float test_int test_str
    test_descr test_class test_coroutines test_contextlib test_copy test_csv test_datetime
    test_enum test_fractions test_inspect test_operator test_ordered_dict test_traceback
    test_textwrap test_unicodedata test_zipimport test_select test_posix test_code test_cmath
    test_math test_binascii test_base64 test_hmac test_tempfile test_pathlib test_shutil
    test_tarfile test_zipfile
""".split()


def python_outcomes(path):
    """{test: passed, skipped, failed or error} of a junit file."""
    outcomes = {}
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        outcome = "passed"
        for child in case:
            outcome = {"failure": "failed", "error": "error", "skipped": "skipped"}.get(child.tag,
                                                                                     outcome)
        name = case.get("name")
        # setUpClass and the like carry addresses or counters in none of the chosen files.
        outcomes[name] = outcome if outcomes.get(name, outcome) == outcome else "mixed"
    return outcomes


def python3(run):
    tests = run.scale(PYTHON_TESTS, PYTHON_TESTS_QUICK)
    junit = run.path("junit.xml")
    out = run.cmd(["/usr/bin/python3", "-m", "test", "--junit-xml", junit] + tests, ok=None,
                  env={"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"})
    with open(os.path.join(run.logs, run.side + ".stdout"), "wb") as file:
        file.write(out)
    if run.returncode < 0 or not os.path.exists(junit):
        raise Failure("regression tests ended with %s after: %s" % (exit_text(run.returncode),
                      out.decode("utf-8", "replace").strip()[-300:]))
    outcomes = python_outcomes(junit)
    passed = sum(1 for v in outcomes.values() if v == "passed")
    if passed < run.scale(8000, 2000):
        raise Failure("only %d tests passed; the tests did not run" % passed)
    run.result("tests", outcomes)
    run.result("exit code", run.returncode)
    run.compared("%d files, %d passed of %d tests" % (len(tests), passed, len(outcomes)))


# ---- compilers ----

def c_source(functions):
    rng = random.Random(7)
    text = ["#include <stdint.h>", "#include <stdio.h>", "#include <string.h>"]
    for i in range(functions):
        a, b, c = (rng.randrange(3, 9999) for _ in range(3))
        before = "f%d(x ^ %du, t)" % (rng.randrange(i), a) if i and i % 3 == 0 else "x * %du" % a
        text.append("""
struct s%d { uint32_t a[%d]; const char *name; double d; };
static __attribute__((noinline)) uint32_t f%d(uint32_t x, uint32_t *t)
{
	struct s%d s = { .name = "name %d", .d = %d.25 };
	for (uint32_t i = 0; i < %d; i++) {
		s.a[i] = (x >> (i & 7)) + t[(x + i) & 63];
		switch ((x ^ s.a[i]) %% 5) {
		case 0: x += s.a[i] * %du; break;
		case 1: x ^= (uint32_t)(s.d * i); break;
		case 2: x = (x << 5) | (x >> 27); break;
		case 3: t[i & 63] += x; break;
		default: x -= (uint32_t)strlen(s.name);
		}
	}
	return x + (x < 1000u ? %s : t[x & 63]);
}""" % (i, 4 + i % 13, i, i, i, b, 4 + i % 13, c, before))
    calls = "\n".join("\tx = f%d(x, t);" % i for i in range(functions))
    text.append("int main(void)\n{\n\tuint32_t t[64] = { 1, 2, 3 }, x = 1;\n%s\n"
                "\tprintf(\"%%u\\n\", x);\n\treturn 0;\n}\n" % calls)
    return "\n".join(text)


def cxx_source(types):
    text = ["#include <algorithm>", "#include <iostream>", "#include <map>", "#include <memory>",
            "#include <numeric>", "#include <regex>", "#include <string>", "#include <thread>",
            "#include <unordered_map>", "#include <vector>"]
    for i in range(types):
        text.append("""
template <int N> struct key%d { int v; bool operator<(const key%d &o) const { return v < o.v; } };
static unsigned long work%d(unsigned long seed)
{
	std::map<key%d<%d>, std::vector<std::string>> m;
	std::unordered_map<std::string, std::shared_ptr<key%d<%d>>> u;
	for (int i = 0; i < 300; i++) {
		seed = seed * 6364136223846793005ul + 1442695040888963407ul;
		auto text = std::to_string(seed >> 40) + std::string(i %% 90, 'x');
		m[{static_cast<int>(seed >> 56)}].push_back(text);
		u[text] = std::make_shared<key%d<%d>>(key%d<%d>{i});
	}
	for (auto &[k, list] : m) {
		std::sort(list.begin(), list.end());
		seed += std::accumulate(list.begin(), list.end(), 0ul,
			[&](auto a, auto &s) { return a + s.size() + u[s]->v + k.v; });
	}
	return seed;
}""" % ((i,) * 4 + (i, i, i, i, i, i, i)))
    calls = "\n".join("\t\tx += work%d(x + n);" % i for i in range(types))
    text.append("""
int main()
{
	unsigned long sums[4] = {};
	std::vector<std::thread> threads;
	for (int n = 0; n < 4; n++)
		threads.emplace_back([&sums, n] {
		unsigned long x = n;
%s
		sums[n] = x;
		});
	for (auto &t : threads)
		t.join();
	std::regex re("([0-9]+)x*");
	std::string s = std::to_string(sums[0] + sums[1] + sums[2] + sums[3]);
	std::cout << s << ' ' << std::regex_match(s, re) << std::endl;
}
""" % calls)
    return "\n".join(text)


def compile_and_link(run, compiler, source, options):
    run.cmd([compiler] + options + ["-c", source, "-o", "big.o"])
    run.cmd([compiler] + options + ["-o", "big", "big.o"])
    run.result("object sha256", sha256_file(run.path("big.o")))
    run.result("program sha256", sha256_file(run.path("big")))
    run.result("its output", run.cmd(["./big"]).decode())


def gcc(run):
    run.write("big.c", c_source(run.scale(1000, 300)))
    compile_and_link(run, "/usr/bin/gcc", "big.c", ["-O2", "-g"])


def gxx(run):
    run.write("big.cc", cxx_source(run.scale(14, 4)))
    compile_and_link(run, "/usr/bin/g++", "big.cc", ["-O2", "-g", "-std=c++17", "-pthread"])


# ---- git ----

def git_stream(commits):
    """A fast-import stream: many commits, files that grow, move and go, a merge now and then."""
    rng = random.Random(11)
    out = []
    lines = {}
    for n in range(1, commits + 1):
        name = "dir%d/file%d.txt" % (rng.randrange(12), rng.randrange(60))
        body = lines.setdefault(name, [])
        for _ in range(rng.randrange(1, 40)):
            body.insert(rng.randrange(len(body) + 1), "%d %x" % (n, rng.getrandbits(96)))
        data = "\n".join(body) + "\n"
        message = "Change %s\n\n%s\n" % (name, "why " * rng.randrange(1, 30))
        out.append("commit refs/heads/main\nmark :%d\n"
                   "committer A Tester <a@example.org> %d +0000\ndata %d\n%s"
                   % (n, 1600000000 + n * 60, len(message), message))
        if n % 50 == 0 and n > 60:
            out.append("merge :%d\n" % (n - 40))
        out.append("M 100644 inline %s\ndata %d\n%s\n" % (name, len(data), data))
        if n % 100 == 0:
            out.append("reset refs/tags/v%d\nfrom :%d\n\n" % (n, n))
    return "".join(out)


def git(run):
    who = {"GIT_%s_%s" % (role, what): value for role in ("AUTHOR", "COMMITTER")
           for what, value in (("NAME", "A Tester"), ("EMAIL", "a@example.org"),
                               ("DATE", "1700000000 +0000"))}
    who["GIT_CONFIG_NOSYSTEM"] = "1"
    repo, copy = run.path("repo"), run.path("copy")

    def git_cmd(*argv, cwd=repo, **more):
        return run.cmd(["/usr/bin/git"] + list(argv), env=who, cwd=cwd, **more)

    git_cmd("init", "-q", "-b", "main", repo, cwd=run.dir)
    git_cmd("fast-import", "--quiet", input=git_stream(run.scale(2500, 500)))
    git_cmd("checkout", "-q", "main")
    for n in range(run.scale(12, 4)):
        run.write("repo/added%d" % n, "line %d\n" % n * 500)
        git_cmd("add", ".")
        git_cmd("commit", "-q", "-m", "added %d" % n)
    run.result("log", sha256(git_cmd("log", "--all", "--stat", "-p", "--format=fuller")))
    git_cmd("clone", "-q", "--no-local", repo, copy, cwd=run.dir)
    for where in (repo, copy):
        name = os.path.basename(where)
        git_cmd("-c", "pack.threads=2", "repack", "-q", "-a", "-d", "-f", "--window=40", cwd=where)
        git_cmd("gc", "-q", "--prune=now", cwd=where)
        run.result(name + " fsck", git_cmd("fsck", "--full", "--strict", cwd=where).decode())
        run.result(name + " refs", git_cmd("for-each-ref", "refs/tags", cwd=where).decode())
        run.result(name + " HEAD", git_cmd("rev-parse", "HEAD", cwd=where).decode().strip())
        objects = git_cmd("cat-file", "--batch", "--batch-all-objects", cwd=where)
        run.result(name + " objects", "%d bytes %s" % (len(objects), sha256(objects)))
    run.result("archive", sha256(git_cmd("archive", "HEAD")))
    run.result("grep", sha256(git_cmd("grep", "-n", "--threads=4", "ab", "HEAD")))
    run.result("status", git_cmd("status", "--porcelain").decode())


# ---- scripts ----

PERL = r"""
use strict; use warnings; use Digest::SHA qw(sha256_hex);
my ($n) = @ARGV; my $x = 12345; my (%h, %groups, @list);
sub rnd { $x = ($x * 1103515245 + 12345) & 0x7fffffff; return $x >> 8 }
for my $i (1 .. $n) {
	my $key = sprintf("%x-%s", rnd(), "k" x (rnd() % 40));
	$h{$key} = [ $i, { name => $key . $i, list => [ map { rnd() } 1 .. 1 + rnd() % 6 ] } ];
	push @list, $key; delete $h{ $list[ rnd() % @list ] } if $i % 3 == 0;
}
for my $key (sort keys %h) {
	if ($key =~ /^([0-9a-f]{2})(.*?)-(k*)$/) { $groups{$1} .= join(",", $2, length $3, @{ $h{$key}[1]{list} }) . ";" }
}
my $text = join "\n", map { "$_ $groups{$_}" } sort keys %groups;
(my $other = $text) =~ s/(\d)(\d)/$2$1/g; $other = reverse $other; $other =~ tr/a-f/A-F/;
my $big = ""; $big .= $_ x 100 for 1 .. $n / 4; my @words = split /[,;]/, $other;
print scalar(keys %h), " ", length $big, " ", scalar(@words), " ", sha256_hex($text . $other . $big . join "|", sort @words), "\n";
"""


def perl(run):
    run.write("work.pl", PERL)
    run.result("digest", run.cmd(["/usr/bin/perl", "work.pl", str(run.scale(120000, 30000))]).decode())


def sqlite_script(rows):
    return """
PRAGMA journal_mode=WAL; PRAGMA cache_size=-8000; PRAGMA threads=2;
CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b TEXT, c BLOB);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d)
 INSERT INTO t SELECT i, (i*7919)%%10007, printf('%%08x-%%s', i*2654435761%%4294967296,
 substr('abcdefghijklmnopqrstuvwxyz',1,i%%26)), zeroblob(i%%200) FROM n;
COMMIT;
CREATE INDEX ta ON t(a); CREATE INDEX tb ON t(b,a);
UPDATE t SET b=b||a WHERE a%%5=0; DELETE FROM t WHERE a%%11=3;
CREATE VIRTUAL TABLE f USING fts5(b); INSERT INTO f(rowid,b) SELECT id,b FROM t WHERE a%%3=0;
CREATE TABLE g AS SELECT a, count(*) n, group_concat(b,'') s FROM (SELECT * FROM t ORDER BY b) GROUP BY a;
SELECT count(*), sum(length(s)), max(n) FROM g;
SELECT count(*) FROM t x JOIN t y ON x.a=y.a AND x.id<y.id;
SELECT json_group_array(json_object('a',a,'n',n)) FROM (SELECT a,n FROM g ORDER BY n DESC,a LIMIT 50);
SELECT count(*) FROM f WHERE f MATCH 'a*';
VACUUM; PRAGMA integrity_check;
""" % rows


def sqlite3(run):
    out = run.cmd(["/usr/bin/sqlite3", "-batch", "t.db"],
                  input=sqlite_script(run.scale(200000, 40000)))
    if not out.rstrip().endswith(b"ok"):
        raise Failure("integrity_check: %s" % out[-200:])
    run.result("answers", sha256(out))
    dump = run.cmd(["/usr/bin/sqlite3", "-batch", "t.db", ".dump"])
    run.result("dump", "%d bytes %s" % (len(dump), sha256(dump)))


NODE = r"""
const crypto = require('crypto'), zlib = require('zlib'), { Worker, isMainThread, workerData,
 parentPort } = require('worker_threads');
function work(n, seed) {
	const hash = crypto.createHash('sha256'); let x = seed, keep = [];
	const rnd = () => (x = (Math.imul(x, 1103515245) + 12345) & 0x7fffffff);
	for (let i = 0; i < n; i++) {
		const b = Buffer.alloc(1 + rnd() % 20000, i & 255); const u = Buffer.allocUnsafe(64).fill(rnd() & 255);
		const o = JSON.parse(JSON.stringify({ i, list: Array.from({ length: rnd() % 30 }, rnd), text: 'x'.repeat(rnd() % 500) }));
		keep[rnd() % 200] = { b, u, o }; hash.update(b).update(u).update(JSON.stringify(o));
		if (i % 16 == 0) { const z = zlib.deflateSync(b); hash.update(zlib.inflateSync(z)).update(String(z.length)); }
		if (i % 64 == 0) { const k = crypto.pbkdf2Sync(u, 'salt', 10, 32, 'sha256');
			const c = crypto.createCipheriv('aes-256-ctr', k, Buffer.alloc(16)); hash.update(c.update(b)).update(c.final()); }
	}
	return hash.digest('hex');
}
const n = Number(process.argv[2]);
if (!isMainThread) parentPort.postMessage(work(workerData.n, workerData.seed));
else {
	const jobs = [1, 2, 3].map(seed => new Promise((good, bad) => new Worker(__filename, { argv: process.argv.slice(2), workerData: { n, seed } }).on('message', good).on('error', bad)));
	Promise.all(jobs).then(sums => console.log(work(n, 9), ...sums));
}
"""


def node(run):
    run.write("work.js", NODE)
    run.result("digests", run.cmd(["/usr/bin/node", "work.js", str(run.scale(4000, 1000))]).decode())


BASH = r"""
set -euo pipefail
declare -A seen
for ((i = 0; i < $1; i++)); do
	x=$(printf '%s\n' "line $i" "$((i * 7919 % 1000))" | sed 's/line/row/' | awk '{ s = s $0 "-" } END { print s }')
	seen[$((i % 50))]+="$x"
	(( i % 10 == 0 )) && seq "$i" "$((i + 500))" | sort -R --random-source=/bin/sh | sort -n | uniq -c | md5sum
	echo "$x" | grep -c row > /dev/null
done
for k in $(printf '%s\n' "${!seen[@]}" | sort -n); do echo "$k ${seen[$k]}"; done | tr a-z A-Z | cut -c1-2000
find /usr/share/common-licenses -type f -print0 | sort -z | xargs -0 -n 2 cat | tr -cs A-Za-z '\n' | sort | uniq -c | sort -rn -k1,1 -k2 | sed -n 1,500p
"""


def bash(run):
    run.write("work.sh", BASH)
    out = run.cmd(["/bin/bash", "work.sh", str(run.scale(150, 60))])
    run.result("output", "%d bytes %s" % (len(out), sha256(out)))


STRESSORS = (
    # name, ops (full, quick), more
    ("malloc", (30000, 15000), ["--malloc-max", "4096", "--malloc-bytes", "256K",
                                "--malloc-pthreads", "3", "--malloc-touch"]),
    ("bigheap", (400, 100), ["--bigheap-growth", "256K"]),
    ("tree", (4, 1), ["--tree-size", "20000"]),
    ("tsearch", (30, 8), []), ("hsearch", (60, 15), []), ("list", (120, 60), []),
    ("skiplist", (60, 15), []), ("qsort", (6, 2), []), ("radixsort", (20, 5), []),
    ("judy", (30, 8), []), ("zlib", (60, 15), []), ("sparsematrix", (6, 2), []),
    ("env", (30, 8), []), ("pthread", (2000, 800), []), ("fork", (600, 200), []),
    ("mremap", (100, 30), ["--mremap-bytes", "8M"]), ("str", (20, 6), []),
)


def stress_ng(run):
    outcomes = {}
    for name, ops, more in STRESSORS:
        log = run.path(name + ".yaml")
        run.cmd(["/usr/bin/stress-ng", "--" + name, "2", "--%s-ops" % name, str(run.scale(*ops)),
                 "--verify", "--no-rand-seed", "--timeout", "40", "--oomable",
                 "--temp-path", run.dir, "--yaml", log, "--metrics-brief"] + more, ok=None)
        found = re.search(r"bogo-ops: (\d+)", read_text(log))
        outcomes[name] = exit_text(run.returncode)
        if found is None or int(found.group(1)) == 0:
            outcomes[name] += ", no bogo operation"
        if run.side == "glibc" and outcomes[name] != "exit code 0":
            raise Failure("%s: %s: %s" % (name, outcomes[name], short(run.last_argv)))
    run.result("stressors", outcomes)
    run.compared("%d stressors with --verify: exit codes" % len(STRESSORS))
