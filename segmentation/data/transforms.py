"""Training augmentation of the segmenter: the published one, run by albumentations.

The published pipeline (PaddleSeg, `configs/_base_/cityscapes.yml`) is `[RandomStepScale(),
RandomPaddedCrop(512, 1024), HorizontalFlip(p=0.5), RandomColour()]` with the defaults here; any
other albumentations transform may stand in the list. Normalising happens per batch, in
`engine.data.preprocess`.

Deviations from PaddleSeg, and why:

* Padding has the value 127, not 127.5: pictures are 8-bit here. After normalising that is 0.004
  instead of 0.
* A mask is scaled by the nearest pixel centre, so that it stays in place under its picture;
  PaddleSeg takes OpenCV's plain nearest, which shifts it by up to half a pixel.
* RandomColour (RandomDistort there) is albumentations' ColorJitter in random order; its hue steps
  are 2 degrees wide (OpenCV's 8-bit HSV), Pillow's 1.4.
* Draws come from one generator a sample, seeded by (seed, epoch, index), so they do not repeat
  PaddleSeg's numbers.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmengine.registry import TRANSFORMS
from numpy.typing import NDArray

from engine.data.augmentation import HorizontalFlip, Transform, compose, reseed

# isort: split
import albumentations as A

from engine.types import IGNORE

__all__ = ["HorizontalFlip", "MaskAugment", "RandomColour", "RandomPaddedCrop", "RandomStepScale"]

Range = tuple[float, float]
PAD_VALUE = 127


class MaskAugment:
    """Runs albumentations transforms, or their configs, over an image and its mask."""

    def __init__(self, transforms: Sequence[Transform | dict[str, Any]]) -> None:
        self._compose = compose(transforms)

    def __call__(
        self, image: NDArray[np.uint8], mask: NDArray[np.uint8], seed: Sequence[int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Augmented image (H', W', 3) and mask (H', W'); equal `seed`, equal result."""
        if self._compose is None:
            return image, mask
        reseed(self._compose, seed)
        out = self._compose(image=image, mask=mask)
        return np.ascontiguousarray(out["image"]), np.ascontiguousarray(out["mask"])


@TRANSFORMS.register_module()
class RandomStepScale(A.DualTransform):
    """Scales height and width by one factor out of `low`, `low + step`, ..., `high`.

    Args:
        low: Smallest factor.
        high: Largest factor.
        step: Distance between two factors.
        p: Probability of scaling at all.
    """

    _targets = (A.core.type_definitions.Targets.IMAGE, A.core.type_definitions.Targets.MASK)

    def __init__(
        self, low: float = 0.5, high: float = 2.0, step: float = 0.25, p: float = 1.0
    ) -> None:
        super().__init__(p=p)
        self.low, self.high, self.step = low, high, step
        self.factors = low + step * np.arange(round((high - low) / step) + 1)

    def get_params(self) -> dict[str, Any]:
        """The factor."""
        return {"factor": float(self.random_generator.choice(self.factors))}

    def apply(self, img: NDArray[np.uint8], factor: float, **params: Any) -> NDArray[np.uint8]:  # noqa: ARG002
        """The scaled image, bilinear."""
        return _scaled(img, factor, cv2.INTER_LINEAR)

    def apply_to_mask(
        self,
        mask: NDArray[np.uint8],
        factor: float,
        **params: Any,  # noqa: ARG002
    ) -> NDArray[np.uint8]:
        """The scaled mask, nearest pixel centre."""
        return _scaled(mask, factor, cv2.INTER_NEAREST_EXACT)

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """Names of the constructor's arguments, for albumentations' printing."""
        return ("low", "high", "step")


@TRANSFORMS.register_module()
class RandomPaddedCrop(A.RandomCrop):
    """A random crop of exactly `height` x `width` pixels.

    A smaller image is first padded at the bottom and right: the image with grey, the mask with 255.
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__(
            height=height,
            width=width,
            pad_if_needed=True,
            pad_position="top_left",  # where the image goes
            fill=PAD_VALUE,
            fill_mask=IGNORE,
            p=1.0,
        )


@TRANSFORMS.register_module()
class RandomColour(A.RandomOrder):
    """Brightness, contrast, saturation and hue, each with probability `p`, in random order.

    Args:
        brightness: Range of the factor on all values.
        contrast: Range of the factor on the distance to the image's mean grey.
        saturation: Range of the factor on the distance to the pixel's grey.
        hue: Range of the shift of the hue in Pillow's HSV units, 255 a full turn.
        p: Probability of each of the four.
    """

    def __init__(
        self,
        brightness: Range = (0.6, 1.4),
        contrast: Range = (0.6, 1.4),
        saturation: Range = (0.6, 1.4),
        hue: Range = (-18, 18),
        p: float = 0.5,
    ) -> None:
        one, none = (1.0, 1.0), (0.0, 0.0)
        turn = (hue[0] / 255, hue[1] / 255)
        ranges = [
            (brightness, one, one, none),
            (one, contrast, one, none),
            (one, one, saturation, none),
            (one, one, one, turn),
        ]
        super().__init__([A.ColorJitter(*four, p=p) for four in ranges], n=4)


def _scaled(array: NDArray[np.uint8], factor: float, how: int) -> NDArray[np.uint8]:
    height, width = (max(1, round(side * factor)) for side in array.shape[:2])
    return cv2.resize(array, (width, height), interpolation=how).astype(np.uint8, copy=False)
