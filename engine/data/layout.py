"""The test data of a config, taken from another folder."""

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.config import Config
from mmengine.registry import DATASETS

from engine.config import require, use_data


def data_of(cfg: Config, folder: Path, split: str | None = None) -> Config | None:
    """The config with `folder` as its test data; None if the folder has no such data set."""
    require(cfg, ("test_dataloader", "test_evaluator", "default_hooks"), "--verify")
    result = copy.deepcopy(cfg)
    use_data(result, folder, split)
    try:
        with without_log():
            DATASETS.build(result.test_dataloader.dataset)
    except FileNotFoundError:
        return None
    return result


@contextmanager
def without_log() -> Iterator[None]:
    """Log nothing inside the context, so that log lines do not mix with a command's output."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
