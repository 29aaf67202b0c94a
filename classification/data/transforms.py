"""Training augmentation of the classifier: the published one, and other usual transforms.

The published pipeline (PaddleClas, PPLCNet's configs) is `[RandomResizedCrop(224),
HorizontalFlip(p=0.5)]`, for the x2.5 trunk with `AutoAugment()` after them; that of person_exists
is `[RandomResizedCrop(192), HorizontalFlip(p=0.5), RandomErasing(p=0.1)]`. The list may hold any
other albumentations transform. Normalising happens per batch, in `engine.data.preprocess`.

Deviations from PaddleClas, and why:

* AutoAugment and RandAugment are torchvision's, on Pillow images: the same 25 ImageNet policies,
  with torchvision's scales of magnitudes. New pixels at the border are grey (128), as there.
* RandomErasing happens on 8-bit pixels, before normalising. Its noise is drawn as for normalised
  pixels (mean 0, deviation 1) and converted to 0..255, which clips the outermost 1 to 2 % on either
  side.
* ColorJitter is albumentations': its hue steps are 2 degrees wide (OpenCV's 8-bit HSV).
* Each sample has one random generator, seeded by (seed, epoch, index), so random numbers differ
  from PaddleClas'.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine.registry import TRANSFORMS
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import v2

from engine.data.augmentation import ColorJitter, HorizontalFlip, Transform, compose, reseed

# isort: split
import albumentations as A

from engine.data.preprocess import IMAGENET_MEAN, IMAGENET_STD

__all__ = [
    "AutoAugment",
    "ColorJitter",
    "HorizontalFlip",
    "RandAugment",
    "RandomErasing",
    "RandomResizedCrop",
]

Picture = NDArray[np.uint8]  # (H, W, 3)
Range = tuple[float, float]
GREY = 128


class ImageAugment:
    """Runs albumentations transforms, or their configs, over an image."""

    def __init__(self, transforms: Sequence[Transform | dict[str, Any]]) -> None:
        self._compose = compose(transforms)

    def __call__(self, image: Picture, seed: Sequence[int]) -> Picture:
        """Augmented image (H', W', 3); equal `seed`, equal result."""
        if self._compose is None:
            return image
        reseed(self._compose, seed)
        return np.ascontiguousarray(self._compose(image=image)["image"])


@TRANSFORMS.register_module()
class RandomResizedCrop(A.RandomResizedCrop):
    """A random part of the image, resized bilinearly to `size` (height, width).

    As in PaddleClas: the aspect is uniform in `ratio` (in torchvision its logarithm is), then the
    area is uniform in `scale`, whose ends are limited to what fits the image at that aspect. So the
    first crop always fits.

    Args:
        size: Height and width of the result.
        scale: Range of the crop's share of the image's area.
        ratio: Range of its width / height.
    """

    def __init__(
        self, size: Sequence[int], scale: Range = (0.08, 1.0), ratio: Range = (3 / 4, 4 / 3)
    ) -> None:
        super().__init__(size=(size[0], size[1]), scale=scale, ratio=ratio, p=1.0)

    def get_params_dependent_on_data(
        self,
        params: dict[str, Any],
        data: dict[str, Any],  # noqa: ARG002
    ) -> dict[str, tuple[int, int, int, int]]:
        """The crop, xyxy."""
        height, width = params["shape"][:2]
        aspect = self.py_random.uniform(*self.ratio)
        largest = min(width / height / aspect, height / width * aspect)  # share of the area
        share = self.py_random.uniform(min(self.scale[0], largest), min(self.scale[1], largest))
        side = math.sqrt(share * width * height)
        w = max(1, int(side * math.sqrt(aspect)))
        h = max(1, int(side / math.sqrt(aspect)))
        x, y = self.py_random.randint(0, width - w), self.py_random.randint(0, height - h)
        return {"crop_coords": (x, y, x + w, y + h)}


class FromTorchvision(A.ImageOnlyTransform):
    """Base of transforms of torchvision: they draw from torch's generator, which is seeded here.

    Seeding and restoring that generator takes 5 microseconds; torch.random.fork_rng takes far
    longer.
    """

    def change(self, img: Picture) -> Picture:
        """The changed image; draws from torch's generator."""
        raise NotImplementedError(f"{type(self).__name__} has no method `change`")

    def get_params(self) -> dict[str, Any]:
        """Random seed of one image."""
        return {"seed": int(self.random_generator.integers(2**63))}

    def apply(self, img: Picture, seed: int, **params: Any) -> Picture:  # noqa: ARG002
        """The changed image; equal `seed`, equal result."""
        with _seeded(seed):
            return self.change(img)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds torch's generator, and restores its state afterwards."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)


@TRANSFORMS.register_module()
class AutoAugment(FromTorchvision):
    """One of the 25 pairs of operations found for ImageNet (Cubuk et al. 2019, 1805.09501)."""

    def __init__(self, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.policy = v2.AutoAugment(fill=GREY)

    def change(self, img: Picture) -> Picture:
        """The changed image."""
        return np.array(self.policy(Image.fromarray(img)))


@TRANSFORMS.register_module()
class RandAugment(FromTorchvision):
    """`operations` out of 14, each of strength `magnitude` (Cubuk et al. 2020, 1909.13719).

    Args:
        operations: Number of operations, one after the other.
        magnitude: 0 (nothing) to 30.
        p: Probability of changing the image at all.
    """

    def __init__(self, operations: int = 2, magnitude: int = 9, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.operations, self.magnitude = operations, magnitude
        self.policy = v2.RandAugment(num_ops=operations, magnitude=magnitude, fill=GREY)

    def change(self, img: Picture) -> Picture:
        """The changed image."""
        return np.array(self.policy(Image.fromarray(img)))


@TRANSFORMS.register_module()
class RandomErasing(FromTorchvision):
    """A rectangle of noise (Zhong et al. 2020, arXiv 1708.04896), ten tries to place it.

    Args:
        scale: Range of the rectangle's share of the image's area.
        ratio: Range of its height / width, whose logarithm is uniform.
        p: Probability of erasing at all.
    """

    def __init__(
        self, scale: Range = (0.02, 1 / 3), ratio: Range = (0.3, 1 / 0.3), p: float = 0.5
    ) -> None:
        super().__init__(p=p)
        self.scale, self.ratio = scale, ratio
        self.draw = v2.RandomErasing(p=1.0, scale=scale, ratio=ratio, value="random")

    def change(self, img: Picture) -> Picture:
        """A copy with the rectangle, or the image itself if no try fits."""
        shape = torch.empty((3, *img.shape[:2]), device="meta")
        drawn = self.draw.make_params([shape])
        if drawn["v"] is None:
            return img
        noise = drawn["v"].permute(1, 2, 0).numpy()  # (h, w, 3) of mean 0 and deviation 1
        pixels = 255 * (np.array(IMAGENET_MEAN) + np.array(IMAGENET_STD) * noise)
        top, left, height, width = (drawn[side] for side in "ijhw")
        erased = img.copy()
        erased[top : top + height, left : left + width] = pixels.round().clip(0, 255)
        return erased
