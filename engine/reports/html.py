"""Pieces of a web page that is one file: no script, no network, light and dark, phone and paper.

Every function takes plain texts and gives HTML; texts are escaped here and nowhere else.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Literal, NamedTuple, NewType

Html = NewType("Html", str)
Table = Sequence[Sequence[str]]  # the first row is the head

STYLE = """:root{color-scheme:light dark;--paper:#fff;--ink:#1c1f23;--dim:#5d6670;--line:#d9dde2;
--soft:#f3f5f7;--bar:#0072b2}
@media (prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#e6e9ec;--dim:#a3adb8;
--line:#3a4149;--soft:#20252b;--bar:#56b4e9}}
*{box-sizing:border-box}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:76em;
margin:0 auto;padding:1em}
h1{font-size:1.7em;line-height:1.2;margin:.5em 0 .2em}
h2{font-size:1.25em;margin:2.2em 0 .5em;padding-top:.5em;border-top:1px solid var(--line)}
p,ul{max-width:46em}h1,figcaption,dd,.bars span{overflow-wrap:anywhere}
td:not(.word){white-space:nowrap}
figure{min-width:0}figcaption{color:var(--dim);font-size:.85em;line-height:1.4}
.grid{display:grid;gap:1.5em;grid-template-columns:repeat(auto-fit,minmax(min(100%,25em),1fr))}
.pictures{display:grid;gap:1em;grid-template-columns:repeat(auto-fill,minmax(min(100%,20em),1fr))}
.wide{grid-template-columns:1fr}.small{grid-template-columns:repeat(auto-fill,minmax(9.5em,1fr))}
.half{grid-template-columns:repeat(auto-fill,minmax(min(100%,26em),1fr))}
.scroll{overflow-x:auto}img{max-width:100%;height:auto;display:block;border-radius:3px}
.pictures img{width:100%;max-height:36em;object-fit:contain;object-position:left}
svg{width:100%;height:auto;display:block}svg text{font-family:inherit!important}
.panels{display:grid;gap:4px;grid-template-columns:repeat(4,1fr)}
@media (max-width:44em){.panels{grid-template-columns:1fr 1fr}}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1em 1em;margin:.5em 0;color:var(--dim);
font-size:.9em}dd{margin:0}
.tiles{display:flex;flex-wrap:wrap;gap:.7em;margin:1em 0}
.tiles div{background:var(--soft);border-radius:6px;padding:.5em .9em;min-width:6.5em}
.tiles b{display:block;font-size:1.45em;line-height:1.25;font-variant-numeric:tabular-nums}
.tiles span{color:var(--dim);font-size:.8em}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.25em .9em .25em 0;border-bottom:1px solid var(--line);text-align:right;
vertical-align:top}
.word{text-align:left}th{font-weight:600;color:var(--dim)}table{font-size:.93em}
figure,.grid,.pictures,.bars,.scroll{margin:1em 0}.scroll .scroll,.grid figure,.pictures figure,
figure .scroll{margin:0}
.bars{display:grid;grid-template-columns:minmax(5em,max-content) minmax(4em,1fr) max-content;
gap:.1em .7em;align-items:center;font-size:.85em;line-height:1.35;max-width:60em}
.bars i{height:.75em;background:var(--bar);border-radius:2px;min-width:1px;
print-color-adjust:exact;-webkit-print-color-adjust:exact}
.bars u{text-decoration:none;text-align:right;font-variant-numeric:tabular-nums}
.key{display:flex;flex-wrap:wrap;gap:.2em 1.2em;font-size:.85em;margin:.7em 0;padding:0}
.key li{list-style:none}.key i{display:inline-block;width:1em;height:1em;border-radius:2px;
margin-right:.4em;vertical-align:-.12em;border:1px solid var(--dim);print-color-adjust:exact;
-webkit-print-color-adjust:exact}
@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--dim:#444;--line:#bbb;--soft:#eee;
--bar:#0072b2}body{font-size:10pt;max-width:none;padding:0}h2{break-after:avoid}
figure,tr,.tiles div{break-inside:avoid}
.pictures{grid-template-columns:repeat(3,1fr)}.half{grid-template-columns:1fr 1fr}
.small{grid-template-columns:repeat(5,1fr)}
.grid{grid-template-columns:1fr 1fr}.wide{grid-template-columns:1fr}svg{min-width:0!important}
.panels{grid-template-columns:repeat(4,1fr)!important}
.scroll{overflow:visible}}"""
# What the page may load: nothing but what stands in it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Section(NamedTuple):
    """A heading and what stands below it."""

    title: str
    parts: Sequence[Html]


class Shown(NamedTuple):
    """A picture with the lines below it."""

    pictures: Sequence[bytes]  # JPEG or PNG; several stand beside each other
    alt: str  # what it shows, for those who do not see it
    lines: Sequence[str]


def document(
    title: str, sections: Iterable[Section], facts: Mapping[str, str] | None = None
) -> bytes:
    """The page: title, what it is about as names and values, and the sections."""
    named = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in (facts or {}).items())
    body = [f"<h1>{escape(title)}</h1>", f"<dl>{named}</dl>" if named else ""]
    for section in sections:
        heading = f"<h2>{escape(section.title)}</h2>" if section.title else ""
        body.append(f"<section>{heading}{''.join(section.parts)}</section>")
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    text = "\n".join(part for part in body if part)
    page = f'<!doctype html><html lang="en"><head>{head}</head><body>{text}</body></html>\n'
    return page.encode()


def paragraph(text: str) -> Html:
    """A paragraph."""
    return Html(f"<p>{escape(text)}</p>")


def points(lines: Sequence[str]) -> Html:
    """A list."""
    return Html(f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>")


def tiles(numbers: Mapping[str, str]) -> Html:
    """The most important numbers, large, by name."""
    each = (
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>"
        for name, value in numbers.items()
    )
    return Html(f'<div class="tiles">{"".join(each)}</div>')


def table(cells: Table, words: int = 1) -> Html:
    """A table with a head; its first `words` columns are texts, the others numbers."""
    head, *body = cells
    rows = [_row("th", head, words), *(_row("td", row, words) for row in body)]
    return Html(f'<div class="scroll"><table>{"".join(rows)}</table></div>')


def _row(tag: str, cells: Sequence[str], words: int) -> str:
    kinds = [' class="word"' if place < words else "" for place in range(len(cells))]
    each = (f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
    return f"<tr>{''.join(each)}</tr>"


def bars(rows: Sequence[tuple[str, float, str]]) -> Html:
    """Horizontal bars: name, length as a share 0..1 of the width, and the text at the end."""
    each = (
        f'<span>{escape(name)}</span><i style="width:{100 * min(max(share, 0), 1):.1f}%"></i>'
        f"<u>{escape(text)}</u>"
        for name, share, text in rows
    )
    return Html(f'<div class="bars">{"".join(each)}</div>')


def picture(content: bytes, alt: str) -> Html:
    """A PNG or JPEG within the page."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    data = base64.b64encode(content).decode()
    return Html(f'<img alt="{escape(alt)}" src="data:image/{kind};base64,{data}">')


