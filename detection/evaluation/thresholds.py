"""Precision, recall and F1 by the threshold on the score, of matched detections.

Shapes: N detections, T different scores.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from detection.evaluation.tide import Judged, Kind


class Curve(NamedTuple):
    """Precision, recall and F1 (0..1) at every threshold; scores of at least it are kept."""

    thresholds: NDArray[np.float64]  # (T,) ascending
    precision: NDArray[np.float64]  # (T,)
    recall: NDArray[np.float64]  # (T,)
    f1: NDArray[np.float64]  # (T,)

    @property
    def best(self) -> int:
        """Index of the best F1; of equal ones the highest threshold."""
        return len(self.f1) - 1 - int(self.f1[::-1].argmax())


def curve(images: Sequence[Judged]) -> Curve | None:
    """The curve of all classes together at IoU 0.5, or None without any box or detection.

    F1 is 2 hits / (detections + boxes); detections in crowds are not counted.
    """
    scores = np.concatenate([image.scores for image in images]).astype(np.float64)
    kinds = np.concatenate([image.kinds for image in images])
    boxes = sum(len(image.truth) for image in images)
    counted = kinds != Kind.IGNORED
    if not boxes or not counted.any():
        return None
    order = np.argsort(-scores[counted], kind="stable")
    scores, right = scores[counted][order], (kinds[counted] == Kind.RIGHT)[order]
    last = np.flatnonzero(np.append(np.diff(scores) != 0, True))  # (T,) last index of each score
    hits, kept = np.cumsum(right)[last], last + 1
    parts = (scores[last], hits / kept, hits / boxes, 2 * hits / (kept + boxes))
    return Curve(*(part[::-1] for part in parts))
