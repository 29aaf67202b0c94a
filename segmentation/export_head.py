"""The segmenter's last step as a part of an exported graph.

Shapes: B images, K classes, H, W the size of the network input.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.export.parity import Gap, maps_apart
from engine.types import Size


class Ending(nn.Module):
    """Logits (B, K, H, W) -> mask (B, *given) uint8: the class of every pixel of the image."""

    outputs = ("mask",)

    def forward(self, logits: Tensor, network: Size, given: Size) -> tuple[Tensor]:
        if given is not network:
            logits = F.interpolate(logits, given, mode="bilinear", align_corners=False)
        return (logits.argmax(dim=1).to(torch.uint8),)

    def onnx_operators(self) -> dict[Any, Any]:
        """ONNX code of the operators that torch has no code for: none."""
        return {}

    def apart(self, wanted: Sequence[Tensor], found: Sequence[Tensor]) -> Gap:
        """Share of the pixels that differ."""
        return maps_apart(wanted[0], found[0])


def to_results(
    outputs: Mapping[str, Tensor], targets: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The mask of every image at its size before preprocessing (nearest pixel), from `mask`."""
    results = []
    for mask, target in zip(outputs["mask"], targets, strict=True):
        height, width = target.get("content", mask.shape)
        found = {"mask": _at_size(mask[:height, :width], target.get("size", (height, width)))}
        if "image_id" in target:
            found["image_id"] = target["image_id"]
        results.append(found)
    return results


def _at_size(mask: Tensor, size: Size) -> Tensor:
    """Mask (h, w) at another size, by the nearest pixel."""
    if tuple(mask.shape) == tuple(size):
        return mask
    return F.interpolate(mask[None, None].float(), size, mode="nearest-exact")[0, 0].byte()
