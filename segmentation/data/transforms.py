"""Training augmentation of the segmenter: the published one, run by albumentations.

The published pipeline (PaddleSeg, `configs/_base_/cityscapes.yml`) is `[RandomStepScale(),
RandomPaddedCrop(512, 1024), HorizontalFlip(p=0.5), RandomColour()]` with the defaults here; the
list may hold any other albumentations transform. Normalising happens per batch, in
`engine.data.preprocess`.

Deviations from PaddleSeg, and why:

* Padding has the value 127, not 127.5: pictures are 8-bit here. After normalising that is 0.004
  instead of 0.
* A mask is scaled by the nearest pixel centre, so that it stays aligned with its picture;
  PaddleSeg uses OpenCV's plain nearest, which shifts it by up to half a pixel.
* RandomColour (RandomDistort there) is albumentations' ColorJitter in random order; its hue steps
  are 2 degrees wide (OpenCV's 8-bit HSV), Pillow's 1.4.
* Each sample has one random generator, seeded by (seed, epoch, index), so random numbers differ
  from PaddleSeg's.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmengine.registry import TRANSFORMS
from numpy.typing import NDArray

from engine.data.augmentation import (
    HorizontalFlip,
    RandomOrderJitter,
    Transform,
    compose,
    reseed,
)

# isort: split
import albumentations as A

from engine.types import IGNORE

__all__ = ["HorizontalFlip", "MaskAugment", "RandomColour", "RandomPaddedCrop", "RandomStepScale"]

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
class RandomColour(RandomOrderJitter):
    """Brightness, contrast and saturation by 0.6 to 1.4, and hue: see RandomOrderJitter."""

    usual = (0.6, 1.4)


def _scaled(array: NDArray[np.uint8], factor: float, how: int) -> NDArray[np.uint8]:
    height, width = (max(1, round(side * factor)) for side in array.shape[:2])
    return cv2.resize(array, (width, height), interpolation=how).astype(np.uint8, copy=False)
