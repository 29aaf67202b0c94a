"""Plots of the report on a detector.

Shapes: K classes.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from detection.evaluation.thresholds import Curve
from detection.evaluation.tide import RECALLS, Judged, Kind
from engine.reports.charts import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    count_axis,
    css,
    drawing,
)
from engine.reports.html import Html

STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))  # lines also differ without colour
LINES = (BLUE, ORANGE, GREEN, VERMILION, PURPLE)
MOST_LINES = 100  # classes that get a line: each line takes kilobytes


def precision_recall(precision: NDArray[np.float64]) -> Html:
    """Mean over classes of the precision (10, 101, K) at three IoUs; -1: class without boxes."""
    with drawing("precision over recall by IoU") as (result, axes):
        rows = {"IoU 0.50": precision[0], "IoU 0.75": precision[5], "IoU 0.90": precision[8]}
        lines, names = [], []
        for (name, values), colour, style in zip(rows.items(), LINES, STYLES, strict=False):
            known = values[:, values.min(axis=0) > -1]  # (101, K)
            if known.size:
                lines += axes.plot(RECALLS, known.mean(axis=1), color=css(colour), ls=style)
                names.append(f"{name}: AP {known.mean():.3f}")
        _finish(axes, lines, names)
    return result.svg


def class_curves(
    precision: NDArray[np.float64], classes: Sequence[str], boxes: Sequence[int]
) -> Html:
    """Precision (101, K) at one IoU: the five classes with most boxes by name, others in grey."""
    order = sorted(range(len(classes)), key=lambda label: -boxes[label])
    common, others = order[: len(LINES)], order[len(LINES) : MOST_LINES]
    with drawing("precision over recall by class") as (result, axes):
        for label in others:
            if boxes[label]:
                values = precision[:, label]
                axes.plot(RECALLS, values, color=css(GREY), lw=0.5, alpha=0.35)
        lines, names = [], []
        for label, colour, style in zip(common, LINES, STYLES, strict=False):
            if boxes[label]:
                values = precision[:, label]
                lines += axes.plot(RECALLS, values, color=css(colour), ls=style)
                names.append(f"{classes[label][:24]}: AP {values.mean():.3f}")
        _finish(axes, lines, names)
    return result.svg


def _finish(axes: Axes, lines: Sequence[Line2D], names: Sequence[str]) -> None:
    """Names axes and lines; given here, because matplotlib hides labels that begin with _."""
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.legend(lines, names, fontsize=8)


def _mark(axes: Axes, threshold: float) -> None:
    """A vertical line at the threshold."""
    axes.axvline(threshold, color=css(GREY), ls=":", lw=1.5)
    axes.annotate(
        f"{threshold:.3f}", (threshold, 1), (3, -10), color=css(GREY), size=8,
        xycoords=("data", "axes fraction"), textcoords="offset points",
    )  # fmt: skip


def score_histogram(images: Sequence[Judged], threshold: float) -> Html:
    """Right and wrong detections by score, counts on a logarithmic axis."""
    scores = np.concatenate([image.scores for image in images])
    kinds = np.concatenate([image.kinds for image in images])
    wrong = ~np.isin(kinds, (Kind.RIGHT, Kind.IGNORED))
    edges = np.linspace(0, 1, 41).tolist()
    with drawing("scores of right and wrong detections") as (result, axes):
        for mine, name, colour in (
            (wrong, "wrong", VERMILION),
            (kinds == Kind.RIGHT, "right", SKY),
        ):
            filled = name == "right"
            axes.hist(
                scores[mine], edges, histtype="stepfilled" if filled else "step",
                color=css(colour), lw=1.6, alpha=0.8 if filled else 1,
                label=f"{name}: {int(mine.sum())}",
            )  # fmt: skip
        count_axis(axes)
        axes.set(xlim=(0, 1), xlabel="score", ylabel="detections")
        _mark(axes, threshold)
        axes.legend(fontsize=8)
    return result.svg


def threshold_curve(found: Curve) -> Html:
    """Precision, recall and F1 over the threshold."""
    with drawing("precision, recall and F1 over the threshold") as (result, axes):
        rows = {"F1": found.f1, "precision": found.precision, "recall": found.recall}
        for (name, values), colour, style in zip(rows.items(), LINES, STYLES, strict=False):
            axes.plot(found.thresholds, values, color=css(colour), ls=style, label=name)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="threshold on the score")
        _mark(axes, float(found.thresholds[found.best]))
        axes.legend(fontsize=8)
    return result.svg
