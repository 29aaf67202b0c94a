"""Builds the sections of the page on a classifier from its numbers.

Shapes: N images, K classes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from classification.evaluation.confusion import Confusion, Pair
from classification.evaluation.metric import BINS, Bins, Summary
from engine.reports import html
from engine.reports.charts import (
    BLUE,
    GREY,
    ORANGE,
    SKY,
    VERMILION,
    confusion_map,
    count_axis,
    css,
    drawing,
)
from engine.reports.html import Html, Section, Shown

MOST_NAMED = 20  # classes in the heat map; of more classes those with most errors
SHOWN_CLASSES = 120  # bars; of more classes only the worst are shown
TITLES = {
    "accuracy/top1": "top-1 accuracy",
    "accuracy/top5": "top-5 accuracy",
    "macro_f1": "macro F1",
    "ece": "calibration error",
    "tpr_at_fpr": "TPR within the budget of FPR",
    "fpr": "FPR there",
    "threshold": "threshold there",
}


def summary(found: Summary, bins: Bins, pairs: Sequence[Pair], classes: Sequence[str]) -> Section:
    """The most important numbers, and what they mean; `pairs` are sorted, the worst first."""
    tiles = {
        TITLES[key]: f"{value:.4f}" if key == "threshold" else f"{value:.2f} %"
        for key, value in found.numbers.items()
        if key in TITLES
    }
    lines = []
    for truth, predicted, count in pairs[:1]:
        lines.append(
            f"The most frequent mistake: {count} of {found.matrix[truth].sum()} images of "
            f"“{classes[truth]}” are taken for “{classes[predicted]}”."
        )
    surplus = -100 * bins.gap.sum() / max(bins.images.sum(), 1)
    word = "higher" if surplus > 0 else "lower"
    lines.append(f"The mean confidence is {abs(surplus):.1f} points {word} than the accuracy.")
    return Section("", [html.Tiles(tiles), *map(html.Paragraph, lines)])


def by_class(found: Summary, classes: Sequence[str]) -> Section:
    """Accuracy of every class, best first."""
    order = np.argsort(-found.accuracy, kind="stable")  # NaN last
    known = [label for label in order if found.matrix[label].sum()]
    images = found.matrix.sum(axis=1)
    rows = [
        (
            classes[label],
            found.accuracy[label] / 100,
            f"{found.accuracy[label]:.1f} % of {images[label]}",
        )
        for label in known[-SHOWN_CLASSES:]
    ]
    note = "Share of the images of each class that are classified correctly."
    parts: list[html.Block] = [html.Paragraph(note), html.Bars(rows)]
    if len(known) > len(rows):
        parts.append(html.Paragraph(f"The {len(known) - len(rows)} best classes are left out."))
    return Section("Classes", parts)


def taken_for(matrix: Confusion, pairs: Sequence[Pair], classes: Sequence[str]) -> Section:
    """Heat map of the confusion matrix, and its largest errors."""
    drawn, fewer = confusion_map(matrix, classes, MOST_NAMED)
    caption = f"Each row: percentage of the images of this class predicted as each class.{fewer}"
    table = [["truth", "predicted", "images", "% of the class"]] + [
        [classes[a], classes[b], str(count), f"{100 * count / matrix[a].sum():.1f}"]
        for a, b, count in pairs
    ]
    return Section(
        "What is taken for what", [html.Drawings({caption: drawn}), html.Table(table, 2)]
    )


def calibration(
    bins: Bins, confidence: NDArray[np.float64], right: NDArray[np.bool_], error: float
) -> Section:
    """Reliability diagram, and the confidence of right and wrong predictions."""
    caption = (
        f"Reliability: accuracy of the predictions (bars) by their confidence. On the dashed line "
        f"both are equal; below it the model is too confident. Expected calibration error: "
        f"{error:.2f} % (15 bins)."
    )
    drawn = {
        caption: _reliability(bins),
        "Images by confidence of the prediction, counts on a logarithmic axis: right ones filled, "
        "wrong ones as a line.": _confidence(confidence, right),
    }
    return Section("Confidence", [html.Drawings(drawn)])


def _reliability(bins: Bins) -> Html:
    filled = bins.images > 0
    images = np.maximum(bins.images, 1)
    sure, right = bins.confidence / images, (bins.confidence + bins.gap) / images  # (15,)
    edges = np.linspace(0, 1, BINS + 1)
    with drawing("reliability diagram", height=3.8) as (result, axes):
        axes.bar(
            edges[:-1][filled], right[filled], 1 / BINS, align="edge",
            color=css(SKY), edgecolor=css(BLUE), lw=0.8, label="share that is right",
        )  # fmt: skip
        axes.plot([0, 1], [0, 1], color=css(GREY), ls="--", lw=1.2)
        axes.plot(
            sure[filled],
            right[filled],
            "o",
            ms=4,
            color=css(ORANGE),
            label="at the bin's mean confidence",
        )
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy")
        axes.legend(fontsize=8, loc="upper left")
    return result.svg


def _confidence(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> Html:
    edges = np.linspace(0, 1, BINS + 1).tolist()
    with drawing("confidence of right and wrong predictions", height=3.8) as (result, axes):
        axes.hist(
            confidence[right], edges, color=css(SKY), alpha=0.8, label=f"right: {right.sum()}"
        )
        axes.hist(
            confidence[~right], edges, histtype="step", lw=1.6, color=css(VERMILION),
            label=f"wrong: {(~right).sum()}",
        )  # fmt: skip
        count_axis(axes)
        axes.set(xlim=(0, 1), xlabel="confidence", ylabel="images")
        axes.legend(fontsize=8, loc="upper left")
    return result.svg


def mistakes(shown: Sequence[Shown]) -> Section:
    """The most confident mistakes."""
    note = "Wrong predictions with the highest confidence. In some of them the label may be wrong."
    title = f"The {len(shown)} most confident mistakes" if shown else "No mistake"
    return Section(title, [html.Paragraph(note), html.Gallery(shown, "small")])
