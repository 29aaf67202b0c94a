"""Images with one class each: class folders, or PaddleClas' list files.

Shapes: (H, W) the size of an image.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import DATASETS
from numpy.typing import NDArray

from classification.data.checks import check_entries
from classification.data.image_lists import find_images
from classification.data.transforms import ImageAugment
from classification.evaluation.visualize import draw_truth
from engine.data.augmentation import Transform
from engine.data.bad_images import Policy
from engine.data.dataset import Objects, SeededData
from engine.data.images import read_image
from engine.findings import Finding
from engine.types import Picture, Target


@DATASETS.register_module()
class ImageNet(SeededData):
    """Images from `<split>_list.txt` (lines `path index`), else from `<split>/<class>/`.

    A sample is `dict(images=(H, W, 3) uint8 RGB, targets=dict(label=int in 0..K-1,
    image_id=str))`; `image_id` is the path relative to `data_root`. How class names are found, and
    which of two layouts counts, is at `listing.find_images`.

    Args:
        data_root: Folder that holds the split's folder or list.
        split: Name of the split.
        transforms: albumentations transforms or their configs, applied in order.
        training: Whether images may be skipped.
        on_bad_image: What to do about an image that cannot be read: "stop" raises ValueError;
            "skip" (in training only) logs it once, counts it in `num_bad_images` and takes the next
            one.
        seed: Seed of the augmentation.

    Raises:
        FileNotFoundError: the split or an image of its list is missing.
        ValueError: folders, lists and label file do not fit together.
    """

    task = "cls"
    counted = "images"

    @classmethod
    def find_faults(cls, data_root: Path, splits: Sequence[str]) -> list[Finding]:
        """What is wrong as far as it shows without opening an image."""
        return check_entries(data_root, splits).findings

    def __init__(
        self,
        data_root: str | Path,
        *,
        split: str = "train",
        transforms: Sequence[Transform | dict[str, Any]] = (),
        training: bool = False,
        on_bad_image: Policy = "stop",
        seed: int = 0,
    ) -> None:
        self.data_root = Path(data_root)
        self._paths, self._labels, self.classes = find_images(self.data_root, split)
        self._augment = ImageAugment(transforms)
        super().__init__(len(self._paths), training=training, on_bad_image=on_bad_image, seed=seed)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names, for the metric and the checkpoint."""
        return {"classes": self.classes}

    def draw_truth(self, picture: Picture, target: Target) -> Picture:
        """Copy of the picture with its class, or its classes where it is mixed, on it."""
        return draw_truth(picture, _shares(target), self.classes)

    def objects(self, picture: Picture, target: Target) -> Objects:
        """The image itself; of a mixed one, the class of its larger part."""
        label = max(_shares(target).items(), key=lambda pair: pair[1])[0]
        return Objects(np.array([label]), np.array([np.sqrt(picture.size / 3)]))

    def _sample(
        self, index: int, content: NDArray[np.uint8], seed: tuple[int, int, int]
    ) -> dict[str, Any]:
        image = self._augment(content, seed)
        targets = {"label": int(self._labels[index]), "image_id": self._path(index)}
        return {"images": torch.from_numpy(image), "targets": targets}

    def _path(self, index: int) -> str:
        return os.fsdecode(self._paths[index])

    def _read(self, index: int) -> NDArray[np.uint8]:
        return read_image(self.data_root / self._path(index))


def _shares(target: Target) -> dict[int, float]:
    """Share of each label: all of one, or the `probabilities` (K,) of a mixed image."""
    if "probabilities" not in target:
        return {target["label"]: 1.0}
    shares = target["probabilities"]
    return {int(label): float(shares[label]) for label in shares.nonzero().flatten()}
