"""Draws class names and scores on a picture."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2

from classification.results import Classification, describe
from engine.reports.lettering import MARGIN, shortened, text_size, write_label
from engine.types import Picture

LEAST_SHARE = 0.005  # of a class in a mixed image to be named
FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_labels(image: Picture, rows: Sequence[dict[str, Any]]) -> Picture:
    """Copy of the RGB `image` (H, W, 3) with name and score of each row at the top left."""
    canvas = image.copy()
    scale = max(0.4, max(image.shape[:2]) / 1600)
    bottom = 0
    for row in rows:
        text = f"{row['class']} {row['score']:.2f}"
        (width, height), _ = cv2.getTextSize(text, FONT, scale, 1)
        top, bottom = bottom, bottom + height + 6
        cv2.rectangle(canvas, (0, top), (width + 4, bottom), (0, 0, 0), cv2.FILLED)
        where = (2, bottom - 3)
        cv2.putText(canvas, text, where, FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return canvas


def draw_truth(image: Picture, shares: Mapping[int, float], classes: Sequence[str]) -> Picture:
    """Copy of the RGB `image` (H, W, 3) with its classes at the top left, white on black.

    `shares` are those of the labels in a mixed image; labels of less than half a percent are left
    out. A single label has no number.
    """
    canvas = image.copy()
    top = 0
    shown = {label: share for label, share in shares.items() if share >= LEAST_SHARE}
    for label, share in sorted(shown.items(), key=lambda pair: -pair[1]):
        text = classes[label] if len(shown) == 1 else f"{share:.0%} {classes[label]}"
        write_label(canvas, shortened(text, image.shape[1] - 2 * MARGIN), (top, 0), (0, 0, 0))
        top += text_size(text)[0]
    return canvas


def draw(
    image: Picture, found: Classification, classes: Sequence[str], threshold: float
) -> Picture:
    """The image (H, W, 3) with the best class, and others of at least `threshold`."""
    best, *others = describe(found, classes, threshold)
    return draw_labels(image, [best, *(row for row in others if row["score"] >= threshold)])
