"""claims - what hakmem is to do, each line with the way to check it. Data; runs nothing.

Figures are the targets of bench/anchors_rows.py and those added here. Tests are named by suite and
a regular expression over the names of its tests; all that match must have passed. LONG tests are
run by acceptance itself, with their long loops; COMMANDS too, and judged by what they print.
"""
import dataclasses

import anchors_rows as rows

# Further targets for rows of bench/anchors; a stretch that is not met is no failure.
MORE = {
    "anchor": [rows.over_best(1.0), rows.over("jemalloc", 1.3), rows.over("tcmalloc", 1.3)],
}
STRETCH = {
    "anchor": [rows.over("mimalloc", 1.1)],
    "live-10k": [rows.over_best(1.3)],
}
# Rows without a target whose figures are asked for.
SHOWN = ["anchor-main", "visitors"]

# Rows that take long or whose figures need no peer: (rows, further arguments, rounds).
FIGURE_RUNS = [
    ("rss-small,rss-threads-8,sleepers,visitors", [], 5),
    ("idle,cycle", ["--only", "hakmem"], 3),
]
STARTUP_RUNS = 5  # each with 200 starts of every object


@dataclasses.dataclass
class Test:
    text: str
    suite: str
    tests: str = "."       # all of them


@dataclasses.dataclass
class Command:
    text: str
    command: list
    seconds: int
    good: str              # what a line of its output must be, as a regular expression
    skipped: str = r"^skip(?:ped)?: (.*)$"


TESTS = [
    Test("Real programs compute the same as on glibc, each process proven to be served", "preload"),
    Test("Redis under a filter that kills on @resources calls", "preload", "^redis-seccomp$"),
    Test("A program with mlockall and 8 MiB of RLIMIT_MEMLOCK", "preload", "^mlockall$"),
    Test("A program in a memory cgroup of 128 MiB", "preload", "^cgroup-128M$"),
    Test("The program tests see an allocator that passes on, counts nothing or loses a bit",
         "preload", "^harness "),
    Test("100,000 live blocks, small and large, stay below 4,000 mappings", "stress", "/vma_test$"),
    Test("1 TiB of committed SuperSlabs, every third purged, stays below 4,000 mappings", "unit",
         "tebibyte"),
    Test("The libc family keeps its contract", "api"),
    Test("What a thread gets is on its node; blocks are handed to the next node's thread", "numa", "/(place|spans)$"),
    Test("The same after 10,000 thread deaths and births", "numa", "^[24]node/churn$"),
    Test("numactl's policies, cpusets and HAKMEM_NUMA are obeyed", "numa",
         "/(membind|cpunodebind|interleave|preferred|localalloc|numa-|cpuset|weighted|policies)"),
    Test("NUMA calls denied, by an error or by death: placement by first touch", "numa", "/deny-"),
    Test("One node full: the kernel's own counts explain each byte elsewhere", "numa", "/exhaust$"),
    Test("Threads that move, end, and leave slabs to others", "numa", "/(migrate|adopt|stress)$"),
    Test("hugetlb pools of 0, 1 and N pages, drained meanwhile, of 1 GiB pages; children", "numa", "/huge-"),
    Test("sysfs, what is handed over, what is saved and hwloc agree", "numa", "/providers$"),
    Test("Bad NUMA input: one line, the program runs on", "numa", "/badinput$"),
    Test("Memory exhausted where the kernel promises no more than it has (vm.overcommit_memory=2)", "numa",
         "/overcommit$"),
    Test("Arenas on each node's hugetlb pages: strict, replaced and counted, drained meanwhile", "numa",
         "/huge-arena"),
    Test("numa_touch runs on machines with several nodes", "numa", "/touch$"),
    Test("The hakmem command: topo, run, doctor", "tool"),
    Test("After creation an arena's data path makes no system call and takes no fault", "arena", "/kernel_test$"),
    Test("Arenas: options, given memory, many, threads, races, pools, C++", "arena"),
    Test("The examples run", "examples"),
    Test("io_uring: fixed buffers, growth, rings, limits, fork, memfd, the two examples", "uring"),
    Test("The benchmark programs prove their allocator and notice a broken one", "programs"),
    Test("The benchmark runner, its report, compare and profile", "bench"),
    Test("calloc clears what is not known to be zero", "api", "/calloc_test$"),
    Test("realloc of large blocks grows in place or moves pages", "unit",
         "grows_where_there_is_room|pages_move"),
    Test("malloc works before any constructor and after exit handlers", "api", "/lifetime_test$"),
    Test("C++ operators, with new_handler and bad_alloc", "api", "/cxx_test$"),
    Test("mallinfo2, malloc_info, malloc_stats and malloc_trim tell the truth", "api",
         "/info_test$"),
    Test("The hak_ functions do what libc's do, and blocks may cross over", "api", "/twins_test$"),
    Test("Blocks of another malloc are passed on", "api", "/deepbind_test$"),
    Test("Exported symbols, versions, layouts; the library needs libc alone", "abi"),
    Test("malloc and free: few instructions, no lock, no frame, no counter", "codegen"),
    Test("Sources keep to their layers and sizes", "lint"),
    Test("fork of a threaded parent: the child allocates at once, all kinds of fork", "stress",
         "/fork_test$"),
    Test("getline, fflush and fork in 8 threads never deadlock", "stress", "/fork_stdio_test$"),
    Test("Mallocs and frees after the heap's death are served", "stress", "/thread_exit_test$"),
    Test("A crash handler that allocates gets memory and does not hang", "stress", "/signal_test$"),
    Test("Memory exhausted (RLIMIT_AS, RLIMIT_DATA) is errno, and nothing is lost", "stress",
         "/limits_test$"),
    Test("No /proc, no huge pages, closed descriptors, small stacks", "stress",
         "/environment_test$"),
    Test("Misuse that is seen ends in one line and abort", "death", "/misuse_test$"),
    Test("Wrong options are named once; none are taken in setuid programs; no message into a file "
         "that the program opened as fd 2", "death", "/messages_test$"),
    Test("Each profile changes what it says", "unit", "options_test/.*profile"),
    Test("install puts everything there, uninstall leaves nothing", "install"),
    Test("Debian packages are lintian-clean, install, serve and go without a trace", "deb"),
    Test("bench/verify catches an ignored preload, a forwarder, a wrong library, a static program",
         "verify"),
]

