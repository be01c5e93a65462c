"""report - the results as one HTML file: what was reached, charts, tables, proof, machine.

Draws a summary; measures and judges nothing.
"""
import os

from suite import goals, page, stats, summary, svg, tables
from suite.page import esc
from suite.rows import ANCHOR, REAL, SYNTHETIC

TITLES = {SYNTHETIC: "Programs", ANCHOR: "Single paths", REAL: "Real programs"}
SHORT = {SYNTHETIC: "programs", ANCHOR: "single paths", REAL: "real"}
KINDS = {stats.AHEAD: "ahead", stats.BEHIND: "behind"}
NOISY = 0.05     # of all processor time: what others may take before the page warns


def colours_of(s):
    """{allocator: colour number}: the own one is 0."""
    names = ([s.own] if s.own in s.names else []) + s.peers
    return {name: min(n, 9) for n, name in enumerate(names)} if s.own in s.names else \
        {name: min(n + 1, 9) for n, name in enumerate(names)}


# ---- the head ----

def subtitle(s):
    r = s.record
    cpu, settings = r["machine"]["processor"], r["settings"]
    lines = [f"{esc(cpu['model'])}, {len(cpu['allowed'])} processors, {esc(r['machine']['kernel'])}, "
             f"THP {esc(r['machine']['memory']['thp'])}",
             f"{esc(r['started'][:16].replace('T', ' '))} UTC, commit {esc(r['machine']['commit'])}, "
             f"{settings['mode']} run, {s.rounds_text()} rounds, {r['seconds'] / 60:.0f} minutes"]
    return "".join(f'<p class="sub">{words}</p>' for words in lines)


def warnings(s):
    out = []
    foreign = [row["load"].get("foreign", 0) for row in s.rows if row["load"]]
    stolen = [row["load"].get("stolen", 0) for row in s.rows if row["load"]]
    busy = sum(share > NOISY for share in foreign)
    if busy:
        out.append(f"Other processes took more than {NOISY * 100:.0f} % of the processors in {busy} of "
                   f"{len(foreign)} rows (at most {max(foreign) * 100:.0f} %): times are not to be "
                   "trusted; memory and proof are.")
    if stolen and max(stolen) > NOISY:
        out.append(f"The host took up to {max(stolen) * 100:.0f} % of the processors from this machine.")
    if s.rounds() and min(s.rounds()) < 5:
        out.append("Fewer than five rounds in some rows: an interval is the whole range seen, and holds in about "
                   "three of four cases only.")
    if s.record["state"] != "complete":
        out.append("This run is not complete: rows are missing.")
    if s.failures:
        out.append(f"{len(s.failures)} runs failed; they are listed below.")
    return "".join(f'<p class="warn">{esc(words)}</p>' for words in out)


def tiles(s):
    out = []
    for group in s.groups():
        for threads in s.thread_counts(group) if group != ANCHOR else [None]:
            if group == SYNTHETIC and not threads:
                continue
            name, best, count = summary.best_peer(s.means(group, threads))
            if not best:
                continue
            where = f"{TITLES[group]}, {threads} thread{'s' * (threads > 1)}" if threads else \
                TITLES[group]
            span = f"[{best.low:.2f}, {best.high:.2f}], " if best.low is not None else ""
            out.append(page.tile(f"{best.value:.2f}×", where,
                                 f"{span}to {name}, the best peer over {count} rows"))
    counts = s.verdicts()
    out.append(page.tile(f"{counts.get(stats.AHEAD, 0)} · {counts.get(stats.SAME, 0)} · "
                         f"{counts.get(stats.BEHIND, 0)}", "ahead · same · behind",
                         "rows against the best peer of each"))
    typical = s.twin_typical()
    if typical:
        out.append(page.tile(f"±{typical[0] * 100:.1f} %", "A/A: against itself",
                             f"median; 9 in 10 rows below {typical[1] * 100:.1f} %"))
    return f'<div class="tiles">{"".join(out)}</div>'


