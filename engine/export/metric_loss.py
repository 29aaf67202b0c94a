"""What a metric loses by export. How a file is scored on data is a function handed in."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ALLOWED_POINTS = 0.1  # that a float32 file may lose: a rounded pixel can turn one detection


@dataclass(frozen=True)
class Scorer:
    """How files are scored on a data set.

    Args:
        name: Key of the metric.
        scale: Factor that makes percent of it.
        score: The metric of a checkpoint or exported file.
    """

    name: str
    scale: float
    score: Callable[[Path], float]

    def drop(self, before: float, after: float) -> "Drop":
        """Two values of the metric."""
        return Drop(self.name, before, after, self.scale)


ScorerOf = Callable[[Path], Scorer | None]  # of a folder; None where it does not hold a data set


@dataclass(frozen=True)
class Drop:
    """A metric before and after."""

    name: str
    before: float
    after: float
    scale: float  # factor that makes percent of it

    @property
    def points(self) -> float:
        """What was lost, in points of 0..100."""
        return (self.before - self.after) * self.scale

    def __str__(self) -> str:
        return f"{self.name} {self.before:.4f} before, {self.after:.4f} after"
