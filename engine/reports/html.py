"""A web page that is one file: no script, no network, light and dark, phone and paper.

The content is plain data; the templates page.html and page.css beside this file write all markup
and escape every text.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

Html = Markup  # not escaped again: only for SVG that charts.py makes


class Paragraph(NamedTuple):
    """A paragraph."""

    text: str


class Points(NamedTuple):
    """A list."""

    lines: Sequence[str]


class Tiles(NamedTuple):
    """The most important numbers, large."""

    numbers: Mapping[str, str]  # by name


class Table(NamedTuple):
    """A table whose first `words` columns are texts, the others numbers."""

    cells: Sequence[Sequence[str]]  # the first row is the head
    words: int = 1


class Bars(NamedTuple):
    """Horizontal bars."""

    rows: Sequence[tuple[str, float, str]]  # name, length as a share 0..1 of the width, end text


class Raster(NamedTuple):
    """A PNG or JPEG file within the page."""

    content: bytes
    alt: str  # description for readers who do not see it


class Shown(NamedTuple):
    """A picture with the lines below it."""

    pictures: Sequence[bytes]  # JPEG or PNG; several stand side by side
    alt: str  # description for readers who do not see it
    lines: Sequence[str]


class Gallery(NamedTuple):
    """Pictures side by side."""

    shown: Sequence[Shown]
    kind: Literal["small", "half", "wide"]  # half and wide: of the page


class Drawings(NamedTuple):
    """Drawings side by side; a single one is as wide as the page."""

    drawn: Mapping[str, Html]  # SVG by caption


class Key(NamedTuple):
    """The meaning of colours."""

    colours: Mapping[str, Sequence[int]]  # RGB, 0..255


Block = Paragraph | Points | Tiles | Table | Bars | Raster | Gallery | Drawings | Key


class Section(NamedTuple):
    """A heading and what stands below it."""

    title: str  # "": no heading
    parts: Sequence[Block]


def document(
    title: str, sections: Iterable[Section], facts: Mapping[str, str] | None = None
) -> bytes:
    """The page: title, what it is about as names and values, and the sections."""
    page = _ENVIRONMENT.get_template("page.html")
    return page.render(title=title, facts=facts or {}, sections=sections).encode()


def _kind(block: Block) -> str:
    """Name of the macro that writes a block."""
    return type(block).__name__.lower()


def _data_url(content: bytes) -> str:
    """The address of a PNG or JPEG that is its content."""
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
