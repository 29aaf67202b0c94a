"""Several models on one machine and one data set, under equal terms.

All rows train for the same number of steps, so many as the slowest does in the budget, on the same
images in the same order with the same random numbers. Latencies are taken in turns, so that the
machine's drift hits all alike. What is finished stands in a state that is written after every step,
and is not done again.
"""

import copy
import hashlib
import json
import math
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, MODELS

from . import benchmark, checkpoint, config
from .contestant import Inside
from .files import write_binary, write_json
from .interface import Size
from .machine import cost
from .memory import keep_memory
from .preprocess import collate
from .presets import Row

STATE = "report.json"
TRIAL_STEPS = 6  # of training, to see how long one takes
# Entries of `model` that say how to train, not what: a recipe's own are kept.
RECIPE_KEYS = {
    "data_preprocessor", "loss", "batch_mix", "teacher", "dropout", "num_classes",
    "static_epochs", "aspp_rates",
}  # fmt: skip

State = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A row with its config, ready to build."""

    row: Row
    cfg: Config

    @property
    def name(self) -> str:
        """The label as a file name."""
        return re.sub(r"[^a-z0-9]+", "_", self.row.label.lower()).strip("_")


Measure = Callable[[Entry, str, Path], float]


def entries(
    rows: Sequence[Row],
    *,
    recipe: Path | None,
    data: Path | None,
    options: Mapping[str, Any],
) -> list[Entry]:
    """The rows with their configs.

    Args:
        rows: What to compare, no two of one label.
        recipe: Config whose data, optimiser and schedule replace those of all rows.
        data: Folder in the task's standard layout; sets the number of classes.
        options: Overrides for all.

    Raises:
        FileNotFoundError: a config or the data is not there.
        ValueError: two rows have one label, a config is none, or they are of different tasks.
    """
    labels = [row.label for row in rows]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"{label}: given twice; name each config once")
    loaded = [Entry(row, _config(row, recipe, options)) for row in rows]
    tasks = {config.plain(entry.cfg.model)["type"] for entry in loaded}
    if len(tasks) > 1:
        raise ValueError(f"configs of several tasks ({', '.join(sorted(tasks))}); compare one task")
    if data is not None:
        for entry in loaded:
            config.use_data(entry.cfg, data)
            classes = config.data_classes(entry.cfg, "train_dataloader")["classes"]
            entry.cfg.model.num_classes = len(classes)
    return loaded


def _config(row: Row, recipe: Path | None, options: Mapping[str, Any]) -> Config:
    """The row's config, or the recipe's with the row's network in it."""
    own = config.load(row.config)
    if recipe is None:
        config.apply_overrides(own, options)
        return own
    result = config.load(recipe)
    theirs, ours = result.to_dict()["model"], own.to_dict()["model"]  # with types as texts
    result.model = ConfigDict(
        {key: value for key, value in ours.items() if key not in RECIPE_KEYS}
        | {key: value for key, value in theirs.items() if key in RECIPE_KEYS}
    )
    config.apply_overrides(result, options)
    return result


