"""The three loss terms of PicoDet.

Shapes: B images, P points over all levels, K classes, R = reg_max + 1 bins per side, M points that
have an object.
"""

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.nn import functional as F

from detection.assigners import Assignment
from detection.boxes import decode, giou, xyxy_to_distances
from detection.head import Predictions
from engine.distributed import process_mean

VFL_ALPHA = 0.75  # weight of negatives (arXiv 2008.13367, equation 2)
LARGEST_BELOW_ONE = 1 - 2**-24
DFL_MARGIN = 0.1  # distance targets end this far below the last bin, so that a bin lies above


class PicoLoss(nn.Module):
    """Varifocal, distribution focal and GIoU loss, each normalised by a sum over its points.

    The box terms are divided by the sum of the points' weights, the varifocal term by the sum of
    their target scores (with `per_point`, by the number of points). In training the sum is over all
    processes and divided by their number, so that the mean gradient of the processes equals that of
    one process with all the images. The sum is clipped to at least 1. ppdet clips each process's
    share of it instead, in the second generation only where there are several processes; with one
    process, a batch without an object divides by zero there.

    Default weights are those of the second generation's published configs.
    """

    def __init__(
        self,
        *,
        vfl_weight: float = 1.0,
        dfl_weight: float = 0.5,
        giou_weight: float = 2.5,
        per_point: bool = False,
    ) -> None:
        super().__init__()
        self.vfl_weight = vfl_weight
        self.dfl_weight = dfl_weight
        self.giou_weight = giou_weight
        self.per_point = per_point

    def forward(self, predictions: Predictions, assignment: Assignment) -> dict[str, Tensor]:
        """Scalars loss_vfl, loss_dfl and loss_giou, computed in float32."""
        with torch.autocast(predictions.scores.device.type, enabled=False):
            cls_total, box_total = self._totals(assignment.scores, assignment.weights)
            vfl = _class_loss(predictions, *_positives(predictions, assignment))
            dfl, overlap_loss = _box_losses(predictions, assignment)
            return {
                "loss_vfl": vfl * (self.vfl_weight / cls_total),
                "loss_dfl": dfl * (self.dfl_weight / box_total),
                "loss_giou": overlap_loss * (self.giou_weight / box_total),
            }

    def _totals(self, scores: Tensor, weights: Tensor) -> Tensor:
        """Divisors of the class term and of the box terms: (2,)."""
        counted = torch.ones_like(scores) if self.per_point else scores
        totals = torch.stack([counted.sum(), weights.sum()])
        if not self.training:
            return totals.clamp(min=1.0)
        return process_mean(totals).clamp(min=1.0 / get_world_size())  # the sum over all is >= 1


def varifocal_loss(scores: Tensor, index: Tensor, targets: Tensor) -> Tensor:
    """Varifocal loss () on probabilities `scores`, of any shape, summed.

    `targets` (M,) > 0 belong to the elements `index` (M,) of the flattened scores; each is also
    the weight of its cross entropy. All other elements are negatives, whose cross entropy has the
    weight alpha * score ** 2 (arXiv 2008.13367, equation 2; the gradient includes the weight, as
    in ppdet). A negative of exactly 1 counts as the float below it, so that its loss is finite:
    12.5 (ppdet: 75, because it cuts the logarithm at -100).
    """
    flat = scores.flatten().float()
    positive_loss = F.binary_cross_entropy(flat[index], targets, targets, reduction="sum")
    return positive_loss - VFL_ALPHA * focused_log(flat.index_fill(0, index, 0.0)).sum()


def focused_log(scores: Tensor) -> Tensor:
    """p^2 ln(1 - p) (...) of probabilities (...): times -alpha, the varifocal loss of a negative.

    A probability of exactly 1 counts as the float below it.
    """
    below_one = scores.clamp(max=LARGEST_BELOW_ONE)
    # log1p, not binary_cross_entropy: the latter takes two scalar logarithms an element, and
    # there are millions of negatives.
    return below_one.square() * (-below_one).log1p()


def varifocal_loss_of_logits(logits: Tensor, index: Tensor, targets: Tensor) -> Tensor:
    """`varifocal_loss` on the logits of the probabilities; finite for any logit."""
    flat = logits.flatten().float()
    positive_loss = F.binary_cross_entropy_with_logits(
        flat[index], targets, targets, reduction="sum"
    )
    negatives = flat.index_fill(0, index, -torch.inf)
    return positive_loss + VFL_ALPHA * (negatives.sigmoid().square() * F.softplus(negatives)).sum()


def distribution_focal_loss(dist_logits: Tensor, distances: Tensor) -> Tensor:
    """Distribution focal loss (...) of bins `dist_logits` (..., R) at `distances` (...) 0..R-1.

    Cross entropy with both neighbouring bins, each weighted by 1 - its distance (arXiv 2006.04388,
    equation 6).
    """
    log_probs = dist_logits.log_softmax(-1)
    left = distances.long()
    right_share = distances - left
    neighbours = torch.stack([left, left + 1], dim=-1)  # (..., 2)
    shares = torch.stack([1 - right_share, right_share], dim=-1)
    return -(log_probs.gather(-1, neighbours) * shares).sum(-1)


def _class_loss(predictions: Predictions, index: Tensor, targets: Tensor) -> Tensor:
    """Varifocal loss () of the scores, from their logits where these are given."""
    if predictions.cls_logits is None:
        return varifocal_loss(predictions.scores, index, targets)
    return varifocal_loss_of_logits(predictions.cls_logits, index, targets)


def _positives(predictions: Predictions, assignment: Assignment) -> tuple[Tensor, Tensor]:
    """Indices into the flattened scores whose target is above zero, and these targets."""
    element = assignment.places * predictions.scores.shape[-1] + assignment.labels
    kept = assignment.scores > 0
    return element[kept], assignment.scores[kept]


def _box_losses(predictions: Predictions, assignment: Assignment) -> tuple[Tensor, Tensor]:
    """Distribution focal and GIoU losses (), (): weighted sums over points."""
    logits = predictions.dist_logits.flatten(0, 1)[assignment.places].float()  # (M, 4 * R)
    grid = predictions.grid
    point = assignment.places % len(grid.points)
    points, strides = grid.points[point], grid.strides[point]  # (M, 2), (M, 1)
    sides = logits.unflatten(-1, (4, -1))  # (M, 4, R)
    farthest = sides.shape[-1] - 1 - DFL_MARGIN
    distances = (xyxy_to_distances(points, assignment.boxes) / strides).clamp(0, farthest)
    dfl = distribution_focal_loss(sides, distances).mean(-1)  # (M,)
    overlap = giou(decode(logits, points, strides), assignment.boxes)
    weight = assignment.weights
    return (dfl * weight).sum(), ((1 - overlap) * weight).sum()