def gallery(shown: Sequence[Shown], kind: Literal["small", "half", "wide"]) -> Html:
    """Pictures beside each other; `kind` is "small", "half" (of the page) or "wide"."""
    each = (
        f"<figure>{_panels(item)}"
        f"<figcaption>{'<br>'.join(map(escape, item.lines))}</figcaption></figure>"
        for item in shown
    )
    return Html(f'<div class="pictures {kind}">{"".join(each)}</div>')


def _panels(item: Shown) -> str:
    each = [picture(content, item.alt) for content in item.pictures]
    return f'<div class="panels">{"".join(each)}</div>' if len(each) > 1 else each[0]


def figures(drawn: Mapping[str, Html]) -> Html:
    """Drawings beside each other, by the caption of each; a wide one has a line of its own."""
    each = (
        f'<figure><div class="scroll">{svg}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, svg in drawn.items()
    )
    kind = "grid wide" if len(drawn) == 1 else "grid"
    return Html(f'<div class="{kind}">{"".join(each)}</div>')


def key(colours: Mapping[str, Sequence[int]]) -> Html:
    """What colours (RGB, 0..255) mean."""
    each = (
        f'<li><i style="background:#{bytes(map(int, rgb)).hex()}"></i>{escape(name)}</li>'
        for name, rgb in colours.items()
    )
    return Html(f'<ul class="key">{"".join(each)}</ul>')
