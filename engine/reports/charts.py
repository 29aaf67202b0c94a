"""How all charts look: colours that the colour-blind can tell apart, quiet frames, PNG out."""

import io
from typing import Any

from matplotlib.figure import Figure

from engine.reports.figures import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION

# Of any two neighbours the colour-blind can tell apart; no yellow, which white paper swallows.
COLOURS = tuple(
    f"#{red:02X}{green:02X}{blue:02X}"
    for red, green, blue in (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, (0, 0, 0))
)
STYLES = ("-", "--", ":", "-.")  # for the series after the last colour
GRID = "#DDDDDD"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches."""
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
    """A text that begins no formula."""
    return text.replace("$", r"\$")


def png(figure: Figure) -> bytes:
    """The figure as a PNG file, the same at every call."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
