"""The machines of tests/numa/topologies, captured in the lab: what hwloc said there (NAME.xml) and what the
kernel did (NAME.topology) are the same nodes to the command, and to the library that reads the text."""
import glob
import os
import re

from harness import BUILD, NODES, ROOT, check, folder, in_namespace, read, run, same, write

CAPTURED = os.path.join(ROOT, "tests/numa/topologies")


def names():
    found = [os.path.basename(p)[:-len(".xml")] for p in sorted(glob.glob(CAPTURED + "/*.xml"))]
    check({"1node", "2node", "4node", "cxl", "memless", "uneven", "distances"} <= set(found), f"captured: {found}")
    return found


def records(text):
    """{node: its record} without what only hwloc knows (tier, speeds), and the list of those online."""
    lines = text.replace(";", "\n").splitlines()
    online = next(x for x in lines if x.startswith("online="))
    nodes = {x.split()[0]: re.sub(r" tier=\d+| bw=\d+| lat=\d+", "", x) for x in lines if x.startswith("node=")}
    same((lines[0], lines[-1]), ("v1", "end"), "first and last record")
    return online, nodes


def test_hwloc_and_the_kernel_say_the_same():
    for name in names():
        hwloc = records(run("topo", "--text", env={"HWLOC_XMLFILE": f"{CAPTURED}/{name}.xml"}).stdout)
        kernel = records(read(f"{CAPTURED}/{name}.topology"))
        same(hwloc, kernel, name)


def test_the_library_takes_each():
    """On this kernel, whose list of nodes is exchanged: placement is refused, the table is read."""
    library = os.path.join(os.path.realpath(BUILD), "libhakmem.so.0")
    boot = read("/proc/sys/kernel/random/boot_id").strip()
    for name in names():
        text = re.sub(r"boot=\S+", "boot=" + boot, read(f"{CAPTURED}/{name}.topology"))
        online = records(text)[0]
        with folder() as tmp:
            write(tmp + "/online", online.partition("=")[2] + "\n")
            out = in_namespace("""
                mount --bind "$1" """ + NODES + """
                export HAKMEM_VERBOSE=1 LD_PRELOAD="$2"
                HAKMEM_TOPOLOGY=$3 python3 -c 'x = [bytes(n) for n in range(3000)]' 2>&1
                HAKMEM_TOPOLOGY=${3%end*} python3 -c '' 2>&1 | grep ignored""", tmp, library, text)
        check("numa provider=inherited " in out, f"{name}: {out[:300]}")
        # pools: of the nodes with memory those that this kernel lets the process use
        check(re.search(r"numa provider=inherited .*nodes=0\b", out), f"{name}: {out[:300]}")
        check("HAKMEM_TOPOLOGY ignored: it is cut" in out, f"{name}, cut: {out[-300:]}")
