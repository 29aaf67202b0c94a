"""Pictures of the errors of a detector.

Shapes: N detections, G ground-truth boxes. Boxes are xyxy in pixels of the picture.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.evaluation.tide import MISTAKES, Kind, Truth, judge
from detection.evaluation.visualize import draw_box, draw_text
from engine.reports.charts import BLUE, ORANGE, PURPLE, SKY, VERMILION, YELLOW
from engine.reports.html import Shown
from engine.reports.report import encode
from engine.types import Picture

COLOURS = {
    Kind.RIGHT: (0, 220, 160),  # a brighter GREEN
    Kind.CLASS: SKY,
    Kind.LOCATION: ORANGE,
    Kind.BOTH: PURPLE,
    Kind.DUPLICATE: YELLOW,
    Kind.BACKGROUND: VERMILION,
    Kind.MISSED: BLUE,
}
NAMES = {kind: kind.name.lower() for kind in COLOURS}
DASH = 6  # pixels
LEGIBLE = 4  # pixels of width per letter that a missed box needs to get its name


class BoxExhibit(NamedTuple):
    """An image with everything that is drawn on it."""

    name: str
    picture: Picture  # (H, W, 3) RGB, small
    boxes: NDArray[np.floating]  # (N, 4)
    scores: NDArray[np.floating]  # (N,)
    labels: NDArray[np.int64]  # (N,)
    truth: Truth


def draw_mistakes(exhibit: BoxExhibit, classes: Sequence[str], threshold: float) -> Shown:
    """The image with its errors at the threshold, and their number by kind.

    Wrong detections are boxes in the colour of their kind, with class and score; boxes that no
    detection found are dashed, in MISSED's colour; right detections are thin, without text.
    """
    kept = exhibit.scores >= threshold
    boxes, scores, labels = exhibit.boxes[kept], exhibit.scores[kept], exhibit.labels[kept]
    judged = judge(boxes, scores, labels, exhibit.truth)
    boxes, canvas = boxes[judged.order], exhibit.picture.copy()
    right = judged.kinds == Kind.RIGHT
    for box in boxes[right]:
        draw_box(canvas, box, COLOURS[Kind.RIGHT], 1)
    texts = []
    real = exhibit.truth.boxes[~exhibit.truth.crowd]
    for box, label in zip(real[~judged.taken], judged.truth[~judged.taken], strict=True):
        _dashed(canvas, box)
        if box[2] - box[0] >= LEGIBLE * len(classes[label]):
            texts.append((box, classes[label], COLOURS[Kind.MISSED]))
    wrong = np.flatnonzero(~right & (judged.kinds != Kind.IGNORED))[::-1]  # highest score on top
    for place in wrong:
        kind = Kind(judged.kinds[place])
        draw_box(canvas, boxes[place], (0, 0, 0), 4)  # a dark rim is visible on any background
        draw_box(canvas, boxes[place], COLOURS[kind], 2)
        text = f"{classes[judged.labels[place]]} {judged.scores[place]:.2f}"
        texts.append((boxes[place], text, COLOURS[kind]))
    for box, text, colour in texts:
        draw_text(canvas, box, text, colour)
    counts = Counter(Kind(kind) for kind in judged.kinds)
    counts[Kind.MISSED] = int((judged.noticed == 0).sum())
    return Shown([encode(canvas)], f"mistakes in {exhibit.name}", [exhibit.name, _told(counts)])


def _told(counts: Counter[Kind]) -> str:
    """The counts in words, errors first."""
    order = (*MISTAKES, Kind.RIGHT)
    return ", ".join(f"{counts[kind]} {NAMES[kind]}" for kind in order if counts[kind])


def _dashed(canvas: Picture, box: NDArray[np.floating]) -> None:
    """A dashed rectangle in the colour of missed boxes, white between the dashes."""
    left, top, right, bottom = box.round().astype(int).tolist()
    cv2.rectangle(canvas, (left, top), (right, bottom), (255, 255, 255), 2)
    for x in range(left, right + 1, 2 * DASH):
        for y in (top, bottom):
            cv2.line(canvas, (x, y), (min(x + DASH, right), y), COLOURS[Kind.MISSED], 2)
    for y in range(top, bottom + 1, 2 * DASH):
        for x in (left, right):
            cv2.line(canvas, (x, y), (x, min(y + DASH, bottom)), COLOURS[Kind.MISSED], 2)
