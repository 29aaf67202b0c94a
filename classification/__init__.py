"""Image classification: one class an image."""

from .create import create_model

__all__ = ["create_model"]
