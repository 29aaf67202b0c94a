"""Loss of a metric by export. The function that scores a file on data is a parameter."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ALLOWED_POINTS = 0.1  # a float32 file may lose: rounding of a pixel can change a detection


@dataclass(frozen=True)
class Scorer:
    """Scores files on a data set.

    Args:
        name: Key of the metric.
        scale: Factor to percent.
        score: Returns the metric of a checkpoint or exported file.
    """

    name: str
    scale: float
    score: Callable[[Path], float]

    def drop(self, before: float, after: float) -> "Drop":
        """The change between two values of the metric."""
        return Drop(self.name, before, after, self.scale)


ScorerOf = Callable[[Path], Scorer | None]  # by folder; None if it holds no data set


@dataclass(frozen=True)
class Drop:
    """A metric before and after export."""

    name: str
    before: float
    after: float
    scale: float  # factor to percent

    @property
    def points(self) -> float:
        """The loss, in points of 0..100."""
        return (self.before - self.after) * self.scale

    def __str__(self) -> str:
        return f"{self.name} {self.before:.4f} before, {self.after:.4f} after"
