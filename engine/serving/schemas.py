"""Answers of a server, as its OpenAPI document describes them."""

from typing import Any

from pydantic import BaseModel


class Problem(BaseModel):
    """An error."""

    detail: str


class InputRule(BaseModel):
    """How an image becomes the network's input."""

    size: list[int] | None  # height, width; None keeps the size of images
    resize_shortest: int | None  # short side before the centre crop to `size`
    interpolation: str


class ModelInfo(BaseModel):
    """A model's input and classes."""

    name: str
    classes: list[str]
    batched: bool  # whether images are processed in batches
    input: InputRule


class ModelList(BaseModel):
    """All models, and the limits of the server."""

    models: list[ModelInfo]
    content_types: list[str]
    max_bytes: int
    max_pixels: int
    threshold: float  # default of requests


class Status(BaseModel):
    """State of the server."""

    status: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem, "description": text}
    for code, text in {
        400: "the request cannot be read",
        404: "unknown model",
        408: "the image did not arrive in time",
        413: "too many bytes or pixels",
        415: "unsupported content type",
        422: "the image cannot be read, or the threshold is wrong",
        503: "too many requests at once; try again after Retry-After seconds",
        504: "no answer within the time limit",
    }.items()
}
ROWS = {
    "type": "array",
    "description": "rows as tools/predict.py writes them for an image",
    "items": {
        "type": "object",
        "required": ["class", "label"],
        "properties": {"class": {"type": "string"}, "label": {"type": "integer", "minimum": 0}},
    },
}
