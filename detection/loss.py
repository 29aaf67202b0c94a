"""The three loss terms of PicoDet.

Shapes: B images, P points over all levels, K classes, R = reg_max + 1 bins a side, M points that
have an object.
"""

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F

from detection.assigner import Assignment
from detection.boxes import decode, giou, xyxy_to_distances
from detection.head import Predictions

VFL_ALPHA = 0.75  # weight of negatives (arXiv 2008.13367, equation 2)
LARGEST_BELOW_ONE = 1 - 2**-24
DFL_MARGIN = 0.1  # distance targets end this far below the last bin, so that a bin lies above


class PicoLoss(nn.Module):
    """Varifocal, distribution focal and GIoU loss, each over the sum of the target scores.

    The sum is the mean over all processes in training, and at least 1. ppdet clips it only where
    it runs several processes, so on one a batch without any object divides by zero there.
    Weights are those of the published configs.
    """

    def __init__(
        self, *, vfl_weight: float = 1.0, dfl_weight: float = 0.5, giou_weight: float = 2.5
    ) -> None:
        super().__init__()
        self.vfl_weight = vfl_weight
        self.dfl_weight = dfl_weight
        self.giou_weight = giou_weight

    def forward(self, predictions: Predictions, assignment: Assignment) -> dict[str, Tensor]:
        """Scalars loss_vfl, loss_dfl and loss_giou, computed in float32."""
        with torch.autocast(predictions.scores.device.type, enabled=False):
            total = self._total_score(assignment.scores)
            vfl = varifocal_loss(predictions.scores, *_positives(predictions, assignment))
            dfl, overlap_loss = _box_losses(predictions, assignment)
            return {
                "loss_vfl": vfl * (self.vfl_weight / total),
                "loss_dfl": dfl * (self.dfl_weight / total),
                "loss_giou": overlap_loss * (self.giou_weight / total),
            }

    def _total_score(self, scores: Tensor) -> Tensor:
        """What the terms are divided by: () >= 1."""
        total = scores.sum()
        if self.training and distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(total)
            total = total / distributed.get_world_size()
        return total.clamp(min=1.0)


def varifocal_loss(scores: Tensor, index: Tensor, targets: Tensor) -> Tensor:
    """Varifocal loss () on probabilities `scores`, of any shape, summed.

    `targets` (M,) > 0 belong to the elements `index` (M,) of the flattened scores; they weigh
    their cross entropy by themselves. All other elements are negatives, whose cross entropy is
    weighed by alpha * score ** 2 (arXiv 2008.13367, equation 2; the slope includes the
    weight, as ppdet's does). A negative of exactly 1 counts as the float below it, so that its
    loss is finite: 12.5 (ppdet: 75, its logarithm is cut at -100).
    """
    flat = scores.flatten().float()
    positive_loss = F.binary_cross_entropy(flat[index], targets, targets, reduction="sum")
    negatives = flat.index_fill(0, index, 0.0).clamp(max=LARGEST_BELOW_ONE)
    # log1p, not binary_cross_entropy: the latter takes two scalar logarithms an element, and
    # there are millions of negatives.
    return positive_loss - VFL_ALPHA * (negatives.square() * (-negatives).log1p()).sum()


def distribution_focal_loss(dist_logits: Tensor, distances: Tensor) -> Tensor:
    """Distribution focal loss (...) of bins `dist_logits` (..., R) at `distances` (...) 0..R-1.

    Cross entropy with both neighbouring bins, each weighed by its nearness (arXiv 2006.04388,
    equation 6).
    """
    log_probs = dist_logits.log_softmax(-1)
    left = distances.long()
    right_share = distances - left
    neighbours = torch.stack([left, left + 1], dim=-1)  # (..., 2)
    shares = torch.stack([1 - right_share, right_share], dim=-1)
    return -(log_probs.gather(-1, neighbours) * shares).sum(-1)


def _positives(predictions: Predictions, assignment: Assignment) -> tuple[Tensor, Tensor]:
    """Elements of the flattened scores that have a target above zero, and these targets."""
    element = assignment.places * predictions.scores.shape[-1] + assignment.labels
    kept = assignment.scores > 0
    return element[kept], assignment.scores[kept]


def _box_losses(predictions: Predictions, assignment: Assignment) -> tuple[Tensor, Tensor]:
    """Distribution focal and GIoU losses (), (): sums over points, weighed by target score."""
    logits = predictions.dist_logits.flatten(0, 1)[assignment.places].float()  # (M, 4 * R)
    grid = predictions.grid
    point = assignment.places % len(grid.points)
    points, strides = grid.points[point], grid.strides[point]  # (M, 2), (M, 1)
    sides = logits.unflatten(-1, (4, -1))  # (M, 4, R)
    farthest = sides.shape[-1] - 1 - DFL_MARGIN
    distances = (xyxy_to_distances(points, assignment.boxes) / strides).clamp(0, farthest)
    dfl = distribution_focal_loss(sides, distances).mean(-1)  # (M,)
    overlap = giou(decode(logits, points, strides), assignment.boxes)
    weight = assignment.scores
    return (dfl * weight).sum(), ((1 - overlap) * weight).sum()
