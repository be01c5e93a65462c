"""hakmem run: what the program gets, what is refused before the start, pools for a run."""
import os
import shutil
import signal
import subprocess

from harness import (BUILD, CC, NODES, ROOT, Skip, TOOL, as_nobody, check, clean_environment, compile_c, folder,
                     id_list, in_namespace, need_root, nodes_of, read, refused, run, same,
                     tool_for_nobody, topo, tree_unfold, xml)

LIB = os.path.join(os.path.realpath(BUILD), "libhakmem.so.0")
EMPTY = "int main(void) { return 0; }\n"
SHOW = ["sh", "-c", "env"]


def environment(*options, env=None):
    """What a program started with OPTIONS has in its environment."""
    out = run("run", *options, "--", *SHOW, env=env).stdout
    return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)


def test_it_becomes_the_program():
    with subprocess.Popen([TOOL, "run", "--", "sh", "-c", "echo $$; exec cat"], text=True,
                          env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        same(int(p.stdout.readline()), p.pid, "process number")
        out, _ = p.communicate("from standard input\n", timeout=30)
        same(out, "from standard input\n", "output")
        same(p.returncode, 0, "status")


def test_exit_status_and_signals_are_the_programs():
    for status in (0, 1, 2, 77, 126, 255):
        run("run", "sh", "-c", f"exit {status}", status=status)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT):
        run("run", "sh", "-c", f"kill -{int(number)} $$", status=-number)


def test_the_library_serves():
    with folder() as tmp:
        who = tmp + "/who"
        subprocess.run([*CC.split(), "-o", who, "tests/package/who.c"], cwd=ROOT, check=True)
        lines = run("run", who).stdout.splitlines()
    same(os.path.realpath(lines[0].split()[1]), os.path.realpath(LIB), "malloc's file")
    check(lines[-1].endswith("hakmem's: 1"), lines[-1])


def test_preload_list():
    same(environment()["LD_PRELOAD"], LIB, "alone")
    for before in ("libc.so.6", f"{LIB}:libc.so.6", "libhakmem.so.0 libc.so.6"):
        # The list is the tool's own too, so what is in it must be there.
        same(environment(env={"LD_PRELOAD": before})["LD_PRELOAD"], f"{LIB}:libc.so.6", before)
    out = run("run", TOOL, "run", *SHOW).stdout
    same([x for x in out.splitlines() if x.startswith("LD_PRELOAD")], ["LD_PRELOAD=" + LIB], "twice")


def test_options_reach_the_program():
    node = next(n["node"] for n in topo()["nodes"] if n["allowed"])
    env = environment("--numa", f"bind={node}", "--huge", "never", "--profile", "latency",
                      "--option", "WARM_MIB=7", "--option", "HAKMEM_DECAY_MS=9")
    expected = {"HAKMEM_NUMA": f"bind={node}", "HAKMEM_HUGE": "never", "HAKMEM_PROFILE": "latency",
                "HAKMEM_WARM_MIB": "7", "HAKMEM_DECAY_MS": "9"}
    same({k: env.get(k) for k in expected}, expected, "variables")
    same(environment("--huge=thp", env={"HAKMEM_HUGE": "never"})["HAKMEM_HUGE"], "thp",
         "an option wins over the environment")
    same(environment(env={"HAKMEM_WARM_MIB": "5"})["HAKMEM_WARM_MIB"], "5", "others stay")
    for policy in ("auto", "local", "interleave", "weighted", "off", f"preferred={node}"):
        same(environment("--numa", policy)["HAKMEM_NUMA"], policy, policy)
    done = run("run", "--verbose", "ls", "/")
    check(f"{LIB} serves" in done.stderr and "HAKMEM_VERBOSE=1" in done.stderr, done.stderr)


def test_topology_is_of_this_machine():
    """Whatever was inherited or hwloc's variables say; they stay for the program."""
    several = len(nodes_of(topo())) > 1
    expected = run("topo", "--text").stdout.replace("\n", ";") if several else None
    for env in ({}, xml("cxl"), {"HWLOC_SYNTHETIC": "node:2 core:2 pu:1"},
                {"HWLOC_FSROOT": "/nonexistent", "HWLOC_THISSYSTEM": "1"},
                {"HWLOC_COMPONENTS": "no_os,stop"}, {"HAKMEM_TOPOLOGY": "v1;boot=old;end"}):
        got = environment("--numa", "auto", env=env)
        same(got.get("HAKMEM_TOPOLOGY"), expected, f"with {env}")
        for name, value in env.items():
            if name.startswith("HWLOC_"):
                same(got.get(name), value, name)
    refused("run", "--numa", "bind=1000", "true", env=xml("cxl"), words=["1000"])
    if not several:
        refused("run", "--numa", "bind=1", "true", env=xml("cxl"), words=["no node 1 here"])


