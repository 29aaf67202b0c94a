"""Cross-entropy over the pixels that have a class.

Shapes: B images, K classes, N pixels of a batch.
"""

import math
from collections.abc import Sequence

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from engine.distributed import process_mean
from engine.types import IGNORE


@MODELS.register_module()
class SegmentationLoss(nn.Module):
    """Mean cross-entropy of the pixels that are not `IGNORE`; 0 if all are.

    With class weights it is the weighted mean. With `ohem_threshold` (online hard example mining)
    only the pixels count whose true class has a probability below it, but at least the
    `ohem_min_kept` hardest ones of a batch.

    In training on several processes the mean is over the pixels of all processes, so a process
    with few counted pixels has little weight (PaddleSeg: the mean of the processes' means). Each
    process selects its own hardest pixels.

    Args:
        class_weights: One weight per class, in label order.
        ohem_threshold: Probability in 0..1, published 0.7; None: all pixels count.
        ohem_min_kept: Number of pixels, published 10000.

    Raises:
        ValueError: a weight is negative, or the threshold is not between 0 and 1.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        *,
        class_weights: Sequence[float] | None = None,
        ohem_threshold: float | None = None,
        ohem_min_kept: int = 10_000,
    ) -> None:
        super().__init__()
        if class_weights is not None and min(class_weights) < 0:
            raise ValueError(f"class_weights {list(class_weights)} must not be negative")
        if ohem_threshold is not None and not 0 < ohem_threshold < 1:
            raise ValueError(f"ohem_threshold {ohem_threshold} must be between 0 and 1")
        weights = None if class_weights is None else torch.tensor(class_weights).float()
        self.register_buffer("class_weights", weights, persistent=False)  # (K,)
        self.ohem_threshold = ohem_threshold
        self.ohem_min_kept = ohem_min_kept

    def forward(self, logits: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """`loss_ce` of logits (B, K, H, W) for masks (B, H, W) int64 with classes or IGNORE."""
        if self.ohem_threshold is not None:
            return {"loss_ce": self._mined(logits, masks, self.ohem_threshold)}
        total = F.cross_entropy(
            logits, masks, self.class_weights, ignore_index=IGNORE, reduction="sum"
        )
        weight = self._weights(masks[masks != IGNORE]).sum()
        return {"loss_ce": total / self._shared(weight)}

    def _mined(self, logits: Tensor, masks: Tensor, threshold: float) -> Tensor:
        """Weighted mean over the hard pixels."""
        counted = masks != IGNORE  # (B, H, W)
        losses = F.cross_entropy(logits, masks, ignore_index=IGNORE, reduction="none")[counted]
        weights = self._weights(masks[counted])  # (N,)
        with torch.no_grad():
            hard = _hard_pixels(losses, threshold, self.ohem_min_kept)  # (N,)
        weights = weights * hard
        return (losses * weights).sum() / self._shared(weights.sum())

    def _shared(self, weight: Tensor) -> Tensor:
        """Divisor of a process, with which the mean over processes is the mean over all pixels."""
        return (process_mean(weight) if self.training else weight).clamp(min=1e-8)

    def _weights(self, labels: Tensor) -> Tensor:
        """Weight (N,) of each of the pixels with `labels` (N,)."""
        if self.class_weights is None:
            return torch.ones(labels.shape, device=labels.device)
        return self.class_weights[labels]


def _hard_pixels(losses: Tensor, threshold: float, min_kept: int) -> Tensor:
    """Whether cross-entropies (N,) belong to probabilities below `threshold`: (N,) bool."""
    limit = -math.log(threshold)
    if 0 < min_kept < len(losses):
        kept = losses.kthvalue(len(losses) - min_kept + 1).values  # the min_kept-th largest
        return losses >= kept.clamp(max=limit)
    return torch.ones_like(losses, dtype=torch.bool) if min_kept else losses > limit
