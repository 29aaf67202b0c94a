"""albumentations whose random draws depend only on a seed.

Its own random state is the same in every loader worker and every epoch. Its `seed` gives each
transform the same random numbers, so a flip and a jitter would always occur together. Here all
transforms of a call draw from one generator that the caller seeds.
"""

import os
import random
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from mmengine.registry import TRANSFORMS

os.environ.setdefault(
    "NO_ALBUMENTATIONS_UPDATE", "1"
)  # before the import, which would look for updates online

import albumentations as A
from albumentations import ColorJitter, HorizontalFlip

__all__ = ["ColorJitter", "HorizontalFlip", "Transform", "compose", "reseed"]

for transform in (ColorJitter, HorizontalFlip):
    TRANSFORMS.register_module(module=transform, force=True)

Transform: TypeAlias = A.BasicTransform | A.BaseCompose
Range = tuple[float, float]


class RandomOrderJitter(A.RandomOrder):
    """Brightness, contrast, saturation and hue, each with probability `p`, in random order.

    Args:
        brightness: Range of the factor on all values; None: `usual`, a range of each subclass.
        contrast: Range of the factor on the distance to the image's mean grey; None: `usual`.
        saturation: Range of the factor on the distance to the pixel's grey; None: `usual`.
        hue: Range of the shift of the hue in Pillow's HSV units, 255 a full turn.
        p: Probability of each of the four.
    """

    usual: Range = (1.0, 1.0)

    def __init__(
        self,
        brightness: Range | None = None,
        contrast: Range | None = None,
        saturation: Range | None = None,
        hue: Range = (-18, 18),
        p: float = 0.5,
    ) -> None:
        one, none = (1.0, 1.0), (0.0, 0.0)
        ranges = [
            (brightness or self.usual, one, one, none),
            (one, contrast or self.usual, one, none),
            (one, one, saturation or self.usual, none),
            (one, one, one, (hue[0] / 255, hue[1] / 255)),
        ]
        super().__init__([A.ColorJitter(*four, p=p) for four in ranges], n=4)


def compose(
    transforms: Sequence[Transform | dict[str, Any]], boxes: A.BboxParams | None = None
) -> A.Compose | None:
    """Chain transforms, which may be given as configs; None if there are none."""
    built = [TRANSFORMS.build(t) if isinstance(t, dict) else t for t in transforms]
    return A.Compose(built, bbox_params=boxes) if built else None


def reseed(pipeline: A.Compose, seed: Sequence[int]) -> None:
    """Seed the draws of the next call with `seed` (non-negative integers)."""
    generator = np.random.default_rng(list(seed))
    pipeline.set_random_state(generator, random.Random(int(generator.integers(2**63))))
