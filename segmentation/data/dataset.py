"""Images with a class for every pixel, in the layout of Cityscapes.

Shapes: (H, W) the size of an image.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.registry import DATASETS
from numpy.typing import NDArray

from engine.data.augmentation import Transform
from engine.data.bad_images import Policy
from engine.data.dataset import SeededData
from engine.data.images import read_image
from engine.types import Mask
from segmentation.data.masks import find_pairs, read_classes, read_mask
from segmentation.data.transforms import MaskAugment


@DATASETS.register_module()
class Cityscapes(SeededData):
    """Images and masks from `leftImg8bit/<split>/*/` and `gtFine/<split>/*/`.

    A sample is `dict(images=(H, W, 3) uint8 RGB, targets=dict(mask=(H, W) uint8 train ids with 255
    to ignore, image_id=str))`. Class names are the lines of `classes.txt` in `data_root`, or
    Cityscapes' 19 without it.

    Args:
        data_root: Folder that holds `leftImg8bit/` and `gtFine/`.
        split: Name of the split's folder.
        transforms: albumentations transforms or their configs, applied in order.
        training: Whether images may be skipped.
        on_bad_image: What to do about an image or mask that cannot be read, or about two of
            different sizes: "stop" raises ValueError; "skip" (in training only) logs it once,
            counts it in `num_bad_images` and takes the next one.
        seed: Seed of the augmentation.

    Raises:
        FileNotFoundError: a folder or a mask is missing, or the split is empty.
        ValueError: names or classes.txt contradict themselves; on reading a sample, a file that is
            not a mask, or a mask with another size than its image.
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
        self.classes = read_classes(Path(data_root))
        self._pairs = find_pairs(Path(data_root), split)
        self._augment = MaskAugment(transforms)
        super().__init__(len(self._pairs), training=training, on_bad_image=on_bad_image, seed=seed)
        print_log(
            f"{data_root}: {len(self)} images in split {split!r}, {len(self.classes)} classes",
            logger="current",
        )

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names, for the metric and the checkpoint."""
        return {"classes": self.classes}

    def _sample(
        self, index: int, content: tuple[NDArray[np.uint8], Mask], seed: tuple[int, int, int]
    ) -> dict[str, Any]:
        image, mask = self._augment(*content, seed)
        return {
            "images": torch.from_numpy(image),
            "targets": {"mask": torch.from_numpy(mask), "image_id": self._pairs[index].name},
        }

    def _read(self, index: int) -> tuple[NDArray[np.uint8], Mask]:
        """Image (H, W, 3) and mask (H, W)."""
        pair = self._pairs[index]
        image, mask = read_image(pair.image), read_mask(pair.mask, self.classes)
        if image.shape[:2] != mask.shape:
            raise ValueError(
                f"{pair.mask}: {mask.shape[1]} x {mask.shape[0]} pixels, but its image "
                f"{pair.image.name} has {image.shape[1]} x {image.shape[0]}"
            )
        return image, mask
