"""What the engine asks of a task: one object `TASK` in the module `task` of the task's package.

A task is found by the package of its network's class, or of a base class. Tooling stands in `TASK`
as dotted names, "package.module:name", which are imported when they are used: finding a task
imports no plotting, augmentation or metric library. docs/extending.md writes a task from scratch.
"""

import importlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Protocol

from mmengine.config import Config
from torch import nn

from engine import config
from engine.fileio import near

MODULE = "task"  # of the package, which holds the object
OBJECT = re.compile(r"^TASK\s*(:\s*Task\s*)?=", re.MULTILINE)
REFERENCE = re.compile(r"[\w.]+:\w+")


class TaskNetwork(Protocol):
    """What the engine expects of a task's network, beyond mmengine's BaseModel."""

    data_preprocessor: nn.Module
    classes: tuple[str, ...]
    class_layers: tuple[str, ...]  # name prefixes of the layers with one output row a class
    size_divisor: int  # input sides must be multiples of it
    epoch: int  # current training epoch, from 0
    outputs: tuple[str, ...]  # names of what mode="tensor" gives
    last_layers: tuple[str, ...]  # name prefixes of the layers that make these


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a kind of task is, and where its tooling stands.

    Args:
        name: Short name, which --task takes.
        noun: What its network is called in messages.
        layout: File or folder that every data set in the task's layout has.
        metric: Key of the metric that picks the best checkpoint.
        metric_scale: Factor that makes percent of the metric: 100 for fractions, 1 for percent.
        counted: What the rows of `describe` are, in the plural.
        objects_counted: What `objects` counts in a data set, in the plural.
        results: `(network, run, images, targets) -> results`: those of mode="predict", with the
            raw outputs of `run(images)` in place of the network's own. `images` (B, 3, H, W).
        draw: `(image, result, classes, threshold) -> picture`.
        describe: `(result, classes, threshold) -> rows` of plain data.
        export_head: `(network, *, batched) -> engine.export.head.ExportHead`.
        foreign_weights: `(network, path, classes) -> Foreign`: fills the network from a weight file
            of another project; executes nothing of it.
        class_list: `(path) -> names` in label order, of a file given with --classes.
        check_entries: `(data_root, splits) -> findings` of a check that opens no image.
        check: `(data_root, spread, size) -> checked`, whose `findings` are those of the whole
            check; `spread` is `engine.checks.parallel.spread` or like it.
        fix: `(data_root, out, checked)` writes a repaired copy.
        splits_from: `(source) -> bool`, whether `split` can divide it.
        split: `(source, shares, options) -> engine.data.splits.Division`.
        draw_truth: `(picture, target, classes) -> picture`.
        objects: `(picture, target) -> engine.data.dataset.Objects`.
        colours: `(classes) -> RGB (K, 3)` of `draw_truth`; (0, 3) where it writes names alone.
        report: Class without arguments, an `engine.reports.report.Report`.
        cam_target: An `engine.reports.cam.CamTarget`.
        recipe_keys: Entries of a model config that say how to train, not what.
        epoch_keys: Those of them that count epochs.
        training_keys: Entries that only training needs.
        evaluation_keys: Entries that evaluation may choose; they hold no weights and are not
            exported.
        mix_key: Entry that mixes the images of a training batch, "" where the task has none.
        mix: `(part, images, targets, num_classes) -> (images, targets)`: what the part of that
            entry makes of a batch, `images` (B, 3, H, W).
    """

    name: str
    noun: str
    layout: str
    metric: str
    metric_scale: float
    counted: str
    results: str
    describe: str
    draw: str = ""
    export_head: str = ""
    foreign_weights: str = ""
    class_list: str = "engine.data.class_list:read_names"
    check_entries: str = ""
    check: str = ""
    fix: str = ""
    splits_from: str = ""
    split: str = ""
    objects_counted: str = "images"
    draw_truth: str = ""
    objects: str = ""
    colours: str = ""
    report: str = ""
    cam_target: str = ""
    recipe_keys: tuple[str, ...] = ()
    epoch_keys: tuple[str, ...] = ()
    training_keys: tuple[str, ...] = ()
    evaluation_keys: tuple[str, ...] = ()
    mix_key: str = ""
    mix: str = ""

    def use(self, part: str) -> Any:
        """The object that the entry `part` names.

        Raises:
            ValueError: the task has none.
        """
        reference = getattr(self, part)
        if not reference:
            raise ValueError(f"the task {self.name!r} has no {part.replace('_', ' ')}")
        return resolve_name(reference)

    def references(self) -> dict[str, str]:
        """All dotted names, by entry."""
        named = {part.name: getattr(self, part.name) for part in fields(self)}
        return {k: v for k, v in named.items() if isinstance(v, str) and REFERENCE.fullmatch(v)}

    def percent(self, value: float) -> float:
        """A value of the metric in percent."""
        return value * self.metric_scale


def task_of(network: type | nn.Module) -> Task:
    """The task of a network or of its class.

    Raises:
        ValueError: neither its package nor that of a base class has one.
    """
    cls = network if isinstance(network, type) else type(network)
    if (found := find_task(cls)) is None:
        raise ValueError(
            f"{cls.__module__}.{cls.__name__}: its package has no module {MODULE!r} with a TASK, "
            "nor has that of a base class; docs/extending.md shows one"
        )
    return found


def find_task(cls: type) -> Task | None:
    """The task of a class by its package or that of a base class, or None."""
    tasks = (_task_beside(base.__module__) for base in cls.__mro__)
    return next((task for task in tasks if task is not None), None)


def task_of_config(cfg: Config | Mapping[str, Any]) -> Task:
    """The task of a config's network.

    Raises:
        ValueError: its type is unknown, or has no task.
    """
    cls = config.resolve(cfg["model"]["type"])
    if not isinstance(cls, type):
        raise ValueError(f"config model.type: no class {cfg['model']['type']!r}")
    return task_of(cls)


@cache
def _task_beside(module: str) -> Task | None:
    """The task of the innermost package around an imported module that has one."""
    is_package = hasattr(sys.modules.get(module), "__path__")
    package = module if is_package else module.rpartition(".")[0]
    while package:
        name = f"{package}.{MODULE}"
        if find_spec(name) is not None:
            task = getattr(importlib.import_module(name), "TASK", None)
            if isinstance(task, Task):
                return task
        package = package.rpartition(".")[0]
    return None


def known_tasks() -> list[Task]:
    """The tasks of all packages beside the engine, by name."""
    found = [_task_beside(package) for package in _packages(Path(__file__).parents[1])]
    return sorted((task for task in found if task is not None), key=lambda task: task.name)


def _packages(folder: Path) -> Iterator[str]:
    """Packages in a folder that have a `TASK`; their names, imported."""
    for path in sorted(folder.glob(f"*/{MODULE}.py")):
        if OBJECT.search(path.read_text(encoding="utf-8", errors="replace")):
            importlib.import_module(path.parent.name)
            yield path.parent.name


def task_named(name: str) -> Task:
    """The task of that short name, or of the package of that name.

    Raises:
        ValueError: there is none; names the nearest.
    """
    known = {task.name: task for task in known_tasks()}
    if name in known:
        return known[name]
    if name.isidentifier() and find_spec(name) is not None:
        importlib.import_module(name)
        if (task := _task_beside(name)) is not None:
            return task
    raise ValueError(f"--task {name}: no such task; {near(name, list(known))}")


def tasks_of_layout(folder: Path, tasks: Sequence[Task] | None = None) -> list[Task]:
    """The tasks whose data sets have what lies in the folder."""
    everything = known_tasks() if tasks is None else tasks
    return [task for task in everything if (folder / task.layout).exists()]
