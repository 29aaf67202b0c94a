"""A loaded model that answers uploaded image files, many at once."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

from engine.data.image_size import header_size
from engine.data.images import pixels_of
from engine.inference.predictor import Predictor
from engine.serving.batching import BatchRule
from engine.types import Picture, Result

Given = TypeVar("Given")
Made = TypeVar("Made")
FORMATS = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "BMP": "image/bmp"}
NAME = "image"  # of an upload in error lines; what its sender calls it is not repeated


@dataclass(frozen=True)
class Limits:
    """What a server takes, and how long it works on it."""

    rule: BatchRule = field(default_factory=BatchRule)  # its weights are pixels
    max_bytes: int = 16 * 2**20  # of a request's body
    timeout: float = 30.0  # seconds for the body to arrive, and again for the answer
    threshold: float = 0.4  # lowest score, where a request names none


class BadImage(ValueError):  # noqa: N818 - says what it is
    """What was sent is not an image that can be worked on; in a line."""


class TooManyPixels(BadImage):
    """An image is larger than is taken."""


class Upload(NamedTuple):
    """An image file as it came, and what is asked of it."""

    data: bytes
    threshold: float  # lowest score wanted, 0..1


class Served:
    """Answers uploads with the rows that tools/predict.py writes, as JSON.

    Args:
        name: What the model is called in addresses.
        model: Of `load_model`.
    """

    def __init__(self, name: str, model: Predictor) -> None:
        self.name = name
        self.model = model

    def answer(self, uploads: Sequence[Upload]) -> list[bytes | BadImage]:
        """For each upload its rows as JSON, or what is wrong with its image."""
        pictures = [_attempt(_decoded, upload) for upload in uploads]
        found = iter(self._found([p for p in pictures if not isinstance(p, BadImage)]))
        answers: list[bytes | BadImage] = []
        for upload, picture in zip(uploads, pictures, strict=True):
            result = picture if isinstance(picture, BadImage) else next(found)
            answers.append(
                result
                if isinstance(result, BadImage)
                else as_json(self.model.describe(result, upload.threshold))
            )
        return answers

    def input_rule(self) -> dict[str, Any]:
        """How an image is brought to the network's input, as plain data."""
        rule = self.model.preprocess
        return {
            "size": rule.size and list(rule.size),
            "resize_shortest": rule.resize_shortest,
            "interpolation": rule.interpolation,
        }

    def warm_up(self) -> None:
        """Predict once, so that the first to ask need not wait for what is done but once."""
        size = self.input_rule()["size"]
        if size is not None:
            self.model.predict(np.zeros((*size, 3), np.uint8))

    def _found(self, pictures: Sequence[Picture]) -> list[Result | BadImage]:
        """Results of pictures: of all at once, or where that cannot be, of each alone."""
        if self.model.batched:
            return list(self.model.predict(pictures))
        return [_attempt(self._alone, picture) for picture in pictures]

    def _alone(self, picture: Picture) -> Result:
        return self.model.predict(picture)[0]


def count_pixels(data: bytes, most: int) -> int:
    """Pixels of an image file as its header claims, before anything is decoded.

    Raises:
        TooManyPixels: they are more than `most`.
        BadImage: it is not one of FORMATS.
    """
    height, width = header_size(data, FORMATS)
    if not height * width:
        raise BadImage(
            f"{NAME}: none of {', '.join(FORMATS)} ({len(data)} bytes; damaged, or "
            "of another format)"
        )
    if height * width > most:
        raise TooManyPixels(
            f"{NAME}: {width} x {height} pixels are more than the limit of {most}; scale it down"
        )
    return height * width


def as_json(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows as compact JSON."""
    return json.dumps(rows, separators=(",", ":"), allow_nan=False).encode()


def _decoded(upload: Upload) -> Picture:
    return pixels_of(NAME, upload.data)


def _attempt(function: Callable[[Given], Made], given: Given) -> Made | BadImage:
    """What the function gives, or as BadImage the ValueError that it raises."""
    try:
        return function(given)
    except ValueError as error:
        return BadImage(str(error))
