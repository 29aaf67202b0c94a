"""Predicts with a network or an exported file: images and paths in, results out."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from engine import config
from engine.checkpoint import checkpoint
from engine.checkpoint.restore import describe, fill
from engine.checkpoint.zoo import local
from engine.data.images import read_image
from engine.runtime.content import read_content
from engine.runtime.exported import is_exported
from engine.runtime.exported_network import ExportedNetwork, open_network
from engine.task import Task, task_of
from engine.types import Image, Picture, Result, Row

BATCH = 16  # most images at a time
BATCH_PIXELS = BATCH * 416 * 416  # most pixels of a batch of network inputs, for its memory


class Predictor:
    """Predicts with a network of any task, or with an exported file.

    Thread safety: predicting changes no state. Any number of threads may call a network in PyTorch
    or ONNX Runtime at the same time, and `callers` (see `load_model`) threads an OpenVINO file.
    Each call computes with torch's number of threads.

    Args:
        network: A task's network or an `ExportedNetwork`; it is set to eval mode.

    Attributes:
        network: The torch module.
        task: Its task.
        classes: Class names by label.

    Raises:
        ValueError: the network's package defines no task.
    """

    def __init__(self, network: nn.Module) -> None:
        inner: Any = network.eval()
        self.network = inner
        self.described: Any = inner.described if isinstance(network, ExportedNetwork) else inner
        self.task: Task = task_of(self.described)
        self.classes: tuple[str, ...] = tuple(inner.classes)

    def __getattr__(self, name: str) -> Any:
        if hasattr(nn.Module, name):
            raise AttributeError(
                f"a Predictor has no {name!r}; the torch module is its .network: .network.{name} "
                "(a Predictor is always in evaluation mode)"
            )
        raise AttributeError(f"a Predictor has no {name!r}; it has .predict, .classes, .network")

    @property
    def preprocess(self) -> Any:
        """The preprocessing that the network expects; an exported file may contain it."""
        return self.described.data_preprocessor

    @property
    def batched(self) -> bool:
        """Whether images of a batch get the same results as one by one."""
        if isinstance(self.network, ExportedNetwork) and not self.network.exported.batched:
            return False
        return self.preprocess.size is not None  # else small images would be padded

    @torch.inference_mode()
    def predict(self, images: Image | Sequence[Image]) -> list[Result]:
        """Predict on RGB uint8 arrays (h, w, 3), paths, or a mix: one result per image, in order.

        Boxes, masks and sizes are in pixels of the given image. The network runs on up to BATCH
        images at a time if `batched`, else on one.

        Raises:
            FileNotFoundError: a file does not exist.
            ValueError: an input is not an image.
        """
        if isinstance(images, np.ndarray | str | Path):
            images = [images]
        size = self._batch_size()
        starts = range(0, len(images), size)
        return [found for start in starts for found in self._batch(images[start : start + size])]

    def _batch_size(self) -> int:
        """Images at a time."""
        if not self.batched:
            return 1
        height, width = self.preprocess.size
        return max(1, min(BATCH, BATCH_PIXELS // (height * width)))

    def _batch(self, images: Sequence[Image]) -> Iterator[Result]:
        """Results of one batch."""
        arrays = [torch.from_numpy(np.ascontiguousarray(_pixels(image))) for image in images]
        batch = self.network.data_preprocessor({"images": arrays})
        yield from self.network(**batch, mode="predict")

    def draw(self, image: Picture, found: Result, threshold: float) -> Picture:
        """Copy of the image (h, w, 3) with the results of score `threshold` (0..1) or more."""
        drawn: Picture = self.task.use("draw")(image, found, self.classes, threshold)
        return drawn

    def describe(self, found: Result, threshold: float) -> list[Row]:
        """The results of score `threshold` (0..1) or more, as plain data."""
        rows: list[Row] = self.task.use("describe")(found, self.classes, threshold)
        return rows


def load_model(
    config_path: Path | str,
    checkpoint_path: Path | str,
    options: Mapping[str, Any] | None = None,
    callers: int = 1,
) -> Predictor:
    """Load a checkpoint or exported file for prediction, as its own description says.

    The config registers the classes of the code. If it disagrees with the checkpoint, this is
    logged and the checkpoint wins, except for overrides of `model.data_preprocessor` in `options`.

    Args:
        config_path: Config file.
        checkpoint_path: Checkpoint, a file that tools/export.py wrote (.onnx, .xml, .pt, .ts), or
            "zoo:NAME" for published weights (see `engine.checkpoint.zoo`).
        options: Overrides of the config, by dotted key.
        callers: Number of threads that may call the model at the same time.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged or of another kind, or not all weights fit.
    """
    cfg = config.load(config_path, options)
    return restore(cfg, local(checkpoint_path), options, callers)


def restore(
    cfg: Config,
    checkpoint_path: Path | str,
    options: Mapping[str, Any] | None = None,
    callers: int = 1,
) -> Predictor:
    """As `load_model`, from a loaded config."""
    content = read_content(cfg, checkpoint_path)
    network = checkpoint.build_model(describe(cfg, content, checkpoint_path, options))
    if is_exported(checkpoint_path):
        return Predictor(open_network(network, checkpoint_path, callers))
    fill(network, content, checkpoint_path)
    return Predictor(network)


def _pixels(image: Image) -> Picture:
    """The array, checked, or the content of the file."""
    if isinstance(image, str | Path):
        return read_image(image)
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise ValueError(f"{kind} is not an image; give RGB uint8 arrays or paths")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"image is {image.dtype} of shape {image.shape}; expected RGB uint8 (height, width, 3)"
        )
    return image
