"""Assigns ground-truth boxes to anchor points: the targets of the loss.

The assigners of the second generation, and what they share with that of the first (simota.py).

Shapes: B images, P points over all levels, K classes; N objects of the whole batch, image after
image (no padding, so one crowded image costs the others nothing); C candidates of an object;
M points that have an object.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from detection.boxes import iou, xyxy_to_distances
from detection.head import Predictions
from detection.points import Grid

ATSS_NEAREST = 9  # candidates per level (arXiv 1912.02424, section 3.3)
ATSS_ANCHOR_SIDE = 5.0  # side of the square anchor in strides (grid_cell_scale of the configs)
TAL_CANDIDATES = 13  # this and the next two: TaskAlignedAssigner of the configs (2108.07755)
TAL_SCORE_POWER = 1.0
TAL_IOU_POWER = 6.0
MIN_INSIDE = 1e-9  # a point is inside a box when farther than this from all four sides
METRIC_EPS = 1e-9


class Truths(NamedTuple):
    """The objects of a batch."""

    boxes: Tensor  # (N, 4) in pixels of the network input
    labels: Tensor  # (N,) 0..K-1
    image_index: Tensor  # (N,) 0..B-1, ascending


class Assignment(NamedTuple):
    """The points that are assigned to an object, the positives; all others are background."""

    places: Tensor  # (M,) image * P + point, ascending
    boxes: Tensor  # (M, 4) of the object, in pixels of the network input
    labels: Tensor  # (M,) of the object
    scores: Tensor  # (M,) in 0..1, target of the point's score
    weights: Tensor  # (M,) in 0..1, weight of the point in the box losses


def gather_truths(targets: Sequence[Mapping[str, Tensor]]) -> Truths:
    """The `boxes` (G, 4) and `labels` (G,) of all images, concatenated."""
    boxes = torch.cat([target["boxes"] for target in targets])
    labels = torch.cat([target["labels"] for target in targets])
    counts = torch.tensor([len(target["boxes"]) for target in targets], device=boxes.device)
    images = torch.arange(len(targets), device=boxes.device)
    return Truths(boxes.float(), labels, images.repeat_interleave(counts))


def assign_atss(truths: Truths, predictions: Predictions, boxes: Tensor) -> Assignment:
    """Adaptive training sample selection (arXiv 1912.02424), which looks at anchors only.

    An object's candidates are the 9 nearest points of every level (all, where a level has fewer).
    It gets those inside it whose anchors have an IoU with it above mean + deviation of the IoUs of
    its candidates. Their target score is the IoU of their predicted box (`boxes` (B, P, 4)) with
    the object.
    """
    grid = predictions.grid
    candidates = _nearest_points(truths.boxes, grid)  # (N, C)
    anchors = _anchors(grid)  # (P, 4)
    overlaps = iou(truths.boxes[:, None], anchors[candidates])  # (N, C)
    mean = overlaps.mean(dim=1, keepdim=True)  # (N, 1)
    variance = (overlaps - mean).square().sum(dim=1, keepdim=True) / (overlaps.shape[1] - 1)
    inside = is_inside(grid.points[candidates], truths.boxes[:, None])
    rows, columns = ((overlaps > mean + variance.sqrt()) & inside).nonzero(as_tuple=True)
    places, owner = settle(
        truths,
        rows,
        candidates[rows, columns],
        boxes.shape[:2],
        lambda _, points: iou(anchors[points][:, None], truths.boxes),
    )
    owner_boxes = truths.boxes[owner]
    scores = iou(owner_boxes, boxes.flatten(0, 1)[places])
    return Assignment(places, owner_boxes, truths.labels[owner], scores, scores)


def assign_task_aligned(truths: Truths, predictions: Predictions, boxes: Tensor) -> Assignment:
    """Task-aligned assignment (arXiv 2108.07755, section 3.3.1).

    A point's metric for an object is its score for the class times the sixth power of the IoU of
    its predicted box (`boxes` (B, P, 4)). An object gets the 13 best points inside it. Their target
    score is the metric, scaled so that the largest of an object equals its largest IoU. A point
    with a metric of zero gets no object (the original assigns it when fewer than 13 are better; its
    target is 0 either way).
    """
    grid = predictions.grid
    inside = is_inside(grid.points, truths.boxes[:, None])  # (N, P)
    rows, points = inside.nonzero(as_tuple=True)
    metric, _ = _alignment(truths, rows, truths.image_index[rows], points, predictions, boxes)
    dense = metric.new_zeros(inside.shape)
    dense[rows, points] = metric
    count = min(TAL_CANDIDATES, dense.shape[1])
    best, candidates = dense.topk(count, dim=1, sorted=False)  # (N, C) each
    rows, columns = (best > 0).nonzero(as_tuple=True)
    places, owner = settle(
        truths,
        rows,
        candidates[rows, columns],
        boxes.shape[:2],
        lambda images, points: iou(boxes[images, points][:, None], truths.boxes),
    )
    images, points = places // boxes.shape[1], places % boxes.shape[1]
    metric, overlap = _alignment(truths, owner, images, points, predictions, boxes)
    scores = metric / (_best_of_object(metric, owner, truths) + METRIC_EPS)[owner]
    scores = scores * _best_of_object(overlap, owner, truths)[owner]
    return Assignment(places, truths.boxes[owner], truths.labels[owner], scores, scores)


def _alignment(
    truths: Truths,
    owner: Tensor,
    images: Tensor,
    points: Tensor,
    predictions: Predictions,
    boxes: Tensor,
) -> tuple[Tensor, Tensor]:
    """Task-alignment metric and overlap, (M,) each, of points with the objects `owner` (M,)."""
    overlap = iou(truths.boxes[owner], boxes[images, points])
    score = predictions.scores[images, points, truths.labels[owner]]
    return score**TAL_SCORE_POWER * overlap**TAL_IOU_POWER, overlap


def _best_of_object(values: Tensor, owner: Tensor, truths: Truths) -> Tensor:
    """Largest of the `values` (M,) of every object (N,); 0 for an object without points."""
    return values.new_zeros(len(truths.labels)).scatter_reduce(0, owner, values, "amax")


def _nearest_points(boxes: Tensor, grid: Grid) -> Tensor:
    """Indices (N, C) of the points nearest to the centres of `boxes` (N, 4), 9 per level."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    nearest, start = [], 0
    for points in grid.points.split(grid.level_lengths):
        offsets = centres[:, None] - points  # (N, points of the level, 2)
        count = min(ATSS_NEAREST, len(points))
        distances = offsets.square().sum(-1)
        nearest.append(distances.topk(count, dim=1, largest=False, sorted=False).indices + start)
        start += len(points)
    return torch.cat(nearest, dim=1)


