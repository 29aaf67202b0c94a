"""Counts and draws confusion matrices.

Shapes: N images, K classes.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.data.images import encode_image

Confusion = NDArray[np.int64]  # (K, K): images of class row predicted as class column
Pair = tuple[int, int, int]  # true class, predicted class, images
FONT, SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4
NAMED_CLASSES = 40  # for more classes the picture has neither names nor counts
LARGEST = 1200  # approximate pixels of the picture of more classes


def confusion(labels: NDArray[np.int64], found: NDArray[np.int64], num_classes: int) -> Confusion:
    """Confusion matrix of true and predicted classes (N,)."""
    counts = np.bincount(labels * num_classes + found, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def worst_pairs(matrix: Confusion, count: int = 20) -> list[Pair]:
    """The most frequent errors; equal ones in the order of classes."""
    pairs = np.argwhere(matrix)  # few of K * K
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    images = matrix[pairs[:, 0], pairs[:, 1]]
    order = np.argsort(-images, kind="stable")[:count]
    return [
        (truth, found, number)
        for (truth, found), number in zip(
            pairs[order].tolist(), images[order].tolist(), strict=True
        )
    ]


def draw_confusion(matrix: Confusion, classes: Sequence[str]) -> bytes:
    """PNG of the matrix: rows are true classes, columns predicted ones; darker: more of the row."""
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    named = len(classes) <= NAMED_CLASSES
    cell = 44 if named else max(1, LARGEST // len(classes))
    greys = (255 * (1 - shares)).astype(np.uint8)  # (K, K)
    shades = np.asarray(cv2.applyColorMap(greys, cv2.COLORMAP_BONE), np.uint8)  # (K, K, 3) BGR
    picture = shades[..., ::-1].repeat(cell, axis=0).repeat(cell, axis=1)
    if named:
        picture = _with_names(_with_counts(picture, matrix, shares, cell), classes, cell)
    return encode_image(picture, ".png")


def _with_counts(
    picture: NDArray[np.uint8], matrix: Confusion, shares: NDArray[np.float64], cell: int
) -> NDArray[np.uint8]:
    for row, column in np.argwhere(matrix).tolist():
        text = str(matrix[row, column])
        width = cv2.getTextSize(text, FONT, SCALE, 1)[0][0]
        place = (column * cell + (cell - width) // 2, row * cell + cell // 2 + 5)
        ink = (255, 255, 255) if shares[row, column] > 0.5 else (0, 0, 0)
        cv2.putText(picture, text, place, FONT, SCALE, ink, 1, cv2.LINE_AA)
    return picture


def _with_names(picture: NDArray[np.uint8], classes: Sequence[str], cell: int) -> NDArray[np.uint8]:
    """The picture with the true classes to the left, and the predicted ones above it, rotated."""
    width = 8 + max(cv2.getTextSize(name, FONT, SCALE, 1)[0][0] for name in classes)
    side = np.full((len(picture), width, 3), 255, np.uint8)
    for row, name in enumerate(classes):
        place = (4, row * cell + cell // 2 + 5)
        cv2.putText(side, name, place, FONT, SCALE, (0, 0, 0), 1, cv2.LINE_AA)
    corner = np.full((width, width, 3), 255, np.uint8)
    head = cv2.rotate(side, cv2.ROTATE_90_COUNTERCLOCKWISE)  # text goes upwards
    return np.vstack([np.hstack([corner, head]), np.hstack([side, picture])])
