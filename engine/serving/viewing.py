"""Predictions kept so that they can be drawn again at another threshold, without the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engine.data.images import pixels_of
from engine.inference.files import PREPARE
from engine.inference.stopwatch import Stopwatch
from engine.serving.service import BadImage, count_pixels
from engine.types import Picture

SIDE = 1600  # of a picture shown, at most, in pixels


@dataclass(frozen=True)
class ImageResult:
    """What one model found in one image."""

    model: str  # name
    image: Picture
    found: dict[str, Any]
    taken: dict[str, float]  # ms of each stage


class Viewer:
    """A model that is looked at.

    Args:
        name: What it is called on the page.
        model: Of `load_model`.
    """

    def __init__(self, name: str, model: Any) -> None:
        self.name = name
        self.model = model
        self._watch = Stopwatch()
        self._watch.watch(PREPARE, model.data_preprocessor)

    def look(self, image: Picture) -> ImageResult:
        """Everything that the model finds, however low its score."""
        self._watch.taken.clear()
        with self._watch.stage("network", without=PREPARE):
            found = self.model.predict(image)[0]
        return ImageResult(self.name, image, found, self._watch.medians())

    def draw(self, view: ImageResult, threshold: float) -> Picture:
        """The image with what scores at least `threshold` on it, no side longer than SIDE."""
        picture: Picture = self.model.draw(view.image, view.found, threshold)
        return fitted(picture)

    def rows(self, view: ImageResult, threshold: float) -> list[dict[str, Any]]:
        """The same as plain data, as tools/predict.py writes it."""
        rows: list[dict[str, Any]] = self.model.describe(view.found, threshold)
        return rows


def fitted(picture: Picture) -> Picture:
    """A picture (H, W, 3) with its longer side at most SIDE."""
    longest = max(picture.shape[:2])
    if longest <= SIDE:
        return picture
    height, width = (max(1, round(side * SIDE / longest)) for side in picture.shape[:2])
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def open_picture(path: Path, max_pixels: int) -> Picture:
    """The picture in an uploaded file.

    Raises:
        BadImage: it is none, has more pixels, or is there no longer; in a line.
    """
    if not path.is_file():
        raise BadImage("image: no longer there; give it again")
    data = path.read_bytes()
    count_pixels(data, max_pixels)
    try:
        return pixels_of("image", data)
    except ValueError as error:
        raise BadImage(str(error)) from None


def table(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Rows for a table: every value as a short text."""
    return [[_short(value) for value in row.values()] for row in rows]


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return " ".join(f"{number:.0f}" for number in value)
    return str(value)
