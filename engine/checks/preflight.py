"""A check of the data before a run, which opens no image."""

import inspect
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config

from engine.cli import as_typed
from engine.config import resolve
from engine.data.dataset import SeededData
from engine.findings import count, errors
from engine.progress import warn
from engine.task import find_task

LOADERS = ("train_dataloader", "val_dataloader")


def check_data(cfg: Config) -> None:
    """Check the data of a run; an error stops it before it begins.

    The log gives the number of warnings; notes are not logged. With several processes, only the
    first one checks.

    Raises:
        ValueError: the check found an error; names the first one, the number of others, and the
            command that lists all.
        FileNotFoundError: a split is missing.
    """
    if int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0):
        return
    splits: dict[tuple[Any, str], list[str]] = {}
    for name in LOADERS:
        dataset = cfg[name].dataset
        if "data_root" in dataset and "split" in dataset:
            own = splits.setdefault((resolve(dataset.type), dataset.data_root), [])
            own += [dataset.split] * (dataset.split not in own)
    for (kind, data_root), names in splits.items():
        if inspect.isclass(kind) and issubclass(kind, SeededData):
            _stop_on_errors(kind, data_root, names)


def _stop_on_errors(kind: type[SeededData], data_root: str, splits: list[str]) -> None:
    task = find_task(kind)
    if task is None or not task.check_entries:
        return
    findings = task.use("check_entries")(Path(data_root), splits).findings
    command = as_typed(f"python tools/check_dataset.py {data_root} --task {task.name}")
    number, warnings, _ = count(findings).values()
    for first in errors(findings):
        others = f"; {number - 1} more error{'s' * (number > 2)}" if number > 1 else ""
        raise ValueError(f"{first}; {first.rule.remedy}{others}; {command} lists all")
    if warnings:
        what = f"{warnings} warning{'s' * (warnings > 1)} about the data"
        warn(f"{data_root}: {what}; {command} lists all")
