"""Builds the sections of the page on a segmenter from its numbers.

Shapes: (H, W) the size of a picture, K classes, S sizes of objects.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine.reports import html
from engine.reports.charts import VERMILION, confusion_map, heat_map
from engine.reports.html import Section, Shown
from engine.reports.report import encode
from engine.types import IGNORE, Mask, Picture
from segmentation.classes import colours_of
from segmentation.evaluation.metric import Confusion, Scores
from segmentation.evaluation.objects import ObjectRecalls, size_names

MOST_NAMED = 30  # classes in a heat map
SHOWN_PAIRS = 12
TILES = {"mean IoU": "mIoU", "pixels right": "aAcc", "mean accuracy of classes": "mAcc"}
PALE = (235, 235, 235)  # pixels that do not count


class MaskExhibit(NamedTuple):
    """An image with truth and prediction, small."""

    name: str
    picture: Picture  # (H, W, 3) RGB
    truth: Mask  # (H, W)
    predicted: Mask  # (H, W)
    miou: float  # percent
    wrong: float  # percent of the counted pixels


def summary(scores: Scores, objects: ObjectRecalls, classes: Sequence[str]) -> Section:
    """The most important numbers, and what they mean."""
    numbers = {
        name: "-" if np.isnan(scores.numbers[key]) else f"{scores.numbers[key]:.2f} %"
        for name, key in TILES.items()
    }
    order = [label for label in np.argsort(scores.iou, kind="stable") if scores.iou[label] >= 0]
    weakest = " and ".join(f"“{classes[label]}” ({scores.iou[label]:.1f} %)" for label in order[:2])
    lines = [f"The weakest classes are {weakest}."] if weakest else []
    number, recall = objects.number.sum(axis=0), objects.recall.sum(axis=0)  # (S,)
    if (occurring := np.flatnonzero(number)).size > 1:
        parts = [
            f"{100 * recall[size] / number[size]:.0f} % of objects of {size_names()[size]} pixels"
            for size in occurring[[0, -1]]
        ]
        lines.append(f"The mean recall by size: {', '.join(parts)}.")
    return Section("", [html.Tiles(numbers), *map(html.Paragraph, lines)])


def by_class(scores: Scores, matrix: Confusion, classes: Sequence[str]) -> Section:
    """IoU of every class, best first, with its accuracy and share of the pixels."""
    share = 100 * matrix.sum(axis=1) / max(matrix.sum(), 1)  # (K,)
    order = [label for label in np.argsort(-scores.iou, kind="stable") if scores.iou[label] >= 0]
    rows = [
        (
            classes[label],
            scores.iou[label] / 100,
            f"{scores.iou[label]:.2f} · {_percent(scores.accuracy[label])} · {share[label]:.2f}",
        )
        for label in order
    ]
    note = "IoU · accuracy · share of all pixels, each in percent."
    parts: list[html.Block] = [html.Paragraph(note), html.Bars(rows)]
    if absent := [classes[label] for label in np.flatnonzero(np.isnan(scores.iou)).tolist()]:
        parts.append(html.Paragraph(f"In neither truth nor prediction: {', '.join(absent)}."))
    return Section("Classes", parts)


def taken_for(matrix: Confusion, classes: Sequence[str]) -> Section:
    """Heat map of the confusion matrix, and its largest errors."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    drawn, fewer = confusion_map(matrix, classes, MOST_NAMED)
    caption = (
        f"Each row: percentage of the pixels of this class that are predicted as each class.{fewer}"
    )
    pairs = np.argsort(-wrong, axis=None, kind="stable")[:SHOWN_PAIRS]
    places = np.stack(np.unravel_index(pairs, wrong.shape), axis=1).tolist()
    table = [["truth", "predicted", "% of all wrong pixels"]] + [
        [classes[a], classes[b], f"{100 * wrong[a, b] / wrong.sum():.1f}"]
        for a, b in places
        if wrong[a, b]
    ]
    return Section(
        "What is taken for what", [html.Drawings({caption: drawn}), html.Table(table, 2)]
    )


def by_size(objects: ObjectRecalls, classes: Sequence[str]) -> Section:
    """Recall of objects by size, of all and of each class."""
    number, recall, found = (part.sum(axis=0) for part in objects[1:])  # (S,) each
    head = ["side, pixels", "objects", "mean recall, %", "found, %"]
    rows = [
        [name, str(n), *(_percent(100 * part / n) if n else "-" for part in (r, f))]
        for name, n, r, f in zip(size_names(), number, recall, found, strict=True)
    ]
    note = (
        "An object is a connected piece of one class in the truth; its side is the square root of "
        "its area. Recall is the share of its pixels that are predicted as its class (predictions "
        "outside it do not count). An object with a recall of 50 % or more is found."
    )
    known = np.flatnonzero(objects.number.sum(axis=1))
    shown = known[np.argsort(-objects.number[known].sum(axis=1), kind="stable")[:MOST_NAMED]]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = objects.recall[shown] / objects.number[shown]  # (C, S)
    drawn = heat_map(
        "recall by class and size",
        shares,
        ([classes[label] for label in shown], size_names()),
        ("class", "side of the object, pixels"),
        smallest=0,
    )
    caption = "Mean recall by class and size in percent; empty if there is no such object."
    return Section(
        "Objects by size",
        [html.Paragraph(note), html.Table([head, *rows]), html.Drawings({caption: drawn})],
    )


def worst(exhibits: Sequence[MaskExhibit], classes: Sequence[str]) -> Section:
    """The worst images, each as four pictures, and the colours of the classes in them."""
    colours = np.concatenate([colours_of(classes), np.zeros((256 - len(classes), 3), np.uint8)])
    colours[IGNORE] = PALE
    shown = [four_panels(exhibit, colours.astype(np.uint8)) for exhibit in exhibits]
    present = sorted({int(v) for e in exhibits for v in np.unique([e.truth, e.predicted])})
    legend = {"wrong": VERMILION, "not counted": PALE}
    legend |= {classes[label]: colours[label].tolist() for label in present if label < len(classes)}
    note = "Each picture: image, truth, prediction, errors. The lowest mean IoU comes first."
    title = f"The {len(shown)} worst images" if shown else "No image with a mistake"
    return Section(title, [html.Paragraph(note), html.Key(legend), html.Gallery(shown, "wide")])


def four_panels(exhibit: MaskExhibit, colours: Picture) -> Shown:
    """Image, truth, prediction and errors in one picture."""
    grey = exhibit.picture.mean(axis=2, keepdims=True).astype(np.uint8)  # (H, W, 1)
    errors = (grey // 2 + 64).repeat(3, axis=2)
    errors[(exhibit.truth != exhibit.predicted)] = VERMILION
    errors[exhibit.truth == IGNORE] = PALE
    flat = [encode(colours[mask], ".png") for mask in (exhibit.truth, exhibit.predicted)]
    line = f"{exhibit.name}: mean IoU {exhibit.miou:.1f} %, {exhibit.wrong:.1f} % of pixels wrong"
    return Shown(
        [encode(exhibit.picture), *flat, encode(errors)],
        f"image, truth, prediction and errors of {exhibit.name}",
        [line],
    )


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1f}"
