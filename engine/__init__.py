"""Adds to mmengine: strict configs, safe checkpoints, preprocessing, progress and prediction."""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.inference.predictor import load_model

__all__ = ["load_model"]


def __getattr__(name: str) -> Any:
    """Import `load_model` on first use."""
    if name == "load_model":
        return resolve_name("engine.inference.predictor:load_model")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
