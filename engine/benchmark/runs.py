"""Measures the metrics of compared rows, by equal trainings or from checkpoints."""

import copy
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS

from engine import config
from engine.benchmark.compare import Entry, State, digest, recipe_keys_of, save_state
from engine.checkpoint import checkpoint
from engine.checkpoint.restore import disagreements
from engine.data.preprocess import collate
from engine.fileio import write_binary
from engine.inference.evaluate import metric, metric_name
from engine.runtime.content import read_content
from engine.task import task_of_config
from engine.training.memory import keep_memory

TIMED_STEPS = 6  # training steps to measure the time of one
MEASURE_ERRORS = (RuntimeError, ValueError, OSError, KeyError, ArithmeticError)

Measure = Callable[[Entry, str, Path], float]


def plan_steps(state: State, items: Sequence[Entry], minutes: float) -> int:
    """Number of steps that the slowest row does in `minutes`; reuses an earlier command's number.

    Assumes an idle machine: the fastest of a few steps of each row counts.
    """
    configs = [entry.cfg.to_dict() for entry in items]
    key = digest(configs, minutes, state["machine"]["id"], torch.get_num_threads())
    if state.get("plan", {}).get("key") != key:
        seconds = step_seconds([entry.cfg for entry in items])
        slowest = max(seconds)
        state["plan"] = {
            "key": key,
            "minutes": minutes,
            "steps": int(60 * minutes / slowest),
            "step_seconds": dict(zip((entry.row.label for entry in items), seconds, strict=True)),
        }
    return int(state["plan"]["steps"])


def step_seconds(configs: Sequence[Config]) -> list[float]:
    """Seconds of a training step of each config, with decoding: the fastest of a few, in turns."""
    keep_memory()
    trainings = [_Training(cfg) for cfg in configs]
    times: list[list[float]] = [[] for _ in configs]
    for step in range(TIMED_STEPS):
        for training, taken in zip(trainings, times, strict=True):
            start = time.perf_counter()
            training.step(step)
            taken.append(time.perf_counter() - start)
    return [min(taken) for taken in times]


class _Training:
    """A model in training, without a runner."""

    def __init__(self, cfg: Config) -> None:
        self.dataset = DATASETS.build(cfg.train_dataloader.dataset)
        self.batch = min(cfg.train_dataloader.batch_size, len(self.dataset))
        self.model = MODELS.build({**cfg.model}).train()
        self.optimizer = build_optim_wrapper(self.model, copy.deepcopy(cfg.optim_wrapper))

    def step(self, number: int) -> None:
        self.model.data_preprocessor.step = number
        first = number * self.batch
        places = [place % len(self.dataset) for place in range(first, first + self.batch)]
        self.model.train_step(collate([self.dataset[place] for place in places]), self.optimizer)


