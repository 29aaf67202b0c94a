"""The metric of a data set before and after export."""

import copy
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from engine.config import require, use_data
from engine.inference import evaluate

ALLOWED_POINTS = 0.1  # that a float32 file may lose: a rounded pixel can turn one detection


@dataclass(frozen=True)
class Drop:
    """A metric before and after."""

    name: str
    before: float
    after: float

    @property
    def points(self) -> float:
        """What was lost, in points of 0..100."""
        return points(self.before, self.after)

    def __str__(self) -> str:
        return f"{self.name} {self.before:.4f} before, {self.after:.4f} after"


def points(before: float, after: float) -> float:
    """What a metric lost, in points of 0..100; it may be a fraction or in percent."""
    scale = 1 if max(abs(before), abs(after)) > 1 else 100
    return (before - after) * scale


def data_of(cfg: Config, folder: Path, split: str | None = None) -> Config | None:
    """The config with `folder` as its test data, or None where that holds no data set."""
    require(cfg, ("test_dataloader", "test_evaluator", "default_hooks"), "--verify")
    result = copy.deepcopy(cfg)
    use_data(result, folder, split)
    try:
        with _quiet():
            DATASETS.build(result.test_dataloader.dataset)
    except FileNotFoundError:
        return None
    return result


def metric(cfg: Config, path: Path, options: Mapping[str, Any] | None = None) -> float:
    """The metric that picks the best checkpoint, of a checkpoint or exported file."""
    cfg = copy.deepcopy(cfg)
    cfg.log_level = "ERROR"
    with tempfile.TemporaryDirectory() as work_dir, _quiet():
        # mmengine names runs by the second, and would hand a second one the first one's folder.
        cfg.experiment_name = Path(work_dir).name
        found = evaluate.run(cfg, path, work_dir=Path(work_dir), options=options)
    return found[metric_name(cfg)]


def metric_name(cfg: Config) -> str:
    """Name of that metric."""
    name: str = cfg.default_hooks.checkpoint.save_best
    return name


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines of a test run, which would come between those of the command."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
