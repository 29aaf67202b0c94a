"""Checkpoint files of plain data and tensors, which are read with `weights_only=True`.

A file is a dict of
    format      FORMAT
    model       the model part of its config as plain data, types by registered name
    classes     class names in label order
    state_dict  weights for evaluation (the moving average if there is one)
    info        epoch, iteration, metrics, category ids: plain data
    training    only in files to resume from: see engine/training/resume.py

The same content gives the same bytes: they do not depend on the file name, the time or the
machine's memory.
"""

import io
import pickle
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from engine.checkpoint.bounds import bounded_model, check_content, check_number, check_unpacked
from engine.config import parameters, typed_nodes
from engine.fileio import near, sync_folder, write_binary
from engine.task import find_task

FORMAT = "lcnet-vision/1"
ENTRIES = {"model": dict, "classes": list, "state_dict": dict, "info": dict}
SHARED = ("backbone", "engine")  # packages whose classes every task may use
# Errors of torch.load on bytes that are not a safe checkpoint.
READ_ERRORS = (
    pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError,
    AttributeError, AssertionError, struct.error, OverflowError, MemoryError, RecursionError,
    NotImplementedError, SyntaxError, ImportError,
)  # fmt: skip


def save(path: Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint, complete or not at all; on return it is on disk.

    Raises:
        OSError: it cannot be written; an older file of that name is not changed.
    """
    buffer = io.BytesIO()  # torch.save hides a full disk's OSError behind a RuntimeError
    torch.save(_canonical({"format": FORMAT, **content}, {}), buffer)
    write_binary(path, buffer.getbuffer())
    sync_folder(path.parent)


def _canonical(node: Any, words: dict[str, str]) -> Any:
    """A copy of the content in which equal strings are one object and all else is separate.

    A pickle stores an object once and refers to it later. So its bytes would depend on which equal
    parts are one object, and that differs between a resumed and an uninterrupted run.
    """
    if isinstance(node, str):
        return words.setdefault(node, node)
    if isinstance(node, Mapping):
        return {_canonical(key, words): _canonical(node[key], words) for key in node}
    if isinstance(node, list | tuple):
        return type(node)([_canonical(item, words) for item in node])
    return node.detach() if isinstance(node, Tensor) else node


def describe(
    model: nn.Module, config: Mapping[str, Any], classes: Sequence[str], info: Mapping[str, Any]
) -> dict[str, Any]:
    """Content of a checkpoint of `model`; `config` is its plain config."""
    weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    return {
        "model": dict(config),
        "classes": list(classes),
        "state_dict": weights,
        "info": dict(info),
    }


def read(path: Path | str) -> dict[str, Any]:
    """Read a checkpoint of this project.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, would run code when unpickled, or is not of this project.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    data = io.BytesIO(Path(path).read_bytes())  # then errors of torch are about the content
    check_unpacked(path, data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unusual pickles, which are refused below
            content = torch.load(data, map_location="cpu", weights_only=True)
    except READ_ERRORS as error:
        raise ValueError(
            f"{path}: not readable as a safe checkpoint (damaged, or not only plain data); "
            "convert weights of other projects with tools/convert_weights.py"
        ) from error
    check_content(path, content)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(
            f"{path}: not a checkpoint of this project (format {FORMAT}); convert weights of "
            "other projects with tools/convert_weights.py"
        )
    for name, kind in ENTRIES.items():
        if not isinstance(content.get(name), kind):
            what = kind.__name__
            raise ValueError(f"{path}: damaged checkpoint, its entry {name!r} is not a {what}")
    if not all(isinstance(name, str) for name in content["classes"]):
        raise ValueError(f"{path}: damaged checkpoint, its classes are not all names")
    if not all(isinstance(value, Tensor) for value in content["state_dict"].values()):
        raise ValueError(
            f"{path}: damaged checkpoint, its state_dict has values that are not tensors"
        )
    return content


def build_model(config: Mapping[str, Any]) -> nn.Module:
    """Build the model that a checkpoint's plain `model` entry describes.

    It may name only registered classes of packages with a task and of the packages `SHARED`.
    Nothing else is called, and nothing is imported.

    Raises:
        ValueError: another type is named, or options that a type does not take.
    """
    check_description(config)
    try:
        with bounded_model():
            return MODELS.build(dict(config))
    except (TypeError, AttributeError, KeyError, IndexError, OverflowError) as error:
        raise ValueError(f"the model of a checkpoint cannot be built: {error}") from error


def check_description(config: Mapping[str, Any]) -> None:
    """Check that a checkpoint's `model` entry names only allowed classes and their options.

    Allowed are classes that are already imported and registered, of a package that has a task
    (`engine.task`) or of the packages `SHARED`, and classes derived from them.

    Raises:
        ValueError: another class or option is named; nothing was imported or called.
    """
    if "type" not in config:
        raise ValueError("damaged checkpoint: its model entry names no type")
    for _, node in typed_nodes(config, "model"):
        _check_type(node)


def _check_type(node: Mapping[str, Any]) -> None:
    ours = {name: cls for name, cls in MODELS.module_dict.items() if _is_ours(cls)}
    cls = ours.get(str(node["type"]))
    if cls is None:
        raise ValueError(
            f"checkpoint names the model type {node['type']!r}, which no imported task has; "
            "if it is of another task, give the config that it was trained with; "
            f"{near(str(node['type']), list(ours))}"
        )
    accepted = parameters(cls) or set()
    for key in node:
        if key != "type" and key not in accepted:  # "_scope_" would make mmengine import a module
            raise ValueError(
                f"checkpoint sets {node['type']}'s option {key!r}, which it does not take; "
                f"{near(str(key), sorted(accepted))}"
            )
        check_number(str(key), node[key])


def _is_ours(cls: type) -> bool:
    packages = {base.__module__.partition(".")[0] for base in cls.__mro__}
    return not packages.isdisjoint(SHARED) or find_task(cls) is not None


@dataclass
class LoadReport:
    """What happened to each weight when a state dict was loaded."""

    matched: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # only in the model; keep initial values
    extra: list[str] = field(default_factory=list)  # only in the file; not used
    reshaped: list[str] = field(default_factory=list)  # other classes; rows of common ones copied
    mismatched: list[str] = field(default_factory=list)  # other shape; not used
    common_classes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{len(self.matched)} matched"]
        for name in ("missing", "extra", "mismatched"):
            if names := getattr(self, name):
                lines.append(f"{len(names)} {name} ({_some(names)})")
        if self.reshaped:
            took = _some(self.common_classes) if self.common_classes else "none"
            lines.append(
                f"{len(self.reshaped)} reshaped to other classes ({_some(self.reshaped)}; "
                f"rows taken by class name: {took})"
            )
        return "weights: " + ", ".join(lines)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f", ... {len(names) - 3} more" if len(names) > 3 else "")


@torch.no_grad()
def load_weights(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    classes: Sequence[str] = (),
    new_classes: Sequence[str] = (),
    class_layers: Sequence[str] = (),
    source: str = "checkpoint",
) -> LoadReport:
    """Copy `weights` into `model` by name and report what happened.

    If the class lists differ, the layers under `class_layers` (one output row a class) take the
    rows of the classes in both lists, by name, and keep their initial values for the others. Lists
    of the plain numbers 0..K-1 mean unnamed classes: two such lists of different lengths have no
    class in common.

    Args:
        model: The model, changed in place.
        weights: State dict of the file.
        classes: Class names of the file.
        new_classes: Class names of the model.
        class_layers: Name prefixes of the layers with one row a class (`model.class_layers`).
        source: The file, for messages.

    Raises:
        ValueError: no tensor matched.
    """
    common = _common(classes, new_classes)
    report = LoadReport(common_classes=common)
    own = model.state_dict()
    other_classes = tuple(classes) != tuple(new_classes)
    for name, target in own.items():
        if name not in weights:
            report.missing.append(name)
        elif other_classes and name.startswith(tuple(class_layers)):
            _copy_rows(target, weights[name], classes, new_classes, common)
            report.reshaped.append(name)
        elif weights[name].shape == target.shape:
            target.copy_(weights[name])
            report.matched.append(name)
        else:
            report.mismatched.append(name)
    report.extra = [name for name in weights if name not in own]
    if not report.matched:
        raise ValueError(
            f"{source}: none of its {len(weights)} tensors fits the model "
            f"(it has {_some(list(weights))}; the model wants {_some(list(own))}); "
            "is it a checkpoint of another model?"
        )
    return report


def _common(classes: Sequence[str], new_classes: Sequence[str]) -> tuple[str, ...]:
    """The names that mean the same class in both lists."""
    if len(classes) != len(new_classes) and _unnamed(classes) and _unnamed(new_classes):
        return ()
    return tuple(name for name in new_classes if name in classes)


def _unnamed(classes: Sequence[str]) -> bool:
    """Whether the names are only the numbers 0..K-1."""
    return list(classes) == [str(label) for label in range(len(classes))]


def _copy_rows(
    target: Tensor,
    source: Tensor,
    classes: Sequence[str],
    new_classes: Sequence[str],
    common: Sequence[str],
) -> None:
    """Copy the rows of the `common` classes if the rows have the same shape."""
    if source.shape[1:] != target.shape[1:] or len(source) != len(classes):
        return
    known = {name: row for row, name in enumerate(classes) if name in common}
    for row, name in enumerate(new_classes):
        if name in known:
            target[row].copy_(source[known[name]])