def shorten(cfg: Config, steps: int) -> int:
    """Scale schedule, warm-up and settings in epochs to a number of steps; validate at the end.

    Returns:
        Number of steps of the training; with epochs, of the whole epochs.

    Raises:
        ValueError: the steps are less than an epoch.
    """
    loop, saving = cfg.train_cfg, cfg.default_hooks.checkpoint
    if "max_iters" in loop:
        share = steps / loop.max_iters
        loop.update(max_iters=steps, val_interval=steps, val_begin=1)
        saving.update(interval=max(1, steps // 10))
    else:
        images = len(DATASETS.build(cfg.train_dataloader.dataset))
        length = max(1, images // cfg.train_dataloader.batch_size)
        epochs = steps // length
        steps = epochs * length
        if epochs < 1:
            raise ValueError(
                f"the steps are fewer than an epoch of {length}; raise --steps or --budget-minutes"
            )
        share = epochs / loop.max_epochs
        loop.update(max_epochs=epochs, val_interval=epochs, val_begin=1)
        saving.update(interval=max(1, epochs // 10))
    for schedule in cfg.param_scheduler:
        _shorten_schedule(schedule, share)
    for key in task_of_config(cfg).epoch_keys:
        if key in cfg.model:
            cfg.model[key] = max(1, round(cfg.model[key] * share))
    return steps


def _shorten_schedule(schedule: Any, share: float) -> None:
    for key in ("warmup_iters", "epochs"):
        if schedule.get(key):
            schedule[key] = max(1, math.ceil(schedule[key] * share - 1e-9))
    if "warmup_epochs" in schedule:
        schedule.warmup_epochs *= share


def are_alike(items: Sequence[Entry]) -> bool:
    """Whether all rows train on the same images, in the same order, with the same augmentation."""
    seen = {
        digest(
            entry.cfg.to_dict()["train_dataloader"],
            config.plain(entry.cfg.model.data_preprocessor),
            config.plain(entry.cfg.model.get(task_of_config(entry.cfg).mix_key)),
        )
        for entry in items
    }
    return len(seen) == 1


def measure_all(
    state: State,
    items: Sequence[Entry],
    names: Iterable[str],
    *,
    key_of: Callable[[Entry, str], str],
    folder: Path,
    measure: Measure,
    finished: Callable[[str, str, dict[str, Any]], None],
) -> None:
    """Measure every row for every name, name by name, and write the state after each run.

    Runs that an earlier command finished under the same key are taken from the state. An error of
    a run is stored in its row, and the other runs continue.

    Args:
        state: Its rows get `runs` by name; its `done` holds all finished runs by key.
        items: Rows with the configs to measure.
        names: Names of the repetitions: seeds, or one word.
        key_of: Returns a hash of everything that the metric of (row, name) depends on.
        folder: Report folder; the work dirs of runs are in its folder `runs`.
        measure: Returns the metric of (row, name, path without suffix for its files); its
            MEASURE_ERRORS are stored.
        finished: Called with label, name and outcome of every finished run.
    """
    wanted = [(entry, name, key_of(entry, name)) for name in names for entry in items]
    for entry, name, key in wanted:
        if key in state["done"]:
            state["rows"][entry.row.label]["runs"][name] = state["done"][key]
    for entry, name, key in wanted:
        runs = state["rows"][entry.row.label]["runs"]
        if name in runs:
            continue
        start = time.perf_counter()
        try:
            value = measure(entry, name, folder / "runs" / f"{entry.name}_{name}_{key}")
            if not math.isfinite(value):
                raise ValueError(f"the metric is {value}")
            outcome: dict[str, Any] = {"metric": value}
        except MEASURE_ERRORS as error:
            outcome = {"error": " ".join(str(error).split())}
        runs[name] = outcome | {"minutes": round((time.perf_counter() - start) / 60, 2)}
        if "metric" in outcome:
            state["done"][key] = runs[name]
        save_state(folder, state)
        finished(entry.row.label, name, runs[name])


def run_key(entry: Entry, name: str) -> str:
    """Hash of everything that the metric of a training depends on."""
    plain = {key: value for key, value in entry.cfg.to_dict().items() if key != "work_dir"}
    root = Path(entry.cfg.train_dataloader.dataset.data_root).resolve()
    return digest(plain, str(root), name)


def file_key(path: Path, entry: Entry) -> str:
    """Hash of everything that the metric of a file depends on."""
    stat = path.stat()
    plain = entry.cfg.to_dict()
    parts = (plain["test_dataloader"], plain["model"]["data_preprocessor"])
    return digest(*parts, str(path.resolve()), stat.st_size, stat.st_mtime_ns)


def check_belongs(entry: Entry, path: Path) -> None:
    """Raise ValueError if a checkpoint is of another network than the row."""
    theirs = read_content(entry.cfg, path)["model"]
    ours = config.plain(entry.cfg.model)
    evaluation = task_of_config(entry.cfg).evaluation_keys
    wrong = [
        line
        for key in sorted(set(ours) - recipe_keys_of(entry.cfg) - set(evaluation))
        for line in disagreements(ours[key], theirs.get(key), f"model.{key}")
    ]
    if wrong:
        raise ValueError(f"{path}: not a checkpoint of {entry.row.label}: {wrong[0]}")


def dump(cfg: Config, path: Path) -> None:
    """Write a config as a file that can be loaded."""
    lines = (f"{key} = {value!r}" for key, value in cfg.to_dict().items())
    write_binary(path, "\n".join(lines).encode())


def trained_metric(cfg: Config, work_dir: Path) -> float:
    """The metric (percent) of the best checkpoint in a work dir.

    Raises:
        ValueError: the work dir has no best checkpoint.
    """
    files = sorted(work_dir.glob("best_*.pth"))
    if not files:
        raise ValueError(f"{work_dir}: the run ended without a validated checkpoint")
    value = checkpoint.read(files[-1])["info"]["metrics"][metric_name(cfg)]
    return task_of_config(cfg).percent(value)


def evaluated_metric(cfg: Config, path: Path, options: Mapping[str, Any] | None) -> float:
    """The metric (percent) of a checkpoint or exported file on the config's test data."""
    return task_of_config(cfg).percent(metric(cfg, path, options))