def load_state(folder: Path) -> State:
    """What an earlier command left in the report folder, or an empty state.

    Raises:
        ValueError: the file there is none of ours.
    """
    path = folder / STATE
    if not path.is_file():
        return {"rows": {}}
    try:
        state = json.loads(path.read_text())
        rows = state["rows"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a report of compare.py; remove it or give --out") from error
    if not isinstance(rows, dict):
        raise ValueError(f"{path}: not a report of compare.py; remove it or give --out")
    return dict(state)


def save_state(folder: Path, state: State) -> None:
    """Write the state, whole or not at all."""
    write_json(folder / STATE, state)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def add_costs(state: State, items: Sequence[Entry], shape: Size | None) -> None:
    """Fill in parameters, multiply-adds and bytes of every row; keep no rows but these.

    Bytes are those of a checkpoint with the weights alone.
    """
    known, state["rows"] = state["rows"], {}
    for entry in items:
        plain = config.plain(entry.cfg.model)
        row = known.get(entry.row.label, {})
        if row.get("model") != plain:
            row = {}
        published = entry.row.published
        state["rows"][entry.row.label] = {
            **row,
            "config": entry.row.config,
            "model": plain,
            "published": published and {"accuracy": published.accuracy, "ms": published.ms},
            **_costs(plain, shape),
            "runs": row.get("runs", {}),
        }


def _costs(plain: dict[str, Any], shape: Size | None) -> dict[str, int]:
    model: Any = checkpoint.build_model(copy.deepcopy(plain)).eval()
    size = shape or model.data_preprocessor.size
    if size is None:
        raise ValueError("this model takes images of any size; give --shape HEIGHT WIDTH")
    names = [str(label) for label in range(plain["num_classes"])]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        checkpoint.save(path, checkpoint.describe(model, plain, names, {}))
        size_on_disk = path.stat().st_size
    return {
        "parameters": sum(value.numel() for value in model.parameters() if value.requires_grad),
        "macs": cost(model, torch.zeros(1, 3, *size)).macs,
        "bytes": size_on_disk,
    }


def add_latencies(
    state: State,
    items: Sequence[Entry],
    *,
    backends: Sequence[str],
    threads: Sequence[int],
    runs: int,
    shape: Size | None,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Fill in milliseconds of every run of every row in every engine, all taken in turns.

    Nothing is measured when all rows have been measured together in this way before.
    """
    models = [state["rows"][entry.row.label]["model"] for entry in items]
    key = _digest(models, backends, threads, runs, shape)
    if state.get("latency_key") == key:
        return
    with tempfile.TemporaryDirectory() as folder:
        racers = _racers(items, backends, threads, shape, Path(folder))
        records = benchmark.race([racer for _, racer in racers], runs, advance)
    for entry in items:
        state["rows"][entry.row.label]["latency"] = {
            record.entry.name: [round(1000 * seconds, 4) for seconds in record.wall]
            for (owner, _), record in zip(racers, records, strict=True)
            if owner is entry
        }
    state["latency_key"] = key


def _racers(
    items: Sequence[Entry],
    backends: Sequence[str],
    threads: Sequence[int],
    shape: Size | None,
    folder: Path,
) -> list[tuple[Entry, Inside]]:
    """Every row in every engine with every number of threads, rows beside each other."""
    image = benchmark.photo(None, folder)
    jobs = []
    for entry in items:
        own = folder / entry.name
        own.mkdir()
        order = benchmark.Order(Path(entry.row.config), backends, threads=threads, shape=shape)
        jobs.append(benchmark.jobs(order, benchmark.subject(entry.cfg, order, own), image))
    return [
        (entry, Inside(job, entry.cfg))
        for beside in zip(*jobs, strict=True)
        for entry, job in zip(items, beside, strict=True)
    ]


def plan_steps(state: State, items: Sequence[Entry], minutes: float) -> int:
    """Steps that the slowest row does in so many minutes; of an earlier command where it had one.

    That is for an idle machine: of a few steps of each row, the fastest counts.
    """
    key = _digest([state["rows"][entry.row.label]["model"] for entry in items], minutes)
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
    """Seconds of a training step of each, decoding included: the fastest of a few in turns."""
    keep_memory()
    trials = [_Trial(cfg) for cfg in configs]
    times: list[list[float]] = [[] for _ in configs]
    for step in range(TRIAL_STEPS):
        for trial, taken in zip(trials, times, strict=True):
            start = time.perf_counter()
            trial.step(step)
            taken.append(time.perf_counter() - start)
    return [min(taken) for taken in times]


class _Trial:
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


def shorten(cfg: Config, steps: int) -> None:
    """Fit schedule, warm-up and all that counts epochs to so many steps; validate at the end.

    Raises:
        ValueError: they are less than an epoch.
    """
    loop, saving = cfg.train_cfg, cfg.default_hooks.checkpoint
    if "max_iters" in loop:
        share = steps / loop.max_iters
        loop.update(max_iters=steps, val_interval=steps)
        saving.update(interval=max(1, steps // 10))
    else:
        length = (
            len(DATASETS.build(cfg.train_dataloader.dataset)) // cfg.train_dataloader.batch_size
        )
        epochs = steps // max(1, length)
        if epochs < 1:
            raise ValueError(
                f"{steps} steps are less than an epoch of {length}; raise --steps or "
                "--budget-minutes"
            )
        share = epochs / loop.max_epochs
        loop.update(max_epochs=epochs, val_interval=epochs)
        saving.update(interval=max(1, epochs // 10))
    for schedule in cfg.param_scheduler:
        _shorten_schedule(schedule, share)
    if "static_epochs" in cfg.model:
        cfg.model.static_epochs = max(1, round(cfg.model.static_epochs * share))


def _shorten_schedule(schedule: Any, share: float) -> None:
    for key in ("warmup_iters", "epochs"):
        if key in schedule:
            schedule[key] = max(1, math.ceil(schedule[key] * share - 1e-9))
    if "warmup_epochs" in schedule:
        schedule.warmup_epochs *= share


def measure_all(
    state: State,
    items: Sequence[Entry],
    names: Iterable[str],
    *,
    data: Path,
    folder: Path,
    measure: Measure,
    finished: Callable[[str, str, dict[str, Any]], None],
) -> None:
    """Take the metric of every row for every name, name by name, and write the state after each.

    One that fails is noted in its row, and the others go on.

    Args:
        state: Gets a metric for each row and name; those that have one are passed over.
        items: Rows with the configs to measure.
        names: Of the repetitions: seeds, or one word.
        data: Folder of the data.
        folder: Report folder; runs get work dirs in its `runs`.
        measure: Gives the metric, of (row, name, path without suffix for what it leaves); whatever
            it raises of ValueError, OSError and RuntimeError is the row's failure.
        finished: Told label, name and outcome of every one that ended.
    """
    for name in names:
        for entry in items:
            row = state["rows"][entry.row.label]
            plain = config.plain(entry.cfg.model)
            key = _digest(plain, entry.cfg.train_cfg.to_dict(), str(data))
            known = row["runs"].get(name, {})
            if known.get("key") == key and "metric" in known:
                continue
            start = time.perf_counter()
            try:
                place = folder / "runs" / f"{entry.name}_{name}_{key}"
                outcome: dict[str, Any] = {"metric": measure(entry, name, place)}
            except (RuntimeError, ValueError, OSError) as error:
                outcome = {"error": " ".join(str(error).split())}
            minutes = (time.perf_counter() - start) / 60
            row["runs"][name] = {"key": key, "minutes": round(minutes, 2), **outcome}
            save_state(folder, state)
            finished(entry.row.label, name, row["runs"][name])


def dump(cfg: Config, path: Path) -> None:
    """Write a config as a file that loads again."""
    lines = (f"{key} = {value!r}" for key, value in cfg.to_dict().items())
    write_binary(path, "\n".join(lines).encode())


def trained_metric(work_dir: Path, name: str) -> float:
    """The metric (percent) of the best checkpoint in a work dir.

    Raises:
        ValueError: there is none.
    """
    files = sorted(work_dir.glob("best_*.pth"))
    if not files:
        raise ValueError(f"{work_dir}: the run ended without a validated checkpoint")
    return percent(name, checkpoint.read(files[-1])["info"]["metrics"][name])


def percent(name: str, value: float) -> float:
    """A metric in percent: COCO's lie in 0..1, the others are percent."""
    return 100 * value if name.startswith("coco/") else value
