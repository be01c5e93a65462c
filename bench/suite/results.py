"""results - the one JSON file of a run: written after each row, read to resume, report and compare.

    {"schema": 1, "state": "running" | "complete" | "stopped", "started": .., "seconds": ..,
     "settings": {..}, "machine": {..}, "allocators": [{name, path, version, ..}], "own": "hakmem",
     "twin": name or null, "left_out": [..],
     "late": [ids that the time did not suffice for],
     "rows": [{"id": .., "name": .., .., "rounds": 5, "load": {..},
               "samples": {allocator: [{figures of one run}, ..]}, "twin": [..],
               "failures": [[allocator, text], ..], "skipped": text or null}]}
"""
import datetime
import json
import os
import tempfile

SCHEMA = 1


class Bad(Exception):
    """A file that can't be used, in one line."""


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def new(settings, machine, allocators, own, twin, left_out):
    return {"schema": SCHEMA, "state": "running", "started": now(), "seconds": 0.0,
            "settings": settings, "machine": machine,
            "allocators": [a.as_dict() for a in allocators], "own": own, "twin": twin,
            "left_out": left_out, "late": [], "rows": []}


def save(record, path):
    """Whole or not at all: a run that is broken off leaves a file that can be resumed."""
    directory = os.path.dirname(os.path.abspath(path))
    os.makedirs(directory, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=directory, prefix=".run-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(record, file, separators=(",", ":"))
        file.write("\n")
    os.chmod(name, 0o644)
    os.replace(name, path)


def load(path):
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
    except OSError as why:
        raise Bad(f"{path}: {why.strerror}") from why
    except ValueError as why:
        raise Bad(f"{path}: not JSON: {why}") from why
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or "rows" not in record:
        raise Bad(f"{path}: no results of bench/run (schema {SCHEMA})")
    return record


def place(machine):
    """What must be the same for two rows to stand in one file."""
    return {"processor": machine["processor"]["model"], "kernel": machine["kernel"], "libc": machine["libc"],
            "transparent huge pages": machine["memory"]["thp"], "commit": machine["commit"]}


def resumable(record, settings, machine, allocators):
    """None, or why RECORD can't be continued with these."""
    before, today = place(record["machine"]), place(machine)
    for key, value in today.items():
        if before[key] != value:
            return f"it was made with another {key}, {before[key]}, not {value}"
    for key, value in settings.items():
        if record["settings"].get(key) != value:
            return f"it was made with {key} {record['settings'].get(key)}, not {value}"
    before = {a["name"]: a["sha256"] for a in record["allocators"]}
    today = {a.name: a.sha256 for a in allocators}
    if before.keys() != today.keys():
        return f"it was made with {', '.join(before)}, not {', '.join(today)}"
    for name, digest in today.items():
        if before[name] != digest:
            return f"the file of {name} is another one now"
    return None


def done_ids(record):
    """Rows that need not be run again: measured without a failure. What was skipped may have been installed since."""
    return {r["id"] for r in record["rows"] if not r["failures"] and not r["skipped"]}