def test_several_nodes_are_handed_over():
    """The files of another machine's nodes stand before this one's, so this is that machine."""
    if len(nodes_of(topo())) > 1:
        raise Skip("this machine has several nodes; other cases look at them")
    with folder() as tmp:
        tree_unfold(tmp)
        out = in_namespace("""
            mount --bind "$1" /sys/devices/system/node
            "$tool" run sh -c 'echo "$HAKMEM_TOPOLOGY"'
            "$tool" topo --text | tr '\\n' ';'; echo
            HWLOC_SYNTHETIC='node:2 core:2 pu:1' "$tool" run sh -c 'echo "$HAKMEM_TOPOLOGY"'
            for policy in bind=0-1 preferred=1 bind=2 bind=3; do
                "$tool" run --numa $policy true 2>&1 || echo $?
            done""", tmp + NODES)
    lines = out.splitlines()
    boot = read("/proc/sys/kernel/random/boot_id").strip()
    check(lines[0].startswith(f"v1;boot={boot};online=0-2;node=0 ") and lines[0].endswith(";end;"), lines[0])
    check("node=1 cpus=2 mem=0 tier=0 dist=0:20,1:10,2:15;" in lines[0], lines[0])
    same(lines[1:3], [lines[0]] * 2, "topo --text, and with another machine to look at")
    for line, words in zip(lines[3::2], ("node 1 has no memory; nodes with memory: 0,2",
                                         "node 1 has no memory; nodes with memory: 0,2",
                                         "the cpuset forbids memory of node 2; it allows: 0",
                                         "no node 3 here; nodes with memory: 0,2")):
        check(words in line, f"{words!r} in {line!r}")
    same(lines[4::2], ["2"] * 4, "statuses")


def test_static_programs_are_refused():
    with folder() as tmp:
        for flag in ("-static", "-static-pie"):
            program = compile_c(f"{tmp}/a{flag}", EMPTY, flag)
            refused("run", program, status=126, words=[program, "static", "libhakmem.a"])
        script = tmp + "/script"
        with open(script, "w", encoding="utf-8") as f:
            f.write(f"#! {tmp}/a-static -x\n")
        os.chmod(script, 0o755)
        refused("run", script, status=126, words=["a-static", "interprets", script, "static"])


def test_other_loaders_are_refused():
    with folder() as tmp:
        musl = compile_c(tmp + "/musl", EMPTY, "-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1")
        refused("run", musl, status=126, words=[musl, "musl"])
        other = tmp + "/other"
        shutil.copy("/bin/true", other)
        with open(other, "r+b") as f:  # another processor's
            f.seek(18)
            f.write(b"\x16\x00")
        refused("run", other, status=126, words=[other, "processor"])
        with open(other, "r+b") as f:
            f.seek(4)
            f.write(b"\x01")
        refused("run", other, status=126, words=[other, "32 bit"])
        loader = [line.split()[0] for line in
                  subprocess.run(["ldd", "/bin/true"], text=True, stdout=subprocess.PIPE,
                                 check=True).stdout.splitlines() if "ld-linux" in line]
        out = run("run", loader[0], "/bin/cat", "/proc/self/maps").stdout
        check("libhakmem.so" in out, "the loader as a program takes the preload")


def test_programs_that_gain_privileges_are_refused():
    need_root()
    with folder() as tmp:
        tool = tool_for_nobody(tmp)
        program = tmp + "/program"
        for mode, word in ((0o4755, "set-user-ID"), (0o2755, "set-group-ID")):
            shutil.copy("/bin/true", program)
            os.chmod(program, mode)
            if os.statvfs(tmp).f_flag & os.ST_NOSUID:
                raise Skip("the temporary directory is mounted nosuid")
            refused("run", program, status=126, tool=tool, preexec_fn=as_nobody, words=[program, word])
            run("run", program, tool=tool)  # root gains nothing by root's file
        shutil.copy("/bin/true", program)
        os.chmod(program, 0o755)
        # cap_net_bind_service, effective
        os.setxattr(program, "security.capability", bytes.fromhex("0100000200040000" + "00" * 12))
        refused("run", program, status=126, tool=tool, preexec_fn=as_nobody,
                words=[program, "capabilities"])


