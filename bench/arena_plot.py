"""arena_plot - first-touch stalls as a picture: the time of each allocation while an arena grows.

Reads what bench_arena --latencies wrote (MODE OFFSET NS a line) and draws with suite/svg.py; measures
nothing. One SVG that stands alone, for light and dark.
"""
import statistics

from suite import page, svg

MODES = {"now": 0, "background": 2, "never": 3}
WORDS = {"now": "populated now", "background": "populated in the background", "never": "at first touch"}
MIB = 1 << 20
WINDOW_MIB = 4
WIDTH, HEIGHT, TABLE_Y = 1000, 536, 394
STYLE = """
svg{--bg:#fff;--ink:#16191f;--soft:#5b6472;--grid:#e4e7ec}
@media(prefers-color-scheme:dark){svg{--bg:#12151a;--ink:#e7eaf0;--soft:#98a2b3;--grid:#2b313b}}
text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--ink)}
text.tick{fill:var(--soft);font-size:11px} text.title{font-weight:600;font-size:13px}
text.head{font-weight:600;font-size:17px} text.value{font-variant-numeric:tabular-nums}
.grid{stroke:var(--grid)} .axis{stroke:var(--soft)} .edge{stroke:var(--soft);stroke-dasharray:4 3}
.line{fill:none;stroke-width:1.8;stroke-linejoin:round} .bg{fill:var(--bg)}
"""


def read(path):
    """{mode: [(offset, ns)]}"""
    found = {}
    with open(path, encoding="ascii") as f:
        for line in f:
            mode, offset, ns = line.split()
            found.setdefault(mode, []).append((int(offset), int(ns)))
    return found


def tail(values):
    """[(share below, ns)]: few points where there are many, each one at the end."""
    ordered = sorted(values)
    n = len(ordered)
    ranks = {min(n - 1, int(n * (1 - 10 ** -(step / 8)))) for step in range(0, 8 * 6)} | {n - 1}
    return [(rank / n, max(ordered[rank], 1)) for rank in sorted(ranks)]


def windows(points):
    """[(MiB, largest ns)] of each window."""
    out = {}
    for offset, ns in points:
        slot = offset // (WINDOW_MIB * MIB)
        out[slot] = max(out.get(slot, 1), ns)
    return [((slot + 0.5) * WINDOW_MIB, ns) for slot, ns in sorted(out.items())]


def inner(drawn, x, y):
    """A chart of suite/svg.py at a place of its own."""
    return drawn.replace("<svg ", f'<svg x="{x}" y="{y}" ', 1)


def over_growth(series, edge, width=510, height=290):
    left, right, top, bottom = 52, width - 14, 48, height - 30
    values = [ns for points in series.values() for _, ns in points]
    y = svg.Log(min(values), max(values) * 1.3, bottom, top)
    x = svg.Linear(0, max(mib for points in series.values() for mib, _ in points) + WINDOW_MIB / 2, left, right)
    parts = [svg.text(10, 17, f"Longest allocation in each {WINDOW_MIB} MiB", "title"),
             svg.text(10, 32, "ns, logarithmic; to the right: MiB allocated", "tick")]
    for mark in y.decades():
        parts += [svg.line(left, y.at(mark), right, y.at(mark), "grid"),
                  svg.text(left - 5, y.at(mark) + 3.5, svg.short(mark), "tick", "end")]
    for mib in range(0, 257, 64):
        parts.append(svg.text(x.at(mib), bottom + 16, mib, "tick", "middle"))
    parts += [svg.line(x.at(edge), top, x.at(edge), bottom, "edge"),
              svg.text(x.at(edge) - 5, top - 4, "asked for at creation", "tick", "end"),
              svg.text(x.at(edge) + 5, top - 4, "grown", "tick")]
    for name, points in series.items():
        words = " ".join(f"{'L' if n else 'M'}{x.at(mib):.1f} {y.at(ns):.1f}"
                         for n, (mib, ns) in enumerate(points))
        parts.append(svg.tag("path", d=words, class_=f"line l{MODES[name]}"))
    return svg.canvas(width, height, parts, "longest allocation while the arena grows")


def time_text(ns):
    for limit, word in ((1e6, "ms"), (1e3, "us")):
        if ns >= limit:
            return f"{ns / limit:.3g} {word}"
    return f"{ns:.0f} ns"


def table(rows):
    """Medians of the rounds, one line a mode."""
    places = [330, 470, 620, 760]
    heads = ["p99.9", "max", "p99.9", "max"]
    parts = [svg.text(places[1], TABLE_Y, "asked for at creation", "tick", "end"),
             svg.text(places[3], TABLE_Y, "across growth", "tick", "end")]
    parts += [svg.text(x, TABLE_Y + 18, head, "tick", "end") for x, head in zip(places, heads)]
    for n, (mode, colour) in enumerate(MODES.items()):
        y = TABLE_Y + 42 + n * 22
        parts += [svg.tag("rect", x=20, y=y - 10, width=11, height=11, rx=2, class_=f"k c{colour}"),
                  svg.text(40, y, WORDS[mode])]
        cells = [rows.get(f"stall_{half}_{what}", {}).get(mode)
                 for half in ("initial", "growth") for what in ("p99.9", "max")]
        parts += [svg.text(x, y, time_text(statistics.median(values)), "value", "end")
                  for x, values in zip(places, cells) if values]
    return parts


def write(latencies, rows, path, machine):
    found = {mode: points for mode, points in read(latencies).items() if mode in MODES}
    colours = page.colour_rules().replace(".dot.c", ".k.c")
    edges = [edge for values in rows["stall_edge"].values() for edge in values]
    count = min(len(values) for values in rows["stall_growth_max"].values())
    curves = {mode: tail([ns for _, ns in points]) for mode, points in found.items()}
    parts = [f"<style>{STYLE}{colours}</style>",
             svg.tag("rect", x=0, y=0, width=WIDTH, height=HEIGHT, class_="bg"),
             svg.text(20, 32, "First-touch stalls: 4 KiB allocations, each touched, in an arena that grows", "head"),
             svg.text(20, 52, machine, "tick"),
             inner(svg.percentile_curves("Share of allocations that are faster", curves, MODES, 460, 290), 10, 80),
             inner(over_growth({m: windows(p) for m, p in found.items()}, statistics.median(edges)), 480, 80),
             *table(rows),
             svg.text(20, HEIGHT - 20, f"Curves: one run; table: medians of {count} rounds. An arena takes whole 2 MiB "
                      "SuperSlabs on huge pages, so one allocation in some 500 meets the kernel.", "tick")]
    drawn = svg.canvas(WIDTH, HEIGHT, parts, "first-touch stalls of arenas")
    with open(path, "w", encoding="utf-8") as f:
        f.write('<?xml version="1.0" encoding="UTF-8"?>\n'
                + drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n")
