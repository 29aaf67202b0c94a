"""Precision, recall and F1 over the threshold, counted by hand."""

import numpy as np
import pytest

from detection.evaluation.thresholds import curve
from detection.evaluation.tide import Judged, Kind


def image(scores: list[float], kinds: list[Kind], boxes: int) -> Judged:
    places = np.arange(len(scores))
    labels = np.zeros(len(scores), int)
    truth, taken = np.zeros(boxes, int), np.zeros(boxes, bool)
    return Judged(
        places, np.array(scores), labels, np.array(kinds, np.int8), labels, truth, taken,
        np.zeros(boxes),
    )  # fmt: skip


def test_curve_by_hand() -> None:
    """Four boxes; kept from the top: right, right, wrong (of equal score), right."""
    images = [
        image([0.9, 0.5], [Kind.RIGHT, Kind.BACKGROUND], 3),
        image([0.7, 0.5, 0.3], [Kind.IGNORED, Kind.RIGHT, Kind.RIGHT], 1),
    ]
    found = curve(images)
    assert found is not None
    assert found.thresholds.tolist() == [0.3, 0.5, 0.9]
    assert found.precision.tolist() == [3 / 4, 2 / 3, 1]
    assert found.recall.tolist() == [3 / 4, 2 / 4, 1 / 4]
    assert found.f1.tolist() == pytest.approx([6 / 8, 4 / 7, 2 / 5])
    assert found.best == 0


def test_of_equal_f1_the_highest_threshold() -> None:
    """1 of 1 and 2 of 4 with two boxes: F1 is 2/3 both times."""
    kinds = [Kind.RIGHT, Kind.BOTH, Kind.CLASS, Kind.RIGHT]
    found = curve([image([0.9, 0.4, 0.3, 0.2], kinds, 2)])
    assert found is not None
    assert found.f1[[0, -1]].tolist() == [2 / 3, 2 / 3]
    assert found.thresholds[found.best] == 0.9


@pytest.mark.parametrize("kinds", [[], [Kind.IGNORED]])
def test_nothing_to_count(kinds: list[Kind]) -> None:
    assert curve([image([0.5] * len(kinds), kinds, 2)]) is None
    assert curve([image([0.5], [Kind.BACKGROUND], 0)]) is None
