"""hakmem doctor: what it finds in files, limits and filters, and what it says to do."""
import ctypes
import json
import os
import resource
import shutil
import struct

from harness import (NODES, Skip, TOOL, check, folder, in_namespace, refused, run, same, tree_unfold, write)

THP = "/sys/kernel/mm/transparent_hugepage"
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_SET_THP_DISABLE = 38, 22, 41


def doctor(env=None, status=None, **more):
    done = run("doctor", "--json", env=env, status=status, **more)
    found = json.loads(done.stdout)
    same(done.returncode, 1 if found["problem"] else 0, "status")
    return {c["check"]: c for c in found["checks"]}


def finding(files, name):
    """The finding NAME on a machine of three nodes, two with memory, with FILES."""
    with folder() as tmp:
        return doctor(tree_unfold(tmp, files))[name]


def test_each_finding_is_whole():
    done = run("doctor", "--json", status=None)
    found = json.loads(done.stdout)
    same(done.returncode, 1 if found["problem"] else 0, "status")
    counts = {"good": 0, "advice": 0, "problem": 0}
    for c in found["checks"]:
        counts[c["verdict"]] += 1
        check(c["is"] and c["why"], f"{c['check']} says what is set and why it matters")
        check((c["set"] is None) == (c["verdict"] == "good"), f"{c['check']} says what to do, or has nothing to do")
    same({k: found[k] for k in counts}, counts, "counts")
    names = {c["check"] for c in found["checks"]}
    expected = {"thp", "hugetlb-2M", "hugetlb-1G", "numa_balancing", "zone_reclaim", "overcommit", "max_map_count",
                "memlock", "io_uring", "cpuset", "mempolicy", "library"}
    check(expected <= names | missing_here(), f"missing: {expected - names}")
    text = run("doctor", status=done.returncode).stdout
    for c in found["checks"]:
        check(f"{c['check']}: {c['is']}\n" in text, f"{c['check']} is in the text")
        check(c["set"] is None or f"-> {c['set']}\n" in text, f"{c['check']}: its command is in the text")


def missing_here():
    return {"zone_reclaim"} - ({"zone_reclaim"} if os.path.exists("/proc/sys/vm/zone_reclaim_mode") else set())


def test_settings():
    kernel, vm = "/proc/sys/kernel/", "/proc/sys/vm/"
    commit = "MemFree: 1 kB\nCommitLimit: 1000 kB\nCommitted_AS: %d kB\n"
    for files, name, verdict, words in (
            ({THP + "/enabled": "always [madvise] never\n"}, "thp", "good", ""),
            ({THP + "/enabled": "always madvise [never]\n"}, "thp", "advice", "echo madvise > " + THP),
            ({THP + "/defrag": "[always] defer madvise never\n"}, "thp-defrag", "advice", "defer+madvise"),
            ({THP + "/defrag": "always [defer] madvise never\n"}, "thp-defrag", "good", ""),
            ({THP + "/hugepages-2048kB/enabled": "always inherit madvise [never]\n"}, "thp-sizes", "advice",
             "echo inherit"),
            ({THP + "/hugepages-2048kB/enabled": "always [inherit] madvise never\n",
              THP + "/hugepages-64kB/enabled": "[always] inherit madvise never\n"}, "thp-sizes", "good", ""),
            ({}, "hugetlb-2M", "good", ""),
            ({NODES + "/node2/hugepages/hugepages-2048kB/nr_hugepages": "0\n",
              NODES + "/node2/hugepages/hugepages-2048kB/free_hugepages": "0\n"}, "hugetlb-2M", "advice",
             "nr_hugepages"),
            ({kernel + "numa_balancing": "1\n"}, "numa_balancing", "advice", "kernel.numa_balancing=0"),
            ({kernel + "numa_balancing": "0\n"}, "numa_balancing", "good", ""),
            ({kernel + "numa_balancing": "2\n"}, "numa_balancing", "good", ""),
            ({vm + "zone_reclaim_mode": "1\n"}, "zone_reclaim", "advice", "vm.zone_reclaim_mode=0"),
            ({vm + "zone_reclaim_mode": "0\n"}, "zone_reclaim", "good", ""),
            ({vm + "overcommit_memory": "1\n"}, "overcommit", "good", ""),
            ({vm + "overcommit_memory": "2\n", "/proc/meminfo": commit % 500}, "overcommit", "advice",
             "vm.overcommit_memory=0"),
            ({vm + "overcommit_memory": "2\n", "/proc/meminfo": commit % 990}, "overcommit", "problem",
             "vm.overcommit_ratio"),
            ({vm + "max_map_count": "65530\n"}, "max_map_count", "good", ""),
            ({vm + "max_map_count": "65530\n", vm + "overcommit_memory": "2\n"}, "max_map_count", "advice",
             "vm.max_map_count="),
            ({vm + "max_map_count": "30000\n"}, "max_map_count", "advice", "vm.max_map_count="),
            ({vm + "max_map_count": "1000\n"}, "max_map_count", "problem", "vm.max_map_count=")):
        got = finding(files, name)
        same(got["verdict"], verdict, f"{name} with {files}; {got}")
        check(words in (got["set"] or ""), f"{words!r} in {got}")


