"""Error type of each detection, and the AP that each type costs: TIDE (Bolya et al. 2020).

Boxes are matched at IoU 0.5 as in COCO: from the highest score down, each detection takes the free
box of its class with the largest IoU. An unmatched detection has the first of these types that fits
(arXiv 2008.08115, section 2, in the order of its authors' code; IoU with any box of the image,
taken or free):

1. location: IoU of 0.1 to 0.5 with a box of its class;
2. class: IoU of 0.5 or more with a box of another class;
3. duplicate: IoU of 0.5 or more with a box of its class, which a higher score took;
4. background: IoU of at most 0.1 with every box;
5. both: all others, wrong in class and location.

Missed boxes are those that no detection took and that no detection of types 1 and 2 points to. A
detection with half of its area in a crowd of its class is ignored, as in COCO's evaluation.

Shapes: N detections, G ground-truth boxes, K classes. Boxes are xyxy in pixels of the image.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_iou

FOREGROUND, BACKGROUND = 0.5, 0.1  # least IoU of a match; largest IoU of a background error
RECALLS = np.linspace(0, 1, 101)  # at which COCO takes the precision
REMOVED = -1  # class of a detection that the repair removes

Floats = NDArray[np.floating]
Labels = NDArray[np.int64]


class Kind(IntEnum):
    """Type of a detection; MISSED is for ground-truth boxes."""

    RIGHT = 0
    CLASS = 1
    LOCATION = 2
    BOTH = 3
    DUPLICATE = 4
    BACKGROUND = 5
    IGNORED = 6  # in a crowd
    MISSED = 7


MISTAKES = (
    Kind.CLASS, Kind.LOCATION, Kind.BOTH, Kind.DUPLICATE, Kind.BACKGROUND, Kind.MISSED
)  # fmt: skip


class Truth(NamedTuple):
    """The annotated boxes of an image."""

    boxes: Floats  # (G, 4)
    labels: Labels  # (G,) 0..K-1
    crowd: NDArray[np.bool_]  # (G,)


class Judged(NamedTuple):
    """The matched detections of one image, highest score first, and its boxes without crowds."""

    order: NDArray[np.intp]  # (N,) index of each among the given detections
    scores: Floats  # (N,) 0..1
    labels: Labels  # (N,)
    kinds: NDArray[np.int8]  # (N,) Kind
    repaired: Labels  # (N,) class after the repair of this detection's error, or REMOVED
    truth: Labels  # (G,) class of each box
    taken: NDArray[np.bool_]  # (G,) whether a detection matches it
    noticed: Floats  # (G,) highest score that matches the box or points to it; 0 for Kind.MISSED


def judge(boxes: Floats, scores: Floats, labels: Labels, truth: Truth) -> Judged:
    """Matches detections `boxes` (N, 4), `scores` (N,), `labels` (N,) of one image to its truth."""
    order = np.argsort(-scores, kind="stable")
    boxes, scores, labels = boxes[order], scores[order], labels[order]
    real = ~truth.crowd
    overlap = _overlap(boxes, truth.boxes[real])  # (N, G)
    same = labels[:, None] == truth.labels[real]  # (N, G)
    taken = _match(overlap * same)  # (N,)
    kinds = _kinds(overlap, same)
    kinds[_in_crowd(boxes, labels, truth)] = Kind.IGNORED
    kinds[taken >= 0] = Kind.RIGHT
    meant = _meant(overlap, same, kinds)  # (N,)
    repaired = np.full(len(labels), REMOVED)
    for place in np.flatnonzero(meant >= 0):  # highest score first: others of a box are removed
        box = meant[place]
        if box not in taken and box not in meant[:place]:
            repaired[place] = truth.labels[real][box]
    noticed = np.zeros(overlap.shape[1])
    for boxes_of in (taken, meant):
        np.maximum.at(noticed, boxes_of[boxes_of >= 0], scores[boxes_of >= 0])
    found = np.isin(np.arange(len(noticed)), taken)
    return Judged(order, scores, labels, kinds, repaired, truth.labels[real], found, noticed)


def _overlap(boxes: Floats, others: Floats) -> NDArray[np.float64]:
    """IoU (N, G) of all pairs of boxes, in double precision."""
    pair = (torch.from_numpy(part.reshape(-1, 4).astype(np.float64)) for part in (boxes, others))
    return np.asarray(box_iou(*pair).nan_to_num(0).numpy(), np.float64)


def _match(overlap: NDArray[np.float64]) -> NDArray[np.int64]:
    """Box (N,) that each detection matches, or -1; overlap (N, G) is 0 where classes differ."""
    taken, free = np.full(len(overlap), -1), overlap.copy()
    for place in np.flatnonzero((overlap >= FOREGROUND).any(axis=1)):
        last = free.shape[1] - 1 - int(free[place, ::-1].argmax())  # the last of equals, as COCO
        if free[place, last] >= FOREGROUND:
            taken[place] = last
            free[:, last] = 0
    return taken


def _in_crowd(boxes: Floats, labels: Labels, truth: Truth) -> NDArray[np.bool_]:
    """Which detections (N,) have half of their area in a crowd of their class."""
    crowds = truth.boxes[truth.crowd]
    low = np.maximum(boxes[:, None, :2], crowds[None, :, :2])  # (N, G, 2)
    high = np.minimum(boxes[:, None, 2:], crowds[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=2)  # (N, G)
    area = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)[:, None]  # (N, 1)
    same = labels[:, None] == truth.labels[truth.crowd]
    hit: NDArray[np.bool_] = (same & (area > 0) & (inside >= FOREGROUND * area)).any(axis=1)
    return hit


def _kinds(overlap: NDArray[np.float64], same: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Kinds (N,) before matched detections are known."""
    own = np.max(overlap * same, axis=1, initial=0)
    other = np.max(overlap * ~same, axis=1, initial=0)
    located = (own >= BACKGROUND) & (own <= FOREGROUND)
    conditions = [
        located,
        other >= FOREGROUND,
        own >= FOREGROUND,
        np.maximum(own, other) <= BACKGROUND,
    ]
    kinds = [Kind.LOCATION, Kind.CLASS, Kind.DUPLICATE, Kind.BACKGROUND]
    return np.select(conditions, kinds, Kind.BOTH).astype(np.int8)


