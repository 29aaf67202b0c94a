"""A checkpoint or exported file as a ready model, and its predictions for images and paths."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log

from engine import config
from engine.checkpoint import checkpoint
from engine.checkpoint.zoo import local
from engine.data.images import read_image
from engine.runtime import exported
from engine.runtime.exported import is_exported
from engine.types import Image, Picture

EVALUATION_PARTS = ("data_preprocessor", "inference")  # of a model config; hold no weights


def load_model(
    config_path: Path | str,
    checkpoint_path: Path | str,
    options: Mapping[str, Any] | None = None,
    callers: int = 1,
) -> Any:
    """The model of a checkpoint in eval mode, built as the checkpoint describes itself.

    The config brings the classes in; where it disagrees with the checkpoint, that is logged and the
    checkpoint wins, but for overrides of `model.data_preprocessor` in `options`. A file that
    tools/export.py wrote (.onnx, .xml, .pt, .ts) may stand in the checkpoint's place, or "zoo:NAME"
    for a published one (see `engine.checkpoint.zoo`). With `callers`, so many threads may call the
    model at once, each computing with torch's number of threads.

    Returns:
        The model, its class names at `model.classes`.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not what it should be, or not all weights fit.
    """
    cfg = config.load(config_path, options)
    return restore(cfg, local(checkpoint_path), options, callers)


def restore(
    cfg: Config,
    checkpoint_path: Path | str,
    options: Mapping[str, Any] | None = None,
    callers: int = 1,
) -> Any:
    """As `load_model`, from a config that is loaded already."""
    if is_exported(checkpoint_path):
        from engine.runtime.deployed import deployed  # which needs `predict` below

        content = read_content(cfg, checkpoint_path)
        task = checkpoint.build_model(describe(cfg, content, checkpoint_path, options))
        return deployed(task, checkpoint_path, callers)
    content = checkpoint.read(checkpoint_path)
    model = checkpoint.build_model(describe(cfg, content, checkpoint_path, options))
    fill(model, content, checkpoint_path)
    return model.eval()


def read_content(cfg: Config, path: Path | str) -> dict[str, Any]:
    """What a checkpoint or an exported file says of itself.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is neither, it is damaged, or it was exported from another task's config.
    """
    if not is_exported(path):
        return checkpoint.read(path)
    content = exported.read(path)
    wanted, found = config.resolve(cfg.model.type).__name__, content["model"].get("type")
    if wanted != found:
        raise ValueError(
            f"{path}: exported from a config of {found}, but {cfg.filename} is one of {wanted}; "
            "give the config it was exported from"
        )
    return content


def describe(
    cfg: Config,
    content: Mapping[str, Any],
    source: Path | str,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The model config that a checkpoint brings, with overrides of what evaluation may choose.

    That is the preprocessing and, where the model has it, the inference (windows, scales, mirror).

    Logs where `cfg` disagrees with it.

    Raises:
        ValueError: it names a class that is none of ours.
    """
    described = content["model"]
    checkpoint.check_description(described)
    for line in disagreements(config.plain(cfg.model), described):
        print_log(f"{source} differs from the config, and wins: {line}", "current")
    for dotted in options or {}:
        model, part, key, *_ = [*dotted.removeprefix("+").split("."), "", ""]
        if model == "model" and part in EVALUATION_PARTS and part in described and key:
            described[part][key] = config.plain(cfg.model[part][key])
    return described


def fill(model: Any, content: Mapping[str, Any], source: Path | str) -> None:
    """Give `model` the weights and class names of a checkpoint that describes it.

    Raises:
        ValueError: not all weights fit.
    """
    report = checkpoint.load_weights(model, content["state_dict"], source=str(source))
    if report.missing or report.mismatched or report.extra:
        raise ValueError(f"{source}: does not fit the model it describes; {report}")
    model.classes = tuple(content["classes"])


def disagreements(wanted: Any, found: Any, where: str = "model") -> list[str]:
    """Lines `where: config x, checkpoint y` for every entry of two plain configs that differs."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        keys = list(wanted) + [key for key in found if key not in wanted]
        return [
            line
            for key in keys
            for line in disagreements(wanted.get(key), found.get(key), f"{where}.{key}")
        ]
    if wanted == found or str(wanted).rsplit(".", 1)[-1] == found:
        return []
    return [f"{where}: config {wanted}, checkpoint {found}"]


@torch.inference_mode()
def predict(model: Any, images: Image | Sequence[Image]) -> list[dict[str, Any]]:
    """Results for RGB uint8 arrays (H, W, 3), paths, or a mix of them, one an image.

    Boxes, masks and sizes are in pixels of the image given. One batch: hand in what fits memory.

    Raises:
        FileNotFoundError: no such file.
        ValueError: something else than an image was given.
    """
    if isinstance(images, np.ndarray | str | Path):
        images = [images]
    arrays = [_pixels(image) for image in images]
    if not arrays:
        return []
    batch = model.data_preprocessor(
        {"images": [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]}
    )
    return model(**batch, mode="predict")


def _pixels(image: Image) -> Picture:
    """The array given, checked, or that of the file named."""
    if isinstance(image, str | Path):
        return read_image(image)
    if not isinstance(image, np.ndarray):
        kind = type(image).__name__
        raise ValueError(f"{kind} is no image; give RGB uint8 arrays or paths")
    _check_image(image)
    return image


def _check_image(array: np.ndarray) -> None:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(
            f"image is {array.dtype} of shape {array.shape}; expected RGB uint8 (height, width, 3)"
        )