def overview(s):
    return (f"<p>Each figure is a ratio of medians: above 1, {esc(s.own)} is better. A row is ahead or "
            "behind only where the 95 % bootstrap interval excludes 1 and the distance is more than "
            "the allocator had from itself; every other row is not distinguishable. The best peer "
            "is chosen for each row after the fact, which favours the peers.</p>"
            + tiles(s) + warnings(s))


def goal_table(s):
    found = goals.all_goals(s)
    body = [[(esc(g.text), "wrap wide-col"), page.verdict(g.verdict), esc(g.value), esc(g.target),
             (esc(g.detail), "wrap")] for g in found]
    met = sum(g.verdict == goals.MET for g in found)
    judged = sum(g.verdict in (goals.MET, goals.MISSED, goals.SAME) for g in found)
    return (f"<p>{met} of {judged} judged goals are met; {len(found) - judged} were not measured or are "
            "only reported.</p>"
            + page.table(["goal", "verdict", "figure", "target", "against"], body, (0, 1, 3, 4)))


# ---- charts ----

def bar_items(lines):
    items = []
    for line in lines:
        if not line.ratio:
            continue
        r = line.ratio
        span = f" [{r.low:.2f}, {r.high:.2f}]" if r.low is not None else ""
        items.append((line.id.split(":")[-1], r.value, r.low, r.high, KINDS.get(line.verdict, "same"),
                      f"to {line.best}", f"{line.row['title']}: {r.value:.3f}{span} to {line.best}, "
                      f"{line.verdict}; A/A {tables.percent(line.twin)}"))
    return sorted(items, key=lambda item: -item[1])


def mean_items(s, group):
    items = []
    for threads in s.thread_counts(group):
        means = s.means(group, threads)
        for name, (ratio, count) in sorted(means.items(), key=lambda m: m[1][0].value):
            where = f"{threads} T, {name}" if threads else name
            items.append((where, ratio.value, ratio.low, ratio.high,
                          KINDS.get(ratio.verdict(), "same"), f"over {count} rows",
                          f"{s.own} to {name}, geometric mean over {count} rows"))
    return items


def mean_chart(s, group):
    items = mean_items(s, group)
    return svg.ratio_bars(items, f"{TITLES[group]}: geometric means") if items else ""


def main_chart(s):
    """The geometric means of all groups as one picture that stands alone, for a README."""
    items = [(f"{SHORT[group]}{', ' if ' T, ' in name else ': '}{name}", *rest)
             for group in (SYNTHETIC, ANCHOR, REAL) for name, *rest in mean_items(s, group)]
    drawn = svg.ratio_bars(items, f"{s.own}'s speed to others', geometric means")
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(
        ">", f"><style>{page.CHART_STYLE}</style>" + svg.tag("rect", width="100%", height="100%",
                                                           class_="ground"), 1)


def relative_strip(s, group, colours):
    """Every allocator's speed as a multiple of the first one's (glibc, where it ran)."""
    base = "glibc" if "glibc" in s.names else s.names[0]
    items = []
    for line in s.group(group):
        if base not in line.medians:
            continue
        dots = {}
        for name, value in line.medians.items():
            ratio = value / line.medians[base]
            dots[name] = ratio if line.higher_is_better else 1 / ratio
        words = ", ".join(f"{n} {v:.2f}" for n, v in sorted(dots.items(), key=lambda d: -d[1]))
        items.append((line.id.split(":")[-1], dots, f"{line.row['title']}: {words}"))
    if not items:
        return ""
    return (f"<h3>Speed of each, as a multiple of {esc(base)}'s</h3>" + page.legend(colours)
            + f"<figure>{svg.strips(items, colours, 'speed of each allocator')}</figure>")


