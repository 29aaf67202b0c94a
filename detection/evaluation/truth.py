"""Draws and measures the ground-truth boxes of a data set.

Shapes: K classes, (H, W) the size of a picture.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detection.evaluation import visualize
from engine.data.dataset import Objects
from engine.types import Picture, Target


def draw_truth(picture: Picture, target: Target, classes: Sequence[str]) -> Picture:
    """Copy of the picture (H, W, 3) with its boxes and their names."""
    boxes, labels = target["boxes"].numpy(), target["labels"].numpy()
    return visualize.draw_truth(picture, boxes, labels, classes)


def objects(picture: Picture, target: Target) -> Objects:  # noqa: ARG001
    """Labels of the boxes, and the square roots of their areas."""
    sides = (target["boxes"][:, 2:] - target["boxes"][:, :2]).double().prod(1).sqrt()
    return Objects(target["labels"].numpy(), sides.numpy())


def colours(classes: Sequence[str]) -> NDArray[np.uint8]:
    """RGB colour of each class (K, 3)."""
    return visualize.palette(len(classes))
