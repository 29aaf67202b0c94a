"""From scored boxes to the detections of one image."""

import torch
from torch import Tensor
from torchvision.ops import batched_nms

# Shapes: P points over all levels, K classes, N boxes.

SCORE_THRESHOLD = 0.025  # these four are the MultiClassNMS of the published configs
IOU_THRESHOLD = 0.6
MAX_PER_CLASS = 1000  # candidates of a class that enter the suppression
MAX_PER_IMAGE = 100


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

    Takes boxes (P, 4) and scores (P, K). A point counts once for every class that it scores
    above the threshold (strictly). Boxes of one class suppress each other above the IoU.
    """
    rows, labels = (scores > score_threshold).nonzero(as_tuple=True)  # (N,) each
    candidates, confidence = boxes[rows], scores[rows, labels]
    if len(rows) > max_per_class:
        best = _best_of_each_class(confidence, labels, max_per_class)
        candidates, confidence, labels = candidates[best], confidence[best], labels[best]
    keep = _suppress(candidates, confidence, labels, iou_threshold)[:max_per_image]
    return {"boxes": candidates[keep], "scores": confidence[keep], "labels": labels[keep]}


def to_image_size(boxes: Tensor, network_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Boxes (N, 4) of an input of `network_size`, in pixels of the image of `size` before it.

    Both sizes are (height, width).
    """
    scale_y, scale_x = (after / before for before, after in zip(network_size, size, strict=True))
    return boxes * boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])


def _suppress(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Indices that survive, best score first.

    batched_nms keeps classes apart by shifting each by the largest coordinate. That fails for
    boxes that leave the image to the left or the top, so all are moved to start at zero.
    """
    if len(boxes) == 0:
        return labels
    return batched_nms(boxes - boxes.min(), scores, labels, iou_threshold)


def _best_of_each_class(scores: Tensor, labels: Tensor, limit: int) -> Tensor:
    """Indices of the `limit` highest scores of every class."""
    order = scores.argsort(descending=True)
    order = order[labels[order].argsort(stable=True)]  # classes together, best first in each
    counts = labels.bincount()
    starts = counts.cumsum(0) - counts  # (K,)
    rank = torch.arange(len(order), device=order.device) - starts[labels[order]]
    return order[rank < limit]
