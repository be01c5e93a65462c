#!/usr/bin/env python3
"""Reads the machine code of the hot path and holds it to what it costs.

  tests/codegen/codegen.py --lib build/libhakmem.so

For each function of ceilings.txt, along the way that a hit takes (conditional jumps fall through,
a plain jmp is followed) from the entry to ret: at most that many instructions, no lock prefix or
xchg, no call, no stack frame, no memory operand with an index (the bin's head must be plain (reg):
only that is forwarded at near-zero latency), no 16-bit memory operand. And what the first malloc
writes begins on the one page of .data, which the loader writes in any case; and all that is mapped stays
below 2 MiB, from where on the kernel would place it apart from the other libraries, on page tables of its
own. What it does not do: time anything. Only x86-64 is read; other machines are skipped. Exit: 0 passed, 1 failed, 77 skipped.
"""
import argparse
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

CEILINGS = Path(__file__).resolve().parent / "ceilings.txt"
MEMORY = re.compile(r"(%[fg]s:)?(-?0x[0-9a-f]+)?\(([^)]*)\)")
LINE = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)\s*(.*)$")
AT_START = ("hk_numa", "hk_options", "hk_heaps_made", "hk_shared_heaps", "first_stderr", "hk_pools")
STACK = re.compile(r"^(push|pop|enter|leave)|%[re]?sp\b")
MOST_STEPS = 200
LOAD, MOST_MAPPED = 1, 2 << 20


def skip(reason):
    print(f"skip: {reason}")
    print("0 passed, 0 failed, 1 skipped")
    sys.exit(77)


def read_ceilings():
    rows = [line.split() for line in CEILINGS.read_text().split("\n")
            if line.strip() and not line.startswith("#")]
    return {name: int(most) for name, most in rows}


def disassemble(lib, objdump):
    """Instructions by address, and the address of each symbol."""
    out = subprocess.run([objdump, "-d", "--no-show-raw-insn", "-w", lib],
                         check=True, capture_output=True, text=True).stdout
    code, names, order = {}, {}, []
    for line in out.split("\n"):
        head = re.match(r"^([0-9a-f]+) <([^>]+)>:$", line)
        if head:
            names.setdefault(head[2].split("@")[0], int(head[1], 16))
            continue
        m = LINE.match(line)
        if m:
            address = int(m[1], 16)
            code[address] = (m[2], m[3].split("#")[0].strip())
            order.append(address)
    follows = dict(zip(order, order[1:]))
    return code, names, follows


def off_the_first_page(lib, objdump):
    """Variables of AT_START that do not begin on .data's first page, and what else is wrong, as lines."""
    out = subprocess.run([objdump, "-t", "-h", lib], check=True, capture_output=True, text=True).stdout
    data = re.search(r"^ *\d+ \.data +[0-9a-f]+ +([0-9a-f]+) ", out, re.M)
    if not data:
        return ["no .data"]
    at = {m[2]: int(m[1], 16) for m in re.finditer(r"^([0-9a-f]+) .* (\S+)$", out, re.M)}
    page = int(data[1], 16) >> 12
    return [f"{name} is not on page {page:#x}, where .data is" for name in AT_START
            if at.get(name, 0) >> 12 != page]


def hot_path(code, follows, start):
    """(op, operands) from START to ret; the last one says how it ended."""
    path, at = [], start
    while at in code and len(path) < MOST_STEPS:
        op, operands = code[at]
        if op.startswith(("nop", "endbr", "data16")):
            at = follows.get(at)
            continue
        path.append((op, operands))
        if op.startswith("ret") or op in ("hlt", "ud2"):
            break
        if op == "jmp":
            target = re.match(r"^([0-9a-f]+)", operands)
            if not target:
                break
            at = int(target[1], 16)
        else:
            at = follows.get(at)
    return path


def is_frame(op, operands):
    return bool(STACK.match(op) or re.search(r"%[re]?sp\b", operands)) and not op.startswith("ret")


def faults(path, most, want_head):
    """What is wrong with the path, as lines."""
    bad = []
    if len(path) > most:
        bad.append(f"{len(path)} instructions, at most {most}")
    if not path or not path[-1][0].startswith("ret"):
        bad.append("the hot path does not end with ret")
    plain = []
    for op, operands in path:
        text = f"{op} {operands}"
        m = MEMORY.search(operands)
        if op.startswith("lock") or (op.startswith("xchg") and m) or op.startswith("cmpxchg"):
            bad.append(f"locked: {text}")
        if op.startswith("call"):
            bad.append(f"call: {text}")
        if is_frame(op, operands):
            bad.append(f"stack frame: {text}")
        if not m or op.startswith(("lea", "nop")):
            continue
        if "," in m[3]:
            bad.append(f"indexed memory operand: {text}")
        elif (op.endswith("w") and not op.startswith("movzw")) or re.search(r"%([abcd]x|[sd]i|r\d+w)\b", operands):
            bad.append(f"16-bit memory operand: {text}")
        if op.startswith("mov") and not m[1] and not m[2] and "rip" not in m[3]:
            plain.append((operands.startswith(m[0]), m[3]))
    # The head is loaded from (reg) and stored to the same (reg).
    loads = {reg for is_load, reg in plain if is_load}
    stores = {reg for is_load, reg in plain if not is_load}
    if want_head and not loads & stores:
        bad.append("the bin's head is not loaded from and stored to one plain (reg)")
    return bad


def mapped_bytes(lib):
    """From the first to the last byte of the segments that are loaded, from the program headers (ELF-64)."""
    with open(lib, "rb") as f:
        elf = f.read()
    at, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    loads = [struct.unpack_from("<IIQQQQ", elf, at + i * size) + struct.unpack_from("<Q", elf, at + i * size + 40)
             for i in range(count)]
    return max(vaddr + memory for kind, _, _, vaddr, _, _, memory in loads if kind == LOAD)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--lib", required=True)
    p.add_argument("--objdump", default="objdump")
    args = p.parse_args()
    if not shutil.which(args.objdump):
        skip("no objdump (install binutils)")
    with open(args.lib, "rb") as f:
        head = f.read(20)
    if head[:4] != b"\x7fELF" or head[18] != 62:
        skip("not machine code of x86-64")
    code, names, follows = disassemble(args.lib, args.objdump)
    passed = failed = 0
    for name, most in read_ceilings().items():
        path = hot_path(code, follows, names[name]) if name in names else []
        bad = faults(path, most, True) if path else ["no such function"]
        print(f"{'FAILED' if bad else 'passed':7} {name:12} {len(path):3} instructions on a hit, at most {most}")
        for line in bad:
            print(f"    | {line}")
        if bad and path:
            print("\n".join(f"    |     {op:8} {operands}" for op, operands in path))
        passed, failed = passed + (not bad), failed + bool(bad)
    bad = off_the_first_page(args.lib, args.objdump)
    print(f"{'FAILED' if bad else 'passed':7} {'first page':12}   what the first malloc writes begins on .data's")
    for line in bad:
        print(f"    | {line}")
    passed, failed = passed + (not bad), failed + bool(bad)
    mapped = mapped_bytes(args.lib)
    bad = mapped >= MOST_MAPPED
    print(f"{'FAILED' if bad else 'passed':7} {'mapped':12}   {mapped >> 10} KiB, below {MOST_MAPPED >> 10}")
    passed, failed = passed + (not bad), failed + bool(bad)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
