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
