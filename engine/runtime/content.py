"""The description in a checkpoint or an exported file."""

from pathlib import Path
from typing import Any

from mmengine.config import Config

from engine import config
from engine.checkpoint import checkpoint
from engine.runtime import exported


def read_content(cfg: Config, path: Path | str) -> dict[str, Any]:
    """The description of a checkpoint or an exported file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is neither, it is damaged, or it was exported from another network.
    """
    if not exported.is_exported(path):
        return checkpoint.read(path)
    content = exported.read(path)
    wanted, found = config.resolve(cfg.model.type).__name__, content["model"].get("type")
    if wanted != found:
        raise ValueError(
            f"{path}: exported from a config of {found}, but {cfg.filename} is a config of "
            f"{wanted}; give the config that it was exported from"
        )
    return content
