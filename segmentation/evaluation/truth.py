"""Draws the masks of a data set and measures their regions.

Shapes: K classes, (H, W) the size of a picture.
"""

from collections.abc import Sequence

import numpy as np

from engine.data.dataset import Objects
from engine.types import IGNORE, Picture, Target
from segmentation.classes import colours_of
from segmentation.evaluation.visualize import cover, regions


def draw_truth(picture: Picture, target: Target, classes: Sequence[str]) -> Picture:
    """Copy of the picture (H, W, 3) with its mask half transparent on it."""
    return cover(picture, target["mask"].numpy().astype(np.uint8), colours_of(classes))


def objects(picture: Picture, target: Target) -> Objects:  # noqa: ARG001
    """Labels of the connected regions of the mask (H, W), and the square roots of their areas.

    Pixels without a class do not form a region.
    """
    labels, pixels = regions(target["mask"].numpy().astype(np.uint8), IGNORE)
    return Objects(labels, np.sqrt(pixels))
