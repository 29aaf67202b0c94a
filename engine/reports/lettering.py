"""Writes text on pictures in a Unicode font, and colour legends.

Shapes: (H, W) the size of a picture.
"""

from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engine.types import Picture

FONT = "mpl-data/fonts/ttf/DejaVuSans.ttf"  # in matplotlib's folder
Colour = tuple[int, int, int]  # RGB
INK: Colour = (30, 30, 30)
PAPER = 255
TEXT = 13  # font size, pixels
MARGIN = 2  # pixels left and right of a label's text
ROW = 20  # pixels from line to line


class LegendEntry(NamedTuple):
    """A line of a legend."""

    colour: Colour
    text: str


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """The font in the matplotlib package: most alphabets, no emoji."""
    found = find_spec("matplotlib")  # not imported: that takes 0.1 s
    assert found is not None
    assert found.origin is not None
    return ImageFont.truetype(str(Path(found.origin).parent / FONT), size)


@lru_cache(1024)
def text_size(text: str, size: int = TEXT) -> tuple[int, int]:
    """(height, width) in pixels of a line; the height is the same for all texts."""
    font = _font(size)
    return sum(font.getmetrics()), round(font.getlength(text))


def write_text(
    picture: Picture, text: str, corner: tuple[int, int], *, size: int = TEXT, ink: Colour = INK
) -> None:
    """Write a line into the picture (H, W, 3), with its top left at `corner` (y, x).

    Text beyond the bottom or right edge is cut off.
    """
    height, width = text_size(text, size)
    top, left = corner
    spot = picture[top : top + height, left : left + width + 1]
    if spot.size:
        drawn = Image.fromarray(spot)
        ImageDraw.Draw(drawn).text((0, 0), text, fill=ink, font=_font(size))
        spot[:] = np.asarray(drawn)


def write_label(
    picture: Picture, text: str, corner: tuple[int, int], ground: Sequence[int], size: int = TEXT
) -> None:
    """Write a black or white line on a strip of the colour `ground`, top left at `corner` (y, x).

    The strip has the height of the text and is 2 MARGIN wider.
    """
    height, width = text_size(text, size)
    top, left = corner
    picture[top : top + height, left : left + width + 2 * MARGIN] = ground
    write_text(picture, text, (top, left + MARGIN), size=size, ink=ink_on(ground))


def shortened(text: str, width: int, size: int = TEXT) -> str:
    """The text, cut and ended with an ellipsis if it is wider than `width` pixels."""
    if text_size(text, size)[1] <= width:
        return text
    while text and text_size(f"{text}…", size)[1] > width:
        text = text[:-1]
    return f"{text}…"


def ink_on(colour: Sequence[int]) -> Colour:
    """Black or white, whichever is easier to read on a colour."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)


def legend(entries: Sequence[LegendEntry], width: int) -> Picture:
    """White strip (?, width, 3) with a square of each colour and its text.

    Has as many rows as needed; without entries, its height is 0.
    """
    places, row, left = [], 0, 4
    for entry in entries:
        text = shortened(entry.text, width - ROW - 8)
        end = left + ROW + text_size(text)[1] + 12
        if end > width and left > 4:
            row, left, end = row + 1, 4, 4 + end - left
        places.append((row, left, text))
        left = end
    strip = np.full(((row + 1) * ROW + 6 if entries else 0, width, 3), PAPER, np.uint8)
    for entry, (row, left, text) in zip(entries, places, strict=True):
        top = 3 + row * ROW
        strip[top + 3 : top + ROW - 4, left : left + ROW - 7] = entry.colour
        write_text(strip, text, (top + 1, left + ROW - 2))
    return strip
