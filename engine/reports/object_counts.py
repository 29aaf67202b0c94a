"""Charts of the number of objects by class and by size.

Shapes: N objects, K classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import Objects
from engine.reports.charts import COLOURS, frame, key, new_figure, plain, png

MOST_BARS = 40  # classes in a chart; of more, the most and the least frequent
BINS_AN_OCTAVE = 3
REGIONS = "regions"  # counted by area, because a semantic mask has no objects


class Tally:
    """Collects the objects of all pictures of one view.

    Args:
        name: Name of the view in the charts.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._found: list[Objects] = []

    def add(self, objects: Objects) -> None:
        """Add the objects of a picture."""
        self._found.append(objects)

    @property
    def sides(self) -> NDArray[np.float64]:
        """Square root of the area of each object (N,), pixels."""
        return np.concatenate([one.sides for one in self._found])

    def by_class(self, num_classes: int, *, by_area: bool) -> NDArray[np.float64]:
        """Objects of each class (K,), or with `by_area` their share of the area in percent."""
        labels = np.concatenate([one.labels for one in self._found])
        weights = self.sides**2 if by_area else np.ones(len(labels))
        sums = np.bincount(labels, weights, minlength=num_classes).astype(np.float64)
        return 100 * sums / max(weights.sum(), 1) if by_area else sums


def classes_chart(
    tallies: Sequence[Tally], classes: Sequence[str], counted: str, heading: str
) -> bytes:
    """PNG with one bar per class and view, the most frequent class on top."""
    by_area = counted == REGIONS
    table = np.stack([one.by_class(len(classes), by_area=by_area) for one in tallies])  # (V, K)
    order = np.argsort(-table[0], kind="stable")  # (K,)
    unit = "share of all labelled pixels, %" if by_area else counted
    if len(order) > MOST_BARS:
        order = np.concatenate([order[: MOST_BARS // 2], order[-MOST_BARS // 2 :]])
        half = len(order) // 2
        unit += f" (the {half} most frequent and the {half} rarest of {len(classes)} classes)"
    figure = new_figure(8, 1.2 + len(order) * (0.12 + 0.14 * len(tallies)))
    axes = figure.subplots()
    for number, (tally, counts) in enumerate(zip(tallies, table, strict=True)):
        _bars(axes, counts[order], tally.name, number, len(tallies))
    axes.set_yticks(range(len(order)), [plain(classes[label])[:40] for label in order])
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.margins(x=0.12)
    frame(axes, title=heading, x=unit, grid="x")
    key(axes)
    return png(figure)


def _bars(axes: Any, counts: NDArray[np.float64], name: str, number: int, total: int) -> None:
    """Draw horizontal bars with their values: series `number` of `total`."""
    height = 0.8 / total
    places = np.arange(len(counts)) + (number - (total - 1) / 2) * height
    bars = axes.barh(places, counts, height * 0.92, color=COLOURS[number], label=name)
    texts = [f"{count:,.0f}" if count == round(count) else f"{count:.2f}" for count in counts]
    axes.bar_label(bars, texts, padding=3, fontsize=7)


def sizes_chart(tallies: Sequence[Tally], counted: str, heading: str) -> bytes:
    """PNG with a histogram of object sizes per view, on a logarithmic axis."""
    figure = new_figure(8, 4)
    axes = figure.subplots()
    edges = _edges(np.concatenate([one.sides for one in tallies]))
    for number, tally in enumerate(tallies):
        sides, colour = np.maximum(tally.sides, 1), COLOURS[number]
        name = f"{tally.name}: median {np.median(sides):.0f}" if len(sides) else tally.name
        axes.hist(sides, edges, histtype="stepfilled", color=colour, alpha=0.25)
        axes.hist(sides, edges, histtype="step", color=colour, label=name)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    frame(axes, title=heading, x=f"size of {counted} (root of the area), pixels", y=counted)
    key(axes)
    return png(figure)


def _edges(sides: NDArray[np.float64]) -> list[float]:
    """Bin edges for sides (N,), which count as 1 pixel at least; over three octaves or more."""
    logs = np.log2(np.maximum(sides, 1)) if len(sides) else np.zeros(1)
    low = int(logs.min())
    octaves = max(3, int(logs.max()) + 1 - low)
    steps: NDArray[np.float64] = np.linspace(low, low + octaves, octaves * BINS_AN_OCTAVE + 1)
    return (2.0**steps).tolist()
