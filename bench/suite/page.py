"""page - the frame of the report: style sheet for light and dark, tables, tiles, legend.

One file that opens from disk: no script, nothing is loaded.
"""
from suite.svg import esc

# The own allocator first, then peers; told apart by those who see few colours, on white and on dark.
LIGHT = ("#0b62d6", "#6b7280", "#d97706", "#b4235a", "#0f8a6d", "#7c3aed", "#a16207", "#0891b2",
         "#4d7c0f", "#374151")
DARK = ("#5aa2ff", "#9ca3af", "#f5a742", "#f0719c", "#3ecf9f", "#b294ff", "#e2b93b", "#4cc9e8",
        "#a3d651", "#d1d5db")

STYLE = """
:root{--bg:#fff;--panel:#f7f8fa;--ink:#16191f;--soft:#5b6472;--line:#e2e5ea;--grid:#e9ecf0;
--ahead:#0b62d6;--behind:#d1480f;--same:#aab1bc;--hover:#eef3fb;--good:#0f7a5c;--bad:#c0360c}
@media(prefers-color-scheme:dark){:root{--bg:#12151a;--panel:#1a1e25;--ink:#e7eaf0;--soft:#98a2b3;
--line:#2b313b;--grid:#272d36;--ahead:#5aa2ff;--behind:#ff8a50;--same:#667080;--hover:#20262f;
--good:#3ecf9f;--bad:#ff8a50}}
*{box-sizing:border-box}
html{scroll-behavior:smooth}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,
"Segoe UI",Roboto,"DejaVu Sans",sans-serif;-webkit-text-size-adjust:100%}
main,header>div,footer{max-width:1160px;margin:0 auto;padding:0 24px}
header{border-bottom:1px solid var(--line);padding:34px 0 0}
h1{font-size:27px;line-height:1.2;margin:0 0 6px;letter-spacing:-.01em}
h2{font-size:20px;margin:44px 0 6px;padding-top:8px;letter-spacing:-.005em}
h3{font-size:15px;margin:26px 0 6px}
p{margin:6px 0 12px;max-width:78ch}
.soft,.sub{color:var(--soft)} .sub{margin:0 0 4px}
nav{display:flex;flex-wrap:wrap;gap:2px 18px;padding:16px 0 12px;font-size:14px}
a{color:var(--ahead);text-decoration:none} a:hover{text-decoration:underline}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(212px,1fr));gap:12px;margin:20px 0 8px}
.tile{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:13px 16px}
.tile b{display:block;font-size:25px;line-height:1.25;font-weight:650;font-variant-numeric:tabular-nums}
.tile span{display:block;font-size:13px;color:var(--soft)}
.tile .what{color:var(--ink);font-weight:550}
.warn{border-left:4px solid var(--behind);background:var(--panel);padding:10px 14px;border-radius:4px;
margin:14px 0;max-width:none}
figure{margin:10px 0 4px;overflow-x:auto} svg{display:block;max-width:100%;height:auto;min-width:560px}
.small{display:grid;grid-template-columns:repeat(auto-fill,minmax(290px,1fr));gap:10px}
.wide{display:grid;grid-template-columns:repeat(auto-fill,minmax(420px,1fr));gap:10px}
.small svg,.wide svg{min-width:0;width:100%;background:var(--panel);border:1px solid var(--line);border-radius:8px}
svg text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:var(--ink)}
svg text.tick,svg text.note{fill:var(--soft);font-size:11px} svg text.title{font-weight:600;font-size:13px}
svg text.value{font-weight:600;font-variant-numeric:tabular-nums}
.grid{stroke:var(--grid)} .axis,.one{stroke:var(--soft)} .one{stroke-width:1.2} .rail{stroke:var(--grid)}
.whisker{stroke:var(--ink);stroke-width:1.2;opacity:.75}
.hover{fill:transparent} g:hover>.hover{fill:var(--hover)}
.bar.ahead{fill:var(--ahead)} .bar.behind{fill:var(--behind)} .bar.same{fill:var(--same)}
.line{fill:none;stroke-width:1.6;stroke-linejoin:round} .line.l0{stroke-width:2.8}
.dot{stroke:var(--bg);stroke-width:1}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:13px;color:var(--soft);margin:8px 0}
.legend i{display:inline-block;width:11px;height:11px;border-radius:50%;margin-right:6px;vertical-align:-1px}
.legend i.box{border-radius:2px}
.scroll{overflow-x:auto;margin:8px 0 14px}
table{border-collapse:collapse;font-size:13.5px;width:100%}
th,td{padding:5px 8px;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap;
font-variant-numeric:tabular-nums}
th{font-weight:600;color:var(--soft);font-size:12.5px;border-bottom-width:2px}
td.l,th.l{text-align:left} td.wrap{white-space:normal;min-width:190px} td.wrap.wide-col{min-width:300px}
tr:hover td{background:var(--hover)} td.own{font-weight:600}
td.best{text-decoration:underline;text-underline-offset:3px;text-decoration-thickness:1.5px}
.v{display:inline-block;padding:0 8px;border-radius:9px;font-size:12px;border:1px solid var(--line);color:var(--soft)}
.v.good{color:var(--good);border-color:var(--good)} .v.bad{color:var(--bad);border-color:var(--bad)}
td small{color:var(--soft);font-size:11.5px}
details{margin:10px 0} summary{cursor:pointer;color:var(--ahead)}
code{font:13px ui-monospace,"DejaVu Sans Mono",monospace;background:var(--panel);padding:1px 5px;
border-radius:4px;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:8px 0;font-size:14px}
dt{color:var(--soft)} dd{margin:0;overflow-wrap:anywhere}
footer{color:var(--soft);font-size:13px;padding-top:30px;padding-bottom:44px}
@media(max-width:640px){main,header>div,footer{padding:0 14px} dl{grid-template-columns:1fr}}
@media print{nav{display:none} details>*{display:block}}
"""


