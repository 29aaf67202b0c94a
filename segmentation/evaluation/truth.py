"""The masks of a data set: drawn, their regions counted, and in which colours.

Shapes: K classes, (H, W) the size of a picture.
"""

from collections.abc import Sequence

import numpy as np

from engine.data.dataset import Objects
from engine.types import IGNORE, Picture, Target
from segmentation.classes import colours_of
from segmentation.evaluation.visualize import cover, regions


def draw_truth(picture: Picture, target: Target, classes: Sequence[str]) -> Picture:
    """Copy of the picture (H, W, 3) half covered by its mask."""
    return cover(picture, target["mask"].numpy().astype(np.uint8), colours_of(classes))


def objects(picture: Picture, target: Target) -> Objects:  # noqa: ARG001
    """The connected regions of the mask (H, W), with the labels of its classes.

    What is not labelled is not a region.
    """
    labels, pixels = regions(target["mask"].numpy().astype(np.uint8), IGNORE)
    return Objects(labels, np.sqrt(pixels))
