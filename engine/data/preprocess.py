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
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import get_worker_info

from engine.types import IGNORE, Size

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
    """Samples as a batch: a list of `images` and a list of `targets`, nothing stacked yet.

    In a loader worker the tensors are put into shared memory here. Left to the queue's own thread,
    a full /dev/shm would lose the batch without an error, and the run would wait for ever.
    """
    if get_worker_info() is not None:
        for sample in samples:
            for value in (sample["images"], *sample["targets"].values()):
                if isinstance(value, Tensor):
                    value.share_memory_()
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

    With `resize_shortest` (a classifier's rule; targets without boxes and masks) an image keeps its
    aspect in evaluation: its short side is resized to that, then `size` is cut out of its centre.
    In training it must come at its final size, as a random crop does.

    `planes` may be set for engines that take each channel in one piece: float32 comes out in that
    memory order, with the same values. For CPUs.

    Args:
        size: (height, width) of the network input, or None to take images as they are.
        resize_shortest: Short side in pixels before the cut, at least the larger of `size`.
        train_sizes: Sides of the square training inputs in pixels.
        interpolation: A key of `INTERPOLATIONS`, for evaluation.
        mean: Channel means subtracted, RGB on a scale of 0..1.
        std: Channel deviations divided by, on the same scale.
        seed: Seed of the draws.

    Raises:
        ValueError: an unknown interpolation, or a cut larger than what is cut from.
    """

    def __init__(
        self,
        *,
        size: Sequence[int] | None,
        resize_shortest: int | None = None,
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
        self.resize_shortest = resize_shortest
        _check_cut(self.size, resize_shortest)
        self.train_sizes = tuple(train_sizes)
        self.interpolation = interpolation
        self.seed = seed
        self.step = 0
        self.planes = False
        scale = 1.0 / (255.0 * torch.tensor(std))  # (3,)
        offset = -torch.tensor(mean) / torch.tensor(std)  # (3,)
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("offset", offset.view(1, 3, 1, 1), persistent=False)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Batch of `images` (list of (h, w, 3) uint8) and `targets`, ready for the model."""
        images = data["images"]
        drawn = training and bool(self.train_sizes)
        pad = self.size is None and not drawn
        stacked = _stack(images, *self._draw()) if drawn else self.stacked(images, training)
        inputs, size = self.normalise(stacked), (stacked.shape[2], stacked.shape[3])
        targets = [dict(target) for target in data.get("targets") or [{} for _ in images]]
        for target, image, slot in zip(targets, data["images"], inputs, strict=True):
            height, width = target["size"] = (image.shape[0], image.shape[1])
            if pad and (height, width) != size:
                target["content"] = (height, width)
                slot[:, height:], slot[:, :, width:] = 0, 0  # the mean colour
            self._fit_target(target, size, training)
        return {"images": inputs, "targets": targets}

    def stacked(self, images: Sequence[Tensor], training: bool = False) -> Tensor:
        """Images (h, w, 3) at the size of the network input: uint8 (B, 3, H, W)."""
        cropped = self._cropped(images, training)
        size, interpolation = self._fixed(cropped, training)
        return _stack(cropped, size, None if self.size is None else interpolation)

    def normalise(self, batch: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 -> float32: the value over 255, minus the mean, over the deviation.

        In memory as `stacked` leaves it, channels last. Whole rows at once, because three numbers
        are too few for a processor's vectors: this takes a third of the time. With `planes`, each
        channel in one piece, as exported files take it.
        """
        if self.planes:
            return self._planes(batch)
        count, _, height, width = batch.shape
        pixels = batch.to(self.device, non_blocking=True).permute(0, 2, 3, 1)  # (B, H, W, 3)
        rows = pixels.reshape(count, height, 3 * width).float()  # (B, H, 3 * W)
        scale, offset = (value.flatten().repeat(width) for value in (self.scale, self.offset))
        rows.mul_(scale).add_(offset)
        return rows.view(count, height, width, 3).permute(0, 3, 1, 2)

    def restored(self, inputs: Tensor) -> Tensor:
        """The uint8 pictures (B, H, W, 3) that network inputs (B, 3, H, W) were made of."""
        levels = (inputs.to(self.device) - self.offset) / self.scale
        return levels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def _planes(self, batch: Tensor) -> Tensor:
        """The same values, looked up: a pixel has but 256."""
        levels = torch.arange(256.0).view(1, 1, 256)
        table = (levels * self.scale[0].cpu() + self.offset[0].cpu()).numpy()  # (3, 1, 256)
        result = torch.empty(batch.shape)  # (B, 3, H, W)
        for image, planes in zip(batch.permute(0, 2, 3, 1).numpy(), result.numpy(), strict=True):
            for pixels, levels_of, plane in zip(cv2.split(image), table, planes, strict=True):
                cv2.LUT(pixels, levels_of, dst=plane)
        return result

    def _draw(self) -> tuple[Size, int]:
        random = np.random.default_rng((self.seed, self.step))
        side = int(random.choice(self.train_sizes))
        return (side, side), int(random.choice(list(INTERPOLATIONS.values())))

    def _fixed(self, images: Sequence[Tensor], training: bool) -> tuple[Size, int]:
        heights, widths = zip(*(image.shape[:2] for image in images), strict=True)
        comes_cropped = training and self.resize_shortest is not None
        fixed = None if comes_cropped else self.size
        return fixed or (max(heights), max(widths)), INTERPOLATIONS[self.interpolation]

    def _cropped(self, images: Sequence[Tensor], training: bool) -> Sequence[Tensor]:
        """The images, in evaluation cut by the rule of `resize_shortest` where there is one."""
        if self.resize_shortest is None or self.size is None:
            return images
        if training:
            return _all_one_size(images)
        interpolation = INTERPOLATIONS[self.interpolation]
        return [
            _resized_centre(image, self.resize_shortest, self.size, interpolation)
            for image in images
        ]

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


def _centre(image: NDArray[Any], size: Size) -> NDArray[Any]:
    """The middle (*size, 3) of an image (h, w, 3) at least as large."""
    top, left = (image.shape[0] - size[0]) // 2, (image.shape[1] - size[1]) // 2
    return image[top : top + size[0], left : left + size[1]]


def _check_cut(size: Size | None, shortest: int | None) -> None:
    if shortest is not None and (size is None or shortest < max(size)):
        raise ValueError(
            f"resize_shortest {shortest} must be at least the larger side of size {size}, "
            "which is cut out of the resized image"
        )


def _resized_centre(image: Tensor, shortest: int, size: Size, interpolation: int) -> Tensor:
    """The middle (*size, 3) of an image (h, w, 3) once its short side is `shortest` pixels."""
    short = min(image.shape[:2])
    # More than eight short sides along the other could not be seen, and might not fit memory.
    height, width = (min(side, 8 * short) for side in image.shape[:2])
    factor = shortest / short
    resized = cv2.resize(
        _centre(image.numpy(), (height, width)),
        (round(width * factor), round(height * factor)),
        interpolation=interpolation,
    )
    return torch.from_numpy(_centre(resized, size))


def _all_one_size(images: Sequence[Tensor]) -> Sequence[Tensor]:
    """The images; ValueError where they differ in size."""
    sizes = sorted({tuple(image.shape[:2]) for image in images})
    if len(sizes) > 1:
        raise ValueError(
            f"training images of sizes {sizes[0]} and {sizes[-1]} in one batch; let the last of "
            "train_dataloader.dataset.transforms give all of them one, as RandomResizedCrop does"
        )
    return images


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
