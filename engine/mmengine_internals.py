"""The private attributes of mmengine that this project uses, each with its reason."""

from typing import Any

from mmengine.config import Config
from mmengine.optim import OptimWrapper


def set_step_count(optimizer: OptimWrapper, steps: int) -> None:
    """Say that `steps` iterations are done: the wrapper updates the weights at multiples of the
    gathered batches.

    Its public `initialize_count_status` warns at every other count.
    """
    optimizer._inner_count = steps


def count_step(optimizer: OptimWrapper) -> None:
    """Count an iteration without a backward pass, which `update_params` alone would count."""
    set_step_count(optimizer, optimizer._inner_count + 1)


def set_progress(loop: Any, epoch: int, iteration: int) -> None:
    """Set the epoch and iteration of a training loop, both from 0; it has them read-only."""
    loop._epoch, loop._iter = epoch, iteration


def drop_imported_names(config: Config) -> None:
    """Remove the names that a config's files import, which mmengine keeps as entries.

    Nothing public tells them from the entries, and `Config` removes no entry that is a lazy import.
    """
    for name in set(config._imported_names) & set(config._cfg_dict):
        dict.pop(config._cfg_dict, name)
