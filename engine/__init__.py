"""What mmengine lacks: strict configs, safe checkpoints, preprocessing, progress, prediction."""

from engine.inference.predictor import load_model

__all__ = ["load_model"]
