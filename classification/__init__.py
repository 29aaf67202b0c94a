"""Image classification: one class an image."""

from classification.factory import create_model

__all__ = ["create_model"]
