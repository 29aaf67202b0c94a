"""What the engine expects of a task's model, beyond mmengine's BaseModel."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.checkpoint.foreign_weights import Foreign
from engine.export.parity import Gap

Picture = NDArray[np.uint8]  # RGB (H, W, 3)
Mask = NDArray[np.uint8]  # class of each pixel (H, W), IGNORE where none
IGNORE = 255  # counts neither in training nor in evaluation
Image = Picture | str | Path
Size = tuple[int, int]  # height, width
Network = Callable[[Tensor], Sequence[Tensor]]  # (B, 3, H, W) -> what mode="tensor" gives
Target = Mapping[str, Any]


class Ending(Protocol):
    """What makes results of a network's outputs inside an exported graph; an nn.Module."""

    outputs: tuple[str, ...]  # their names

    def onnx_operators(self) -> dict[Any, Any]:
        """ONNX code of the operators that torch has no code for."""
        ...

    def apart(self, wanted: Sequence[Tensor], found: Sequence[Tensor]) -> Gap:
        """How far two computations of these outputs are apart."""
        ...


class Model(Protocol):
    """A trainable model of some task; every task's model class has these members."""

    data_preprocessor: nn.Module
    classes: tuple[str, ...]
    class_layers: tuple[str, ...]  # name prefixes of the layers with one output row a class
    size_divisor: int  # input sides must be multiples of it
    epoch: int  # current training epoch, from 0
    outputs: tuple[str, ...]  # names of what mode="tensor" gives
    last_layers: tuple[str, ...]  # name prefixes of the layers that make these

    def predict(self, images: Image | Sequence[Image]) -> list[dict[str, Any]]:
        """Results of images, one dict an image."""
        ...

    def draw(self, image: Picture, found: dict[str, Any], threshold: float) -> Picture:
        """Copy of the image with a result on it."""
        ...

    def describe(self, found: dict[str, Any], threshold: float) -> list[dict[str, Any]]:
        """A result as plain data."""
        ...

    def load_foreign(self, path: Path, classes: Sequence[str] = ()) -> Foreign:
        """Fill the model from a weight file of another project; executes nothing of it."""
        ...

    def ending(self, *, batched: bool) -> nn.Module:
        """The `Ending` for one image, or for a batch of any size."""
        ...

    def results(
        self, network: Network, images: Tensor, targets: Sequence[Target]
    ) -> list[dict[str, Any]]:
        """What mode="predict" gives, with another network in place of the model's layers."""
        ...

    def finished(
        self, outputs: Mapping[str, Tensor], network: Size, targets: Sequence[Target]
    ) -> list[dict[str, Any]]:
        """The same from the outputs of `ending`, which refer to images of the size `network`."""
        ...
