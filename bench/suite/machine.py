"""machine - where a run took place, and who else used the processors meanwhile.

Reads /proc, /sys and asks tools for their versions; changes no setting.
"""
import glob
import mmap
import os
import platform
import resource
import shutil

from suite.allocators import libc_path, output, package_version

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def read(path, default=""):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return default


def chosen(path):
    """The word in brackets, as the kernel shows a choice."""
    text = read(path)
    return text.split("[")[1].split("]")[0] if "[" in text else text or "none"


def field_of(path, name):
    for line in read(path).splitlines():
        if line.split(":")[0].strip() == name:
            return line.split(":", 1)[1].strip()
    return ""


def processor():
    flags = field_of("/proc/cpuinfo", "flags").split()
    return {
        "model": field_of("/proc/cpuinfo", "model name") or field_of("/proc/cpuinfo", "CPU part")
        or platform.machine(),
        "online": os.cpu_count(), "allowed": sorted(os.sched_getaffinity(0)),
        "nodes": len(glob.glob("/sys/devices/system/node/node[0-9]*")) or 1,
        "threads_per_core": len(read("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list",
                                     "0").replace("-", ",").split(",")),
        "caches": {f"L{read(d + '/level')}{read(d + '/type')[:1].lower()}": read(d + "/size")
                   for d in sorted(glob.glob("/sys/devices/system/cpu/cpu0/cache/index*"))},
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "not shown"),
        "virtual": "hypervisor" in flags,
    }


def page_reporting():
    """Free blocks of 2^N pages and more go back to the host: N, or None where none do."""
    order = read("/sys/module/page_reporting/parameters/page_reporting_order")
    return int(order) if order.isdigit() and int(order) < 32 else None


def have_at_hand(mib):
    """Touches MIB on huge pages and gives them back, so that the next program's first touches find what the host
    would have to bring back first."""
    if not mib:
        return
    step = 2 << 20
    with mmap.mmap(-1, mib << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        area.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, mib << 20, step):
            area[at] = 1


def memory():
    pages = {}
    for directory in sorted(glob.glob("/sys/kernel/mm/hugepages/hugepages-*")):
        pages[os.path.basename(directory)[len("hugepages-"):]] = int(
            read(directory + "/nr_hugepages", "0"))
    thp = "/sys/kernel/mm/transparent_hugepage/"
    return {
        "total": field_of("/proc/meminfo", "MemTotal"),
        "available": field_of("/proc/meminfo", "MemAvailable"),
        "swap": field_of("/proc/meminfo", "SwapTotal"),
        "thp": chosen(thp + "enabled"), "thp_defrag": chosen(thp + "defrag"),
        "thp_shmem": chosen(thp + "shmem_enabled"), "hugetlb_pages": pages,
        "page_reporting": page_reporting(),
        "overcommit": read("/proc/sys/vm/overcommit_memory"),
        "address_randomization": read("/proc/sys/kernel/randomize_va_space"),
        "limits": {name: resource.getrlimit(kind)[0] for name, kind in (
            ("address_space", resource.RLIMIT_AS), ("locked", resource.RLIMIT_MEMLOCK))},
    }


def commit():
    """The commit of this tree, with '+changes' where files differ from it."""
    if not shutil.which("git"):
        return "unknown (no git)"
    at = output(["git", "-C", ROOT, "rev-parse", "--short=12", "HEAD"])
    if not at:
        return "unknown (no repository)"
    return at + ("+changes" if output(["git", "-C", ROOT, "status", "--porcelain", "-uno"]) else "")


def facts(compiler="cc"):
    _, libc = package_version(libc_path())
    return {
        "processor": processor(), "memory": memory(),
        "kernel": f"{platform.system()} {platform.release()}",
        "system": field_of_release("PRETTY_NAME"),
        "libc": " ".join(platform.libc_ver()) + (f" ({libc})" if libc else ""),
        "compiler": (output([compiler, "--version"]).splitlines() or ["none"])[0],
        "python": platform.python_version(), "commit": commit(),
        "load_at_start": [float(word) for word in read("/proc/loadavg", "0 0 0").split()[:3]],
    }


def field_of_release(name):
    for line in read("/etc/os-release").splitlines():
        key, _, value = line.partition("=")
        if key == name:
            return value.strip('"')
    return "unknown"


class Load:
    """What others took of the processors since this was made."""

    def __init__(self):
        self.start = self.ticks()
        self.mine = self.own_seconds()

    @staticmethod
    def ticks():
        words = [int(w) for w in read("/proc/stat").splitlines()[0].split()[1:9]]
        user, nice, system, idle, wait, irq, soft, steal = (words + [0] * 8)[:8]
        return {"busy": user + nice + system + irq + soft, "steal": steal,
                "all": user + nice + system + idle + wait + irq + soft + steal}

    @staticmethod
    def own_seconds():
        total = 0.0
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            usage = resource.getrusage(who)
            total += usage.ru_utime + usage.ru_stime
        return total

    def share(self):
        """{'foreign': .., 'stolen': ..} of all processor time: other processes', the host's."""
        now, hertz = self.ticks(), os.sysconf("SC_CLK_TCK")
        span = max(now["all"] - self.start["all"], 1)
        foreign = (now["busy"] - self.start["busy"]) - (self.own_seconds() - self.mine) * hertz
        return {"foreign": round(max(foreign, 0) / span, 4),
                "stolen": round((now["steal"] - self.start["steal"]) / span, 4)}