# With long loops, so not as part of `make check`.
LONG_PATTERN = "quiet|memory_loop|memory_sleep|churn|exchange"
LONG = [
    Test("Steady state makes no system call: 100 blocks in order, random replacement, and 4 threads "
         "with remote frees over 300,000 slots for 60 s; 10,000 mixed blocks take no page fault",
         "long", "/quiet_test$"),
    Test("1 GiB of mixed sizes allocated and freed again and again, and producer with consumer: "
         "memory stays flat", "long", "/memory_loop_test$"),
    Test("What a consumer frees of a sleeping producer is reusable and trimmable; a sleeper with "
         "three blocks holds below 100 KiB", "long", "/memory_sleep_test$"),
    Test("10,000 threads come and go, 1,000 of them with 25 classes: nothing is stranded", "long",
         "/churn_test$"),
    Test("8 threads free each other's blocks, every pattern whole", "long", "/exchange_test$"),
]

COMMANDS = [
    Command("100 million alloc, free and reset in an arena under a filter that kills for any other system call; "
            "no page fault, minor or major", ["make", "check-arena", "QUICK=0", "ARENA_ARGS=--only kernel"], 600,
            r"^passed +arena/kernel_test"),
    Command("larson for two minutes: memory stays flat, no block is lost", ["bench/larson.sh", "soak"], 300,
            r"^(?:resident memory is flat|median of \d+: .*no block lost)"),
    Command("The short tour: proven runs on glibc, hakmem and every peer found", ["make", "try"], 300,
            r"^bench_tiny: hakmem .* the speed of the best other one"),
    Command("The same sources as debug, asan, ubsan and tsan builds", ["make", "check-variants"],
            1200, r"^[1-9]\d* passed, 0 failed"),
    Command("At least 20 breakages of the allocator, each turns a named test red",
            ["make", "mutants"], 2400, r"^(?:[2-9]\d|\d{3,}) passed, 0 failed"),
]

# What each part of `make check` may take on two quiet cores: (part, its suites, seconds).
SHARES = [
    ("placement", ["numa", "tool"], 240),
    ("arenas", ["arena", "examples", "uring"], 240),
    ("the benchmark suite", ["programs", "bench"], 180),
    ("the allocator, all other suites", None, 600),
]
SUITES = 20          # that make check runs, the build among them
