"""albumentations with draws that follow from a seed alone.

Its own random state is the same in every loader worker and every epoch, and its `seed` gives each
transform the same stream, so that a flip and a jitter would always happen together. Here all
transforms of a call draw from one generator that the caller seeds.
"""

import os
import random
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from mmengine.registry import TRANSFORMS

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # before the import, which calls home

import albumentations as A
from albumentations import ColorJitter, HorizontalFlip

__all__ = ["ColorJitter", "HorizontalFlip", "Transform", "compose", "reseed"]

for transform in (ColorJitter, HorizontalFlip):
    TRANSFORMS.register_module(module=transform, force=True)

Transform: TypeAlias = A.BasicTransform | A.BaseCompose


def compose(
    transforms: Sequence[Transform | dict[str, Any]], boxes: A.BboxParams | None = None
) -> A.Compose | None:
    """The transforms, or those their configs describe, one after the other; None where none is."""
    built = [TRANSFORMS.build(t) if isinstance(t, dict) else t for t in transforms]
    return A.Compose(built, bbox_params=boxes) if built else None


def reseed(pipeline: A.Compose, seed: Sequence[int]) -> None:
    """Let the next call draw from one generator of `seed` (non-negative integers)."""
    generator = np.random.default_rng(list(seed))
    pipeline.set_random_state(generator, random.Random(int(generator.integers(2**63))))