def _meant(
    overlap: NDArray[np.float64], same: NDArray[np.bool_], kinds: NDArray[np.int8]
) -> NDArray[np.int64]:
    """Box (N,) that a detection of wrong class or location points to; -1 for other detections."""
    result = np.full(len(kinds), -1)
    for kind, allowed in ((Kind.LOCATION, same), (Kind.CLASS, ~same)):
        mine = kinds == kind
        if mine.any():
            result[mine] = (overlap * allowed)[mine].argmax(axis=1)
    return result


class MistakeSplit(NamedTuple):
    """Number of errors of each kind, and what they cost."""

    ap: float  # at IoU 0.5, 0..1
    counts: dict[Kind, int]
    cost: dict[Kind, float]  # gain of AP if this kind alone is repaired


def split(images: Sequence[Judged], num_classes: int) -> MistakeSplit:
    """All errors of all images by kind.

    The cost of a kind is the AP with it repaired minus the original AP, at least 0 (TIDE's dAP).
    The repair turns the highest-scored detection that points to a free box into a hit, with the
    class of that box, and removes the other detections of the kind. Missed boxes are repaired by
    leaving them out of the number of boxes.
    """
    scores, labels, kinds, repaired = (
        np.concatenate([getattr(image, name) for image in images])
        for name in ("scores", "labels", "kinds", "repaired")
    )
    boxes = _count(np.concatenate([image.truth for image in images]), num_classes)  # (K,)
    missed = np.concatenate([image.truth[image.noticed == 0] for image in images])
    right = kinds == Kind.RIGHT
    labels = np.where(kinds == Kind.IGNORED, REMOVED, labels)
    plain = average_precision(scores, labels, right, boxes)
    cost = {}
    for kind in MISTAKES[:-1]:
        mine = kinds == kind
        hits = right | (mine & (repaired != REMOVED))
        after = average_precision(scores, np.where(mine, repaired, labels), hits, boxes)
        cost[kind] = max(after - plain, 0.0)
    after = average_precision(scores, labels, right, boxes, _count(missed, num_classes))
    cost[Kind.MISSED] = max(after - plain, 0.0)
    counts = {kind: int((kinds == kind).sum()) for kind in MISTAKES[:-1]}
    return MistakeSplit(plain, counts | {Kind.MISSED: len(missed)}, cost)


def _count(labels: Labels, num_classes: int) -> NDArray[np.int64]:
    return np.bincount(labels, minlength=num_classes).astype(np.int64)


def average_precision(
    scores: Floats,
    labels: Labels,
    hits: NDArray[np.bool_],
    boxes: NDArray[np.int64],
    forgiven: NDArray[np.int64] | int = 0,
) -> float:
    """Mean over classes of the AP of matched detections (N,); COCO's AP at one IoU.

    Args:
        scores: Scores; equal ones keep their order.
        labels: Classes 0..K-1, or REMOVED.
        hits: Which of them are right.
        boxes: Number of boxes of each class (K,); classes without boxes are left out.
        forgiven: Number of these boxes (K,) that are not counted; a class without others has AP 0.

    Returns:
        0..1, or 0 if there is no box at all.
    """
    order = np.lexsort((-scores, labels))  # stable: class by class, best score first
    starts = np.searchsorted(labels[order], np.arange(len(boxes) + 1))
    wanted = boxes - forgiven
    found = [
        _class_ap(hits[order[starts[label] : starts[label + 1]]], int(wanted[label]))
        for label in np.flatnonzero(boxes)
    ]
    return float(np.mean(found)) if found else 0.0


def _class_ap(hits: NDArray[np.bool_], boxes: int) -> float:
    """Mean over 101 recalls of the best precision at that recall or a higher one."""
    if not boxes:
        return 0.0
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(right / boxes, RECALLS, side="left")
    return float(best[places[places < len(best)]].sum() / len(RECALLS))
