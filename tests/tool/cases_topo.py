"""hakmem topo: the table of this machine and of others, its text, saving it."""
import ctypes
import os
import stat
import subprocess

from harness import (DATA, NODES, Skip, TOOL, as_nobody, check, clean_environment, folder, id_list,
                     in_namespace, need_root, nodes_of, read, refused, run, same, tool_for_nobody, topo,
                     tree_unfold, xml)


def test_this_machine_is_what_sysfs_says():
    if not os.path.exists(NODES + "/online"):
        raise Skip("this kernel has no NUMA nodes in sysfs")
    machine = topo()
    check(machine["this_machine"], "it is this machine")
    same(list(nodes_of(machine)), id_list(read(NODES + "/online")), "nodes")
    for os_id, node in nodes_of(machine).items():
        same(id_list(node["cpus"]), id_list(read(f"{NODES}/node{os_id}/cpulist")), "processors")
        total = [x for x in read(f"{NODES}/node{os_id}/meminfo").splitlines() if "MemTotal" in x]
        same(node["memory_bytes"], int(total[0].split()[-2]) << 10, "memory")
        same(list(node["distances"].values()),
             [int(x) for x in read(f"{NODES}/node{os_id}/distance").split()], "distances")


def test_table_has_a_line_for_each_node():
    lines = run("topo").stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("node"))
    rows = [x.split() for x in lines[start + 1:] if x and x[0].isdigit()]
    same([int(r[0]) for r in rows], list(nodes_of(topo())), "rows")


def test_text_is_of_this_boot():
    lines = run("topo", "--text").stdout.splitlines()
    same(lines[0], "v1", "first record")
    same(lines[1], "boot=" + read("/proc/sys/kernel/random/boot_id").strip(), "boot")
    same(lines[2], "online=" + read(NODES + "/online").strip(), "online")
    same(lines[-1], "end", "last record")


def test_node_without_memory():
    machine = topo(xml("memless"))
    check(not machine["this_machine"], "another machine says so")
    node = nodes_of(machine)[1]
    same((node["cpus"], node["memory_bytes"], node["tier"], node["allowed"]), ("2", 0, None, False),
         "node 1")
    same([n["cpus"] for n in machine["nodes"]], ["0-1", "2", "3"], "processors")
    check("NOT THIS MACHINE" in run("topo", env=xml("memless")).stdout.splitlines()[0], "first line")
    same(run("topo", "--text", env=xml("memless")).stdout.splitlines()[4],
         "node=1 cpus=2 mem=0 tier=0 dist=0:20,1:10,2:15", "its record")


def test_node_without_processors_is_of_the_second_tier():
    nodes = nodes_of(topo(xml("cxl")))
    same([n["tier"] for n in nodes.values()], [0, 0, 1], "tiers")
    same([n["cpus"] for n in nodes.values()], ["0-1", "2-3", ""], "processors")
    same(nodes[2]["distances"], {"0": 17, "1": 28, "2": 10}, "distances")
    check("node=2 cpus=- mem=1006 tier=1 dist=" in run("topo", "--text", env=xml("cxl")).stdout, "text")


def test_bandwidth_and_latency_of_the_kernel():
    nodes = nodes_of(topo(xml("hmat")))
    same([(n["bandwidth_mib_s"], n["latency_ns"], n["tier"]) for n in nodes.values()],
         [(20480, 100, 0), (20480, 100, 0), (8192, 300, 1)], "bandwidth, latency, tier")
    text = run("topo", "--text", env=xml("hmat")).stdout
    check("dist=0:17,1:28,2:10 bw=8192 lat=300\n" in text, "text")
    check("MiB/s" in run("topo", env=xml("hmat")).stdout, "columns of the table")


