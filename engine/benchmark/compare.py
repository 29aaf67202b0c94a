"""Several models on one machine and one data set, under equal terms.

All rows train for the same number of steps, so many as the slowest does in the budget, on the same
images in the same order with the same random numbers. Latencies are taken in turns, so that the
machine's drift hits all alike. What is finished stands in a state that is written after every step,
and is not done again.
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
RECIPE_KEYS = {
    "data_preprocessor",
    "loss",
    "num_classes",
}  # of `model`, in every task: how to train

State = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """A row with its config, ready to build."""

    row: Row
    cfg: Config

    @property
    def name(self) -> str:
        """The label as a file name, with digits that no other label has."""
        plain = re.sub(r"[^a-z0-9]+", "_", self.row.label.lower()).strip("_")
        return f"{plain}_{digest(self.row.label)[:4]}"


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
    theirs, ours = result.to_dict()["model"], own.to_dict()["model"]  # with types as texts
    recipe_keys = recipe_keys_of(own)
    result.model = ConfigDict(
        {key: value for key, value in ours.items() if key not in recipe_keys}
        | {key: value for key, value in theirs.items() if key in recipe_keys}
    )
    config.apply_overrides(result, network)
    return result


def recipe_keys_of(cfg: Config) -> set[str]:
    """Entries of the config's `model` that say how to train, not what: a recipe keeps its own."""
    return RECIPE_KEYS | set(task_of_config(cfg).recipe_keys)


def load_state(folder: Path) -> State:
    """What an earlier command left in the report folder, or an empty state.

    Raises:
        ValueError: the file there is none of ours.
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
    """Write the state, whole or not at all."""
    write_json(folder / STATE, state)


def digest(*parts: Any) -> str:
    """Twelve hex digits of plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def add_costs(state: State, items: Sequence[Entry], shape: Size | None) -> None:
    """Fill in parameters, multiply-adds and bytes of every row; keep no rows but these.

    Bytes are those of a checkpoint with the weights alone. Latencies of rows that stay are kept
    until `add_latencies` looks at them; metrics are `measure_all`'s.
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
        raise ValueError("this model takes images of any size; give --shape HEIGHT WIDTH")
    names = [str(label) for label in range(plain["num_classes"])]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        checkpoint.save(path, checkpoint.describe(model, plain, names, {}))
        size_on_disk = path.stat().st_size
    network = cost(model, torch.zeros(1, 3, *size))
    return {
        "parameters": network.parameters,
        "macs": network.macs,
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
    models = {entry.row.label: state["rows"][entry.row.label]["model"] for entry in items}
    key = digest(models, backends, threads, runs, shape, state["machine"]["id"])
    if state.get("latency_key") == key:
        return
    with tempfile.TemporaryDirectory() as folder:
        racers = _racers(items, backends, threads, shape, Path(folder))
        records = latency.race([racer for _, racer in racers], runs, advance)
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
