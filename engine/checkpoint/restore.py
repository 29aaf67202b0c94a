"""Restores a network from its checkpoint; evaluation may change some options."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from engine import config
from engine.checkpoint import checkpoint
from engine.task import task_of_config

PREPROCESSING = "data_preprocessor"  # which evaluation may change in every task


def describe(
    cfg: Config,
    content: Mapping[str, Any],
    source: Path | str,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The model config in a checkpoint, with overrides that evaluation may change.

    These are the preprocessing and the `evaluation_keys` of the task (for a segmenter its windows,
    scales and mirror). Differences from `cfg` are logged.

    Raises:
        ValueError: the checkpoint is of another task, or names a class that is not allowed.
    """
    described: dict[str, Any] = content["model"]
    checkpoint.check_description(described)
    ours, theirs = task_of_config(cfg), task_of_config(content)
    if ours.name != theirs.name:
        raise ValueError(
            f"{source}: is a checkpoint of a {theirs.noun}, {cfg.filename} is the config of a "
            f"{ours.noun}; give the config that it was trained with"
        )
    for line in disagreements(config.plain(cfg.model), described):
        print_log(f"the config differs from {source}, which is used: {line}", "current")
    parts = (PREPROCESSING, *theirs.evaluation_keys)
    for dotted in options or {}:
        model, part, key, *_ = [*dotted.removeprefix("+").split("."), "", ""]
        if model == "model" and part in parts and part in described and key:
            described[part][key] = config.plain(cfg.model[part][key])
    return described


def fill(model: Any, content: Mapping[str, Any], source: Path | str) -> None:
    """Fill `model` with the weights and class names of its checkpoint.

    Raises:
        ValueError: not all weights fit.
    """
    report = checkpoint.load_weights(model, content["state_dict"], source=str(source))
    if report.missing or report.mismatched or report.extra:
        raise ValueError(f"{source}: does not fit the model it describes; {report}")
    model.classes = tuple(content["classes"])


def disagreements(wanted: Any, found: Any, where: str = "model") -> list[str]:
    """Lines `where: config x, checkpoint y` for the differences of two plain configs."""
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
