"""The classifier's last step as a part of an exported graph.

Shapes: B images, K classes, T classes that come out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from engine.export.parity import Gap, values_apart
from engine.types import Size


class Ending(nn.Module):
    """Logits (B, K) -> scores (B, T) 0..1, best first, and their labels (B, T).

    Args:
        num_classes: K.
        top: Most classes that come out.
    """

    outputs = ("scores", "labels")

    def __init__(self, num_classes: int, top: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.top = min(top, num_classes)

    def forward(
        self,
        logits: Tensor,
        network: Size,  # noqa: ARG002  # scores have no place in the image
        given: Size,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        scores, labels = logits.softmax(dim=1).topk(self.top, dim=1)
        return scores, labels

    def onnx_operators(self) -> dict[Any, Any]:
        """ONNX code of the operators that torch has no code for: none."""
        return {}

    def apart(self, wanted: Sequence[Tensor], found: Sequence[Tensor]) -> Gap:
        """Largest difference of a class's score in percent, over the classes in both."""
        if wanted[0].shape != found[0].shape:
            return Gap(0.0, 1.0)
        dense = [all_scores(scores, labels, self.num_classes) for scores, labels in (wanted, found)]
        both = (dense[0] > 0) & (dense[1] > 0)
        gap = values_apart(100 * dense[0][both], 100 * dense[1][both])
        # A class at the cut may come out on one side only.
        return Gap(gap.value, 0.0) if (both.sum(1) >= self.top - 1).all() else Gap(gap.value, 1.0)


def all_scores(scores: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Scores (B, K), zero but for those of the labels (B, T) that came out."""
    return torch.zeros(len(scores), num_classes).scatter_(1, labels, scores)


def to_results(
    outputs: Mapping[str, Tensor], num_classes: int, targets: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One result an image from `Ending`'s outputs; classes that did not come out score 0."""
    results = []
    dense = all_scores(outputs["scores"], outputs["labels"], num_classes)
    for scores, labels, target in zip(dense, outputs["labels"], targets, strict=True):
        found: dict[str, Any] = {"scores": scores, "label": int(labels[0])}
        if "image_id" in target:
            found["image_id"] = target["image_id"]
        results.append(found)
    return results
