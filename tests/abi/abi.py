#!/usr/bin/env python3
"""What others are linked with or read must not change unnoticed.

  tests/abi/abi.py --lib build/libhakmem.so            compares with symbols.txt and layout.txt
  tests/abi/abi.py --lib build/libhakmem.so --update   writes them (after a change that is meant)

Exported names with their versions, SONAME, what it needs (libc alone; the loader's own object is
allowed: some toolchains name it), three initial-exec words of thread-local storage at most, no relocations in
code, and where the fields of struct hak_stats and struct hak_root stand.
What it does not do: look at the types of arguments. Exit: 0 passed, 1 failed, 77 skipped.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SYMBOLS, LAYOUT = HERE / "symbols.txt", HERE / "layout.txt"
SONAME = "libhakmem.so.0"
NEEDED, ALLOWED = {"libc.so.6"}, re.compile(r"^ld-linux.*\.so\.\d+$")
TLS_BYTES = 24  # the heap that malloc takes from, the ordinary one, a count of frees before there is one
STRUCTS = [("hak_stats", "include/hakmem/hakmem.h", "hakmem/hakmem.h"),
           ("hak_root", "src/api/root.h", "api/root.h")]


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


def exported(lib):
    """NAME VERSION lines; - where a name has none."""
    names = []
    for line in run("readelf", "--dyn-syms", "-W", lib).split("\n"):
        f = line.split()
        if len(f) == 8 and f[4] in ("GLOBAL", "WEAK") and f[6] != "UND":
            name, _, version = f[7].partition("@@")
            names.append(f"{name} {version or '-'} {f[3]}")
    return sorted(names)


def fields(header, struct):
    """Names of the struct's members, in order."""
    text = re.sub(r"/\*.*?\*/", "", (ROOT / header).read_text(), flags=re.S)
    body = re.search(r"struct %s \{(.*?)\n\};" % struct, text, re.S)[1]
    return [re.search(r"(\w+)(?:\[[^]]*\])?$", m.strip())[1] for m in body.split(";") if m.strip()]


def layout(cc):
    """STRUCT.FIELD OFFSET SIZE lines, from the compiler."""
    code = ["#include <stdio.h>", "#include <stddef.h>"]
    code += [f'#include "{include}"' for _, _, include in STRUCTS]
    code += ["int main(void)", "{"]
    for struct, header, _ in STRUCTS:
        code.append(f'printf("{struct} 0 %zu\\n", sizeof(struct {struct}));')
        for name in fields(header, struct):
            code.append(f'printf("{struct}.{name} %zu %zu\\n", offsetof(struct {struct}, {name}), '
                        f"sizeof(((struct {struct} *)0)->{name}));")
    code += ["return 0;", "}"]
    with tempfile.TemporaryDirectory() as tmp:
        src, prog = Path(tmp) / "layout.c", Path(tmp) / "layout"
        src.write_text("\n".join(code))
        run(*cc.split(), "-std=gnu11", f"-I{ROOT}/src", f"-I{ROOT}/include", "-o", str(prog), str(src))
        return run(str(prog)).split("\n")[:-1]


def kept(path):
    return [line for line in path.read_text().split("\n") if line and not line.startswith("#")]


def differences(what, have, want):
    """Lines of one that the other has not: both directions are a change."""
    return ([f"{what} gone or changed: {line}" for line in want if line not in have] +
            [f"{what} new: {line}" for line in have if line not in want])


def check_order(have, want):
    return [] if have == want else differences("layout", have, want) or ["layout: another order"]


def check_dynamic(lib):
    text = run("readelf", "-dW", lib)
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", text))
    soname = re.findall(r"\(SONAME\).*\[(.*)\]", text)
    bad = [] if soname == [SONAME] else [f"SONAME is {soname}, not {SONAME}"]
    extra = {n for n in needed - NEEDED if not ALLOWED.match(n)}
    if extra or not NEEDED <= needed:
        bad.append(f"needs {sorted(needed)}, not {sorted(NEEDED)} alone")
    if "TEXTREL" in text:
        bad.append("relocations in code")
    return bad


def check_tls(lib):
    bad = []
    for line in run("readelf", "-lW", lib).split("\n"):
        f = line.split()
        if f and f[0] == "TLS" and int(f[5], 16) > TLS_BYTES:
            bad.append(f"{int(f[5], 16)} bytes of thread-local storage, at most {TLS_BYTES}")
    relocations = run("readelf", "-rW", lib)
    if re.search(r"DTPMOD|TLSDESC", relocations):
        bad.append("thread-local storage that is not initial-exec: __tls_get_addr mallocs")
    if "TPOFF" not in relocations:
        bad.append("no initial-exec word at all: the hot path has lost it")
    return bad


def update(lib, cc):
    SYMBOLS.write_text("# symbols.txt - what libhakmem.so exports: name, version, kind. Written by abi.py --update.\n" +
                       "\n".join(exported(lib)) + "\n")
    LAYOUT.write_text("# layout.txt - field, offset, bytes. Written by abi.py --update; fields are added at the end alone.\n" +
                      "\n".join(layout(cc)) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--lib", required=True)
    p.add_argument("--update", action="store_true")
    args = p.parse_args()
    cc = os.environ.get("CC", "cc")
    if not shutil.which("readelf"):
        print("skip: no readelf (install binutils)\n0 passed, 0 failed, 1 skipped")
        return 77
    if args.update:
        update(args.lib, cc)
    checks = [
        ("exported symbols", differences("symbol", exported(args.lib), kept(SYMBOLS))),
        ("SONAME, needed objects, text relocations", check_dynamic(args.lib)),
        ("few initial-exec words", check_tls(args.lib)),
        ("layout of hak_stats and hak_root", check_order(layout(cc), kept(LAYOUT))),
    ]
    failed = 0
    for name, bad in checks:
        print(f"{'FAILED' if bad else 'passed':7} {name}")
        for line in bad:
            print(f"    | {line}")
        failed += bool(bad)
    print(f"{len(checks) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
