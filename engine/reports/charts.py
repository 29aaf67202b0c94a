"""Charts as PNG files on white, and as SVG in the text colour of a page.

Shapes: R rows, C columns, K classes.
"""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from engine.reports.html import Html

# Colours for all kinds of colour vision (Okabe and Ito 2008), as RGB 0..255.
ORANGE, SKY, GREEN, YELLOW = (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)
BLUE, VERMILION, PURPLE, GREY = (0, 114, 178), (213, 94, 0), (204, 121, 167), (128, 128, 128)

# In an order in which neighbours differ for all; without yellow, which is too pale on white.
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, (0, 0, 0))
COLOURS = tuple(f"#{bytes(rgb).hex()}" for rgb in SERIES)
STYLES = ("-", "--", ":", "-.")  # the next style when all colours are used
GRID = "#DDDDDD"

_INK = "#010203"  # placeholder for the text colour of the page
_SETTINGS: dict[Any, Any] = {  # Any, because matplotlib types the keys as literals
    "svg.fonttype": "none",  # keep text as text
    "text.parse_math": False,  # $ in a class name does not start a formula
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#808080",
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "font.size": 10,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor"), _INK),
    **dict.fromkeys(("xtick.color", "ytick.color"), _INK),
}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; width and height in inches."""
    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def look(number: int) -> dict[str, Any]:
    """Colour and line style of a series by its number."""
    turn, place = divmod(number, len(COLOURS))
    return {"color": COLOURS[place], "linestyle": STYLES[turn % len(STYLES)]}


def frame(axes: Any, *, title: str = "", x: str = "", y: str = "", grid: str = "y") -> None:
    """Set titles, a faint grid, and axis lines at the left and bottom only."""
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)


def key(axes: Any) -> None:
    """Draw the legend above the axes at the right."""
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2}
    axes.legend(fontsize=8, frameon=False, ncols=2, **place)


def plain(text: str) -> str:
    """The text with escaped dollar signs, which start a formula in matplotlib."""
    return text.replace("$", r"\$")


def png(figure: Figure) -> bytes:
    """The figure as a PNG file, the same bytes at every call."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


@dataclass
class Drawing:
    """A figure and its SVG."""

    figure: Figure
    svg: Html = field(default_factory=Html)


@contextmanager
def drawing(name: str, width: float = 5.0, height: float = 3.2) -> Iterator[tuple[Drawing, Axes]]:
    """Give axes of a figure of this size in inches; sets the drawing's `svg` at the end.

    Args:
        name: Description for screen readers; unique in a page.
    """
    with rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.patch.set_alpha(0)
        result = Drawing(figure)
        axes = figure.subplots()
        axes.patch.set_alpha(0)
        yield result, axes
        result.svg = _svg(figure, name)


def _svg(figure: Figure, name: str) -> Html:
    """The figure as an SVG element: without XML prologue and without ids, which could clash.

    Its width in a page is limited, so that its text is about as large as that of the page.
    """
    stream = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with warnings.catch_warnings():  # the browser's fonts have the glyphs
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        figure.savefig(stream, format="svg", metadata=metadata)
    text = stream.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    label = re.sub(r"[^\w ,.:-]", "", name)
    width = figure.get_figwidth()
    sides = f"max-width:{1.15 * width:.2f}in;min-width:{min(0.75 * width, width - 1.5):.2f}in"
    return Html(text.replace("<svg ", f'<svg role="img" aria-label="{label}" style="{sides}" ', 1))


def css(rgb: Sequence[int]) -> str:
    """A colour as a hex string, for matplotlib."""
    return f"#{bytes(rgb).hex()}"


def count_axis(axes: Axes) -> None:
    """Make the y axis logarithmic, with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")


def heat_map(
    name: str,
    shares: NDArray[np.float64],
    names: tuple[Sequence[str], Sequence[str]],
    axis_names: tuple[str, str] = ("truth", "predicted"),
    smallest: float = 0.005,
) -> Html:
    """Heat map of shares 0..1 (R, C), with the percentage in each cell.

    Args:
        name: Description of the chart.
        shares: The shares; NaN leaves a cell empty.
        names: Names of the rows and of the columns.
        axis_names: Titles of the row and column axes.
        smallest: Smallest share whose number is written.
    """
    rows, columns = shares.shape
    size = (2.2 + 0.42 * columns, 1.6 + 0.32 * rows)
    with drawing(name, max(size[0], 4), max(size[1], 2.5)) as (result, axes):
        axes.grid(visible=False)
        axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="#80808040", lw=0.3)
        axes.invert_yaxis()
        axes.set_xticks(np.arange(columns) + 0.5, [_short(n) for n in names[1]], rotation=90)
        axes.set_yticks(np.arange(rows) + 0.5, [_short(n) for n in names[0]])
        axes.tick_params(length=0)
        axes.set(xlabel=axis_names[1], ylabel=axis_names[0])
        for row, column in np.argwhere(shares >= smallest).tolist():
            share = shares[row, column]
            ink = "#ffffff" if share > 0.55 else "#111111"
            place = (column + 0.5, row + 0.5)
            axes.text(*place, f"{100 * share:.0f}", color=ink, ha="center", va="center", size=8)
    return result.svg


def confusion_map(matrix: NDArray[np.int64], classes: Sequence[str], most: int) -> tuple[Html, str]:
    """Heat map of a confusion matrix (K, K), rows as shares, and a sentence on omitted classes.

    Shows at most `most` classes: those that occur and have the most errors.
    """
    wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * np.diag(matrix)  # (K,)
    known = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    shown = np.sort(known[np.argsort(-wrong[known], kind="stable")[:most]])
    with np.errstate(invalid="ignore"):
        shares = matrix[np.ix_(shown, shown)] / matrix.sum(axis=1)[shown, None]
    names = [classes[label] for label in shown]
    fewer = f" The {len(shown)} classes with the most errors, out of {len(known)}."
    svg = heat_map("confusion of classes", shares, (names, names))
    return svg, fewer if len(shown) < len(known) else ""


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:21]}…"
