"""The assigner of PicoDet's first generation: SimOTA (arXiv 2107.08430, section 2.4), VFL costs.

Shapes: as in assigners.py, and M pairs of an object and a candidate point of its image.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from detection.assigners import Assignment, Truths, is_inside, settle
from detection.boxes import giou, iou
from detection.head import Predictions
from detection.loss import VFL_ALPHA, focused_log

# The next three are those of SimOTAAssigner in the published configs.
CENTRE_RADIUS = 2.5  # strides around the centre of an object
CANDIDATES = 10  # largest number of points per object
GIOU_WEIGHT = 6.0
FAR = 1e8  # cost of a point that is not both inside the object and near its centre


def assign_simota(truths: Truths, predictions: Predictions, boxes: Tensor) -> Assignment:
    """Assigns to each object the k points with the lowest cost.

    The candidates of all objects of an image are the points inside any of them or near the centre
    of any. k is the sum of the object's 10 largest IoUs with their predicted boxes
    (`boxes` (B, P, 4)), rounded down, at least 1. The target score is the IoU; the weight in the
    box losses is the largest score of the point.
    """
    inside, near = _where(truths, predictions)  # (N, P) each
    rows, points = _candidates(truths, inside | near, len(boxes)).nonzero(as_tuple=True)  # (M,)
    overlaps, costs = _overlaps_and_costs(truths, rows, points, predictions, boxes)
    far = ~(inside & near)[rows, points]
    cost = costs.new_full(inside.shape, torch.inf)  # (N, P)
    cost[rows, points] = costs + FAR * far
    rows, points = _cheapest(cost, _counts(inside.shape, rows, points, overlaps))
    places, owner = settle(
        truths, rows, points, boxes.shape[:2], lambda _, points: -cost[:, points].T
    )
    owner_boxes = truths.boxes[owner]
    scores = iou(owner_boxes, boxes.flatten(0, 1)[places])
    weights = predictions.scores.flatten(0, 1)[places].amax(-1)
    return Assignment(places, owner_boxes, truths.labels[owner], scores, weights)


def _where(truths: Truths, predictions: Predictions) -> tuple[Tensor, Tensor]:
    """Whether points lie inside objects, and near their centres: (N, P), (N, P)."""
    grid = predictions.grid
    centres = (truths.boxes[:, :2] + truths.boxes[:, 2:]) / 2  # (N, 2)
    reach = CENTRE_RADIUS * grid.strides  # (P, 1)
    near = ((grid.points - centres[:, None]).abs() < reach).all(-1)
    return is_inside(grid.points, truths.boxes[:, None]), near


def _candidates(truths: Truths, close: Tensor, num_images: int) -> Tensor:
    """Points (N, P) of the object's image that are `close` (N, P) to any of its objects."""
    count = close.new_zeros((num_images, close.shape[1]), dtype=torch.long)
    return (count.index_add(0, truths.image_index, close.long()) > 0)[truths.image_index]


def _overlaps_and_costs(
    truths: Truths, rows: Tensor, points: Tensor, predictions: Predictions, boxes: Tensor
) -> tuple[Tensor, Tensor]:
    """IoU and cost (M,), (M,) of assigning point `points[i]` to object `rows[i]`.

    Costs are float64, so that the costs of points with FAR added stay distinct.
    """
    images = truths.image_index[rows]
    found, wanted = boxes[images, points], truths.boxes[rows]  # (M, 4)
    overlaps = iou(wanted, found)
    score = predictions.scores[images, points, truths.labels[rows]]
    cross_entropy = F.binary_cross_entropy(score, overlaps, reduction="none")
    as_negative = -VFL_ALPHA * focused_log(score)
    own_class = torch.where(overlaps > 0, overlaps * cross_entropy, as_negative)
    all_negative = _all_negative(predictions.scores, images, points)
    class_cost = all_negative.double() - as_negative + own_class
    return overlaps, class_cost + GIOU_WEIGHT * (1 - giou(found, wanted))


def _all_negative(scores: Tensor, images: Tensor, points: Tensor) -> Tensor:
    """Class loss (M,) of points of images with all classes negative."""
    used = scores.new_zeros(scores.shape[:2], dtype=torch.bool)  # (B, P), most of it stays False
    used[images, points] = True
    losses = scores.new_zeros(used.shape)
    losses[used] = -VFL_ALPHA * focused_log(scores[used]).sum(-1)
    return losses[images, points]


def _counts(shape: torch.Size, rows: Tensor, points: Tensor, overlaps: Tensor) -> Tensor:
    """Number of points for each object (N,)."""
    dense = overlaps.new_zeros(shape)
    dense[rows, points] = overlaps
    best = dense.topk(min(CANDIDATES, shape[1]), dim=1).values  # (N, 10)
    return best.sum(1).long().clamp(min=1)


def _cheapest(cost: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Objects and points of the `counts` (N,) smallest entries of each row of `cost` (N, P)."""
    most = min(CANDIDATES, cost.shape[1])
    best, points = cost.topk(most, dim=1, largest=False)  # (N, 10) each, ascending
    rank = torch.arange(most, device=cost.device)
    rows, columns = ((rank < counts[:, None]) & best.isfinite()).nonzero(as_tuple=True)
    return rows, points[rows, columns]
