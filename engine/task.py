"""The interface of a task: an object `TASK` in the module `task` of the task's package.

A task is found by the package of its network's class, or of a base class. `TASK` names tooling as
"package.module:name". It is imported on use: finding a task does not import a plotting,
augmentation or metric library. docs/extending.md writes a task from scratch.

The network of a task is an mmengine BaseModel with these attributes:
    data_preprocessor   nn.Module
    classes             class names in label order
    class_layers        name prefixes of the layers with one output row a class
    size_divisor        input sides must be multiples of it
    epoch               current training epoch, from 0
    outputs             names of the outputs of mode="tensor"
    last_layers         name prefixes of the layers that compute these outputs
"""

import importlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from mmengine.config import Config
from torch import nn

from engine import config
from engine.fileio import near

MODULE = "task"  # in the package of a task; has the object TASK
IMPORT = "from engine.task import"
OBJECT = re.compile(r"^TASK\s*(:\s*Task\s*)?=", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Task:
    """Describes a task, and names its tooling.

    Args:
        name: Short name, which --task takes.
        noun: Name of its kind of network in messages.
        layout: File or folder that every data set of the task has.
        metric: Key of the metric that picks the best checkpoint.
        metric_scale: Factor from the metric to percent: 100 for fractions, 1 for percent.
        counted: Plural noun for the rows of `describe`.
        objects_counted: Plural noun for the objects that `objects` counts.
        results: `(network, run, images, targets) -> results` as of mode="predict", but from the raw
            outputs of `run(images)` instead of the network's. `images` (B, 3, H, W).
        draw: `(image, result, classes, threshold) -> picture`.
        describe: `(result, classes, threshold) -> rows` of plain data.
        export_head: `(network, *, batched) -> engine.export.head.ExportHead`.
        foreign_weights: `(network, path, classes) -> Foreign`: fills the network from a weight file
            of another project, without running code in the file.
        class_list: `(path) -> names` in label order, read from the file of --classes.
        check_entries: `(data_root, splits) -> checked` with the `findings` of a check that opens
            no image.
        check: `(data_root, spread, size) -> checked` with the `findings` of the full check;
            `spread` is `engine.checks.parallel.spread` or a function like it.
        fix: `(data_root, out, checked)` writes a repaired copy.
        splits_from: `(source) -> bool`: whether `split` can divide the source.
        split: `(source, shares, options) -> engine.data.splits.Division`.
        draw_truth: `(picture, target, classes) -> picture`.
        objects: `(picture, target) -> engine.data.dataset.Objects`.
        colours: `(classes) -> RGB (K, 3)` of `draw_truth`; (0, 3) if it writes only names.
        report: Class without arguments, an `engine.reports.report.Report`.
        cam_target: An `engine.reports.cam.CamTarget`.
        recipe_keys: Entries of a model config that set how to train, not the network.
        epoch_keys: Those `recipe_keys` that count epochs.
        training_keys: Entries that only training needs.
        evaluation_keys: Entries that evaluation may change; they have no weights and are not
            exported.
        mix_key: Entry of the part that mixes the images of a training batch, or "".
        mix: `(part, images, targets, num_classes) -> (images, targets)`: applies that part to a
            batch, `images` (B, 3, H, W).
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
        """Import the object that the entry `part` names.

        Raises:
            ValueError: the task does not have this entry.
        """
        reference = getattr(self, part)
        if not reference:
            raise ValueError(f"the task {self.name!r} has no {part.replace('_', ' ')}")
        return resolve_name(reference)

    def percent(self, value: float) -> float:
        """Convert a value of the metric to percent."""
        return value * self.metric_scale


def task_of(network: type | nn.Module) -> Task:
    """The task of a network or of its class.

    Raises:
        ValueError: neither its package nor that of a base class has a task.
    """
    cls = network if isinstance(network, type) else type(network)
    if (found := find_task(cls)) is None:
        raise ValueError(
            f"{cls.__module__}.{cls.__name__}: its package has no module {MODULE!r} with a TASK, "
            "nor has the package of a base class; see docs/extending.md"
        )
    return found


def find_task(cls: type) -> Task | None:
    """The task of the package of a class or of a base class, or None."""
    tasks = (_task_beside(base.__module__) for base in cls.__mro__)
    return next((task for task in tasks if task is not None), None)


def task_of_config(cfg: Config | Mapping[str, Any]) -> Task:
    """The task of a config's network.

    Raises:
        ValueError: the type is unknown or has no task.
    """
    cls = config.resolve(cfg["model"]["type"])
    if not isinstance(cls, type):
        raise ValueError(f"config model.type: no class {cfg['model']['type']!r}")
    return task_of(cls)


@cache
def _task_beside(module: str) -> Task | None:
    """The task of the innermost package around an imported module, or None."""
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
    """The tasks of all packages beside the engine and on Python's path, sorted by name.

    Of site-packages only the folder of the engine is searched. Nothing is imported but packages
    whose module `task` says that it has a `TASK` of this kind.
    """
    folders = {Path(__file__).parents[1]}
    folders |= {Path(entry or ".") for entry in sys.path if not entry.endswith("-packages")}
    texts = (
        (path.parent.name, path.read_text(encoding="utf-8", errors="replace"))
        for folder in folders
        for path in folder.glob(f"*/{MODULE}.py")
    )
    names = {name for name, text in texts if IMPORT in text and OBJECT.search(text)}
    for name in names:
        importlib.import_module(name)
    found = {_task_beside(name) for name in names}
    return sorted((task for task in found if task is not None), key=lambda task: task.name)


def task_named(name: str) -> Task:
    """The task with this short name, or of the package with this name.

    Raises:
        ValueError: no such task; names the nearest.
    """
    known = {task.name: task for task in known_tasks()}
    if name in known:
        return known[name]
    if name.isidentifier() and find_spec(name) is not None:
        importlib.import_module(name)
        if (task := _task_beside(name)) is not None:
            return task
    raise ValueError(f"--task {name}: no such task; {near(name, list(known))}")


def tasks_of_layout(folder: Path) -> list[Task]:
    """The tasks whose `layout` exists in the folder."""
    return [task for task in known_tasks() if (folder / task.layout).exists()]
