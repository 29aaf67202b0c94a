"""Image classification: one class per image."""

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classification.factory import create_model

__all__ = ["create_model"]


def __getattr__(name: str) -> Any:
    """`create_model`, whose module is imported when it is asked for."""
    if name == "create_model":
        return resolve_name("classification.factory:create_model")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
