"""Draws and counts the classes of the images of a data set.

Shapes: K classes, (H, W) the size of a picture.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from classification.evaluation import visualize
from engine.data.dataset import Objects
from engine.types import Picture, Target


def draw_truth(picture: Picture, target: Target, classes: Sequence[str]) -> Picture:
    """Copy of the picture (H, W, 3) with its class on it, or several if the image is mixed."""
    return visualize.draw_truth(picture, _shares(target), classes)


def objects(picture: Picture, target: Target) -> Objects:
    """One object, the image itself; a mixed image has the class of its larger part."""
    label = max(_shares(target).items(), key=lambda pair: pair[1])[0]
    return Objects(np.array([label]), np.array([np.sqrt(picture.size / 3)]))


def colours(classes: Sequence[str]) -> NDArray[np.uint8]:  # noqa: ARG001
    """No colours (0, 3): classes are shown by name."""
    return np.empty((0, 3), np.uint8)


def _shares(target: Target) -> dict[int, float]:
    """Share of each label: all of one, or the `probabilities` (K,) of a mixed image."""
    if "probabilities" not in target:
        return {target["label"]: 1.0}
    shares = target["probabilities"]
    return {int(label): float(shares[label]) for label in shares.nonzero().flatten()}
