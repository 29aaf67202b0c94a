"""A loaded model that answers uploaded image files, many at once."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image as Pillow
from PIL import UnidentifiedImageError

from engine.data.image_size import header_size
from engine.data.images import pixels_of
from engine.inference.predictor import predict
from engine.runtime.deployed import Deployed
from engine.serving.batching import BatchRule
from engine.types import Picture

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
    """What was sent is no image that can be worked on; in a line."""


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

    def __init__(self, name: str, model: Any) -> None:
        self.name = name
        self.model = model
        self.batched = takes_batches(model)

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
        deployed = isinstance(self.model, Deployed)
        rule = self.model.task.data_preprocessor if deployed else self.model.data_preprocessor
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

    def _found(self, pictures: Sequence[Picture]) -> list[dict[str, Any] | BadImage]:
        """Results of pictures: of all in one batch, or where that cannot be, of each alone."""
        if self.batched and len(pictures) > 1:
            return list(predict(self.model, pictures))
        return [_attempt(self._alone, picture) for picture in pictures]

    def _alone(self, picture: Picture) -> dict[str, Any]:
        result: dict[str, Any] = self.model.predict(picture)[0]
        return result


def takes_batches(model: Any) -> bool:
    """Whether images of any sizes may be one batch, and each gets what it would get alone."""
    if isinstance(model, Deployed) and not model.exported.batched:
        return False
    return model.data_preprocessor.size is not None  # else small images would be padded


def count_pixels(data: bytes, most: int) -> int:
    """Pixels of an image file as its header claims, before anything is decoded.

    Two readers must agree that they are not too many, so that a file which each takes for
    something else does not slip through.

    Raises:
        TooManyPixels: they are more than `most`.
        BadImage: it is none of FORMATS.
    """
    try:
        with Pillow.open(io.BytesIO(data), formats=list(FORMATS)) as image:
            width, height = image.size
    except Pillow.DecompressionBombError:
        raise TooManyPixels(f"{NAME}: more pixels than the limit of {most}") from None
    except (UnidentifiedImageError, OSError, ValueError):
        raise BadImage(
            f"{NAME}: none of {', '.join(FORMATS)} ({len(data)} bytes; damaged, or "
            "of another format)"
        ) from None
    pixels = max(height * width, int(np.prod(header_size(data))))
    if pixels > most:
        raise TooManyPixels(
            f"{NAME}: {width} x {height} pixels are more than the limit of {most}; scale it down"
        )
    return pixels


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