def test_not_found_and_not_to_be_run():
    with folder() as tmp:
        path = tmp + "/file"
        with open(path, "w", encoding="utf-8") as f:
            f.write("#!/no/such/interpreter\n")
        refused("run", path, status=126, words=[path])
        os.chmod(path, 0o755)
        refused("run", path, status=127, words=[path, "/no/such/interpreter"])
        refused("run", tmp, status=126, words=[tmp])
        refused("run", tmp + "/none", status=127, words=["none"])
        refused("run", "no-such-program-anywhere", status=127, words=["no-such-program-anywhere", "PATH"])
        with open(path, "w", encoding="utf-8") as f:
            f.write("echo no first line $1; exit 6\n")
        same(run("run", path, "argument", status=6).stdout, "no first line argument\n", "plain script")
        same(run("run", "file", env={"PATH": tmp + ":" + os.environ["PATH"]}, status=6).stdout,
             "no first line\n", "found in PATH")


def test_wrong_usage_names_option_and_choices():
    all_nodes = ",".join(str(n) for n in nodes_of(topo()))
    for args, words in (
            ([], ["which program"]),
            (["--numa", "numa1", "true"], ["--numa", "'numa1'", "bind=LIST", "preferred=N"]),
            (["--numa", "bind=4000", "true"], ["--numa bind=4000", "no node 4000", "nodes with memory: 0"]),
            (["--numa", f"bind={all_nodes},4000", "true"], ["no node 4000"]),
            (["--numa", "bind=", "true"], ["--numa bind="]),
            (["--numa", "bind=0,", "true"], ["'0,'"]),
            (["--numa", "bind=0-", "true"], ["'0-'"]),
            (["--numa", "bind=1-0", "true"], ["'1-0'"]),
            (["--numa", "bind=99999999999", "true"], ["'99999999999'"]),
            (["--numa", "bind", "true"], ["bind=LIST"]),
            (["--numa", "preferred=0-1", "true"], ["'0-1'"]),
            (["--numa", "preferred", "true"], ["preferred=N"]),
            (["--numa", "", "true"], ["--numa"]),
            (["--numa"], ["--numa", "value"]),
            (["--huge", "big", "true"], ["--huge", "'big'", "never, thp, hugetlb"]),
            (["--profile", "fast", "true"], ["--profile", "'fast'", "latency", "memory"]),
            (["--profile", "./none", "true"], ["--profile", "./none"]),
            (["--option", "WARM_MIB", "true"], ["--option", "NAME=VALUE"]),
            (["--option", "WARM=1", "true"], ["--option", "WARM", "WARM_MIB"]),
            (["--option", "WARM_MIB=x", "true"], ["HAKMEM_WARM_MIB", "'x'", "number from 0"]),
            (["--option", "FOREIGN=x", "true"], ["HAKMEM_FOREIGN", "pass, abort"]),
            (["--option", "NUMA=local", "true"], ["--numa"]),
            (["--option", "TOPOLOGY=v1", "true"], ["HAKMEM_TOPOLOGY"]),
            (["--lib", "/nonexistent/lib.so", "true"], ["--lib", "/nonexistent/lib.so"]),
            (["--lib", "/etc/passwd", "true"], ["--lib", "no shared library"]),
            (["--hugepages", "0", "true"], ["--hugepages", "'0'"]),
            (["--hugepages", "1", "--huge", "thp", "true"], ["--hugepages", "--huge thp"]),
            (["--nmua", "local", "true"], ["--nmua", "--numa"])):
        refused("run", *args, words=words)


def test_library_that_is_given_or_not_there():
    with folder() as tmp:
        shutil.copy(LIB, tmp + "/mine.so")
        out = run("run", "--lib", tmp + "/mine.so", *SHOW).stdout
        check(f"LD_PRELOAD={os.path.realpath(tmp)}/mine.so\n" in out, out)
        out = run("run", "--lib", "mine.so", *SHOW, cwd=tmp).stdout
        check(f"LD_PRELOAD={os.path.realpath(tmp)}/mine.so\n" in out, "a relative path is made absolute")
        os.mkdir(tmp + "/a b")
        shutil.copy(LIB, tmp + "/a b/mine.so")
        refused("run", "--lib", tmp + "/a b/mine.so", "true", words=["space"])
        os.mkdir(tmp + "/bin")
        shutil.copy(TOOL, tmp + "/bin/hakmem")
        refused("run", "true", tool=tmp + "/bin/hakmem", status=1, words=["libhakmem.so.0", "--lib FILE"])
        os.mkdir(tmp + "/lib")
        shutil.copy(LIB, tmp + "/lib/libhakmem.so.0")
        out = run("run", *SHOW, tool=tmp + "/bin/hakmem").stdout
        check(f"LD_PRELOAD={os.path.realpath(tmp)}/lib/libhakmem.so.0\n" in out, out)


