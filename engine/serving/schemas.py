"""What a server answers, as its OpenAPI describes it."""

from typing import Any

from pydantic import BaseModel


class Problem(BaseModel):
    """Why there is no result."""

    detail: str


class InputRule(BaseModel):
    """How an image is brought to the network's input."""

    size: list[int] | None  # height, width; without it images are taken as they are
    resize_shortest: int | None  # the short side before `size` is cut out of the centre
    interpolation: str


class ModelInfo(BaseModel):
    """What a model takes and gives."""

    name: str
    classes: list[str]
    batched: bool  # whether several images are worked on at once
    input: InputRule


class ModelList(BaseModel):
    """All models, and what each takes."""

    models: list[ModelInfo]
    content_types: list[str]
    max_bytes: int
    max_pixels: int
    threshold: float  # where a request names none


class Status(BaseModel):
    """One word."""

    status: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem, "description": text}
    for code, text in {
        400: "not a request that can be read",
        404: "no such model",
        408: "the image did not arrive in time",
        413: "too many bytes or pixels",
        415: "not a content type that is taken",
        422: "not an image that can be read, or a wrong threshold",
        503: "too many requests at once; come back after Retry-After seconds",
        504: "no answer in time",
    }.items()
}
ROWS = {
    "type": "array",
    "description": "what tools/predict.py writes for an image",
    "items": {
        "type": "object",
        "required": ["class", "label"],
        "properties": {"class": {"type": "string"}, "label": {"type": "integer", "minimum": 0}},
    },
}
