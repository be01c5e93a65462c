"""objects - what Python programs do to malloc: small objects, text, JSON, sorting, pickles.

Prints a digest that must not depend on the allocator. Takes no time itself.
usage: objects.py SCALE (100: about two seconds with PYTHONMALLOC=malloc)
"""
import collections
import hashlib
import heapq
import json
import pickle
import re
import sys

digest = hashlib.sha256()


def numbers(seed):
    while True:
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        yield seed >> 7


class Task:
    def __init__(self, key, weight):
        self.key, self.weight, self.needs, self.log = key, weight, [], {}

    def __lt__(self, other):
        return (self.weight, self.key) < (other.weight, other.key)


def scheduler(scale):
    """Tasks that wait for tasks, by a heap: instances, lists, tuples."""
    draw = numbers(1)
    for turn in range(scale // 10 + 1):
        tasks = [Task(i, next(draw) % 1000) for i in range(1500)]
        for task in tasks:
            task.needs = [tasks[next(draw) % len(tasks)] for _ in range(3)]
        queue, done = list(tasks), []
        heapq.heapify(queue)
        while queue:
            task = heapq.heappop(queue)
            task.log = {"turn": turn, "needs": tuple(t.key for t in task.needs)}
            done.append((task.weight, task.key, str(task.log)))
        digest.update(str(done[::97]).encode())


def documents(scale):
    """JSON out and in, nested dicts and lists of text."""
    draw = numbers(2)
    for _ in range(scale // 5 + 1):
        rows = [{"id": i, "name": "n%x" % next(draw), "tags": ["t%d" % (next(draw) % 50)
                 for _ in range(next(draw) % 6)], "at": {"x": next(draw) / 8, "y": None}}
                for i in range(400)]
        text = json.dumps(rows)
        back = json.loads(text)
        digest.update(text[:100].encode() + str(len(back) + len(text)).encode())
        packed = pickle.dumps(back)
        digest.update(str(pickle.loads(packed) == rows).encode())


def text_work(scale):
    """Splitting, joining, substituting, counting words."""
    draw = numbers(3)
    words = ["w%x" % next(draw) for _ in range(3000)]
    pattern = re.compile(r"w([0-9a-f]{2})([0-9a-f]+)")
    for _ in range(scale // 4 + 1):
        text = " ".join(words[next(draw) % len(words)] for _ in range(4000))
        text = pattern.sub(r"\2-\1", text)
        counts = collections.Counter(text.split())
        parts = [p.upper()[::-1] for p in text.split(" ") if len(p) > 6]
        digest.update("|".join(sorted(parts)[:50]).encode() + str(counts.most_common(5)).encode())


def matrices(scale):
    """Floats and lists of lists."""
    draw = numbers(4)
    size = 42
    for _ in range(scale // 8 + 1):
        a = [[(next(draw) % 100) / 7 for _ in range(size)] for _ in range(size)]
        b = [list(row) for row in zip(*a)]
        c = [[sum(x * y for x, y in zip(row, column)) for column in b] for row in a]
        digest.update(repr(sum(map(sum, c))).encode())


def caches(scale):
    """A cache of byte strings of many sizes: what a server keeps."""
    draw = numbers(5)
    kept = collections.OrderedDict()
    for i in range(scale * 1200):
        size = (24, 60, 200, 900, 5000)[next(draw) % 5]
        kept[next(draw) % 9000] = bytes([i & 255]) * (1 + next(draw) % size)
        if len(kept) > 6000:
            digest.update(kept.popitem(last=False)[1][:8])


def main():
    scale = int(sys.argv[1])
    for part in (scheduler, documents, text_work, matrices, caches):
        part(scale)
        digest.update(part.__name__.encode())
    print(digest.hexdigest())


main()
