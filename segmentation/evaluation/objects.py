"""Recall of objects by their size.

An object is a connected component (8 neighbours) of the pixels of one class in the truth: a car,
but also each piece of a road that another object cuts in two. Its recall is the fraction of its
pixels that are predicted as its class; predictions outside it do not count. Pixels to ignore do not
belong to an object.

Shapes: (H, W) the size of an image, K classes, C of them that occur, S sizes.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.types import Mask

SIDES = (0, 16, 32, 64, 128, 256)  # pixels: size i is an area of SIDES[i]**2 to SIDES[i + 1]**2
HALF = 0.5  # an object with this recall or more counts as found


class ObjectRecalls(NamedTuple):
    """Sums over objects by class and size, of the classes that occur."""

    labels: NDArray[np.int64]  # (C,)
    number: NDArray[np.int64]  # (C, S)
    recall: NDArray[np.float64]  # (C, S) sum of the recalls 0..1
    found: NDArray[np.int64]  # (C, S) objects with a recall of HALF or more


def measure(truth: Mask, predicted: Mask, num_classes: int) -> ObjectRecalls:
    """The objects of one image, truth and prediction (H, W)."""
    labels = np.flatnonzero(np.bincount(truth.ravel(), minlength=256)[:num_classes])
    if not len(labels):
        return total([], 0)
    rows = [_of_class(truth == label, predicted == label) for label in labels]
    return ObjectRecalls(labels, *map(np.array, zip(*rows, strict=True)))


def _of_class(
    own: NDArray[np.bool_], hit: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.intp]]:
    """Number, recall and found (S,) of one class; `hit` are the pixels predicted as it."""
    number, parts, stats, _ = cv2.connectedComponentsWithStats(own.astype(np.uint8), connectivity=8)
    area = stats[1:, cv2.CC_STAT_AREA].astype(np.int64)  # 0 is the background
    recall = np.bincount(parts[hit], minlength=number)[1:] / area
    size = np.searchsorted(np.square(SIDES), area, side="right") - 1
    return (
        np.bincount(size, minlength=len(SIDES)),
        np.bincount(size, weights=recall, minlength=len(SIDES)).astype(np.float64),
        np.bincount(size[recall >= HALF], minlength=len(SIDES)),
    )


def total(images: Sequence[ObjectRecalls], num_classes: int) -> ObjectRecalls:
    """The sums over images, with a row for each of the K classes."""
    shape = (num_classes, len(SIDES))
    result = ObjectRecalls(
        np.arange(num_classes),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.float64),
        np.zeros(shape, np.int64),
    )
    for image in images:  # labels of one image are distinct
        result.number[image.labels] += image.number
        result.recall[image.labels] += image.recall
        result.found[image.labels] += image.found
    return result


def size_names() -> list[str]:
    """The sizes in words."""
    between = [f"{low} to {high}" for low, high in pairwise(SIDES[1:])]
    return [f"below {SIDES[1]}", *between, f"{SIDES[-1]} or more"]
