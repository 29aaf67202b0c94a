"""The part of a data check that opens no image, before a run begins."""

import inspect
import logging
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log

from engine.cli import as_typed
from engine.config import resolve
from engine.data.dataset import SeededData
from engine.findings import count, errors
from engine.task import find_task

LOADERS = ("train_dataloader", "val_dataloader")


def check_data(cfg: Config) -> None:
    """Stop before a run on data that it could not use, or would learn something wrong from.

    Warnings are counted in the log, notes are not mentioned. Of several processes the first looks.

    Raises:
        ValueError: an error was found; names the first, their number, and the command for all.
        FileNotFoundError: a split is not there.
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
        print_log(f"{data_root}: {what}; {command} lists all", "current", logging.WARNING)
