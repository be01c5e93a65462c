"""hakmem audit: a running process's memory by node, read from outside; what may not be read is said.
On several nodes: the lab's cells 'audit'."""
import os
import re
import subprocess

from harness import (BUILD, TOOL, as_nobody, check, clean_environment, compile_c, folder, need_root, nodes_of,
                     refused, run, same, tool_for_nobody, topo)

MIB = 64
HOLD = f"""#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void)
{{
	char *p = malloc({MIB} << 20);
	memset(p, 1, {MIB} << 20);
	puts("ready");
	fflush(stdout);
	return getchar() == p[0];
}}
"""


def held(command, **more):
    """A process that has MIB touched, and goes when its input ends."""
    p = subprocess.Popen(command, text=True, env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         **more)
    same(p.stdout.readline(), "ready\n", "the program's word")
    return p


def look(command):
    with held(command) as p:
        out = run("audit", str(p.pid)).stdout
        p.stdin.close()
    return out


def check_report(out, what):
    """The figures of one node's machine: all resident, nothing off, sums that agree."""
    lines = out.splitlines()
    end = re.fullmatch(r"(\d+) of (\d+) resident bytes are off their node", lines[-1])
    check(end, f"{what}: {lines[-1]!r}")
    by_node = {}
    for line in lines[1:-1]:
        for node, count in re.findall(r" (\d+):(\d+)", line):
            by_node[int(node)] = by_node.get(int(node), 0) + int(count)
    same(sum(by_node.values()), int(end[2]), f"{what}: sum")
    check(int(end[2]) >= MIB << 20, f"{what}: {end[2]} bytes for {MIB} MiB")
    check(int(end[2]) < (MIB + 32) << 20, f"{what}: {end[2]} bytes for {MIB} MiB")
    check(set(by_node) <= set(nodes_of(topo())), f"{what}: nodes {by_node}")
    if len(nodes_of(topo())) == 1:
        same(int(end[1]), 0, f"{what}: bytes off node")
    return lines


def test_preloaded_and_linked():
    with folder() as tmp:
        hold = compile_c(tmp + "/hold", HOLD)
        lines = check_report(look([TOOL, "run", "--", hold]), "preloaded")
        check(lines[1].split()[0].isdigit(), lines[1])
        lines = check_report(look([TOOL, "run", "--numa", "off", "--", hold]), "off")
        same(lines[1].split()[0], "any", "the only pool without a node")
        for flags in (["-static"], ["-static-pie"], []):
            linked = compile_c(tmp + "/linked", HOLD, *flags, "-x", "none", os.path.join(BUILD, "libhakmem.a"),
                               "-pthread", "-ldl")
            check_report(look([linked]), f"linked {flags}")
            os.unlink(linked)


def test_a_file_that_was_replaced_meanwhile():
    """An upgrade of the library under a process that runs."""
    need_root()
    with folder() as tmp:
        hold, lib = compile_c(tmp + "/hold", HOLD), tmp + "/mine.so"
        subprocess.run(["cp", os.path.join(BUILD, "libhakmem.so.0"), lib], check=True)
        with held([TOOL, "run", "--lib", lib, "--", hold]) as p:
            os.unlink(lib)
            with open(lib, "w", encoding="utf-8") as f:
                f.write("another")
            done = run("audit", str(p.pid), status=None)
            p.stdin.close()
    if done.returncode:  # without the capability for map_files the old file can't be had
        same(done.returncode, 1, done.stderr)
        check("not served by hakmem" in done.stderr, done.stderr)
    else:
        check_report(done.stdout, "replaced")


def test_a_file_that_was_replaced_and_may_not_be_opened():
    """Who is not root has its name alone, under which another one stands."""
    need_root()
    with folder() as tmp:
        tool, hold, lib = tool_for_nobody(tmp), compile_c(tmp + "/hold", HOLD), tmp + "/libhakmem.so"
        subprocess.run(["cp", os.path.join(BUILD, "libhakmem.so.0"), lib], check=True)
        with held(["/usr/bin/env", "LD_PRELOAD=" + lib, hold], preexec_fn=as_nobody) as p:
            os.unlink(lib)
            refused("audit", str(p.pid), tool=tool, status=1, preexec_fn=as_nobody,
                    words=["was replaced since it started", f"sudo hakmem audit {p.pid}"])
            p.stdin.close()


def test_processes_that_cannot_be_audited():
    with folder() as tmp:
        with held([compile_c(tmp + "/hold", HOLD)]) as p:
            refused("audit", str(p.pid), status=1, words=[str(p.pid), "not served by hakmem"])
            p.stdin.close()
        quiet = compile_c(tmp + "/quiet", "#include <unistd.h>\nint main(void) { char c; write(1, \"ready\\n\", 6); "
                          "return read(0, &c, 1) < 0; }\n")
        with held([TOOL, "run", "--", quiet]) as p:
            refused("audit", str(p.pid), status=1, words=["has not allocated"])
            p.stdin.close()
    refused("audit", str(p.pid), status=1, words=[f"no process {p.pid}"])


def test_another_users_process():
    need_root()
    with folder() as tmp:
        tool = tool_for_nobody(tmp)
        with held([TOOL, "run", "--", compile_c(tmp + "/hold", HOLD)]) as p:
            refused("audit", str(p.pid), tool=tool, status=1, preexec_fn=as_nobody, words=["sudo hakmem audit"])
            p.stdin.close()


def test_wrong_usage():
    refused("audit", words=["which process"])
    refused("audit", "1", "2", words=["which process"])
    for word in ("0", "x", "1x", "-1", "99999999999", ""):
        refused("audit", "--", word, words=[f"'{word}'", "process number"])
    refused("audit", "--json", "1", words=["--json", "--help"])
    check(len(run("audit", "--help").stdout.splitlines()) <= 24, "a screen")
