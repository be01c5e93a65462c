"""svg - charts as inline SVG: bars of ratios, strips of dots, lines. No script, no font, no network.

Colours are classes (c0, c1, .. the allocators; ahead, behind, same) that the page's style sheet
gives for light and dark. Knows no benchmark.
"""
import html
import math

LABEL_W, VALUE_W, ROW_H = 172, 190, 24


def esc(text):
    return html.escape(str(text), quote=True)


def tag(name, body="", **attributes):
    words = "".join(f' {key.rstrip("_").replace("_", "-")}="{esc(value)}"'
                    for key, value in attributes.items() if value is not None)
    return f"<{name}{words}>{body}</{name}>" if body else f"<{name}{words}/>"


def text(x, y, words, kind="", anchor=None):
    return tag("text", esc(words), x=round(x, 1), y=round(y, 1), class_=kind or None,
               text_anchor=anchor)


def line(x1, y1, x2, y2, kind):
    return tag("line", x1=round(x1, 1), y1=round(y1, 1), x2=round(x2, 1), y2=round(y2, 1),
               class_=kind)


def hint(words):
    return f"<title>{esc(words)}</title>"


def canvas(width, height, parts, label):
    return (f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{esc(label)}" '
            f'width="{width}" height="{height}">{"".join(parts)}</svg>')


def short(value):
    """A number for an axis."""
    for limit, word in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:g}{word}"
    return f"{value:g}"


# ---- scales ----

class Log:
    """Of VALUES above 0, onto the pixels FIRST .. LAST."""

    def __init__(self, low, high, first, last):
        self.low, self.high = math.log(low), math.log(high)
        self.first, self.last = first, last

    def at(self, value):
        share = (math.log(value) - self.low) / ((self.high - self.low) or 1)
        return self.first + min(max(share, 0), 1) * (self.last - self.first)

    def decades(self, steps=(1,)):
        low, high = math.exp(self.low), math.exp(self.high)
        first = math.floor(math.log10(low))
        return [s * 10.0 ** e for e in range(first, math.ceil(math.log10(high)) + 1) for s in steps
                if low <= s * 10.0 ** e <= high * 1.0001]


class Linear:
    def __init__(self, low, high, first, last):
        self.low, self.high, self.first, self.last = low, high, first, last

    def at(self, value):
        share = (value - self.low) / ((self.high - self.low) or 1)
        return self.first + share * (self.last - self.first)


def nice_top(value):
    """(a round number at or above VALUE, its step): 2 to 5 steps."""
    if value <= 0:
        return 1.0, 0.5
    size = 10 ** math.floor(math.log10(value))
    for factor, step in ((1, 0.25), (1.5, 0.5), (2, 0.5), (3, 1), (4, 1), (5, 1), (6, 2), (8, 2),
                         (10, 2.5)):
        if value <= factor * size * 1.0001:
            return factor * size, step * size
    return 10 * size, 2.5 * size


RATIO_MARKS = (0.05, 0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5, 10, 20, 50)


def ratio_scale(values, first, last):
    """Symmetric enough around 1 that both sides can be read; very long bars are cut."""
    low = min([0.9, *values]) / 1.04
    high = max([1.15, *values]) * 1.04
    return Log(max(low, 0.04), min(high, 60), first, last)


def marks_for(scale, least_gap=44):
    """Marks of a ratio axis that do not run into each other; 1 is always there."""
    low, high = math.exp(scale.low), math.exp(scale.high)
    kept = [1]
    for mark in sorted(RATIO_MARKS, key=lambda m: abs(math.log(m))):
        if low <= mark <= high and all(abs(scale.at(mark) - scale.at(k)) >= least_gap
                                       for k in kept):
            kept.append(mark)
    return sorted(kept)


# ---- charts ----

