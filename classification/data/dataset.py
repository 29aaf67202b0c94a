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

from classification.data.image_lists import find_images
from classification.data.transforms import ImageAugment
from engine.data.augmentation import Transform
from engine.data.bad_images import Policy
from engine.data.dataset import SeededData
from engine.data.images import read_image


@DATASETS.register_module()
class ImageFolder(SeededData):
    """Images from `<split>_list.txt` (lines `path index`), else from `<split>/<class>/`.

    A sample is `dict(images=(H, W, 3) uint8 RGB, targets=dict(label=int in 0..K-1,
    image_id=str))`; `image_id` is the path relative to `data_root`. `image_lists.find_images` says
    how class names are found, and which of two layouts is used.

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
        ValueError: folders, lists and label file contradict each other.
    """

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