def _anchors(grid: Grid) -> Tensor:
    """Square anchors (P, 4) around the points."""
    reach = grid.strides * ATSS_ANCHOR_SIDE / 2
    return torch.cat([grid.points - reach, grid.points + reach], dim=1)


def is_inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Whether points (..., 2) lie strictly inside boxes (..., 4); shapes broadcast."""
    return xyxy_to_distances(points, boxes).amin(-1) > MIN_INSIDE


def settle(
    truths: Truths,
    rows: Tensor,
    points: Tensor,
    shape: tuple[int, int] | torch.Size,
    fitness: Callable[[Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor]:
    """One object for every chosen point: places (M,), ascending, and objects (M,).

    Object `rows[i]` chose point `points[i]` of its image. A point that several objects chose goes
    to the best object of its image by `fitness`, even if that object did not choose it (as in the
    originals).

    Args:
        truths: The N objects.
        rows: Objects 0..N-1, one per choice.
        points: The chosen points 0..P-1.
        shape: (B, P).
        fitness: How well points (D,) of images (D,) fit the objects: (D, N), larger is better.
    """
    num_images, num_points = shape
    chosen = truths.image_index[rows] * num_points + points  # (.,)
    owner = rows.new_full((num_images * num_points,), -1)
    owner[chosen] = rows
    disputed = (chosen.bincount(minlength=len(owner)) > 1).nonzero().squeeze(1)
    if len(disputed):
        images = disputed // num_points
        fits = fitness(images, disputed % num_points)  # (D, N)
        foreign = images[:, None] != truths.image_index
        owner[disputed] = fits.masked_fill(foreign, -torch.inf).argmax(dim=1)
    places = (owner >= 0).nonzero().squeeze(1)
    return places, owner[places]
