"""topologies.py - the machines that the lab can be: nodes, their CPUs and memory, distances.

Each is a small fact sheet; arguments() turns one into what QEMU wants to hear. Memory of a node is a
share of --mem, so that one option scales a machine. What it does not do: start anything.
"""
from dataclasses import dataclass, field


@dataclass
class Node:
    cpus: str = ""          # "0-1"; empty: memory alone, as a CXL expander has it
    share: float = 1.0      # of --mem; 0: CPUs alone


@dataclass
class Topology:
    text: str
    nodes: list
    far: dict = field(default_factory=dict)     # (from, to): distance; the way back is the same unless given
    speeds: dict = field(default_factory=dict)  # (from, to): (ns, MiB/s), told to the kernel by an ACPI HMAT

    def memory_mib(self, mem):
        return [int(node.share * mem) for node in self.nodes]

    def cpus(self):
        return 1 + max(int(node.cpus.split("-")[-1]) for node in self.nodes if node.cpus)

    def distance(self, a, b):
        if a == b:
            return 10
        return self.far.get((a, b)) or self.far[(b, a)]


TOPOLOGIES = {
    "1node": Topology("one node, 2 CPUs", [Node("0-1")]),
    "2node": Topology("two equal nodes", [Node("0-1"), Node("2-3")], {(0, 1): 21}),
    "4node": Topology(
        "four nodes in a ring, two hops to the opposite one",
        [Node("0"), Node("1"), Node("2"), Node("3")],
        {(0, 1): 16, (1, 2): 16, (2, 3): 16, (0, 3): 16, (0, 2): 28, (1, 3): 28}),
    "cxl": Topology(
        "two nodes and a third without CPUs, slower, as the HMAT says",
        [Node("0-1"), Node("2-3"), Node("", 2)], {(0, 1): 21, (0, 2): 17, (1, 2): 28},
        {(0, 0): (90, 40960), (0, 1): (150, 20480), (0, 2): (250, 10240),
         (1, 0): (150, 20480), (1, 1): (90, 40960), (1, 2): (350, 8192)}),
    "memless": Topology(
        "three nodes, the middle one without memory, nearest to the last",
        [Node("0-1"), Node("2", 0), Node("3")], {(0, 1): 20, (1, 2): 15, (0, 2): 30}),
    "uneven": Topology(
        "two nodes, the second with a quarter of the memory",
        [Node("0-1"), Node("2-3", 0.25)], {(0, 1): 21}),
    "distances": Topology(
        "three nodes, no two distances alike, not even there and back",
        [Node("0-1"), Node("2"), Node("3")],
        {(0, 1): 35, (1, 0): 25, (0, 2): 15, (2, 0): 45, (1, 2): 40, (2, 1): 20}),
}


def arguments(topology, mem):
    """QEMU's words for it. A machine of one node too gets its node, so that the guest has a SRAT."""
    words, total = [], 0
    hmat = bool(topology.speeds)
    for number, (node, mib) in enumerate(zip(topology.nodes, topology.memory_mib(mem))):
        text = f"node,nodeid={number}"
        if node.cpus:
            text += f",cpus={node.cpus}"
        if hmat:
            text += f",initiator={number if node.cpus else nearest(topology, number)}"
        if mib:
            words += ["-object", f"memory-backend-ram,id=mem{number},size={mib}M"]
            text += f",memdev=mem{number}"
            total += mib
        words += ["-numa", text]
    count = len(topology.nodes)
    for a in range(count):
        for b in range(count):
            if a != b:
                words += ["-numa", f"dist,src={a},dst={b},val={topology.distance(a, b)}"]
    for (a, b), (ns, mib) in sorted(topology.speeds.items()):
        link = f"hmat-lb,initiator={a},target={b},hierarchy=memory"
        words += ["-numa", f"{link},data-type=access-latency,latency={ns}",
                  "-numa", f"{link},data-type=access-bandwidth,bandwidth={mib}M"]
    return ["-machine", "q35" + (",hmat=on" if hmat else ""), "-smp", str(topology.cpus()), "-m", f"{total}M"] + words


def nearest(topology, number):
    with_cpus = [n for n, node in enumerate(topology.nodes) if node.cpus]
    return min(with_cpus, key=lambda n: topology.distance(n, number))
