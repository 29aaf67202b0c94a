"""From scored boxes to the detections of one image."""

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

# Shapes: P points over all levels, K classes, N boxes.

SCORE_THRESHOLD = 0.025  # these four are the MultiClassNMS of the published configs
IOU_THRESHOLD = 0.6
MAX_PER_CLASS = 1000  # candidates of a class that enter the suppression
MAX_PER_IMAGE = 100
FIRST = 512  # candidates that are suppressed at first: mostly enough to find MAX_PER_IMAGE
AT_ONCE = 2048  # boxes; more than 1000, from where batched_nms takes classes one by one


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
    confidence, count = scores[rows, labels], FIRST
    while True:
        # Who survives among the best does not depend on the rest.
        best = _best(confidence, count)
        done = len(best) == len(confidence)
        best = best[_rank_in_class(labels[best]) < max_per_class]
        kept = _suppress(boxes[rows[best]], confidence[best], labels[best], iou_threshold)
        if done or len(kept) >= max_per_image:
            keep = best[kept[:max_per_image]]
            return {
                "boxes": boxes[rows[keep]], "scores": confidence[keep], "labels": labels[keep]
            }  # fmt: skip
        count *= 8


def to_image_size(boxes: Tensor, network_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Boxes (N, 4) of an input of `network_size`, in pixels of the image of `size` before it.

    Both sizes are (height, width).
    """
    scale_y, scale_x = (after / before for before, after in zip(network_size, size, strict=True))
    return boxes * boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])


def _suppress(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Indices that survive, in order, of boxes whose scores fall.

    Few boxes go at once: classes are kept apart by shifting each by more than the largest box, in
    float64, where the shift rounds nothing. Many go class by class, as that grows with the square.
    """
    if len(boxes) == 0:
        return labels
    if len(boxes) > AT_ONCE:
        return batched_nms(boxes - boxes.min(), scores, labels, iou_threshold).sort().values
    apart = boxes.double() - boxes.min()
    shift = (labels * (apart.max() + 1))[:, None]  # (N, 1)
    return nms(apart + shift, scores.double(), iou_threshold)


def _best(scores: Tensor, count: int) -> Tensor:
    """Indices of the `count` highest of scores (N,) and all that equal the last, best first."""
    if len(scores) <= count:
        return scores.argsort(descending=True, stable=True)
    lowest = scores.topk(count).values[-1]
    indices = (scores >= lowest).nonzero()[:, 0]
    return indices[scores[indices].argsort(descending=True, stable=True)]


def _rank_in_class(labels: Tensor) -> Tensor:
    """How many of the same label stand before each of (N,)."""
    order = labels.argsort(stable=True)  # classes together
    counts = labels.bincount()
    starts = counts.cumsum(0) - counts  # (K,)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - starts[labels[order]]
    return rank