def bandwidths(*changes):
    """(bandwidth, tier) of each node of hmat.xml after CHANGES: (from, to) of its first such value."""
    text = read(os.path.join(DATA, "hmat.xml"))
    for old, new in changes:
        text = text.replace(f'value="{old}"', f'value="{new}"', 1)
    with folder() as tmp:
        path = os.path.join(tmp, "changed.xml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return [(n["bandwidth_mib_s"], n["tier"]) for n in topo({"HWLOC_XMLFILE": path})["nodes"]]


def test_bandwidth_decides_before_processors():
    same(bandwidths((8192, 81920)), [(20480, 1), (20480, 1), (81920, 0)], "the fastest has none")


def test_nodes_that_differ_little_are_of_one_tier():
    same(bandwidths((20480, 18000)), [(18000, 0), (20480, 0), (8192, 1)], "within the first")
    same(bandwidths((20480, 18000), (8192, 81920)), [(18000, 1), (20480, 1), (81920, 0)], "within the second")


def test_holes_and_large_ids():
    machine = topo({"HWLOC_SYNTHETIC": "node:3(indexes=4,9,130) core:2 1"})
    same(list(nodes_of(machine)), [4, 9, 130], "ids")
    same(machine["online"], "4,9,130", "online")
    text = run("topo", "--text", env={"HWLOC_SYNTHETIC": "node:3(indexes=4,9,130) core:2 1"}).stdout
    check("node=130 cpus=4-5 mem=1024 tier=0 dist=4:20,9:20,130:10\n" in text, text)


def test_memory_of_a_larger_part_has_no_processors():
    shape = {"HWLOC_SYNTHETIC": "[numa(memory=1GB)] package:2 [numa(memory=4GB)] core:2 1"}
    same([(n["cpus"], n["tier"]) for n in topo(shape)["nodes"]], [("0-1", 0), ("2-3", 0), ("", 1)],
         "processors and tiers")


def test_files_of_another_machine():
    with folder() as tmp:
        machine = topo(tree_unfold(tmp))
    same([(n["cpus"], n["memory_bytes"] >> 20, n["huge_pages"]["2M"]["all"]) for n in machine["nodes"]],
         [("0-1", 470, 32), ("2", 0, 0), ("3", 502, 32)], "nodes")


def test_node_that_hwloc_leaves_out_comes_from_sysfs():
    with folder() as tmp:  # hwloc takes no node without this file
        env = tree_unfold(tmp, {NODES + "/node1/cpumap": None})
        nodes = nodes_of(topo(env))
        text = run("topo", "--text", env=env).stdout
        table = run("topo", env=env).stdout
    same([n["found_by"] for n in nodes.values()], ["hwloc", "sysfs", "hwloc"], "found by")
    same(nodes[1]["cpus"], "2", "processors")
    same(nodes[0]["distances"], {"0": 10, "1": 20, "2": 30}, "distances")
    check("node=1 cpus=2 mem=0 tier=0 dist=0:20,1:10,2:15\n" in text, text)
    check("node 1: known from sysfs alone" in table, table)


def test_another_machine_is_never_saved():
    with folder() as tmp:
        tree_unfold(tmp + "/tree")
        target = tmp + "/topology"
        for name, value in (("HWLOC_XMLFILE", xml("cxl")["HWLOC_XMLFILE"]),
                            ("HWLOC_SYNTHETIC", "node:2 core:2 pu:1"), ("HWLOC_FSROOT", tmp + "/tree")):
            for more in ({}, {"HWLOC_THISSYSTEM": "1"}):
                refused("topo", "--save", target, env={name: value, **more}, words=["--save", name])
                check(not os.path.exists(target), f"{name}: nothing was written")
                text = run("topo", "--text", env={name: value, **more}).stdout
                check("\nboot=none\n" in text, f"{name}: the text is of no boot")


def test_save_writes_the_text():
    with folder() as tmp:
        target = tmp + "/topology"
        said = run("topo", "--save", target).stdout
        check(said.startswith(target + ": "), f"it says what it wrote: {said!r}")
        same(read(target), run("topo", "--text").stdout, "content")
        same(stat.S_IMODE(os.stat(target).st_mode), 0o644, "mode")
        before = os.stat(target).st_ino
        run("topo", f"--save={target}")
        check(os.stat(target).st_ino != before, "a second save replaces the file")
        same(os.listdir(tmp), ["topology"], "nothing else is left")


def test_save_replaces_ordinary_files_alone():
    with folder() as tmp:
        os.symlink("/dev/null", tmp + "/link")
        os.mkdir(tmp + "/folder")
        for name in ("link", "folder"):
            refused("topo", "--save", f"{tmp}/{name}", words=["--save", name])
        check(os.path.islink(tmp + "/link") and os.path.isdir(tmp + "/folder"), "both are as before")
        refused("topo", "--save", tmp + "/no/such", status=1, words=["--save"])


def test_save_without_a_file_takes_root():
    need_root()
    with folder() as tmp:
        refused("topo", "--save", status=1, tool=tool_for_nobody(tmp), preexec_fn=as_nobody,
                words=["/run/hakmem/topology", "root", "sudo"])


def test_save_at_its_place():
    out = in_namespace("""
        mount -t tmpfs run /run
        "$tool" topo --save; stat -c '%a %u' /run/hakmem /run/hakmem/topology
        cmp /run/hakmem/topology <("$tool" topo --text); ls -A /run/hakmem
        chmod 777 /run/hakmem; status=0; "$tool" topo --save 2>&1 || status=$?; echo $status""")
    lines = out.splitlines()
    check(lines[0].startswith("/run/hakmem/topology: "), lines[0])
    same(lines[1:4], ["755 0", "644 0", "topology"], "directory, file, what is in it")
    check("only root may write" in lines[4] and lines[5] == "1", f"a writable directory: {lines[4:]}")


def test_policy_of_the_process():
    try:
        numa = ctypes.CDLL("libnuma.so.1", use_errno=True)
    except OSError as why:
        raise Skip("libnuma.so.1 is not installed") from why
    usable = next((n["node"] for n in topo()["nodes"] if n["allowed"] and n["node"] < 64), None)
    mask = ctypes.c_ulong(1 << usable)

    def bind():
        if numa.set_mempolicy(2, ctypes.byref(mask), 65):
            os._exit(99)

    done = run("topo", status=None, preexec_fn=bind)
    if done.returncode == 99:
        raise Skip("set_mempolicy is not allowed here")
    check(f"memory of {usable}, policy bind {usable}\n" in done.stdout, done.stdout)


def test_wrong_usage_names_the_option():
    for args, words in (
            (["topo", "--jsn"], ["--jsn", "--json", "--save"]),
            (["topo", "-x"], ["-x", "--json"]),
            (["topo", "--json=1"], ["--json=1", "no value"]),
            (["topo", "--json", "--text"], ["--json", "--text"]),
            (["topo", "more"], ["more"]),
            (["topo", "--save="], ["--save"]),
            (["topography"], ["topography", "run", "topo", "doctor"]),
            ([], ["run", "topo", "doctor"])):
        refused(*args, words=words)


def test_the_shape_that_the_message_names_is_one():
    said = refused("topo", env={"HWLOC_SYNTHETIC": "nonsense"})
    shape = said.split("'")[-2]
    same(len(topo({"HWLOC_SYNTHETIC": shape})["nodes"]), 2, shape)


def test_unreadable_machines_are_errors():
    with folder() as tmp:
        with open(tmp + "/cut.xml", "w", encoding="utf-8") as f:
            f.write(read(os.path.join(DATA, "cxl.xml"))[:3000])
        for name, value in (("HWLOC_XMLFILE", tmp + "/none.xml"), ("HWLOC_XMLFILE", tmp + "/cut.xml"),
                            ("HWLOC_SYNTHETIC", "nonsense"), ("HWLOC_FSROOT", tmp + "/none")):
            done = run("topo", env={name: value}, status=2)
            check(f"{name}={value}" in done.stderr.splitlines()[-1], done.stderr)
            same(done.stdout, "", "output")


def test_output_that_cannot_be_written():
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([TOOL, "topo"], stdout=full, stderr=subprocess.PIPE, text=True,
                              env=clean_environment(), check=False)
    same(done.returncode, 1, "status")
    check("cannot write" in done.stderr, done.stderr)


def test_help_fits_a_screen():
    for args in (["--help"], ["run", "--help"], ["topo", "--help"], ["doctor", "--help"]):
        lines = run(*args).stdout.splitlines()
        check(lines[0].startswith("usage: hakmem"), lines[0])
        check(len(lines) <= 24 and max(map(len, lines)) <= 90, f"{args}: {len(lines)} lines")
