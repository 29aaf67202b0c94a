"""Charts: PNG files on white paper, and SVG within a page in the page's own ink.

Shapes: R rows, C columns, K classes.
"""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from engine.reports.html import Html

# Colours that people of any colour vision tell apart (Okabe and Ito 2008), as RGB 0..255.
ORANGE, SKY, GREEN, YELLOW = (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)
BLUE, VERMILION, PURPLE, GREY = (0, 114, 178), (213, 94, 0), (204, 121, 167), (128, 128, 128)

# The colour-blind can tell any two neighbours apart; without yellow, too pale on white paper.
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, (0, 0, 0))
COLOURS = tuple(f"#{bytes(rgb).hex()}" for rgb in SERIES)
STYLES = ("-", "--", ":", "-.")  # for the series after the last colour
GRID = "#DDDDDD"

_INK = "#010203"  # stands for the page's
_SETTINGS: dict[Any, Any] = {  # whose keys matplotlib lists one by one
    "svg.fonttype": "none",  # texts stay texts
    "text.parse_math": False,  # a $ in a class name begins no formula
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
    """Colour and line style of the series of that number."""
    turn, place = divmod(number, len(COLOURS))
    return {"color": COLOURS[place], "linestyle": STYLES[turn % len(STYLES)]}


def frame(axes: Any, *, title: str = "", x: str = "", y: str = "", grid: str = "y") -> None:
    """Titles and a faint grid behind; nothing at the top and right."""
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)


def key(axes: Any) -> None:
    """The series' names above the axes at the right, where they cover nothing."""
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2}
    axes.legend(fontsize=8, frameon=False, ncols=2, **place)


def plain(text: str) -> str:
    """The text with its dollar signs escaped: matplotlib would read a formula."""
    return text.replace("$", r"\$")


def png(figure: Figure) -> bytes:
    """The figure as a PNG file, the same at every call."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


class Drawing:
    """A figure that becomes SVG."""

    def __init__(self, figure: Figure, name: str) -> None:
        self.figure = figure
        self.name = name
        self.svg = Html("")


@contextmanager
def drawing(name: str, width: float = 5.0, height: float = 3.2) -> Iterator[tuple[Drawing, Axes]]:
    """Axes to draw on, of a figure of that size in inches; at the end the drawing's `svg` is set.

    Args:
        name: Description for readers who do not see it; unique within a page.
    """
    with rc_context({**_SETTINGS, "svg.hashsalt": name}):
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.patch.set_alpha(0)
        result = Drawing(figure, name)
        axes = figure.subplots()
        axes.patch.set_alpha(0)
        yield result, axes
        result.svg = _svg(figure, name)


def _svg(figure: Figure, name: str) -> Html:
    """The figure as an element of a page: no prologue, no names that two of them would share.

    Its width in a page is limited so that its letters are about as large as the page's.
    """
    stream = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with warnings.catch_warnings():  # texts stay texts: the reader's fonts have the letters
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
    """A colour as matplotlib takes it."""
    return f"#{bytes(rgb).hex()}"


def count_axis(axes: Axes) -> None:
    """A logarithmic axis of counts upwards, with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")


def heat_map(
    name: str,
    shares: NDArray[np.float64],
    names: tuple[Sequence[str], Sequence[str]],
    axis_names: tuple[str, str] = ("truth", "predicted"),
    smallest: float = 0.005,
) -> Html:
    """A table (R, C) of shares 0..1 as shades with the percentage in each cell.

    Args:
        name: What it shows.
        shares: The shares; NaN leaves a cell empty.
        names: Of rows and of columns.
        axis_names: What rows and columns are.
        smallest: Share from which a cell has its number.
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
    """Heat map of a confusion matrix (K, K), rows as shares, and which classes it leaves out.

    Of more than `most` classes that occur, those with most mistakes are shown.
    """
    wrong = matrix.sum(axis=0) + matrix.sum(axis=1) - 2 * np.diag(matrix)  # (K,)
    known = np.flatnonzero(matrix.sum(axis=0) + matrix.sum(axis=1))
    shown = np.sort(known[np.argsort(-wrong[known], kind="stable")[:most]])
    with np.errstate(invalid="ignore"):
        shares = matrix[np.ix_(shown, shown)] / matrix.sum(axis=1)[shown, None]
    names = [classes[label] for label in shown]
    fewer = f" The {len(shown)} classes with most mistakes of {len(known)}."
    svg = heat_map("confusion of classes", shares, (names, names))
    return svg, fewer if len(shown) < len(known) else ""


def _short(name: str) -> str:
    return name if len(name) <= 22 else f"{name[:21]}…"
