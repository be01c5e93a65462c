"""try_load - a Python program that allocates much: the real program of bench/try.

Run with PYTHONMALLOC=malloc, so that each object is a malloc of its own. Prints a checksum that
must not depend on the allocator. Takes no time itself.
"""
import hashlib
import json


class Node:
    def __init__(self, key, value):
        self.key, self.value = key, value
        self.left = self.right = None


def insert(root, key, value):
    node = root
    while key != node.key:
        side = "left" if key < node.key else "right"
        below = getattr(node, side)
        if below is None:
            setattr(node, side, Node(key, value))
            return
        node = below
    node.value = value


def walk(node, out):
    if node:
        walk(node.left, out)
        out.append((node.key, node.value))
        walk(node.right, out)


def main():
    digest = hashlib.sha256()
    state = 12345
    for turn in range(6):
        root = Node(1 << 31, "root")
        words = {}
        for i in range(25000):
            state = (state * 1103515245 + 12345) & 0xFFFFFFFF
            insert(root, state, "v" * (state % 300))
            words.setdefault(f"word-{state % 5000}", []).append((turn, i, float(state)))
        flat = []
        walk(root, flat)
        text = json.dumps({"tree": flat, "words": words})
        back = json.loads(text)
        pieces = sorted(text.split(", "), key=len)
        digest.update(text.encode())
        digest.update(str((len(back["tree"]), len(pieces), pieces[-1])).encode())
    print(digest.hexdigest())


if __name__ == "__main__":
    main()
