"""Image classification: one class an image."""

from .zoo import create_model

__all__ = ["create_model"]
