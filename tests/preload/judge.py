"""judge.py - who served: reads the observer's lines of a run and says what is wrong with them.

Decides from the lines alone; starts nothing.
"""
import os


def is_libc(path):
    return os.path.basename(path) == "libc.so.6"


def served_file_problems(run, lines):
    """Every process, at its start and at its end, must be served by the file of its side."""
    problems = []
    for line in lines:
        path = line["file"]
        who = "pid %s (%s)" % (line["pid"], line["comm"])
        if run.side == "lib":
            right = path == run.setup.lib_copy
        elif run.row.forwarder:
            right = os.path.basename(path) == "forwarder.so"
        else:
            right = is_libc(path)
        if not right:
            problems.append("%s is served by %s" % (who, path))
        if run.side == "lib" and line["place"] == "brk":
            problems.append("blocks of %s lie in the heap of libc: the library passes on" % who)
        if run.side == "lib" and line["place"] == "other":
            problems.append("hak_owns() denies a live block of %s" % who)
        if run.side == "lib" and line["place"] == "none":
            problems.append("malloc(24) failed at the end of %s" % who)
        if run.side == "glibc" and line["kind"] == "E" and line["blocks"] != "-":
            problems.append("%s has hakmem's counters in the glibc run" % who)
    return problems


def block_problems(run, lines, blocks):
    """No program of the row, and not the row, may have been served zero blocks."""
    ends = [line for line in lines if line["kind"] == "E"]
    # The last start counts: a launcher becomes the program.
    names = {line["pid"]: line["comm"] for line in lines if line["kind"] == "S"}
    problems = []
    for main in run.row.mains:
        pids = {pid for pid, name in names.items() if name == main}
        if not pids:
            problems.append("no process '%s' was observed" % main)
            continue
        mine = [line for line in ends if line["pid"] in pids]
        if not mine:
            problems.append("no process '%s' came to its end in order" % main)
        elif blocks is not None and sum(int(line["blocks"]) for line in mine) == 0:
            problems.append("'%s' was served zero blocks" % main)
    if blocks == 0:
        problems.append("zero blocks served")
    return problems


def judge(run):
    """(summary, problems): summary has processes, files {file: processes}, blocks or None."""
    lines = run.lines()
    ends = [line for line in lines if line["kind"] == "E"]
    counted = [int(line["blocks"]) for line in ends if line["blocks"] != "-"]
    blocks = sum(counted) if counted else None
    problems = served_file_problems(run, lines)
    files = {}
    for pid, path in {(line["pid"], line["file"]) for line in lines}:
        files[path] = files.get(path, 0) + 1
    if run.side == "lib":
        problems += block_problems(run, lines, blocks)
        uncounted = len(ends) - len(counted)
        if uncounted and (counted or run.setup.must_count):
            problems.append("%d processes have no hak_stats_get" % uncounted)
    if not lines:
        problems.append("no process wrote an observer line")
    summary = {"processes": len({line["pid"] for line in lines}), "files": files, "blocks": blocks,
               "forked": len({line["pid"] for line in lines} -
                             {line["pid"] for line in lines if line["kind"] == "S"})}
    return summary, problems


def compare(base, lib):
    """What differs between the results of the two runs, one line each."""
    problems = []
    for name in list(base) + [name for name in lib if name not in base]:
        one, two = base.get(name, "absent"), lib.get(name, "absent")
        if one == two:
            continue
        if isinstance(one, dict) and isinstance(two, dict):
            keys = sorted(k for k in set(one) | set(two) if one.get(k) != two.get(k))
            text = ["%s: %s on glibc, %s here" % (k, one.get(k, "absent"), two.get(k, "absent"))
                    for k in keys[:6]]
            if len(keys) > 6:
                text.append("and %d more" % (len(keys) - 6))
            problems.append("result '%s' differs: %s" % (name, "; ".join(text)))
        else:
            problems.append("result '%s' differs: %.120s on glibc, %.120s here" % (name, one, two))
    return problems
