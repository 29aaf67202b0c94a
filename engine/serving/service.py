"""Predicts on uploaded image files in batches."""

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
NAME = "image"  # of an upload in error messages, instead of the name its sender gives it


@dataclass(frozen=True)
class Limits:
    """Limits of requests."""

    rule: BatchRule = field(default_factory=BatchRule)  # its weights are pixels
    max_bytes: int = 16 * 2**20  # of a request's body
    timeout: float = 30.0  # seconds for the body to arrive, and again for the answer
    threshold: float = 0.4  # lowest score, if a request gives none


class BadImage(ValueError):  # noqa: N818 - says what it is
    """The upload is not an image that the model can process; a one-line message."""


class TooManyPixels(BadImage):
    """The image has more pixels than the limit."""


class Upload(NamedTuple):
    """An uploaded image file and the wanted threshold."""

    data: bytes
    threshold: float  # lowest score wanted, 0..1


class Served:
    """Answers uploads with the rows that tools/predict.py writes, as JSON.

    Args:
        name: Name of the model in URLs.
        model: From `load_model`.
    """

    def __init__(self, name: str, model: Predictor) -> None:
        self.name = name
        self.model = model

    def answer(self, uploads: Sequence[Upload]) -> list[bytes | BadImage]:
        """For each upload its rows as JSON, or the error of its image."""
        pictures = [_attempt(lambda one: pixels_of(NAME, one.data), upload) for upload in uploads]
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
        """How an image becomes the network's input, as plain data."""
        rule = self.model.preprocess
        return {
            "size": rule.size and list(rule.size),
            "resize_shortest": rule.resize_shortest,
            "interpolation": rule.interpolation,
        }

    def warm_up(self) -> None:
        """Predict once, so that the first request does not wait for one-time work."""
        size = self.input_rule()["size"]
        if size is not None:
            self.model.predict(np.zeros((*size, 3), np.uint8))

    def _found(self, pictures: Sequence[Picture]) -> list[Result | BadImage]:
        """Results of pictures: in batches if the model is batched, else one by one."""
        if self.model.batched and len(pictures) > 1:
            return list(self.model.predict(pictures))
        return [_attempt(lambda one: self.model.predict(one)[0], picture) for picture in pictures]


def count_pixels(data: bytes, most: int) -> int:
    """Number of pixels by the header of an image file; nothing is decoded.

    Raises:
        TooManyPixels: the number exceeds `most`.
        BadImage: the format is not one of FORMATS.
    """
    height, width = header_size(data, FORMATS)
    if not height * width:
        raise BadImage(
            f"{NAME}: not a {', '.join(FORMATS)} file ({len(data)} bytes; damaged, or "
            "of another format)"
        )
    if height * width > most:
        raise TooManyPixels(
            f"{NAME}: {width} x {height} pixels exceed the limit of {most}; send a smaller image"
        )
    return height * width


def as_json(rows: Sequence[dict[str, Any]]) -> bytes:
    """Rows as compact JSON."""
    return json.dumps(rows, separators=(",", ":"), allow_nan=False).encode()


def _attempt(function: Callable[[Given], Made], given: Given) -> Made | BadImage:
    """Result of the function, or its ValueError as BadImage."""
    try:
        return function(given)
    except ValueError as error:
        return BadImage(str(error))
