"""Images as decoded -> the batch a network takes: resize, normalise, stack. The only place for it.

Shapes: B images; H, W the size of the network input.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import FUNCTIONS, MODELS
from torch import Tensor
from torch.nn import functional as F

from .interface import IGNORE

Size = tuple[int, int]  # height, width
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


@FUNCTIONS.register_module()
def collate(samples: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Samples as a batch: a list of `images` and a list of `targets`, nothing stacked yet."""
    return {key: [sample[key] for sample in samples] for key in ("images", "targets")}


@MODELS.register_module()
class Preprocess(BaseDataPreprocessor):
    """uint8 RGB images (h, w, 3) of any sizes -> float32 (B, 3, H, W) in channels-last memory.

    In evaluation every image is resized to `size` with `interpolation`, its aspect not kept. In
    training one square size out of `train_sizes` and one interpolation out of all five is drawn per
    batch (PaddleDetection's BatchRandomResize); without `train_sizes` it is as in evaluation. The
    draw depends on `seed` and `step` alone, so a resumed run draws what an uninterrupted one would.

    Boxes in the targets follow the resize; `size` in a target is the (height, width) before it.
    Masks are left as they are in evaluation; in training they follow the resize (nearest pixel).

    With `size=None` nothing is resized: images smaller than the largest of their batch are padded
    at the bottom and right with the mean colour, their masks with 255 in training; `content` in a
    target is then the (height, width) of the network input that the image fills.

    Args:
        size: (height, width) of the network input, or None to take images as they are.
        train_sizes: Sides of the square training inputs in pixels.
        interpolation: A key of `INTERPOLATIONS`, for evaluation.
        mean: Channel means subtracted, RGB on a scale of 0..1.
        std: Channel deviations divided by, on the same scale.
        seed: Seed of the draws.
    """

    def __init__(
        self,
        *,
        size: Sequence[int] | None,
        train_sizes: Sequence[int] = (),
        interpolation: str = "cubic",
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"interpolation {interpolation!r} is unknown; use one of {list(INTERPOLATIONS)}"
            )
        self.size = None if size is None else (int(size[0]), int(size[1]))
        self.train_sizes = tuple(train_sizes)
        self.interpolation = interpolation
        self.seed = seed
        self.step = 0
        scale = 1.0 / (255.0 * torch.tensor(std))  # (3,)
        offset = -torch.tensor(mean) / torch.tensor(std)  # (3,)
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("offset", offset.view(1, 3, 1, 1), persistent=False)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Batch of `images` (list of (h, w, 3) uint8) and `targets`, ready for the model."""
        images = data["images"]
        drawn = training and bool(self.train_sizes)
        size, interpolation = self._draw() if drawn else self._fixed(images)
        pad = self.size is None and not drawn
        inputs = self.normalise(_stack(images, size, None if pad else interpolation))
        targets = [dict(target) for target in data.get("targets") or [{} for _ in images]]
        for target, image, slot in zip(targets, images, inputs, strict=True):
            height, width = target["size"] = (image.shape[0], image.shape[1])
            if pad and (height, width) != size:
                target["content"] = (height, width)
                slot[:, height:], slot[:, :, width:] = 0, 0  # the mean colour
            self._fit_target(target, size, training)
        return {"images": inputs, "targets": targets}

    def normalise(self, batch: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 -> float32: the value over 255, minus the mean, over the deviation."""
        return batch.to(self.device, non_blocking=True).float().mul_(self.scale).add_(self.offset)

    def _draw(self) -> tuple[Size, int]:
        random = np.random.default_rng((self.seed, self.step))
        side = int(random.choice(self.train_sizes))
        return (side, side), int(random.choice(list(INTERPOLATIONS.values())))

    def _fixed(self, images: Sequence[Tensor]) -> tuple[Size, int]:
        heights, widths = zip(*(image.shape[:2] for image in images), strict=True)
        size = self.size or (max(heights), max(widths))
        return size, INTERPOLATIONS[self.interpolation]

    def _fit_target(self, target: dict[str, Any], size: Size, training: bool) -> None:
        """Bring boxes, and in training the mask, to the network input; all to the device."""
        if "boxes" in target:
            height, width = target.get("content", size)
            y, x = height / target["size"][0], width / target["size"][1]
            target["boxes"] = (target["boxes"] * torch.tensor([x, y, x, y])).to(self.device)
            target["labels"] = target["labels"].to(self.device)
        if "mask" in target:
            mask = target["mask"].long()  # (h, w)
            target["mask"] = (_fit_mask(mask, target, size) if training else mask).to(self.device)


def _stack(images: Sequence[Tensor], size: Size, interpolation: int | None) -> Tensor:
    """uint8 (B, 3, *size) of images (h, w, 3), resized, or for None at the top left of a canvas."""
    batch = torch.empty((len(images), *size, 3), dtype=torch.uint8)  # (B, H, W, 3)
    for image, slot in zip(images, batch.numpy(), strict=True):
        if image.shape[:2] == size or interpolation is None:
            np.copyto(slot[: image.shape[0], : image.shape[1]], image.numpy())
        else:
            cv2.resize(image.numpy(), size[::-1], dst=slot, interpolation=interpolation)
    return batch.permute(0, 3, 1, 2)


def _fit_mask(mask: Tensor, target: dict[str, Any], size: Size) -> Tensor:
    """Mask (h, w) at the size of the network input: padded with 255, or by the nearest pixel."""
    if tuple(mask.shape) == size:
        return mask
    if "content" in target:
        return F.pad(mask, (0, size[1] - mask.shape[1], 0, size[0] - mask.shape[0]), value=IGNORE)
    return F.interpolate(mask[None, None].float(), size, mode="nearest-exact")[0, 0].long()
