"""Draws boxes, names and scores on a picture."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.reports.lettering import MARGIN, text_size, write_label
from engine.types import Picture

NAME = 12  # least size of letters in pixels
LINES = 57  # size of letters in a large picture: its longer side / LINES


def palette(count: int) -> NDArray[np.uint8]:
    """`count` vivid RGB colours (count, 3), far apart in hue (steps of the golden angle)."""
    index = np.arange(max(count, 1))
    hue = (index * 137.508 / 2) % 180  # OpenCV counts hue in half degrees
    value = np.where(index % 2, 255, 200)
    hsv = np.stack([hue, np.full_like(hue, 220), value], axis=-1).astype(np.uint8)  # (count, 3)
    return cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]


def draw_detections(
    image: Picture, found: dict[str, Any], classes: Sequence[str], threshold: float
) -> Picture:
    """Copy of the RGB `image` (H, W, 3) with every box of at least `threshold`, lowest score first.

    Args:
        image: The picture that the boxes belong to.
        found: `boxes` (N, 4) xyxy in pixels, `scores` (N,), `labels` (N,).
        classes: Names by label.
        threshold: Lowest score drawn, 0..1.
    """
    canvas = image.copy()
    colours = palette(len(classes))
    scores = found["scores"].cpu().numpy()
    boxes, labels = found["boxes"].cpu().numpy(), found["labels"].cpu().numpy()
    for index in np.argsort(scores, kind="stable"):
        if scores[index] >= threshold:
            colour = colours[labels[index]].tolist()
            draw_box(canvas, boxes[index], colour, _thickness(canvas))
            text = f"{classes[labels[index]]} {scores[index]:.2f}"
            draw_text(canvas, boxes[index], text, colour)
    return canvas


def _thickness(picture: Picture) -> int:
    return max(1, round(max(picture.shape[:2]) / 400))


def draw_box(
    canvas: Picture, box: NDArray[np.floating], colour: Sequence[int], thickness: int
) -> None:
    """Draw a rectangle with lines of `thickness` pixels."""
    left, top, right, bottom = box.round().astype(int).tolist()
    cv2.rectangle(canvas, (left, top), (right, bottom), colour, thickness, cv2.LINE_AA)


def draw_text(canvas: Picture, box: NDArray[np.floating], text: str, colour: Sequence[int]) -> None:
    """Draw a filled label above the box, or inside if there is no room above."""
    size = max(NAME, max(canvas.shape[:2]) // LINES)
    height, width = text_size(text, size)
    left = int(np.clip(box[0], 0, max(canvas.shape[1] - width - 2 * MARGIN, 0)))
    top = int(box[1]) - height if box[1] >= height else int(max(box[1], 0))
    write_label(canvas, text, (top, left), colour, size)


def draw_truth(
    image: Picture,
    boxes: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: Sequence[str],
) -> Picture:
    """Copy of the RGB `image` (H, W, 3) with boxes (G, 4) xyxy pixels of labels (G,).

    A box gets the name of its class if that covers no other name; its colour shows the class too.
    """
    canvas = image.copy()
    colours = palette(len(classes))
    order = np.argsort(-(boxes[:, 2:] - boxes[:, :2]).prod(1), kind="stable")
    for index in order:
        colour = colours[labels[index]].tolist()
        draw_box(canvas, boxes[index], colour, _thickness(canvas))
    taken = np.zeros(image.shape[:2], bool)
    for index in order:
        _name(canvas, taken, boxes[index], classes[labels[index]], colours[labels[index]])
    return canvas


def _name(
    canvas: Picture,
    taken: NDArray[np.bool_],
    box: NDArray[np.float32],
    text: str,
    colour: NDArray[np.uint8],
) -> None:
    """Draw a label above, in or below the box, the first place that is free in `taken` (H, W)."""
    height, width = text_size(text, NAME)
    width += 2 * MARGIN
    left = int(np.clip(box[0], 0, max(canvas.shape[1] - width, 0)))
    for top in (int(box[1]) - height, int(box[1]) + 1, int(box[3])):
        spot = (slice(max(top, 0), top + height), slice(left, left + width))
        if 0 <= top <= len(canvas) - height and not taken[spot].any():
            taken[spot] = True
            write_label(canvas, text, (top, left), colour.tolist(), NAME)
            return