def group_section(s, group, colours):
    if not s.group(group):
        return ""
    metric = {REAL: "CPU time, user and system, for a fixed amount of work",
              ANCHOR: "time of one operation on one path through the allocator",
              SYNTHETIC: "operations a second"}[group]
    parts = [f"<p>{esc(s.own)} to the best peer of each row, by {metric}.</p>", page.verdict_legend()]
    counts = s.thread_counts(group)
    for threads in counts:
        items = bar_items(s.group(group, threads))
        if len(counts) > 1 and items:
            parts.append(f"<h3>{threads} thread{'s' * (threads > 1)}</h3>" if threads else
                         "<h3>Threads chosen by the program</h3>")
        if items:
            parts.append(f"<figure>{svg.ratio_bars(items, TITLES[group])}</figure>")
    if group != ANCHOR:
        parts.append("<h3>Geometric means, to each peer</h3><p class='soft'>Over the rows that both "
                     f"finished.</p><figure>{mean_chart(s, group)}</figure>")
    return "".join(parts) + relative_strip(s, group, colours)


def threads_section(s, colours):
    names = {}
    for line in s.group(SYNTHETIC):
        names.setdefault(line.row["name"], []).append(line)
    charts = []
    for name, lines in names.items():
        if len(lines) < 2:
            continue
        series = {}
        for line in lines:
            for who, value in line.medians.items():
                series.setdefault(who, []).append((line.row["threads"], value * line.scale))
        charts.append(svg.against_threads(name, lines[0].unit, series, colours))
    if not charts:
        return ""
    return page.legend(colours) + f'<div class="small">{"".join(charts)}</div>'


# ---- memory ----

def memory_strip(s, colours, metric):
    items = []
    base = "glibc" if "glibc" in s.names else s.names[0]
    for row in s.rows:
        medians = {n: stats.median(v) for n in row["samples"] if (v := summary.values(row, n, metric))}
        if not medians.get(base):
            continue
        dots = {n: v / medians[base] for n, v in medians.items() if v > 0}
        words = ", ".join(f"{n} {medians[n] / 1024:.1f} MiB" for n in dots)
        items.append((row["id"].split(":")[-1], dots, f"{row['title']}: {words}"))
    if not items:
        return ""
    return page.legend(colours) + f"<figure>{svg.strips(items, colours, metric)}</figure>"


def memory_charts(s, colours):
    """Resident memory while the first round ran; rows whose memory moves most first."""
    charts = []
    for row in s.rows:
        series = {}
        for name, samples in row["samples"].items() if row["group"] != ANCHOR else ():
            points = samples[0].get("memory") if samples else None
            if points and len(points) > 5:
                series[name] = [(x, kib / 1024) for x, kib in points]
        if len(series) < 2:
            continue
        top = max(v for points in series.values() for _, v in points)
        if top > 16:
            charts.append((row["group"] != REAL and row["name"] not in ("fragment", "waves"), -top,
                           svg.against_time(row["id"], "resident MiB", series, colours)))
    charts = [chart for _, _, chart in sorted(charts)[:18]]
    return charts


def live_charts(s, colours):
    """What programs say of themselves: resident memory over live bytes, minute by minute."""
    charts = []
    for row in s.rows:
        for field, title, unit, scale in (("rss_over_live", "resident over live", "x live bytes", 1),
                                          ("rss_idle_kib", "resident while idle", "MiB", 1 / 1024)):
            series = {}
            for name, samples in row["samples"].items():
                found = samples[0].get(field) if samples else None
                if isinstance(found, list) and len(found) > 1:
                    series[name] = [(n + 1, v * scale) for n, v in enumerate(found)]
            if series:
                charts.append(svg.against_time(f"{row['id']}: {title}", unit, series, colours, ""))
    return charts


def memory_section(s, colours):
    means = []
    for metric, text in summary.MEMORY:
        cells = [s.memory_mean(p, metric)[0] for p in s.peers]
        if any(cells):
            means.append([esc(text), *[esc(tables.ratio_text(c)) for c in cells]])
    if not means:
        return ""
    parts = [f"<p>Geometric means over all rows, {esc(s.own)} over each: below 1, {esc(s.own)} takes "
             "less.</p>", page.table(["", *s.peers], means)]
    for metric, text in summary.MEMORY:
        parts.append(f"<h3>{text[0].upper()}{text[1:]}, as a multiple of glibc's</h3>"
                     + memory_strip(s, colours, metric))
    charts = live_charts(s, colours) + memory_charts(s, colours)
    if charts:
        parts.append("<h3>Memory against time</h3>" + page.legend(colours)
                     + f'<div class="small">{"".join(charts)}</div>')
    return "".join(parts)


