"""The segmenter's last step as a part of an exported graph.

Shapes: B images, K classes, H, W the size of the network input.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from engine.export.head import ExportHead
from engine.export.parity import Gap, maps_apart
from engine.types import Size, Target
from segmentation.results import Segmentation, with_id


class MaskHead(ExportHead):
    """Logits (B, K, H, W) -> mask (B, *given) uint8: the class of every pixel of the image."""

    outputs = ("mask",)

    def forward(self, logits: Tensor, network: Size, given: Size) -> tuple[Tensor]:
        if given is not network:
            logits = F.interpolate(logits, given, mode="bilinear", align_corners=False)
        return (logits.argmax(dim=1).to(torch.uint8),)

    def apart(self, wanted: Sequence[Tensor], found: Sequence[Tensor]) -> Gap:
        """Fraction of the pixels that differ."""
        return maps_apart(wanted[0], found[0])

    def results(
        self,
        outputs: Mapping[str, Tensor],
        size: Size,  # noqa: ARG002  # the masks have it
        targets: Sequence[Target],
    ) -> list[Segmentation]:
        """The mask of every image at its size before preprocessing (nearest pixel)."""
        return [
            with_id({"mask": _in_image(mask, target)}, target)
            for mask, target in zip(outputs["mask"], targets, strict=True)
        ]


def export_head(network: Any, *, batched: bool) -> MaskHead:  # noqa: ARG001
    """The class of every pixel as a part of the graph of a DeepLabV3Plus."""
    return MaskHead()


def _in_image(mask: Tensor, target: Target) -> Tensor:
    """The part of a mask (H, W) without padding, resized to the image (nearest pixel)."""
    height, width = target.get("content", mask.shape)
    mask, size = mask[:height, :width], target.get("size", (height, width))
    if tuple(mask.shape) == tuple(size):
        return mask
    return F.interpolate(mask[None, None].float(), size, mode="nearest-exact")[0, 0].byte()
