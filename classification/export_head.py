"""The classifier's last step as a part of an exported graph.

Shapes: B images, K classes, T classes in the output.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from classification.results import TOP, Classification, with_ids
from engine.export.head import ExportHead
from engine.export.parity import Gap, values_apart
from engine.types import Size, Target


class TopClasses(ExportHead):
    """Logits (B, K) -> scores (B, T) 0..1, best first, and their labels (B, T).

    Args:
        num_classes: K.
        top: Largest number of classes in the output.
    """

    outputs = ("scores", "labels")

    def __init__(self, num_classes: int, top: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.top = min(top, num_classes)

    def forward(
        self,
        logits: Tensor,
        network: Size,  # noqa: ARG002  # scores have no position in the image
        given: Size,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        scores, labels = logits.softmax(dim=1).topk(self.top, dim=1)
        return scores, labels

    def apart(self, wanted: Sequence[Tensor], found: Sequence[Tensor]) -> Gap:
        """Largest difference of a class's score in percent, over the classes in both."""
        if wanted[0].shape != found[0].shape:
            return Gap(0.0, 1.0)
        dense = [all_scores(scores, labels, self.num_classes) for scores, labels in (wanted, found)]
        both = (dense[0] > 0) & (dense[1] > 0)
        gap = values_apart(100 * dense[0][both], 100 * dense[1][both])
        # The last class may be in the output of one of them alone.
        return Gap(gap.value, 0.0) if (both.sum(1) >= self.top - 1).all() else Gap(gap.value, 1.0)

    def results(
        self,
        outputs: Mapping[str, Tensor],
        size: Size,  # noqa: ARG002  # scores have no position in the image
        targets: Sequence[Target],
    ) -> list[Classification]:
        """One result per image; classes that are not in the output score 0."""
        dense = all_scores(outputs["scores"], outputs["labels"], self.num_classes)
        return with_ids(dense, outputs["labels"][:, 0].tolist(), targets)


def all_scores(scores: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Scores (B, K): those of the labels (B, T) in the output, else zero."""
    return torch.zeros(len(scores), num_classes).scatter_(1, labels, scores)


def export_head(network: Any, *, batched: bool) -> TopClasses:  # noqa: ARG001
    """The best classes as a part of the graph of a Classifier."""
    return TopClasses(network.num_classes, TOP)