# ---- latency ----

def tail_points(curve):
    """[(share of calls below, ns)] of [[ns, calls], ..]; what the clock did not see move is left out."""
    total = sum(calls for _, calls in curve)
    points, seen = [], 0
    for ns, calls in curve:
        if ns >= 2:
            points.append((seen / total, ns))
        seen += calls
    return points


def latency_section(s, colours):
    charts, body = [], []
    for row in s.rows:
        for what in ("malloc", "free"):
            series = {n: tail_points(samples[0][f"{what}_curve"])
                      for n, samples in row["samples"].items()
                      if samples and samples[0].get(f"{what}_curve")}
            if series:
                charts.append(svg.percentile_curves(f"{row['id']}: {what}", series, colours))
                for name in series:
                    body.append([esc(f"{row['id']} {what}"), esc(name), *[
                        number_of(row, name, f"{what}_{p}_ns")
                        for p in ("p50", "p90", "p99", "p99.9", "p99.99", "max")]])
    if not charts:
        return ""
    return ("<p>The time of every single call: how long the slowest 10 %, 1 %, 0.1 %, .. took. "
            "Interruptions by the kernel are in it, alike for all.</p>" + page.legend(colours)
            + f'<div class="wide">{"".join(charts)}</div><h3>Percentiles, ns, medians of the rounds</h3>'
            + page.table(["row", "allocator", "p50", "p90", "p99", "p99.9", "p99.99", "longest"], body,
                         (0, 1)))


def number_of(row, name, metric):
    found = summary.values(row, name, metric)
    return tables.number(stats.median(found)) if found else "-"


# ---- tables, proof, machine ----

def figure_cells(s, line):
    cells = []
    for name in s.names:
        if name not in line.medians:
            cells.append(esc(tables.cell(line, name)))
            continue
        spread = line.spreads[name]
        more = f" <small>±{spread * 50:.0f}%</small>" if spread is not None else ""
        kind = " ".join(w for w in ("own" if name == s.own else "",
                                    "best" if name == line.best else "") if w)
        cells.append((tables.number(line.medians[name], line.scale) + more, kind))
    return cells


def figures_section(s):
    parts = ["<p>Medians, with half the range over the rounds; the best peer is underlined. Others: the "
             "share of the processors that other processes took during the row. n: rounds.</p>"]
    head = ["row", "verdict", "ratio [95 %]", *s.names, "A/A", "others"]
    blocks = [(TITLES[g], s.group(g)) for g in s.groups()] + [("Further figures", s.also)]
    for title, lines in blocks:
        if not lines:
            continue
        body = [[f"{esc(l.id)} <small>{esc(l.metric if l in s.also else l.unit)}, "
                 f"n {l.row['rounds']}</small>", page.verdict(l.verdict) if l.verdict else "-",
                 esc(tables.ratio_text(l.ratio)), *figure_cells(s, l), tables.percent(l.twin),
                 tables.percent(l.row["load"].get("foreign"))] for l in lines]
        parts.append(f"<details open><summary>{esc(title)}: {len(lines)} rows</summary>"
                     + page.table(head, body, (0, 1)) + "</details>")
    return "".join(parts)


