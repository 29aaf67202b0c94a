"""From scored boxes to the detections of one image."""

import torch
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, nms

# Shapes: P points over all levels, K classes, N boxes.

SCORE_THRESHOLD = 0.025  # these four are the MultiClassNMS of the published configs
IOU_THRESHOLD = 0.6
MAX_PER_CLASS = 1000  # candidates of a class that enter the suppression
MAX_PER_IMAGE = 100
FIRST = 512  # candidates that are looked at first: often enough to find MAX_PER_IMAGE
MOST = 4096  # that are looked at in steps; beyond, all of a class at once is faster


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
    confidence = scores[rows, labels]
    kept, seen, wanted = rows[:0], 0, FIRST
    while seen < len(rows) and len(kept) < max_per_image:
        best = _best(confidence, wanted)  # those seen before, then the next
        many = len(best) > MOST  # which a few can be where many scores are one number
        if many:
            best = _best(confidence, len(rows))
        entering = _rank_in_class(labels[best]) < max_per_class
        if many:
            every = best[entering]
            alive = _suppress_all(
                boxes[rows[every]], confidence[every], labels[every], iou_threshold
            )
            kept = every[alive]
            break
        fresh = best[seen:][entering[seen:]]
        both = torch.cat([kept, fresh])
        alive = _suppress(
            _class_by_class(boxes, rows[both], labels[both]), len(kept), iou_threshold
        )
        kept, seen = torch.cat([kept, fresh[alive]]), len(best)
        wanted = 2 * seen
    keep = kept[:max_per_image]
    return {"boxes": boxes[rows[keep]], "scores": confidence[keep], "labels": labels[keep]}


def to_image_size(boxes: Tensor, network_size: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Boxes (N, 4) of an input of `network_size`, in pixels of the image of `size` before it.

    Both sizes are (height, width).
    """
    scale_y, scale_x = (after / before for before, after in zip(network_size, size, strict=True))
    return boxes * boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])


def _suppress(boxes: Tensor, num_kept: int, iou_threshold: float) -> Tensor:
    """Which of the boxes after the first `num_kept`, which survive, survive too: indices, in order.

    Boxes come best first, classes apart from each other.
    """
    kept, fresh = boxes[:num_kept], boxes[num_kept:]
    free = (box_iou(kept, fresh) <= iou_threshold).all(dim=0).nonzero()[:, 0]
    falling = torch.arange(len(free), 0, -1, dtype=boxes.dtype, device=boxes.device)
    return free[nms(fresh[free], falling, iou_threshold)]


def _suppress_all(boxes: Tensor, scores: Tensor, labels: Tensor, iou_threshold: float) -> Tensor:
    """Which of many boxes, best first, survive: indices, in order.

    Moved to start at zero, because batched_nms shifts classes by the largest coordinate.
    """
    return batched_nms(boxes - boxes.min(), scores, labels, iou_threshold).sort().values


def _class_by_class(boxes: Tensor, rows: Tensor, labels: Tensor) -> Tensor:
    """The boxes of these rows (N,) with every class in a place of its own.

    They are shifted by more than the whole extent, in float64, where that rounds nothing.
    """
    start = boxes.min()
    extent = (boxes.max() - start).double() + 1
    return boxes[rows].double() - start + (labels * extent)[:, None]


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
