"""What mmengine lacks: strict configs, safe checkpoints, preprocessing, progress, prediction."""

from .predict import load_model

__all__ = ["load_model"]
