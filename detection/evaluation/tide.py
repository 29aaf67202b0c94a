"""What kind of mistake each detection is, and what each kind costs: TIDE (Bolya et al. 2020).

Boxes are matched at IoU 0.5 as COCO does it: best score first, each takes the free box of its class
that it overlaps most. What finds none is, in this order (arXiv 2008.08115, section 2, in the order
of its authors' code; "overlap" is IoU with any box of the image, taken or free):

1. location: overlaps a box of its class by 0.1 to 0.5;
2. class: overlaps a box of another class by 0.5 or more;
3. duplicate: overlaps a box of its class by 0.5 or more, which a better score took;
4. background: overlaps no box by more than 0.1;
5. both: the rest, wrong in class and location.

Missed are the boxes that nothing took and that no detection of kinds 1 and 2 points to. A detection
of which half lies in a crowd of its class is neither right nor wrong, as in COCO's evaluation.

Shapes: N detections, G boxes of the truth, K classes. Boxes are xyxy in pixels of the image.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_iou

FOREGROUND, BACKGROUND = 0.5, 0.1  # IoU from which a box is found, and up to which nothing is
RECALLS = np.linspace(0, 1, 101)  # at which COCO takes the precision
REMOVED = -1  # instead of the class of a detection that the repair takes away

Floats = NDArray[np.floating]
Labels = NDArray[np.int64]


class Kind(IntEnum):
    """What a detection is; MISSED is for boxes of the truth."""

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
    """The boxes of an image as its annotations have them."""

    boxes: Floats  # (G, 4)
    labels: Labels  # (G,) 0..K-1
    crowd: NDArray[np.bool_]  # (G,)


class Judged(NamedTuple):
    """The detections of one image, best score first, and its boxes without crowds."""

    order: NDArray[np.intp]  # (N,) place of each among the detections given
    scores: Floats  # (N,) 0..1
    labels: Labels  # (N,)
    kinds: NDArray[np.int8]  # (N,) Kind
    repaired: Labels  # (N,) class after the repair of this detection's mistake, or REMOVED
    truth: Labels  # (G,) class of each box
    taken: NDArray[np.bool_]  # (G,) whether a detection took it
    noticed: Floats  # (G,) best score that took the box or points to it; 0 for Kind.MISSED


def judge(boxes: Floats, scores: Floats, labels: Labels, truth: Truth) -> Judged:
    """Kinds of the detections `boxes` (N, 4), `scores` (N,), `labels` (N,) of one image."""
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
    for place in np.flatnonzero(meant >= 0):  # best score first: the others of a box go
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
    """Box (N,) that each detection takes, or -1; overlap (N, G) is 0 where classes differ."""
    taken, free = np.full(len(overlap), -1), overlap.copy()
    for place in np.flatnonzero((overlap >= FOREGROUND).any(axis=1)):
        last = free.shape[1] - 1 - int(free[place, ::-1].argmax())  # of equals, as COCO does
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
    """Kinds (N,) as if nothing had matched."""
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
    """Box (N,) that a detection of wrong class or location points to, or -1 for the others."""
    result = np.full(len(kinds), -1)
    for kind, allowed in ((Kind.LOCATION, same), (Kind.CLASS, ~same)):
        mine = kinds == kind
        if mine.any():
            result[mine] = (overlap * allowed)[mine].argmax(axis=1)
    return result


class MistakeSplit(NamedTuple):
    """How many mistakes there are of each kind, and what they cost."""

    ap: float  # at IoU 0.5, 0..1
    counts: dict[Kind, int]
    cost: dict[Kind, float]  # what AP gains where this kind alone is repaired


def split(images: Sequence[Judged], num_classes: int) -> MistakeSplit:
    """All mistakes of all images by kind.

    A kind's cost is the AP with it repaired minus the AP as it is, no less than 0 (TIDE's dAP).
    The repair turns the best detection that points to a free box into a hit, with the class of that
    box, and removes the other detections of the kind; a missed box leaves the count of boxes.
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
    """Mean over classes of the AP that matched detections (N,) have; COCO's at one IoU.

    Args:
        scores: Scores; of equal ones the first counts first.
        labels: Classes 0..K-1, or REMOVED.
        hits: Which of them are right.
        boxes: Boxes of each class (K,); classes without any are left out.
        forgiven: How many of these (K,) need not be found; a class without others has AP 0.

    Returns:
        0..1, or 0 where there is no box at all.
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
