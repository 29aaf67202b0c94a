"""Images with one class each: class folders, or PaddleClas' list files.

Shapes: (H, W) the size of an image.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.registry import DATASETS, TRANSFORMS
from numpy.typing import NDArray
from torch.utils.data import Dataset

from classification.listing import find_images
from classification.transforms import Augment, Transform
from engine.bad_images import BadImages, Policy
from engine.images import read_image


@DATASETS.register_module()
class ImageNet(Dataset[dict[str, Any]]):
    """Images from `<split>_list.txt` (lines `path index`), else from `<split>/<class>/`.

    A sample is `dict(images=(H, W, 3) uint8 RGB, targets=dict(label=int in 0..K-1,
    image_id=str))`; `image_id` is the path relative to `data_root`. How class names are found, and
    which of two layouts counts, is at `listing.find_images`.

    A sample depends on (seed, epoch, index) only, however many workers load it. An index beyond the
    last image means a later pass: index i + n * len(self) is image i, augmented as in epoch n.

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
        self._augment = Augment([_build(transform) for transform in transforms])
        self._bad = BadImages(on_bad_image, len(self), training=training)
        self.seed = seed
        self._epoch = torch.zeros(1, dtype=torch.int64).share_memory_()  # seen by running workers

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names, for the metric and the checkpoint."""
        return {"classes": self.classes}

    @property
    def num_bad_images(self) -> int:
        """How many different images were skipped so far, by all workers."""
        return self._bad.count

    def set_epoch(self, epoch: int) -> None:
        """Change the augmentation's draws; reaches persistent workers too."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        later, index = divmod(index, len(self))
        index, image = self._bad.read(index, self._read)
        image = self._augment(image, (self.seed, int(self._epoch) + later, index))
        targets = {"label": int(self._labels[index]), "image_id": self._path(index)}
        return {"images": torch.from_numpy(image), "targets": targets}

    def _path(self, index: int) -> str:
        return os.fsdecode(self._paths[index])

    def _read(self, index: int) -> NDArray[np.uint8]:
        return read_image(self.data_root / self._path(index))


def _build(transform: Transform | dict[str, Any]) -> Transform:
    return TRANSFORMS.build(transform) if isinstance(transform, dict) else transform