def test_options_of_the_environment():
    for env, verdict, words in (
            ({}, "good", "none"),
            ({"HAKMEM_WARM_MIB": "auto", "HAKMEM_HUGE": "never", "HAKMEM_PROFILE": "memory"}, "good", "3 in the"),
            ({"HAKMEM_WARMMIB": "5"}, "advice", "no option HAKMEM_WARMMIB"),
            ({"HAKMEM_WARM_MIB": "many"}, "advice", "'many' but a number from 0"),
            ({"HAKMEM_HUGE": "often"}, "advice", "one of: never, thp"),
            ({"HAKMEM_PROFILE": "nonesuch"}, "advice", "latency"),
            ({"HAKMEM_PROFILE": "/nonexistent/x.conf"}, "advice", "/nonexistent/x.conf cannot be read")):
        got = doctor(env)["options"]
        same(got["verdict"], verdict, f"{env}: {got}")
        check(words in got["is"], f"{words!r} in {got}")


def test_a_host_that_takes_free_memory_back():
    path = "/sys/module/page_reporting/parameters/page_reporting_order"
    got = finding({path: "9\n"}, "page-reporting")
    same((got["verdict"], got["is"]), ("good", "free blocks of 2^9 pages go back to the host"), "found")
    with folder() as tmp:
        check("page-reporting" not in doctor(tree_unfold(tmp, {path: "4294967295\n"})), "none is set")


def test_one_node_has_nothing_to_balance():
    one = {"HWLOC_SYNTHETIC": "node:1 core:2 1"}
    found = doctor(one)
    same(found["numa_balancing"]["verdict"], "good", "numa_balancing")
    same(found.get("zone_reclaim", {"verdict": "good"})["verdict"], "good", "zone_reclaim")


def test_missing_files_are_no_problem():
    """A machine with nothing but its nodes: a small kernel, a sandbox without /proc/sys."""
    with folder() as tmp:
        found = doctor(tree_unfold(tmp, {"/proc/meminfo": None, THP + "/enabled": None, THP + "/defrag": None}))
    same(found["thp"]["verdict"], "advice", "thp")
    same([c for c in found.values() if c["verdict"] == "problem"], [], "problems")


def test_limits_of_the_process():
    space, data = 1 << 40, 1 << 39
    found = doctor(preexec_fn=lambda: (resource.setrlimit(resource.RLIMIT_AS, (space, space)),
                                       resource.setrlimit(resource.RLIMIT_DATA, (data, data)),
                                       resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))))
    same((found["address-space"]["verdict"], found["address-space"]["is"]), ("advice", "1 TiB"), "RLIMIT_AS")
    same((found["data-limit"]["verdict"], found["data-limit"]["is"]), ("advice", "512 GiB"), "RLIMIT_DATA")
    same(found["memlock"]["is"], "64 KiB", "RLIMIT_MEMLOCK")