def ratio_bars(items, label, width=1112):
    """ITEMS: (name, ratio, low, high, kind, words at the right, hint); a bar from 1 to each ratio."""
    left, right, top = LABEL_W, width - VALUE_W, 30
    ends = [v for i in items for v in (i[1], i[2] or i[1], i[3] or i[1])]
    scale = ratio_scale(ends, left + 8, right - 12)
    height = top + len(items) * ROW_H + 14
    parts = []
    for mark in marks_for(scale):
        x = scale.at(mark)
        parts.append(line(x, top - 6, x, height - 12, "one" if mark == 1 else "grid"))
        parts.append(text(x, top - 12, f"{mark:g}×", "tick", "middle"))
    for n, (name, ratio, low, high, kind, words, more) in enumerate(items):
        y = top + n * ROW_H + ROW_H / 2
        x0, x1 = sorted((scale.at(1), scale.at(ratio)))
        bar = [hint(more), tag("rect", x=0, y=round(y - ROW_H / 2, 1), width=width, height=ROW_H,
                               class_="hover"),
               tag("rect", x=round(x0, 1), y=round(y - 7, 1), width=round(max(x1 - x0, 1.5), 1),
                   height=14, rx=2, class_=f"bar {kind}")]
        if low is not None:
            bar += [line(scale.at(low), y, scale.at(high), y, "whisker"),
                    line(scale.at(low), y - 4, scale.at(low), y + 4, "whisker"),
                    line(scale.at(high), y - 4, scale.at(high), y + 4, "whisker")]
        bar += [text(left, y + 4, name, "name", "end"), text(right, y + 4, f"{ratio:.2f}×", "value"),
                text(right + 48, y + 4, words, "note")]
        parts.append(tag("g", "".join(bar)))
    return canvas(width, height, parts, label)


def strips(items, colours, label, unit="×", width=1112):
    """ITEMS: (name, {allocator: value}, hint): a row of dots each, on one logarithmic axis."""
    left, right, top = LABEL_W, width - 24, 30
    values = [v for _, dots, _ in items for v in dots.values()]
    scale = ratio_scale(values, left + 14, right - 12)
    height = top + len(items) * ROW_H + 10
    parts = []
    for mark in marks_for(scale):
        x = scale.at(mark)
        parts.append(line(x, top - 6, x, height - 8, "one" if mark == 1 else "grid"))
        parts.append(text(x, top - 12, f"{mark:g}{unit}", "tick", "middle"))
    for n, (name, dots, more) in enumerate(items):
        y = top + n * ROW_H + ROW_H / 2
        ordered = sorted(dots.items(), key=lambda d: colours.get(d[0], 9) == 0)  # own one on top
        row = [hint(more), tag("rect", x=0, y=round(y - ROW_H / 2, 1), width=width, height=ROW_H,
                               class_="hover"),
               text(left, y + 4, name, "name", "end"),
               line(left + 12, y, right, y, "rail")]
        for who, value in ordered:
            row.append(tag("circle", cx=round(scale.at(value), 1), cy=round(y, 1),
                           r=6 if colours.get(who) == 0 else 4.2,
                           class_=f"dot c{colours.get(who, 9)}"))
        parts.append(tag("g", "".join(row)))
    return canvas(width, height, parts, label)


class Frame:
    """The box of a small line chart with its title and its left axis."""

    def __init__(self, title, unit, top_value, width=300, height=190):
        self.width, self.height = width, height
        self.left, self.right, self.top, self.bottom = 46, width - 14, 48, height - 30
        top, step = nice_top(top_value)
        self.y = Linear(0, top, self.bottom, self.top)
        self.parts = [text(10, 17, title, "title"), text(10, 32, unit, "tick")]
        value = 0.0
        while value <= top * 1.0001:
            at = self.y.at(value)
            self.parts.append(line(self.left, at, self.right, at, "grid" if value else "axis"))
            self.parts.append(text(self.left - 5, at + 3.5, short(round(value, 6)), "tick", "end"))
            value += step

    def path(self, points, colour, more, marks=True):
        words = " ".join(f"{'L' if n else 'M'}{x:.1f} {y:.1f}" for n, (x, y) in enumerate(points))
        body = [hint(more), tag("path", d=words, class_=f"line l{colour}")]
        if marks:
            body += [tag("circle", cx=round(x, 1), cy=round(y, 1), r=3, class_=f"dot c{colour}")
                     for x, y in points]
        self.parts.append(tag("g", "".join(body)))

    def svg(self, label):
        return canvas(self.width, self.height, self.parts, label)


