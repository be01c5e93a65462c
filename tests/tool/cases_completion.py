"""The completion of bash, asked as bash asks it."""
import os
import re
import subprocess

from harness import ROOT, TOOL, clean_environment, run, same, check

SCRIPT = """
. config/completion/hakmem
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_hakmem 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(*words):
    out = subprocess.run(["bash", "-c", SCRIPT, "bash", *words], cwd=ROOT, env=clean_environment(), text=True,
                         stdout=subprocess.PIPE, check=True).stdout
    return out.split()


def test_commands_and_options():
    same(complete("hakmem", ""), ["run", "topo", "doctor", "audit", "--help", "--version"], "commands")
    for command in ("run", "topo", "doctor", "audit"):
        known = set(re.findall(r"^  (--[a-z]+)", run(command, "--help").stdout, re.M)) | {"--help"}
        offered = set(complete("hakmem", command, "--")) - {"--"}
        same(offered, known, f"options of {command}")


def test_values():
    same(complete("hakmem", "run", "--huge", "huge"), ["hugetlb", "hugetlb-1g"], "modes")
    same(complete("hakmem", "run", "--profile", "l"), ["latency"], "profiles")
    check("bind=0" in complete("hakmem", "run", "--numa", "b"), "nodes")


def test_words_that_are_offered_are_taken():
    for word in complete("hakmem", "run", "--numa", ""):
        node = word.partition("=")[2]
        if not node or node == "0":
            run("run", "--numa", word, "true")
    for word in complete("hakmem", "run", "--profile", ""):
        run("run", "--profile", word, "true")
    for word in complete("hakmem", "run", "--option", ""):
        done = subprocess.run([TOOL, "run", "--option", word, "true"], env=clean_environment(), text=True,
                              stderr=subprocess.PIPE, check=False)
        check("has no option" not in done.stderr, f"--option {word}: {done.stderr}")


def test_files_after_the_program():
    same(complete("hakmem", "run", "--", "./x", os.path.join(ROOT, "READM")), [os.path.join(ROOT, "README.md")],
         "files")