def test_huge_pages_switched_off_for_the_process():
    libc = ctypes.CDLL(None)
    found = doctor(preexec_fn=lambda: libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0))
    same(found["thp-process"]["verdict"], "advice", "thp-process")


def forbid(numbers, errno):
    """In the child: these system calls fail by a seccomp filter, as in a container."""
    code = [struct.pack("HBBI", 0x20, 0, 0, 0)]  # load the number
    for i, number in enumerate(numbers):
        code.append(struct.pack("HBBI", 0x15, len(numbers) - i, 0, number))
    code += [struct.pack("HBBI", 0x06, 0, 0, 0x7fff0000), struct.pack("HBBI", 0x06, 0, 0, 0x50000 | errno)]
    program = ctypes.create_string_buffer(b"".join(code))
    head = struct.pack("HxxxxxxP", len(code), ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)

    def apply():
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if libc.prctl(PR_SET_SECCOMP, 2, ctypes.create_string_buffer(head), 0, 0):
            os._exit(99)
    return apply, program


def test_calls_that_a_filter_forbids():
    apply, keep = forbid([425], 1)  # io_uring_setup has one number everywhere
    try:
        found = doctor(preexec_fn=apply)
    except json.JSONDecodeError as why:
        raise Skip("no seccomp filters here") from why
    del keep
    same(found["io_uring"]["verdict"], "advice", "io_uring")
    check("filter" in found["io_uring"]["is"], found["io_uring"]["is"])
    same(found["seccomp"]["is"], "filtered", "seccomp")


def test_saved_topology():
    out = in_namespace("""
        mount -t tmpfs run /run; file=/run/hakmem/topology
        topology() { "$tool" doctor | grep -A 9 ' topology: ' | sed -n '1p;/->/{p;q}'; }
        topology | sed 's/not saved.*/not saved/'
        "$tool" topo --save >/dev/null; topology
        cp $file /run/good; sed -i 's/^boot=.*/boot=00000000-0000-0000-0000-000000000000/' $file; topology
        sed 's/^online=.*/online=0-77/' /run/good >$file; topology
        sed '/^end/d' /run/good >$file; topology
        sed 's/^v1/v9/' /run/good >$file; topology
        head -c 70000 /dev/zero | tr '\\0' x >>$file; topology
        cp /run/good $file; chmod 666 $file; topology
        chmod 644 $file; chown 1 $file; topology""")
    lines = [x.strip() for x in out.splitlines()]
    lines = [x for x in lines if not x.startswith("-> systemctl") or "not saved" not in lines[0]] or lines
    check("not saved" in lines[0], lines[0])
    lines = [x for x in lines if x.startswith(("good", "advice", "problem"))]
    same(lines[1], "good     topology: saved in /run/hakmem/topology", "saved")
    for line, word in zip(lines[2:], ("earlier boot", "other nodes", "cut", "another version", "64 KiB",
                                      "only root may write", "only root may write")):
        check(line.startswith("problem") and word in line, f"{word!r} in {line!r}")
    same(len(lines), 9, f"findings: {lines}")


def test_library_that_is_not_there():
    with folder() as tmp:
        shutil.copy(TOOL, tmp + "/hakmem")
        found = doctor(tool=tmp + "/hakmem", status=1)
    same(found["library"]["verdict"], "problem", "library")


def test_another_machines_files_are_called_so():
    with folder() as tmp:
        write(tmp + "/x", "")
        text = run("doctor", env=tree_unfold(tmp), status=None).stdout
    check("NOT THIS MACHINE'S FILES" in text.splitlines()[0], text.splitlines()[0])
    for line in text.splitlines():
        check(len(line) <= 80 or "->" in line or line.startswith(("good", "advice", "problem", "NOT")), line)


def test_wrong_usage():
    refused("doctor", "--jsn", words=["--jsn", "--json"])
    refused("doctor", "now", words=["now"])
