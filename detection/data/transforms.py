"""Training augmentation of the detector: the published one, run by albumentations.

The published pipeline (PaddleDetection, `configs/picodet/_base_/picodet_320_reader.yml`) is
`[RandomCropByIoU(), HorizontalFlip(), RandomDistort()]` with the defaults here; the list may hold
any other albumentations transform. Resizing and normalising happen per batch, in
`engine.data.preprocess`.

Deviations from PaddleDetection, and why:

* The crop is our own: albumentations' box-aware crops keep every box or one chosen box and have no
  IoU threshold. All attempts at one threshold are drawn together and the first good one is taken,
  which has the same distribution. A crop side is at least 1 pixel and the crop may touch the right
  and lower edge; the original leaves out the last offset and fails on images that small.
* An image without boxes is not cropped, as in the original.
* RandomDistort is albumentations' ColorJitter in random order. Its hue steps are 2 degrees wide
  (OpenCV's 8-bit HSV), Pillow's 1.4; values saturate instead of being cut off; the grey of contrast
  and saturation is rounded differently. Per pixel the two differ by a few levels of 255.
* albumentations drops boxes of less than 1e-7 square pixels; the original keeps them.
* Each sample has one random generator, seeded by (seed, epoch, index), so random numbers differ
  from PaddleDetection's.

Shapes: G boxes of one image, N attempts. Boxes are xyxy in pixels of the image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.registry import TRANSFORMS
from numpy.typing import NDArray

from engine.data.augmentation import (
    HorizontalFlip,
    RandomOrderJitter,
    Range,
    Transform,
    compose,
    reseed,
)

# isort: split
import albumentations as A
from albumentations.augmentations.crops.transforms import BaseCrop

__all__ = ["BoxAugment", "HorizontalFlip", "RandomCropByIoU", "RandomDistort", "Transform"]

FloatArray = NDArray[np.floating[Any]]


class BoxAugment:
    """Runs albumentations transforms, or their configs, over an image and its boxes."""

    def __init__(self, transforms: Sequence[Transform | dict[str, Any]]) -> None:
        boxes = A.BboxParams(
            "pascal_voc",
            label_fields=["labels"],
            clip=True,
            filter_invalid_bboxes=True,
            check_each_transform=False,  # once at the end: the check takes a third of all time
        )
        self._compose = compose(transforms, boxes)

    def __call__(
        self,
        image: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        labels: NDArray[np.int64],
        seed: Sequence[int],
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.int64]]:
        """Augmented image (H', W', 3), boxes (G', 4) inside it, labels (G',); G' <= G.

        The same `seed` (non-negative integers) gives the same result.
        """
        if self._compose is None:
            return image, boxes, labels
        reseed(self._compose, seed)
        out = self._compose(image=image, bboxes=boxes, labels=labels)
        return (
            np.ascontiguousarray(out["image"]),
            np.asarray(out["bboxes"], np.float32).reshape(-1, 4),
            np.asarray(out["labels"], np.int64).reshape(-1),
        )


@TRANSFORMS.register_module()
class RandomCropByIoU(BaseCrop):
    """Crop that has at least a random IoU with some box: PaddleDetection's RandomCrop, SSD's.

    The thresholds and "no crop" are tried in random order. Each threshold gets `attempts` random
    crops. The first one is taken that contains the centre of a box and whose largest IoU with a box
    reaches the threshold. Boxes whose centre is outside the crop are dropped, the others clipped.

    Args:
        thresholds: Least IoU of the crop with the box it overlaps most.
        scaling: Range of the side of the crop relative to the image.
        aspect: Range of the crop's width : height relative to the image's.
        attempts: Random crops per threshold.
        p: Probability of trying to crop at all.
    """

    def __init__(
        self,
        thresholds: Sequence[float] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9),
        scaling: Range = (0.3, 1.0),
        aspect: Range = (0.5, 2.0),
        attempts: int = 50,
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        self.thresholds = tuple(thresholds)
        self.scaling = scaling
        self.aspect = aspect
        self.attempts = attempts

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """Crop (x1, y1, x2, y2) in pixels and which of the G boxes it keeps."""
        height, width = params["shape"][:2]
        boxes = data["bboxes"][:, :4] * np.array([width, height, width, height])  # (G, 4)
        crop = self._find(boxes, height, width) if len(boxes) else None
        if crop is None:
            crop, keep = np.array([0, 0, width, height]), np.ones(len(boxes), bool)
        else:
            keep = _holds(crop[None], boxes)[0]  # (G,)
        return {"crop_coords": tuple(crop.tolist()), "keep": keep}

    def apply_to_bboxes(
        self,
        bboxes: NDArray[np.float32],
        crop_coords: tuple[int, int, int, int],
        keep: NDArray[np.bool_],
        **params: Any,
    ) -> NDArray[np.float32]:
        """Normalised boxes relative to the crop, clipped to it; only those it keeps."""
        moved = super().apply_to_bboxes(bboxes[keep], crop_coords, **params)
        moved[:, :4] = np.clip(moved[:, :4], 0, 1)
        return np.asarray(moved, np.float32)

    def _find(self, boxes: FloatArray, height: int, width: int) -> NDArray[np.int64] | None:
        """First good crop (4,) at the first threshold that has one; None: no crop."""
        for choice in self.random_generator.permutation(len(self.thresholds) + 1):
            if choice == len(self.thresholds):
                return None
            crops = self._draw(height, width)  # (N, 4)
            enough = _iou(crops, boxes).max(axis=1) >= self.thresholds[choice]  # (N,)
            good = np.flatnonzero(enough & _holds(crops, boxes).any(axis=1))
            if len(good):
                first: NDArray[np.int64] = crops[good[0]]
                return first
        return None

    def _draw(self, height: int, width: int) -> NDArray[np.int64]:
        """Random crops (N, 4) inside the image."""
        draw = self.random_generator
        scale = draw.uniform(*self.scaling, self.attempts)  # (N,)
        lowest, highest = self.aspect
        aspect = draw.uniform(np.maximum(lowest, scale**2), np.minimum(highest, scale**-2))
        sides = scale * np.stack([np.sqrt(aspect), 1 / np.sqrt(aspect)])  # (2, N)
        limits = np.array([[width], [height]])
        sizes = np.clip((sides * limits).astype(np.int64), 1, limits)  # (2, N)
        starts = draw.integers(0, limits - sizes + 1)  # (2, N)
        return np.concatenate([starts, starts + sizes]).T  # (N, 4)


@TRANSFORMS.register_module()
class RandomDistort(RandomOrderJitter):
    """Brightness, contrast and saturation by 0.5 to 1.5, and hue: see RandomOrderJitter."""

    usual = (0.5, 1.5)


def _iou(crops: NDArray[np.int64], boxes: FloatArray) -> FloatArray:
    """IoU (N, G) of crops (N, 4) with boxes (G, 4), both xyxy."""
    upper = np.maximum(crops[:, None, :2], boxes[:, :2])  # (N, G, 2)
    lower = np.minimum(crops[:, None, 2:], boxes[:, 2:])
    overlap = np.clip(lower - upper, 0, None).prod(axis=-1)  # (N, G)
    area = (crops[:, 2:] - crops[:, :2]).prod(axis=-1)[:, None]  # (N, 1)
    total = area + (boxes[:, 2:] - boxes[:, :2]).prod(axis=-1)  # (N, G)
    iou: FloatArray = overlap / (total - overlap)
    return iou


def _holds(crops: NDArray[np.int64], boxes: FloatArray) -> NDArray[np.bool_]:
    """Whether crops (N, 4) contain the centres of boxes (G, 4), both xyxy: (N, G)."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2  # (G, 2)
    inside = (crops[:, None, :2] <= centres) & (centres < crops[:, None, 2:])  # (N, G, 2)
    return np.logical_and(inside[..., 0], inside[..., 1])
