"""What mmengine lacks: strict configs, safe checkpoints, preprocessing, progress, prediction."""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.inference.predictor import load_model

__all__ = ["load_model"]


def __getattr__(name: str) -> Any:
    """`load_model`, whose module is imported when it is asked for."""
    if name == "load_model":
        return resolve_name("engine.inference.predictor:load_model")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
