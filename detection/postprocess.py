"""From scored boxes to the detections of one image."""

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from engine.types import Size

# Shapes: P points over all levels, K classes, N boxes.

SCORE_THRESHOLD = 0.025  # these four are the MultiClassNMS of the published configs
IOU_THRESHOLD = 0.6
MAX_PER_CLASS = 1000  # candidates of a class that enter the suppression
MAX_PER_IMAGE = 100
FIRST = 512  # candidates of the first step: often enough to find MAX_PER_IMAGE
MOST = 4096  # candidates up to which steps are faster than all candidates at once


def detect(
    boxes: Tensor,
    scores: Tensor,
    *,
    score_threshold: float = SCORE_THRESHOLD,
    iou_threshold: float = IOU_THRESHOLD,
    max_per_class: int = MAX_PER_CLASS,
    max_per_image: int = MAX_PER_IMAGE,
) -> dict[str, Tensor]:
    """Detections of one image, best score first: boxes (N, 4), scores (N,), labels (N,).

    Takes boxes (P, 4) and scores (P, K). A point is a candidate once for every class whose score
    is above the threshold. Boxes of one class suppress each other above the IoU threshold.
    """
    rows, labels = (scores > score_threshold).nonzero(as_tuple=True)  # (N,) each
    confidence = scores[rows, labels]
    kept, seen, wanted = rows[:0], 0, FIRST
    while seen < len(rows) and len(kept) < max_per_image:
        best = _best(confidence, wanted)  # those seen before, then the next
        many = len(best) > MOST  # also where many scores are equal
        if many:
            best, kept, seen = _best(confidence, len(rows)), rows[:0], 0
        entering = _rank_in_class(labels[best]) < max_per_class
        both = torch.cat([kept, best[seen:][entering[seen:]]])
        candidates = boxes[rows[both]] if many else boxes[rows[both]].double()
        candidates = candidates - candidates.min()
        kept = both[suppress(candidates, confidence[both], labels[both], iou_threshold)]
        seen, wanted = len(best), 2 * len(best)
    keep = kept[:max_per_image]
    return {"boxes": boxes[rows[keep]], "scores": confidence[keep], "labels": labels[keep]}


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    """Non-maximum suppression: indices of the boxes (N, 4) that are kept, ascending.

    A box is removed if a kept box of its group (N,) with a higher score (N,) has an IoU with it
    above the threshold; of equal scores the first counts as higher. Coordinates must not be
    negative, because torchvision may separate groups by offsets. In float64 offsets do not round.
    """
    return batched_nms(boxes, scores.to(boxes), groups, iou_threshold).sort().values


def to_image_size(boxes: Tensor, network_size: Size, size: Size) -> Tensor:
    """Boxes (N, 4) in an input of `network_size`, scaled to the image of `size` before resizing."""
    x = boxes[:, 0::2] * (size[1] / network_size[1])
    y = boxes[:, 1::2] * (size[0] / network_size[0])
    return torch.stack([x, y], dim=2).flatten(1)  # x, y, x, y


def _best(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` highest of scores (N,) and of all equal to the last, best first."""
    if len(scores) <= count:
        return scores.argsort(descending=True, stable=True)
    lowest = scores.topk(count).values[-1]
    indices = (scores >= lowest).nonzero()[:, 0]
    return indices[scores[indices].argsort(descending=True, stable=True)]


def _rank_in_class(labels: Tensor) -> Tensor:
    """Number of earlier entries with the same label, for each of (N,)."""
    order = labels.argsort(stable=True)  # classes together
    counts = labels.bincount()
    starts = counts.cumsum(0) - counts  # (K,)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - starts[labels[order]]
    return rank
