"""Mixes the images of a training batch and their labels: mixup and cutmix.

Shapes: B images of H x W, K classes.
"""

import math
from collections.abc import Sequence

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from engine.types import Target


@MODELS.register_module()
class BatchMix(nn.Module):
    """Mixes every image of a batch with another one of it; method and share are one per batch.

    mixup (Zhang et al. 2018): share * image + (1 - share) * other. cutmix (Yun et al. 2019): a
    rectangle of 1 - share of the area is copied from the other image. If the edge of the picture
    cuts off a part of it, the label is mixed by the area that is left. Shares are drawn from
    Beta(alpha, alpha).

    Random numbers come from torch's generator, which `engine.hooks.seeds` seeds by run, process and
    iteration.

    Args:
        mixup: alpha of mixup; 0: no mixup. Published for ImageNet: 0.2.
        cutmix: alpha of cutmix; 0: no cutmix. Published: 1.0. With both, each batch gets one of
            them, with equal probability.
        p: Fraction of the batches that are mixed at all, 0..1.

    Raises:
        ValueError: an alpha is negative, or p is not in 0..1.
    """

    def __init__(self, *, mixup: float = 0.0, cutmix: float = 0.0, p: float = 1.0) -> None:
        super().__init__()
        if min(mixup, cutmix) < 0 or not 0 <= p <= 1:
            raise ValueError(
                f"batch_mix: mixup {mixup} and cutmix {cutmix} must not be negative, p {p} in 0..1"
            )
        self.mixup, self.cutmix, self.p = mixup, cutmix, p

    def forward(self, images: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
        """Mixed images (B, 3, H, W) and class probabilities (B, K) of labels (B,) int64.

        A batch that is not mixed is returned unchanged, with its labels (B,).
        """
        if max(self.mixup, self.cutmix) == 0 or float(torch.rand(())) >= self.p:
            return images, labels
        targets = F.one_hot(labels, num_classes).to(images.dtype)  # (B, K)
        order = torch.randperm(len(images), device=images.device)  # (B,)
        cut = self.cutmix > 0 and (self.mixup == 0 or float(torch.rand(())) < 0.5)
        alpha = self.cutmix if cut else self.mixup
        share = float(torch.distributions.Beta(alpha, alpha).sample())
        if cut:
            images, share = cut_and_paste(images, images[order], share)
        else:
            images = torch.lerp(images[order], images, share)
        return images, torch.lerp(targets[order], targets, share)


def cut_and_paste(images: Tensor, others: Tensor, share: float) -> tuple[Tensor, float]:
    """Copy of `images` (B, 3, H, W) with one rectangle of `others` in all of them.

    Its sides are sqrt(1 - share) of the image's; its centre is anywhere in the image.

    Returns:
        The images, and the fraction of each that is unchanged.
    """
    height, width = images.shape[-2:]
    side = math.sqrt(1 - share)
    rows, columns = round(height * side), round(width * side)
    y, x = (int(torch.randint(size, ())) for size in (height, width))
    top, bottom = max(y - rows // 2, 0), min(y - rows // 2 + rows, height)
    left, right = max(x - columns // 2, 0), min(x - columns // 2 + columns, width)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = others[..., top:bottom, left:right]
    return mixed, 1 - (bottom - top) * (right - left) / (height * width)


def mix_batch(
    part: BatchMix, images: Tensor, targets: Sequence[Target], num_classes: int
) -> tuple[Tensor, Sequence[Target]]:
    """A batch mixed by `part`; mixed targets have "probabilities" (K,)."""
    labels = torch.tensor([target["label"] for target in targets])
    images, mixed = part(images, labels, num_classes)
    if mixed is labels:  # this batch is not mixed
        return images, targets
    rows = zip(targets, mixed, strict=True)
    return images, [{**target, "probabilities": row} for target, row in rows]
