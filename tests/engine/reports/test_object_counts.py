"""engine/reports/object_counts.py: objects by class and size."""

import cv2
import numpy as np
import pytest

from engine.data.dataset import Objects
from engine.reports.object_counts import Tally, classes_chart, sizes_chart


@pytest.fixture
def counted() -> Tally:
    """Two pictures: classes 2, 0 of 3 and 4 pixels a side, then class 2 of 12."""
    tally = Tally("as stored")
    tally.add(Objects(np.array([2, 0]), np.array([3.0, 4.0])))
    tally.add(Objects(np.array([2]), np.array([12.0])))
    return tally


def test_objects_and_areas_by_class(counted: Tally) -> None:
    """Areas 9, 16 and 144, 169 in all."""
    assert counted.by_class(4, by_area=False).tolist() == [1, 0, 2, 0]
    expected = [100 * 16 / 169, 0, 100 * 153 / 169, 0]
    assert counted.by_class(4, by_area=True).tolist() == pytest.approx(expected)


def test_nothing_counted_is_nothing() -> None:
    tally = Tally("as stored")
    tally.add(Objects(np.empty(0, np.int64), np.empty(0)))
    assert tally.by_class(2, by_area=True).tolist() == [0, 0]
    assert sizes_chart([tally], "boxes", "title").startswith(b"\x89PNG")


def test_bars_are_as_long_as_the_counts(counted: Tally) -> None:
    """Blue pixels of the bar of class 2 against those of class 0; class 1 has none."""
    data = classes_chart([counted], ("a", "b", "c$"), "boxes", "title")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    blue = (picture == (0, 0x72, 0xB2)).all(axis=-1)  # (H, W)
    left = np.flatnonzero(blue.any(axis=0))[0]
    lengths = blue[blue[:, left]].sum(axis=1)  # of the rows that bars begin in
    assert lengths[0] / lengths[-1] == pytest.approx(2, abs=0.05)  # the most frequent above
    assert set(lengths) == {lengths[0], lengths[-1]}


def test_of_very_many_classes_both_ends_are_shown() -> None:
    """1000 take as much room as 40: 1.2 inches and 0.26 a class, 120 pixels an inch."""
    tally = Tally("as stored")
    tally.add(Objects(np.arange(1000), np.ones(1000)))
    data = classes_chart([tally], [f"class {label}" for label in range(1000)], "boxes", "title")
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[:2] == (round(120 * (1.2 + 40 * 0.26)), 8 * 120)
