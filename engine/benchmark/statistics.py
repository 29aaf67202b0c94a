"""Statistics of a comparison, and the conclusions that they support."""

from collections.abc import Mapping, Sequence
from statistics import mean, median, stdev
from typing import Any, NamedTuple

import numpy as np

Row = Mapping[str, Any]  # an entry of the state's "rows"


class Accuracy(NamedTuple):
    """Mean of a row's metric over its repetitions, percent."""

    mean: float
    deviation: float | None  # of the sample; None for a single value
    runs: int

    def __str__(self) -> str:
        if self.deviation is None:
            return f"{self.mean:.1f}"
        return f"{self.mean:.1f} ± {self.deviation:.1f}"


class Ratio(NamedTuple):
    """Time of one row over the time of another, run by run."""

    median: float
    low: float  # lower quartile
    high: float  # upper quartile

    @property
    def tie(self) -> bool:
        """Whether 1 is between the quartiles."""
        return self.low <= 1 <= self.high


def accuracy(row: Row) -> Accuracy | None:
    """Mean metric of a row; None if no run has finished."""
    values = [run["metric"] for run in row["runs"].values() if "metric" in run]
    if not values:
        return None
    return Accuracy(mean(values), stdev(values) if len(values) > 1 else None, len(values))


def ratio(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """Ratio of the times of two rows whose runs alternated."""
    quartiles = np.quantile(np.asarray(first) / np.asarray(second), (0.25, 0.5, 0.75))
    low, middle, high = (float(value) for value in quartiles)
    return Ratio(middle, low, high)


def compare_accuracy(first: Accuracy, second: Accuracy) -> str:
    """Which row is more accurate; a tie if the ranges mean ± deviation overlap."""
    points = first.mean - second.mean
    if first.deviation is None or second.deviation is None:
        return f"{points:+.1f} points; a single run has no spread, so this proves nothing"
    if abs(points) <= first.deviation + second.deviation:
        return f"{points:+.1f} points, a tie: the spreads {first} and {second} overlap"
    return f"{points:+.1f} points ({first} against {second}), {'more' if points > 0 else 'less'}"


def compare_times(found: Ratio) -> str:
    """Which row is faster, or a tie."""
    middle_half = f"{found.median:.2f} of its time ({found.low:.2f} to {found.high:.2f})"
    return f"{middle_half}, a tie" if found.tie else middle_half


def pair_lines(first: tuple[str, Row], second: tuple[str, Row]) -> list[str]:
    """Conclusions on two rows (label, row), and the paper's numbers."""
    (name, a), (other, b) = first, second
    lines = [f"{name} against {other}:"]
    mine, theirs = accuracy(a), accuracy(b)
    if mine and theirs:
        lines.append(f"accuracy {compare_accuracy(mine, theirs)}")
    for engine, times in a.get("latency", {}).items():
        lines.append(f"{engine}: {compare_times(ratio(times, b['latency'][engine]))}")
    if a["published"] and b["published"]:
        lines.append(_published_line(a["published"], b["published"]))
    return lines


def _published_line(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    text = f"published: {first['accuracy'] - second['accuracy']:+.1f} points"
    if first["ms"] and second["ms"]:
        text += f", {first['ms'] / second['ms']:.2f} of its time"
    return text


def places(rows: Mapping[str, Row], engine: str) -> dict[str, tuple[float, float]]:
    """(milliseconds, percent) by label, for rows where both are known.

    The accuracy is the mean measured here, or the published one if no row was trained.
    """
    found = {label: accuracy(row) for label, row in rows.items()}
    trained = any(found.values())
    result = {}
    for label, row in rows.items():
        mine, published = found[label], row["published"]
        value = None if trained or not published else published["accuracy"]
        if mine:
            value = mine.mean
        times = row.get("latency", {}).get(engine)
        if times and value is not None:
            result[label] = (median(times), float(value))
    return result


def front(rows: Mapping[str, Row], engine: str) -> list[str]:
    """Labels of the Pareto front, fastest first: no other row is both faster and more accurate."""
    points = places(rows, engine)
    return [
        label
        for label, (ms, value) in sorted(points.items(), key=lambda item: item[1])
        if not any(
            (other_ms <= ms and other >= value and (other_ms, other) != (ms, value))
            for other_ms, other in points.values()
        )
    ]
