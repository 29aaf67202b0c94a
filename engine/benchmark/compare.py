"""Compares models on one machine and one data set, under equal conditions.

All rows train for the same number of steps: as many as the slowest one does in the time budget, on
the same images in the same order with the same random numbers. Latencies are measured in turns, so
that changes of the machine's speed affect all rows equally. Finished results are saved after every
run and not computed again.
"""

import copy
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict

from engine import config
from engine.benchmark import latency
from engine.benchmark.paper import Row
from engine.benchmark.worker import Inside
from engine.checkpoint import checkpoint
from engine.fileio import write_json
from engine.hardware import cost
from engine.task import task_of_config
from engine.training.runner import TRAINING_PARTS
from engine.types import Size

STATE = "report.json"
RECIPE_KEYS = {"data_preprocessor", "loss", "num_classes"}  # keys of `model` on how to train

State = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A row with its loaded config."""

    row: Row
    cfg: Config

    @property
    def name(self) -> str:
        """The label as a file name, made unique by a hash."""
        plain = re.sub(r"[^a-z0-9]+", "_", self.row.label.lower()).strip("_")
        return f"{plain}_{digest(self.row.label)[:4]}"


def entries(
    rows: Sequence[Row], *, recipe: Path | None, data: Path | None, options: Mapping[str, Any]
) -> list[Entry]:
    """Load the configs of the rows.

    Args:
        rows: Models to compare, with different labels.
        recipe: Config whose data, optimiser and schedule replace those of all rows.
        data: Folder in the task's standard layout; sets the number of classes.
        options: Overrides for all configs.

    Raises:
        FileNotFoundError: a config or the data does not exist.
        ValueError: two rows have the same label, a config is invalid, or the tasks differ.
    """
    labels = [row.label for row in rows]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(f"{label}: given twice; give each config once")
    loaded = [Entry(row, _config(row, recipe, options)) for row in rows]
    for entry in loaded:
        config.require(entry.cfg, ("model",) if data is None else TRAINING_PARTS, "a comparison")
    tasks = {task_of_config(entry.cfg).name for entry in loaded}
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
    if recipe is None:
        return config.load(row.config, options)
    own = config.load(row.config)
    network = {key: value for key, value in options.items() if key.lstrip("+").startswith("model.")}
    others = {key: value for key, value in options.items() if key not in network}
    result = config.load(recipe, others)
    theirs, ours = result.to_dict()["model"], own.to_dict()["model"]  # with types as strings
    recipe_keys = recipe_keys_of(own)
    result.model = ConfigDict(
        {key: value for key, value in ours.items() if key not in recipe_keys}
        | {key: value for key, value in theirs.items() if key in recipe_keys}
    )
    config.apply_overrides(result, network)
    return result


def recipe_keys_of(cfg: Config) -> set[str]:
    """Keys of the config's `model` on how to train, not what; those of a recipe replace them."""
    return RECIPE_KEYS | set(task_of_config(cfg).recipe_keys)


def load_state(folder: Path) -> State:
    """The state that an earlier command saved in the report folder, or an empty state.

    Raises:
        ValueError: the file was not written by this command.
    """
    path = folder / STATE
    if not path.is_file():
        return {"rows": {}, "done": {}}
    try:
        state = json.loads(path.read_text())
        is_ours = all(isinstance(state[key], dict) for key in ("rows", "done"))
    except (ValueError, KeyError, TypeError):
        is_ours = False
    if not is_ours:
        raise ValueError(f"{path}: not a report of compare.py; remove it or give --out")
    return dict(state)


def save_state(folder: Path, state: State) -> None:
    """Write the state atomically."""
    write_json(folder / STATE, state)


def digest(*parts: Any) -> str:
    """Hash of plain data, 12 hex digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def add_costs(state: State, items: Sequence[Entry], shape: Size | None) -> None:
    """Set parameters, multiply-adds and bytes of every row; remove other rows from the state.

    Bytes are the size of a checkpoint with weights only. Latencies of earlier commands are kept
    until `add_latencies` checks them; `measure_all` sets the metrics.
    """
    known, state["rows"] = state["rows"], {}
    for entry in items:
        plain = config.plain(entry.cfg.model)
        published = entry.row.published
        state["rows"][entry.row.label] = {
            "config": entry.row.config,
            "model": plain,
            "published": published and {"accuracy": published.accuracy, "ms": published.ms},
            **_costs(entry.cfg, plain, shape),
            "latency": known.get(entry.row.label, {}).get("latency", {}),
            "runs": {},
        }


def _costs(cfg: Config, plain: dict[str, Any], shape: Size | None) -> dict[str, int]:
    if shape is not None:
        cfg = copy.deepcopy(cfg)
        cfg.model.data_preprocessor.size = shape
    config.check_sizes(cfg)
    model: Any = checkpoint.build_model(copy.deepcopy(plain)).eval()
    size = shape or model.data_preprocessor.size
    if size is None:
        raise ValueError("this model has no fixed input size; give --shape HEIGHT WIDTH")
    names = [str(label) for label in range(plain["num_classes"])]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        checkpoint.save(path, checkpoint.describe(model, plain, names, {}))
        size_on_disk = path.stat().st_size
    network = cost(model, torch.zeros(1, 3, *size))
    return {"parameters": network.parameters, "macs": network.macs, "bytes": size_on_disk}


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
    """Set the milliseconds of every run of every row in every engine, measured in turns.

    Measures nothing if an earlier command measured the same rows in the same way.
    """
    models = {entry.row.label: state["rows"][entry.row.label]["model"] for entry in items}
    key = digest(models, backends, threads, runs, shape, state["machine"]["id"])
    if state.get("latency_key") == key:
        return
    with tempfile.TemporaryDirectory() as folder:
        timed = _timed(items, backends, threads, shape, Path(folder))
        records = latency.race([job for _, job in timed], runs, advance)
    for entry in items:
        state["rows"][entry.row.label]["latency"] = {
            record.entry.name: [round(1000 * seconds, 4) for seconds in record.wall]
            for (owner, _), record in zip(timed, records, strict=True)
            if owner is entry
        }
    state["latency_key"] = key


def _timed(
    items: Sequence[Entry],
    backends: Sequence[str],
    threads: Sequence[int],
    shape: Size | None,
    folder: Path,
) -> list[tuple[Entry, Inside]]:
    """Load every row for every engine and number of threads; rows alternate."""
    image = latency.photo(None, folder)
    jobs = []
    for entry in items:
        own = folder / entry.name
        own.mkdir()
        order = latency.Order(Path(entry.row.config), backends, threads=threads, shape=shape)
        jobs.append(latency.jobs(order, latency.subject(entry.cfg, order, own), image))
    return [
        (entry, Inside(job, entry.cfg))
        for beside in zip(*jobs, strict=True)
        for entry, job in zip(items, beside, strict=True)
    ]
