"""Conclusions on two rows, with numbers by hand."""

from typing import Any

import pytest

from engine.benchmark.statistics import (
    Accuracy,
    accuracy,
    compare_accuracy,
    compare_times,
    front,
    pair_lines,
    places,
    ratio,
)

ENGINE = "torch, 1 thread"


def row(*metrics: float, times: list[float] | None = None, published: Any = None) -> dict[str, Any]:
    return {
        "runs": {str(seed): {"metric": value} for seed, value in enumerate(metrics)},
        "latency": {ENGINE: times} if times else {},
        "published": published,
    }


def test_mean_and_deviation_of_the_sample() -> None:
    """Of 70, 72, 77: mean 73, deviation sqrt((9 + 1 + 16) / 2)."""
    found = accuracy(row(70, 72, 77))
    assert found is not None
    assert found.mean == 73
    assert found.deviation == pytest.approx(13**0.5)
    assert str(found) == "73.0 ± 3.6"
    assert accuracy(row()) is None
    assert str(accuracy(row(70.04))) == "70.0"


def test_a_failed_run_does_not_count() -> None:
    broken = row(70, 72)
    broken["runs"]["1"] = {"error": "no disk"}
    assert accuracy(broken) == Accuracy(70, None, 1)


def test_quartiles_of_the_ratio_run_by_run() -> None:
    """Ratios 0.5, 1, 0.25, 0.75, 2: sorted 0.25, 0.5, 0.75, 1, 2. Drift common to both cancels."""
    drift = [1, 10, 3, 8, 0.5]
    first = [0.5, 10, 0.75, 6, 1]
    assert ratio(first, drift) == (0.75, 0.5, 1.0)
    assert ratio(first, drift).tie
    assert not ratio([1, 1, 1], [2, 2, 4]).tie


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (Accuracy(73, 1, 3), Accuracy(71, 0.9, 3), "+2.0 points (73.0 ± 1.0 against"),
        (Accuracy(73, 1, 3), Accuracy(71, 1, 3), "a tie"),  # touching
        (Accuracy(71, 0.1, 3), Accuracy(73, 0.1, 3), "less"),
        (Accuracy(99, None, 1), Accuracy(1, 0.1, 3), "proves nothing"),
    ],
)
def test_overlapping_spreads_are_a_tie(first: Accuracy, second: Accuracy, said: str) -> None:
    assert said in compare_accuracy(first, second)


def test_times_in_words() -> None:
    assert compare_times(ratio([1, 1], [2, 2])) == "0.50 of its time (0.50 to 0.50)"
    assert compare_times(ratio([1, 3], [2, 2])).endswith("a tie")


def test_a_pair_beside_the_papers() -> None:
    a = row(70, 71, times=[1, 1], published={"accuracy": 71.3, "ms": 2.0})
    b = row(60, 61, times=[2, 2], published={"accuracy": 64.3, "ms": 4.0})
    lines = pair_lines(("A", a), ("B", b))
    assert lines[0] == "A against B:"
    assert lines[1].startswith("accuracy +10.0 points")
    assert lines[2] == f"{ENGINE}: 0.50 of its time (0.50 to 0.50)"
    assert lines[3] == "published: +7.0 points, 0.50 of its time"
    b["published"]["ms"] = None
    assert pair_lines(("A", a), ("B", b))[3] == "published: +7.0 points"


def test_front_against_every_pair() -> None:
    rows = {
        "slow and good": row(80, times=[4, 4]),
        "fast and bad": row(60, times=[1, 1]),
        "beaten": row(59, times=[2, 2]),
        "middle": row(70, times=[2, 2]),
        "middle's twin": row(70, times=[2, 2]),
        "same time, worse": row(79, times=[4, 4]),
    }
    assert front(rows, ENGINE) == ["fast and bad", "middle", "middle's twin", "slow and good"]


def test_places_are_published_numbers_only_where_nothing_was_trained() -> None:
    """A row without training is not plotted beside trained ones."""
    published = {"accuracy": 63.1, "ms": 2.05}
    waiting = row(times=[1, 3, 5], published=published)
    assert places({"a": waiting, "b": row(times=[1])}, ENGINE) == {"a": (3, 63.1)}
    assert places({"a": row(0, times=[1])}, ENGINE) == {"a": (1, 0)}
    assert places({"a": waiting, "b": row(50, times=[1]), "c": row(50)}, ENGINE) == {"b": (1, 50)}