# For a chart that stands alone, without a page around it.
CHART_STYLE = """
svg{--bg:#fff;--ink:#16191f;--soft:#5b6472;--grid:#e9ecf0;--ahead:#0b62d6;--behind:#d1480f;--same:#aab1bc}
@media(prefers-color-scheme:dark){svg{--bg:#12151a;--ink:#e7eaf0;--soft:#98a2b3;--grid:#272d36;
--ahead:#5aa2ff;--behind:#ff8a50;--same:#667080}}
.ground{fill:var(--bg)} .hover{fill:transparent}
""" + STYLE[STYLE.index("svg text{"):STYLE.index(".hover{")] + STYLE[STYLE.index(".bar.ahead"):STYLE.index(".line{")]


def colour_rules():
    def rules(colours):
        return "".join(f".dot.c{n},.k.c{n}{{fill:{c};background:{c}}}.line.l{n}{{stroke:{c}}}"
                       for n, c in enumerate(colours))
    return rules(LIGHT) + "@media(prefers-color-scheme:dark){" + rules(DARK) + "}"


def verdict(words):
    kind = {"ahead": " good", "met": " good", "behind": " bad", "not met": " bad",
            "failed": " bad"}.get(words, "")
    return f'<span class="v{kind}">{esc(words)}</span>'


def table(head, body, left=(0,)):
    """HEAD: texts; BODY: rows of (html, class) or html; LEFT: columns that begin at the left."""
    def cell(kind, n, content):
        words, more = content if isinstance(content, tuple) else (content, "")
        names = " ".join(w for w in ("l" if n in left else "", more) if w)
        return f'<{kind}{f" class={chr(34)}{names}{chr(34)}" if names else ""}>{words}</{kind}>'

    rows = ["<tr>" + "".join(cell("th", n, esc(h)) for n, h in enumerate(head)) + "</tr>"]
    rows += ["<tr>" + "".join(cell("td", n, c) for n, c in enumerate(row)) + "</tr>"
             for row in body]
    return f'<div class="scroll"><table>{"".join(rows)}</table></div>'


def tile(value, what, more):
    return f'<div class="tile"><b>{esc(value)}</b><span class="what">{esc(what)}</span>' \
           f"<span>{esc(more)}</span></div>"


def legend(colours):
    return '<div class="legend">' + "".join(
        f'<span><i class="k c{n}"></i>{esc(name)}</span>' for name, n in colours.items()) + "</div>"


def verdict_legend():
    return ('<div class="legend"><span><i class="box" style="background:var(--ahead)"></i>ahead</span>'
            '<span><i class="box" style="background:var(--same)"></i>not distinguishable</span>'
            '<span><i class="box" style="background:var(--behind)"></i>behind</span>'
            "<span>line: 95 % interval</span></div>")


def facts(pairs):
    return "<dl>" + "".join(f"<dt>{esc(name)}</dt><dd>{words}</dd>" for name, words in pairs) + "</dl>"


def page(title, subtitle, sections):
    """SECTIONS: [(id, heading, html)], empty ones left out of the page."""
    sections = [s for s in sections if s[2]]
    nav = "".join(f'<a href="#{key}">{esc(head)}</a>' for key, head, _ in sections)
    body = "".join(f'<section id="{key}"><h2>{esc(head)}</h2>{content}</section>'
                   for key, head, content in sections)
    return (f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{esc(title)}</title>'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            f"<style>{STYLE}{colour_rules()}</style></head><body><header><div><h1>{esc(title)}</h1>"
            f'{subtitle}<nav>{nav}</nav></div></header><main>{body}</main>'
            "<footer>Made by <code>bench/run</code> from the JSON file beside it; "
            "<code>docs/benchmarks.md</code> says how to read it.</footer></body></html>\n")
