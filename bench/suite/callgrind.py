"""callgrind - reads what valgrind's callgrind wrote: instructions by function, calls by function.

Knows the file format and how functions of src/ fall into components; runs nothing.
"""
import re

# A function's component by its name (what it does), else by the file that it is in (who has it).
BY_NAME = (
    ("slow entry", r"hk_(alloc|malloc|free|realloc)_slow|hk_slab_has_block|hk_realloc|hk_usable"),
    ("refill", r"hk_bin_refill|refill_and_pop|class_open|hk_slabs?_take|hk_shared_take|hk_bin_grant"),
    ("carve", r"hk_slab_(carve|new)|hk_slab_carved"),
    ("flush", r"hk_bin_(cut|overflow|quiet|recount|spent)|flush|settle|hk_bins_give_back|hk_slab_put"
              r"|hk_free_spent|hk_slabs?_release"),
    ("remote", r"hk_remote_|gather|post_pending|hk_heap_posted|free_other"),
)
BY_FILE = (
    ("carve", r"tiny/slab\.[ch]|tiny/classes\.[ch]"),
    ("refill", r"tiny/bin\.[ch]"),
    ("remote", r"tiny/remote\.[ch]"),
    ("slow entry", r"tiny/tiny_slow\.[ch]|tiny/find\.h|tiny/heap\.h|tiny/reentry|tiny/large"),
    ("pool", r"arena/"),
    ("os", r"/os/|/numa/"),
    ("heap", r"heap/"),
    ("observe", r"observe/"),
)
COMPONENTS = ("fast path", "slow entry", "refill", "carve", "flush", "remote", "pool", "os", "heap",
              "observe", "other")
# Calls that count as one allocation or one release.
GETS = re.compile(r"^(malloc|calloc|realloc|reallocarray|memalign|aligned_alloc|posix_memalign|"
                  r"valloc|pvalloc|_Zn[wa].*)$")
PUTS = re.compile(r"^(free|cfree|free_sized|free_aligned_sized|_Zd[la].*)$")


class Profile:
    """Instructions of each (object, file, function), and how often functions were called."""

    def __init__(self):
        self.cost = {}       # (object, file, function): instructions of its own
        self.calls = {}      # (object, function): calls
        self.total = 0


class Names:
    """'(12) text' gives 12 a name, '(12)' alone uses it."""

    def __init__(self):
        self.known = {}

    def of(self, text):
        found = re.match(r"\((\d+)\)(?: (.*))?$", text)
        if not found:
            return text
        number, name = found.groups()
        if name is not None:
            self.known[number] = name
        return self.known.get(number, "?")


def read(lines):
    """A Profile. Of inlined code the file is that of the source line, the function the caller."""
    profile = Profile()
    names = {"ob": Names(), "fl": Names(), "fn": Names()}
    at = {"ob": "?", "fl": "?", "fn": "?"}
    called = {"ob": "?", "fn": "?"}
    skip = False
    for raw in lines:
        line = raw.rstrip("\n")
        if not line:
            continue
        if line[0].isdigit() or line[0] in "+-*":
            if not skip:
                key = (at["ob"], at["fl"], at["fn"])
                cost = int(line.split()[-1])
                profile.cost[key] = profile.cost.get(key, 0) + cost
                profile.total += cost
            skip = False    # the line after calls= is the callee's, in sum
            continue
        key, _, value = line.partition("=")
        if key in ("ob", "fn"):
            at[key] = names[key].of(value)
            if key == "fn":
                called = {"ob": at["ob"], "fn": "?"}
        elif key in ("fl", "fi", "fe"):
            at["fl"] = names["fl"].of(value)
        elif key == "cob":
            called["ob"] = names["ob"].of(value)
        elif key in ("cfi", "cfl"):
            names["fl"].of(value)
        elif key == "cfn":
            called["fn"] = names["fn"].of(value)
        elif key == "calls":
            who = (called["ob"], plain(called["fn"]))
            profile.calls[who] = profile.calls.get(who, 0) + int(value.split()[0])
            called = {"ob": at["ob"], "fn": "?"}
            skip = True
    return profile


def plain(function):
    """Without the compiler's suffixes and callgrind's recursion marks."""
    return re.sub(r"'\d+$", "", re.sub(r"\.(cold|part|constprop|isra|lto_priv)(\.\d+)?", "",
                                       function))


def component(file, function):
    """Of a function and what was inlined into it; what the calls of libc's names do is the fast path."""
    name = plain(function)
    if GETS.match(name) or PUTS.match(name) or name.startswith("hak_"):
        return "fast path"
    for part, pattern in BY_NAME:
        if re.match(f"(?:{pattern})", name):
            return part
    for part, pattern in BY_FILE:
        if re.search(pattern, file):
            return part
    return "other"


def of_object(profile, is_library):
    """(by component, by function, gets, puts) of the objects that IS_LIBRARY(name) takes."""
    components, functions = {}, {}
    for (name, file, function), cost in profile.cost.items():
        if not is_library(name):
            continue
        part = component(file, function)
        components[part] = components.get(part, 0) + cost
        key = (plain(function), part)
        functions[key] = functions.get(key, 0) + cost
    gets = sum(n for (name, fn), n in profile.calls.items() if is_library(name) and GETS.match(fn))
    puts = sum(n for (name, fn), n in profile.calls.items() if is_library(name) and PUTS.match(fn))
    return components, functions, gets, puts


def read_files(paths):
    """The Profile of the last of PATHS."""
    with open(paths[-1], encoding="utf-8", errors="replace") as file:
        return read(file)
