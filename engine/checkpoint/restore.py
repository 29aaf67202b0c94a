"""A network as its checkpoint describes it, with what evaluation may choose otherwise."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from engine import config
from engine.checkpoint import checkpoint
from engine.task import task_of_config

PREPROCESSING = "data_preprocessor"  # which evaluation may choose in every task


def describe(
    cfg: Config,
    content: Mapping[str, Any],
    source: Path | str,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The model config that a checkpoint brings, with overrides of what evaluation may choose.

    That is the preprocessing and the `evaluation_keys` of the task (of a segmenter its windows,
    scales and mirror).

    Logs where `cfg` disagrees with it.

    Raises:
        ValueError: it names a class that is not one of ours.
    """
    described: dict[str, Any] = content["model"]
    checkpoint.check_description(described)
    for line in disagreements(config.plain(cfg.model), described):
        print_log(f"{source} differs from the config, and wins: {line}", "current")
    parts = (PREPROCESSING, *task_of_config(content).evaluation_keys)
    for dotted in options or {}:
        model, part, key, *_ = [*dotted.removeprefix("+").split("."), "", ""]
        if model == "model" and part in parts and part in described and key:
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