def own_last(series, colours):
    return sorted(series.items(), key=lambda s: -colours.get(s[0], 9))


def against_threads(title, unit, series, colours):
    """SERIES: {allocator: [(threads, value)]}; thread counts at equal distances."""
    counts = sorted({t for points in series.values() for t, _ in points})
    frame = Frame(title, unit, max(v for points in series.values() for _, v in points))
    span = frame.right - frame.left - 30
    places = {t: frame.left + 15 + span * n / max(len(counts) - 1, 1)
              for n, t in enumerate(counts)}
    for count, x in places.items():
        frame.parts.append(text(x, frame.bottom + 16, f"{count} T", "tick", "middle"))
    for name, points in own_last(series, colours):
        frame.path([(places[t], frame.y.at(v)) for t, v in points], colours.get(name, 9),
                   name + ": " + ", ".join(f"{t} T {v:.3g}" for t, v in points))
    return frame.svg(f"{title} against threads")


def against_time(title, unit, series, colours, x_unit="s"):
    """SERIES: {allocator: [(x, value)]}, both axes from 0."""
    frame = Frame(title, unit, max(v for points in series.values() for _, v in points))
    longest = max(x for points in series.values() for x, _ in points)
    top, step = nice_top(longest)
    scale = Linear(0, max(longest, 1e-6), frame.left, frame.right)
    value = 0.0
    while value <= min(top, longest) * 1.0001:
        at = scale.at(value)
        frame.parts.append(text(at, frame.bottom + 16, f"{value:g} {x_unit}".strip(), "tick",
                                "middle" if at < frame.right - 12 else "end"))
        value += step
    for name, points in own_last(series, colours):
        frame.path([(scale.at(x), frame.y.at(v)) for x, v in points], colours.get(name, 9),
                   f"{name}: highest {max(v for _, v in points):.3g} {unit}", marks=False)
    return frame.svg(f"{title} against time")


# Where a percentile stands: each step is ten times rarer.
TAIL = (0.0, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999)


def tail_place(share):
    return -math.log10(max(1 - share, 1e-7))


def percentile_curves(title, series, colours, width=460, height=280):
    """SERIES: {allocator: [(share below, ns)]}: the rarer a call, the further right."""
    left, right, top, bottom = 52, width - 14, 48, height - 30
    values = [ns for points in series.values() for _, ns in points if ns > 0]
    y = Log(min(values), max(values) * 1.1, bottom, top)
    x = Linear(0, max(tail_place(s) for points in series.values() for s, _ in points), left, right)
    parts = [text(10, 17, title, "title"), text(10, 32, "ns, logarithmic", "tick")]
    for mark in y.decades():
        parts.append(line(left, y.at(mark), right, y.at(mark), "grid"))
        parts.append(text(left - 5, y.at(mark) + 3.5, short(mark), "tick", "end"))
    for share in TAIL:
        at = x.at(tail_place(share))
        if at <= right - 22:
            parts.append(line(at, top, at, bottom, "grid"))
            word = "0" if not share else f"{share * 100:.6g} %"
            parts.append(text(at, bottom + 16, word, "tick", "middle"))
    for name, points in own_last(series, colours):
        words = " ".join(f"{'L' if n else 'M'}{x.at(tail_place(s)):.1f} {y.at(v):.1f}"
                         for n, (s, v) in enumerate(points))
        parts.append(tag("g", hint(name) + tag("path", d=words,
                                               class_=f"line l{colours.get(name, 9)}")))
    return canvas(width, height, parts, title)
