"""Preprocessing: decoded images are resized, normalised and stacked. It is done only here.

Shapes: B images; H, W size of the network input; h, w size of an image.
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
    """Collect samples into a list of `images` and a list of `targets`; nothing is stacked yet.

    In a loader worker the tensors are put into shared memory here. If the queue's own thread did
    it, a full /dev/shm would lose the batch without an error, and the run would hang.
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

    In evaluation every image is resized to `size` with `interpolation`; the aspect ratio is not
    kept. In training, one square size of `train_sizes` and one of the five interpolations is drawn
    for each batch (PaddleDetection's BatchRandomResize); without `train_sizes` it is as in
    evaluation. The draw depends only on `seed` and `step`, so a resumed run draws the same.

    Boxes in the targets are resized too; `size` in a target is the (height, width) before. Masks
    are not changed in evaluation; in training they are resized too (nearest pixel).

    With `size=None` nothing is resized: images smaller than the largest of their batch are padded
    at the bottom and right with the mean colour, in training their masks with 255. `content` in a
    target is then the (height, width) of the image inside the network input.

    With `resize_shortest` (for classifiers; targets without boxes and masks) an image keeps its
    aspect ratio in evaluation: its short side is resized to that, then the centre of `size` is
    cropped. In training, images must already have their final size, e.g. by a random crop.

    Set `planes` for engines that need each channel contiguous in memory: the values are the same.
    For CPUs only.

    Args:
        size: (height, width) of the network input; None: images are not resized.
        resize_shortest: Short side in pixels before the crop, at least the larger side of `size`.
        train_sizes: Sides of the square training inputs in pixels.
        interpolation: A key of `INTERPOLATIONS`, for evaluation.
        mean: Channel means to subtract, RGB on a scale of 0..1.
        std: Channel deviations to divide by, on the same scale.
        seed: Seed of the draws.

    Raises:
        ValueError: an unknown interpolation, or `resize_shortest` is smaller than `size`.
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
        """Preprocess the lists `images` ((h, w, 3) uint8) and `targets` for the model."""
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
        """Bring images (h, w, 3) to the size of the network input: uint8 (B, 3, H, W)."""
        cropped = self._cropped(images, training)
        size, interpolation = self._fixed(cropped, training)
        return _stack(cropped, size, None if self.size is None else interpolation)

    def normalise(self, batch: Tensor) -> Tensor:
        """Normalise (B, 3, H, W) uint8 to float32: (value / 255 - mean) / std.

        The memory stays channels-last. Whole rows are computed at once, because vectors of three
        numbers are too short for a processor: this takes a third of the time. With `planes`, each
        channel is contiguous, as exported files need it.
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
        """Convert network inputs (B, 3, H, W) back to uint8 pictures (B, H, W, 3)."""
        levels = (inputs.to(self.device) - self.offset) / self.scale
        return levels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def _planes(self, batch: Tensor) -> Tensor:
        """Normalise with a table of the 256 pixel values."""
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
        """Crop the images in evaluation if `resize_shortest` is set."""
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
        """Resize boxes, and in training the mask, to the network input; move them to the device."""
        if "boxes" in target:
            height, width = target.get("content", size)
            y, x = height / target["size"][0], width / target["size"][1]
            target["boxes"] = (target["boxes"] * torch.tensor([x, y, x, y])).to(self.device)
            target["labels"] = target["labels"].to(self.device)
        if "mask" in target:
            mask = target["mask"].long()  # (h, w)
            target["mask"] = (_fit_mask(mask, target, size) if training else mask).to(self.device)


def _centre(image: NDArray[Any], size: Size) -> NDArray[Any]:
    """Centre crop (*size, 3) of an image (h, w, 3) that is at least as large."""
    top, left = (image.shape[0] - size[0]) // 2, (image.shape[1] - size[1]) // 2
    return image[top : top + size[0], left : left + size[1]]


def _check_cut(size: Size | None, shortest: int | None) -> None:
    if shortest is not None and (size is None or shortest < max(size)):
        raise ValueError(
            f"resize_shortest {shortest} must be at least the larger side of size {size}, "
            "which is cropped from the resized image"
        )


def _resized_centre(image: Tensor, shortest: int, size: Size, interpolation: int) -> Tensor:
    """Resize the short side of an image (h, w, 3) to `shortest` pixels, then crop (*size, 3)."""
    short = min(image.shape[:2])
    # Only eight short sides of the long side are resized: more is cropped anyway, and needs memory.
    height, width = (min(side, 8 * short) for side in image.shape[:2])
    factor = shortest / short
    resized = cv2.resize(
        _centre(image.numpy(), (height, width)),
        (round(width * factor), round(height * factor)),
        interpolation=interpolation,
    )
    return torch.from_numpy(_centre(resized, size))


def _all_one_size(images: Sequence[Tensor]) -> Sequence[Tensor]:
    """The images; ValueError if they differ in size."""
    sizes = sorted({tuple(image.shape[:2]) for image in images})
    if len(sizes) > 1:
        raise ValueError(
            f"training images of sizes {sizes[0]} and {sizes[-1]} in one batch; end "
            "train_dataloader.dataset.transforms with one that gives all images the same size, "
            "such as RandomResizedCrop"
        )
    return images


def _stack(images: Sequence[Tensor], size: Size, interpolation: int | None) -> Tensor:
    """Stack images (h, w, 3), resized or (for None) at the top left: uint8 (B, 3, *size)."""
    batch = torch.empty((len(images), *size, 3), dtype=torch.uint8)  # (B, H, W, 3)
    for image, slot in zip(images, batch.numpy(), strict=True):
        if image.shape[:2] == size or interpolation is None:
            np.copyto(slot[: image.shape[0], : image.shape[1]], image.numpy())
        else:
            cv2.resize(image.numpy(), size[::-1], dst=slot, interpolation=interpolation)
    return batch.permute(0, 3, 1, 2)


def _fit_mask(mask: Tensor, target: dict[str, Any], size: Size) -> Tensor:
    """Pad a mask (h, w) with 255, or resize it, to the size of the network input."""
    if tuple(mask.shape) == size:
        return mask
    if "content" in target:
        return F.pad(mask, (0, size[1] - mask.shape[1], 0, size[0] - mask.shape[0]), value=IGNORE)
    return F.interpolate(mask[None, None].float(), size, mode="nearest-exact")[0, 0].long()
