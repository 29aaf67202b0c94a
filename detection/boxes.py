"""Arithmetic on boxes.

Shapes: B images, P points over all levels, R = reg_max + 1 bins per side, ... any leading shape.
Boxes are xyxy floats in pixels of the network input; distances are (left, top, right, bottom).
"""

import torch
from torch import Tensor

IOU_EPS = 1e-9  # added to the union by ppdet's batch_iou_similarity, which the assigners use
GIOU_EPS = 1e-10  # added to union and hull by ppdet's GIoULoss


def distances_to_xyxy(points: Tensor, distances: Tensor) -> Tensor:
    """Boxes (..., P, 4) whose sides lie `distances` (..., P, 4) away from `points` (P, 2)."""
    near, far = distances.chunk(2, dim=-1)  # (..., P, 2) left top, right bottom
    return torch.cat([points - near, points + far], dim=-1)


def xyxy_to_distances(points: Tensor, boxes: Tensor) -> Tensor:
    """Distances (..., 4) from `points` (..., 2) to the sides of `boxes` (..., 4).

    A point outside its box has a negative distance to the side that it is beyond.
    """
    near, far = boxes.chunk(2, dim=-1)  # (..., 2) upper left, lower right corner
    return torch.cat([points - near, far - points], dim=-1)


def expected_distances(dist_logits: Tensor) -> Tensor:
    """Mean distances (..., P, 4) in strides of the distributions `dist_logits` (..., P, 4 * R).

    Channels run bin by bin inside a side: left x R, top x R, right x R, bottom x R
    (generalized focal loss, equation 4).
    """
    probs = dist_logits.float().unflatten(-1, (4, -1)).softmax(dim=-1)  # (..., P, 4, R)
    bins = torch.arange(probs.shape[-1], dtype=probs.dtype, device=probs.device)
    return (probs * bins).sum(dim=-1)


def decode(dist_logits: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """Boxes (..., P, 4) in pixels of side distributions (..., P, 4 * R) around `points` (P, 2).

    Boxes are not clipped: they may extend beyond the image, as in the original.
    """
    return distances_to_xyxy(points, expected_distances(dist_logits) * strides)


def iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union (...), 0..1, of boxes whose shapes (..., 4) broadcast."""
    overlap, union = _overlap_and_union(boxes, others)
    return overlap / (union + IOU_EPS)


def giou(boxes: Tensor, others: Tensor) -> Tensor:
    """Generalised IoU (...), -1..1, of boxes whose shapes (..., 4) broadcast.

    IoU minus the share of the smallest box around both that neither covers (arXiv 1902.09630,
    algorithm 1).
    """
    overlap, union = _overlap_and_union(boxes, others)
    union = union + GIOU_EPS
    sides = torch.maximum(boxes[..., 2:], others[..., 2:]) - torch.minimum(
        boxes[..., :2], others[..., :2]
    )
    hull = sides[..., 0] * sides[..., 1] + GIOU_EPS
    return overlap / union - (hull - union) / hull


def _overlap_and_union(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Areas (...) of intersection and union of the boxes, in square pixels."""
    upper_left = torch.maximum(boxes[..., :2], others[..., :2])
    lower_right = torch.minimum(boxes[..., 2:], others[..., 2:])
    sides = (lower_right - upper_left).clamp(min=0)  # (..., 2)
    overlap = sides[..., 0] * sides[..., 1]
    return overlap, _area(boxes) + _area(others) - overlap


def _area(boxes: Tensor) -> Tensor:
    """Areas (...) of boxes (..., 4)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
