"""The worst of many items: equal to sorting all."""

import numpy as np

from engine.reports.worst import Worst


def test_keeps_what_sorting_would() -> None:
    values = np.random.default_rng(0).integers(-5, 40, 300).tolist()
    worst: Worst[int] = Worst(7)
    for place, value in enumerate(values):
        worst.add(value, place)
    order = sorted(range(300), key=lambda place: -values[place])  # stable: the first of equals
    assert worst.ranked() == [(values[place], place) for place in order[:7]]


def test_what_is_not_bad_is_not_kept() -> None:
    worst: Worst[str] = Worst(2)
    worst.add(0, "fine")
    assert (worst.admits(0), worst.admits(0.1)) == (False, True)
    worst.add(0.1, "bad")
    assert worst.admits(0.05)
    worst.add(0.2, "worse")
    assert (worst.admits(0.1), worst.admits(0.11)) == (False, True)
    assert worst.ranked() == [(0.2, "worse"), (0.1, "bad")]
