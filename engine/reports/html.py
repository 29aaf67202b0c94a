"""Writes a web page as one file: no script, no network, light and dark, for phone and print.

The content is plain data; the templates page.html and page.css write all markup and escape every
text.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

Html = Markup  # not escaped: only for SVG from charts.py


class Paragraph(NamedTuple):
    """A paragraph."""

    text: str


class Points(NamedTuple):
    """A list."""

    lines: Sequence[str]


class Tiles(NamedTuple):
    """The most important numbers, in large type."""

    numbers: Mapping[str, str]  # by name


class Table(NamedTuple):
    """A table; the first `words` columns are text, the others numbers."""

    cells: Sequence[Sequence[str]]  # the first row is the head
    words: int = 1


class Bars(NamedTuple):
    """Horizontal bars."""

    rows: Sequence[tuple[str, float, str]]  # name, length 0..1 of the width, text at the end


class Raster(NamedTuple):
    """A PNG or JPEG picture embedded in the page."""

    content: bytes
    alt: str  # description for screen readers


class Shown(NamedTuple):
    """A picture with lines of text below it."""

    pictures: Sequence[bytes]  # JPEG or PNG, shown side by side
    alt: str  # description for screen readers
    lines: Sequence[str]


class Gallery(NamedTuple):
    """Pictures side by side."""

    shown: Sequence[Shown]
    kind: Literal["small", "half", "wide"]  # width: small, half or full page


class Drawings(NamedTuple):
    """Drawings side by side; a single one has the width of the page."""

    drawn: Mapping[str, Html]  # SVG by caption


class Key(NamedTuple):
    """The meaning of colours."""

    colours: Mapping[str, Sequence[int]]  # RGB, 0..255


Block = Paragraph | Points | Tiles | Table | Bars | Raster | Gallery | Drawings | Key


class Section(NamedTuple):
    """A heading and the blocks below it."""

    title: str  # "": no heading
    parts: Sequence[Block]


def document(
    title: str, sections: Iterable[Section], facts: Mapping[str, str] | None = None
) -> bytes:
    """Render the page: title, facts as names and values, and sections."""
    page = _ENVIRONMENT.get_template("page.html")
    return page.render(title=title, facts=facts or {}, sections=sections).encode()


def _kind(block: Block) -> str:
    """Name of the template macro of a block."""
    return type(block).__name__.lower()


def _data_url(content: bytes) -> str:
    """A PNG or JPEG file as a data URL."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"kind": _kind, "data_url": _data_url}
