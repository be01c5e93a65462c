"""kept - what acceptance measured already, so that a run that was cut, or is made again, need not.

BUILD/acceptance/kept.json: by name what a part or a row gave, of one library (sha256), one state of the
sources (commit and changes to it) and one way to measure. Of any other, nothing is kept. Judges nothing.
"""
import hashlib
import json
import os
import subprocess

FIELDS = ("claims", "shown")


def sources(root):
    """The commit, and a sum of what was changed since; "unknown" where there is no git."""
    def git(*words):
        return subprocess.run(["git", "-C", root, *words], stdout=subprocess.PIPE, check=True,
                              stderr=subprocess.DEVNULL).stdout
    try:
        commit = git("rev-parse", "HEAD").decode().strip()
        changes = git("diff", "HEAD")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+" + hashlib.sha256(changes).hexdigest()[:12] if changes else "")


class Kept:
    """KEY: what all that is kept here has in common."""

    def __init__(self, path, key):
        self.path, self.key, self.parts = path, key, {}
        try:
            with open(path, encoding="utf-8") as f:
                found = json.load(f)
            if found["key"] == key:
                self.parts = {name: part for name, part in found["parts"].items()
                              if all(isinstance(part[field], list) for field in FIELDS)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass

    def get(self, name):
        return self.parts.get(name)

    def put(self, name, **part):
        """At once: who is cut short keeps what was done."""
        self.parts[name] = part
        new = self.path + ".new"
        with open(new, "w", encoding="utf-8") as f:
            json.dump({"key": self.key, "parts": self.parts}, f, indent=1)
        os.replace(new, self.path)


def self_test(folder):
    """[(name, good, text)]"""
    path = os.path.join(folder, "kept.json")
    key = {"library": "a", "sources": "b", "rounds": 5}
    part = {"claims": [{"text": "x"}], "shown": []}
    Kept(path, key).put("row", **part)
    out = [("kept and found", Kept(path, dict(key)).get("row") == part, "not found")]
    for field, value in (("library", "other"), ("sources", "b+1"), ("rounds", 3)):
        out.append((f"not of another {field}", Kept(path, {**key, field: value}).get("row") is None, "found"))
    broken = {"empty": "", "cut": "{", "a list": "[]", "no key": '{"key": 1}',
              "no lines": json.dumps({"key": key, "parts": {"row": {"claims": 1}}})}
    for name, text in broken.items():
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        out.append((f"kept file {name}", Kept(path, key).get("row") is None, "found"))
    return out