def test_profile_from_a_file():
    with folder() as tmp:
        path = tmp + "/own.conf"
        with open(path, "w", encoding="utf-8") as f:
            f.write("HAKMEM_WARM_MIB=3\n")
        same(environment("--profile", path)["HAKMEM_PROFILE"], path, "profile")
        with open(path, "w", encoding="utf-8") as f:
            f.write("#" * 5000)
        refused("run", "--profile", path, "true", words=["--profile", "larger"])


def test_pools_take_root():
    need_root()
    with folder() as tmp:
        refused("run", "--hugepages", "1", "true", tool=tool_for_nobody(tmp), preexec_fn=as_nobody,
                status=1, words=["--hugepages", "root"])


# Pools of 10 pages that stand before the kernel's own, of either size; the shell's $pool is of 2 MiB.
FAKE_POOL = f"""
    mount -t tmpfs pools {NODES}/node0/hugepages
    for size in 2048 1048576; do
        export pool={NODES}/node0/hugepages/hugepages-${{size}}kB
        mkdir $pool; echo 10 >$pool/nr_hugepages; echo 10 >$pool/free_hugepages
    done
    huge=$pool; pool={NODES}/node0/hugepages/hugepages-2048kB
    left() {{ echo "$1 $(cat $pool/nr_hugepages)"; }}
"""


def pools(script):
    if not os.path.isdir(f"{NODES}/node0/hugepages/hugepages-2048kB"):
        raise Skip("node 0 has no pool of 2 MiB pages")
    if len(id_list(read(NODES + "/online"))) > 1:
        raise Skip("several nodes: the pools of the others would be changed")
    return in_namespace(FAKE_POOL + script).splitlines()


def test_pools_grow_for_the_run():
    lines = pools("""
        "$tool" run --hugepages 6 -- sh -c "cat $pool/nr_hugepages; echo \\$HAKMEM_HUGE; exit 7" ||
            left $?
        "$tool" run --hugepages 6 -- sh -c "echo 30 >$pool/nr_hugepages" && left 0
        echo 10 >$pool/nr_hugepages
        "$tool" run --hugepages 6 -- sh -c 'kill -KILL $$' || left $?
        echo in | "$tool" run --hugepages 6 -- cat
        "$tool" run --hugepages 6 -- /no/such || left $?""")
    same(lines, ["16", "hugetlb", "7 10", "0 24", "137 10", "in", "127 10"],
         "during the run; after it; changed by another meanwhile; killed; standard input; not found")


def test_pools_end_by_the_programs_signal():
    """Not with 128 + number, which a shell would show for either."""
    show = "import subprocess, sys; print(subprocess.run(sys.argv[1:]).returncode)"
    lines = pools(f"""
        for n in 6 9 11 15; do
            python3 -c '{show}' "$tool" run --hugepages 6 -- sh -c 'kill -'$n' $$'
        done; left pool""")
    same(lines, ["-6", "-9", "-11", "-15", "pool 10"], "statuses")


def test_pools_are_restored_when_signals_come():
    lines = pools("""
        up() { for _ in {1..400}; do [[ ! -s $pool/up ]] || break; sleep 0.05; done; rm $pool/up; }
        "$tool" run --hugepages 6 -- bash -c 'trap "echo asked; exit 9" TERM; echo >$pool/up
            while :; do sleep 0.1; done' & job=$!
        up; left during; kill -TERM $job; status=0; wait $job || status=$?; left $status
        "$tool" run --hugepages 6 -- sh -c 'echo >$pool/up; exec sleep 60' & job=$!
        up; kill -HUP $job; status=0; wait $job || status=$?; left $status""")
    same(lines, ["during 16", "asked", "9 10", "129 10"], "pool")


def test_pools_of_either_size():
    lines = pools("""
        "$tool" run --huge hugetlb-1g --hugepages 2 -- cat $huge/nr_hugepages $pool/nr_hugepages
        cat $huge/nr_hugepages""")
    same(lines, ["12", "10", "10"], "1 GiB and 2 MiB during the run, 1 GiB after it")


def test_pool_that_cannot_grow():
    lines = pools("""
        mount -o remount,ro ${pool%/*}
        status=0; "$tool" run --hugepages 6 -- echo started 2>/dev/null || status=$?; left $status""")
    same(lines, ["1 10"], "nothing was started")
