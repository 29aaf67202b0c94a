"""What the engine expects of a task's model, beyond mmengine's BaseModel."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import nn

Picture = NDArray[np.uint8]  # RGB (H, W, 3)
Mask = NDArray[np.uint8]  # class of each pixel (H, W), IGNORE where none
IGNORE = 255  # counts neither in training nor in evaluation
Image = Picture | str | Path


class Model(Protocol):
    """A trainable model of some task; every task's model class has these members."""

    data_preprocessor: nn.Module
    classes: tuple[str, ...]
    class_layers: tuple[str, ...]  # name prefixes of the layers with one output row a class
    size_divisor: int  # input sides must be multiples of it
    epoch: int  # current training epoch, from 0

    def predict(self, images: Image | Sequence[Image]) -> list[dict[str, Any]]:
        """Results of images, one dict an image."""
        ...

    def draw(self, image: Picture, found: dict[str, Any], threshold: float) -> Picture:
        """Copy of the image with a result on it."""
        ...

    def describe(self, found: dict[str, Any], threshold: float) -> list[dict[str, Any]]:
        """A result as plain data."""
        ...