def proof_section(s):
    runs = {n: sum(len(r["samples"].get(n, [])) for r in s.rows) for n in s.names}
    body = [[esc(a["name"]), esc(a["version"]), esc(a["package"] or "built here"),
             (f"<code>{esc(a['path'] or 'libc')}</code>", "wrap"), f"<code>{a['sha256'][:12]}</code>",
             str(runs[a["name"]])] for a in s.record["allocators"]]
    notes = [f"<li>{esc(r['id'])}: {esc(n)}</li>" for r in s.rows for n in r["notes"]]
    return ("<p>A figure counts only where its run proved this very file: the programs by the bindings "
            "of malloc and its family in every loaded object and by the volume that libc did not see; "
            "real programs by an observer in every process, by the memory maps of each, and, with "
            f"{esc(s.own)}, by the blocks that it served.</p>"
            + page.table(["allocator", "version", "package", "file", "sha256", "proven runs"], body,
                         (0, 1, 2, 3))
            + (f"<ul class='soft'>{''.join(notes)}</ul>" if notes else ""))


def reporting(memory, settings):
    order, mib = memory.get("page_reporting"), settings.get("at_hand_mib", 0)
    return ("" if order is None else f"; free blocks of 2^{order} pages go back to the host") \
        + (f"; {mib} MiB touched and given back before each run" if mib else "")


def machine_section(s):
    m, settings = s.record["machine"], s.record["settings"]
    cpu, memory = m["processor"], m["memory"]
    pages = ", ".join(f"{k} {v}" for k, v in memory["hugetlb_pages"].items()) or "none"
    pairs = [
        ("processor", esc(f"{cpu['model']}, {cpu['online']} online, allowed {cpu['allowed']}, "
                          f"{cpu['nodes']} node(s), governor {cpu['governor']}"
                          + (", virtual" if cpu["virtual"] else ""))),
        ("caches", esc(", ".join(f"{k} {v}" for k, v in cpu["caches"].items()))),
        ("memory", esc(f"{memory['total']}, available {memory['available']}, swap {memory['swap']}")),
        ("huge pages", esc(f"THP {memory['thp']}, defrag {memory['thp_defrag']}; hugetlb: {pages}"
                           + reporting(memory, settings))),
        ("kernel", esc(f"{m['kernel']}, {m['system']}; overcommit {memory['overcommit']}, address "
                       f"randomization {memory['address_randomization']}")),
        ("libc", esc(m["libc"])), ("compiler", esc(m["compiler"])), ("commit", esc(m["commit"])),
        ("load at the start", esc(" ".join(str(v) for v in m["load_at_start"]))),
        ("settings", esc(f"{settings['mode']}, threads {settings['threads']}, rounds "
                         f"{s.rounds_text()} (at most {settings['rounds']}), pin {settings['pin']}"
                         + (f", numactl {settings['numactl']}" if settings["numactl"] else ""))),
        ("environment", esc(" ".join(f"{k}={v}" for k, v in settings["environment"].items())
                            or "no allocator options")),
    ]
    return page.facts(pairs)


def missing_section(s):
    lines = [f"<li>{esc(r['id'])}: {esc(r['skipped'])}</li>" for r in s.skipped]
    lines += [f"<li>{esc(text)}</li>" for text in s.record["left_out"]]
    lines += [f"<li>{esc(i)}: the time was up; --resume measures it</li>" for i in s.record.get("late", [])]
    lines += [f"<li>{page.verdict('failed')} {esc(i)}, {esc(n)}: {esc(why)}</li>"
              for i, n, why in s.failures]
    return f"<ul>{''.join(lines)}</ul>" if lines else ""


def html(s):
    colours = colours_of(s)
    return page.page(f"{s.own} beside other allocators", subtitle(s), [
        ("overview", "Overview", overview(s)),
        ("goals", "Goals", goal_table(s)),
        *[(group, TITLES[group], group_section(s, group, colours))
          for group in (SYNTHETIC, REAL, ANCHOR)],
        ("threads", "Speed against threads", threads_section(s, colours)),
        ("memory", "Memory", memory_section(s, colours)),
        ("latency", "Latency", latency_section(s, colours)),
        ("figures", "All figures", figures_section(s)),
        ("proof", "Proof", proof_section(s)),
        ("machine", "Machine and settings", machine_section(s)),
        ("missing", "Skipped and failed", missing_section(s))])


def write(s, path, drawn=None):
    directory = os.path.dirname(os.path.abspath(path))
    os.makedirs(directory, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(drawn or html(s))
