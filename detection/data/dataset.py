"""COCO detection data: a json of boxes beside a folder of images.

The data set keeps the json as a few flat arrays, which loader workers share with the process that
forked them.

Shapes: G boxes of one image. Boxes are xyxy in pixels of the image.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmengine.registry import DATASETS
from numpy.typing import NDArray

from detection.data.coco_json import CocoBoxes, locate, read_coco
from detection.data.transforms import BoxAugment
from engine.data.augmentation import Transform
from engine.data.bad_images import Policy
from engine.data.dataset import SeededData
from engine.data.images import read_image
from engine.data.safe_paths import check_inside, missing_files


@DATASETS.register_module()
class CocoDetection(SeededData):
    """Images with boxes from `annotations/instances_<split>.json` and `<split>/`.

    A sample is `dict(images=(H, W, 3) uint8 RGB, targets=dict(boxes=(G, 4) float32 xyxy pixels,
    labels=(G,) int64 in 0..K-1, image_id=int))`. Crowd boxes and boxes without area inside the
    image are left out of the targets. Training leaves out images that have no box then.

    The image is rotated by its EXIF orientation, unless only the unrotated image has the size that
    the json gives: then the boxes were drawn on the file as stored (as COCO's were).

    Args:
        data_root: Folder that holds `annotations/` and the image folders.
        split: "train" and "val" also find train2017 and val2017; other names are taken as they are.
        transforms: albumentations transforms or their configs, applied in order.
        training: Leave out images without boxes.
        on_bad_image: What to do about an image that does not decode or whose size differs from that
            in the json: "stop" raises ValueError; "skip" (in training only) logs it once, counts it
            in `num_bad_images` and takes the next one.
        seed: Seed of the augmentation.

    Raises:
        FileNotFoundError: the json, the image folder or an image listed is missing.
        ValueError: the json is not in COCO's format or contradicts itself.
    """

    def __init__(
        self,
        data_root: str | Path,
        *,
        split: str = "train",
        transforms: Sequence[Transform | dict[str, Any]] = (),
        training: bool,
        on_bad_image: Policy = "stop",
        seed: int = 0,
    ) -> None:
        self.ann_file, self.image_folder = locate(Path(data_root), split)
        coco = read_coco(self.ann_file)
        self._coco = _without_empty_images(coco) if training else coco
        size = len(self._coco.image_ids)
        if not size:
            raise ValueError(f"{self.ann_file}: no image {'with a box ' * training}to use")
        _log_content(self.ann_file, len(coco.image_ids) - size, coco)
        _check_files(self.image_folder, self.ann_file, self._names())
        self._augment = BoxAugment(transforms)
        super().__init__(size, training=training, on_bad_image=on_bad_image, seed=seed)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names, their COCO ids and the json, for the metric and the checkpoint."""
        return {
            "classes": self._coco.classes,
            "category_ids": self._coco.category_ids,
            "ann_file": str(self.ann_file),
        }

    def _sample(
        self, index: int, content: NDArray[np.uint8], seed: tuple[int, int, int]
    ) -> dict[str, Any]:
        mine = slice(self._coco.starts[index], self._coco.starts[index + 1])
        image, boxes, labels = self._augment(
            content, self._coco.boxes[mine], self._coco.labels[mine], seed
        )
        targets = {
            "boxes": torch.tensor(boxes),  # (G, 4); a copy, so that changes do not reach ours
            "labels": torch.tensor(labels),  # (G,)
            "image_id": int(self._coco.image_ids[index]),
        }
        return {"images": torch.from_numpy(image), "targets": targets}

    def _names(self) -> list[str]:
        return [name.decode() for name in self._coco.files.tolist()]

    def _read(self, index: int) -> NDArray[np.uint8]:
        path = self.image_folder / self._coco.files[index].decode()
        expected = tuple(self._coco.sizes[index].tolist())
        image = read_image(path)
        if image.shape[:2] == expected:
            return image
        stored = read_image(path, apply_exif=False)
        if stored.shape[:2] == expected:
            return stored
        raise ValueError(
            f"{path}: {image.shape[1]} x {image.shape[0]} pixels, but {self.ann_file} says "
            f"{expected[1]} x {expected[0]}, so its boxes cannot be right"
        )


def _log_content(ann_file: Path, num_empty: int, coco: CocoBoxes) -> None:
    print_log(
        f"{ann_file}: {len(coco.image_ids) - num_empty} images with {len(coco.boxes)} boxes; left "
        f"out: {num_empty} images without a box, {coco.num_crowds} crowds, {coco.num_flat} boxes "
        "without area inside their image",
        logger="current",
    )


def _without_empty_images(coco: CocoBoxes) -> CocoBoxes:
    """The same data without the images that have no box."""
    kept = np.flatnonzero(np.diff(coco.starts))
    return coco._replace(
        image_ids=coco.image_ids[kept],
        sizes=coco.sizes[kept],
        files=coco.files[kept],
        starts=np.append(coco.starts[kept], coco.starts[-1]),
    )


def _check_files(folder: Path, ann_file: Path, names: Iterable[str]) -> None:
    """Raise FileNotFoundError unless all exist, ValueError unless they are in the folder."""
    wanted = sorted(set(names))
    check_inside(folder, wanted)
    missing = [wanted[place] for place in missing_files(folder, wanted)]
    if missing:
        raise FileNotFoundError(
            f"{folder / missing[0]}: no such image, but {ann_file} lists it "
            f"({len(missing)} of {len(wanted)} images are missing)"
        )
