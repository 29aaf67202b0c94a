"""Draws a mask as half transparent colours on its picture, with a legend."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.types import Mask, Picture
from segmentation.classes import colours_of
from segmentation.results import Segmentation, areas

FONT, SCALE, ROW = cv2.FONT_HERSHEY_SIMPLEX, 0.4, 16  # text of the legend; pixels a line


def draw_mask(image: Picture, mask: Mask, classes: Sequence[str]) -> Picture:
    """Copy of the RGB `image` (H, W, 3) under the half transparent colours of its mask, and legend.

    Returns:
        (H, W + legend, 3); the legend's width depends on the class names alone, so that all frames
        of a video get one size. It lists the classes that occur, largest first, until it is full.
    """
    colours = colours_of(classes)
    legend = _legend(areas(mask, classes), classes, colours, len(image))
    return np.hstack([cover(image, mask, colours), legend])


def cover(image: Picture, mask: Mask, colours: NDArray[np.uint8]) -> Picture:
    """Copy of the RGB `image` (H, W, 3) under the half transparent colours (K, 3) of its mask.

    Pixels without a class get black.
    """
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    shades = cv2.applyColorMap(mask, table[:, None])  # is table[mask], ten times as fast
    return cv2.addWeighted(image, 0.5, shades, 0.5, 0).astype(np.uint8, copy=False)


def _legend(
    rows: list[dict[str, Any]], classes: Sequence[str], colours: NDArray[np.uint8], height: int
) -> Picture:
    """White strip (height, ?, 3) with a square, the name and the share of each class in `rows`."""
    longest = max(cv2.getTextSize(f"{name} 100.0 %", FONT, SCALE, 1)[0][0] for name in classes)
    strip = np.full((height, ROW + longest + 8, 3), 255, np.uint8)
    for number, row in enumerate(rows[: height // ROW]):
        top = number * ROW
        strip[top + 2 : top + ROW - 2, 2 : ROW - 2] = colours[row["label"]]
        text = f"{row['class']} {100 * row['share']:.1f} %"
        cv2.putText(strip, text, (ROW + 2, top + ROW - 5), FONT, SCALE, (0, 0, 0), 1, cv2.LINE_AA)
    return strip


def regions(mask: Mask, num_classes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Label and pixels of every connected region of one class (eight neighbours), (N,) each."""
    labels, pixels = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for label in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[:num_classes]):
        found = cv2.connectedComponentsWithStats((mask == label).astype(np.uint8))[2]
        areas_found = found[1:, cv2.CC_STAT_AREA].astype(np.int64)  # the first is the background
        labels.append(np.full(len(areas_found), label))
        pixels.append(areas_found)
    return np.concatenate(labels), np.concatenate(pixels)


def draw(
    image: Picture,
    found: Segmentation,
    classes: Sequence[str],
    threshold: float,  # noqa: ARG001  # every pixel has a class
) -> Picture:
    """The image (H, W, 3) under the colours of its mask, with a legend beside it."""
    return draw_mask(image, found["mask"].cpu().numpy(), classes)
