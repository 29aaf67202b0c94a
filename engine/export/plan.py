"""The plan of an export, the graph made from it, and the description stored in the file.

Shapes: B images, H, W the size of the network input.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import Tensor

from engine.checkpoint import checkpoint
from engine.checkpoint.restore import describe, fill
from engine.config import check_sizes
from engine.export.graph import Graph, Reading, fold_scale, folded
from engine.runtime.exported import FORMAT
from engine.task import Task, task_of_config
from engine.types import Size

DISTRIBUTION = "lcnet-vision"
OPSETS = range(18, 22)  # the exporter writes them; tested with both engines
UNUSED = ("train_sizes", "seed")  # keys of the preprocessing without effect in evaluation
EXAMPLE_SIZE = (256, 320)  # of the input for tracing a graph for any size


@dataclass(frozen=True)
class Plan:
    """What to export.

    Args:
        format: Name of a format of `engine.export.formats`.
        shape: (height, width) of the network input; None keeps the preprocessing's size.
        dynamic: "batch" or "size" for any number or any size of images; None for one image of
            fixed size.
        end2end: Put the post-processing into the graph.
        with_preprocess: Put the preprocessing into the graph.
        opset: Version of ONNX's operators.
    """

    format: str
    shape: Size | None = None
    dynamic: str | None = None
    end2end: bool = False
    with_preprocess: bool = False
    opset: int = OPSETS[0]


@dataclass(frozen=True)
class Source:
    """A loaded checkpoint to export."""

    path: Path
    task: Task
    model: Any  # network of the task, in eval mode, with its weights
    description: dict[str, Any]  # config of the model, plain data
    classes: list[str]
    info: dict[str, Any]

    @property
    def size(self) -> Size | None:
        """(height, width) of the network input; None keeps the size of images."""
        size: Size | None = self.model.data_preprocessor.size
        return size


@dataclass(frozen=True)
class Prepared:
    """The graph to write, and the model to check it against."""

    source: Source
    plan: Plan
    graph: Graph  # folded
    head: Any  # ExportHead, or None
    content: dict[str, Any]  # the description in the file


def load(cfg: Config, path: Path, plan: Plan, options: Mapping[str, Any] | None = None) -> Source:
    """The checkpoint with the network size of the plan.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: it is damaged, or the plan does not fit it.
    """
    content = checkpoint.read(path)
    description = describe(cfg, content, path, options)
    _check_plan(plan, description, cfg)
    preprocess = description["data_preprocessor"]
    if plan.shape is not None:
        preprocess["size"] = list(plan.shape)
    task = task_of_config(content)
    for key in task.evaluation_keys if plan.end2end or plan.with_preprocess else ():
        if description.get(key):
            print_log(f"model.{key} is left out of the graph: {description[key]}", "current")
            description[key] = None
    for key in task.training_keys:
        description.pop(key, None)
    model: Any = checkpoint.build_model(copy.deepcopy(description))
    fill(model, content, path)
    return Source(path, task, model.eval(), description, content["classes"], content["info"])


def _check_plan(plan: Plan, description: Mapping[str, Any], cfg: Config) -> None:
    """Raise ValueError if options exclude each other or do not fit the model."""
    size = plan.shape or description["data_preprocessor"].get("size")
    if plan.opset not in OPSETS:
        raise ValueError(f"--opset {plan.opset}: use {OPSETS[0]} to {OPSETS[-1]}")
    if plan.dynamic and plan.with_preprocess and (plan.dynamic == "batch" or size is not None):
        raise ValueError(
            f"--dynamic {plan.dynamic} with --with-preprocess: the graph already takes one "
            "image of any size; leave out --dynamic"
        )
    if size is None and plan.dynamic != "size":
        raise ValueError(
            "the preprocessing of this model keeps the size of images; give --shape HEIGHT WIDTH "
            "to resize them, or --dynamic size"
        )
    cut = description["data_preprocessor"].get("resize_shortest")
    if cut and plan.dynamic == "size":
        raise ValueError(
            "--dynamic size: this model crops every image to a fixed size; leave out --dynamic"
        )
    if plan.shape is not None and plan.dynamic == "size":
        raise ValueError("--shape and --dynamic size exclude each other; give one of them")
    if plan.shape is not None:
        sized = copy.deepcopy(cfg)
        sized.model.data_preprocessor.size = plan.shape
        check_sizes(sized)


def prepare(source: Source, plan: Plan) -> Prepared:
    """The graph of a checkpoint, in float32, and its description.

    Raises:
        ValueError: the graph cannot hold a part of the preprocessing.
    """
    model = folded(source.model)
    head = None
    if plan.end2end:
        make_head = source.task.use("export_head")
        head = make_head(source.model, batched=plan.dynamic == "batch")
    reading = None
    if plan.with_preprocess:
        reading = _reading(source)
        fold_scale(model, reading.scale, torch.zeros(1, 3, *(source.size or EXAMPLE_SIZE)))
    graph = Graph(model, reading, head).eval()
    names = source.model.outputs if head is None else head.outputs
    return Prepared(source, plan, graph, head, _content(source, plan, names))


def _reading(source: Source) -> Reading:
    """The preprocessing of the model, as a module of the graph."""
    given = dict(source.description["data_preprocessor"])
    for key in ("type", *UNUSED):
        given.pop(key, None)
    try:
        return Reading(**given)
    except TypeError as error:
        raise ValueError(f"--with-preprocess: {error}; export without it") from error


def _content(source: Source, plan: Plan, outputs: Sequence[str]) -> dict[str, Any]:
    """The description stored in the file."""
    preprocess = MODELS.build(source.description["data_preprocessor"])
    height, width = (None, None) if plan.dynamic == "size" else source.size or (None, None)
    shape = [None if plan.dynamic == "batch" else 1, 3, height, width]
    return {
        "format": FORMAT,
        "version": version(DISTRIBUTION),
        "model": source.description,
        "classes": source.classes,
        "info": {k: v for k, v in source.info.items() if k in ("category_ids", "epoch", "iter")},
        "shape": [None, None, 3] if plan.with_preprocess else shape,
        "outputs": list(outputs),
        "end2end": plan.end2end,
        "with_preprocess": plan.with_preprocess,
        "precision": "fp32",
        "mean": [
            round(float(v), 6) for v in (-preprocess.offset / preprocess.scale).flatten() / 255
        ],
        "std": [round(float(v), 6) for v in (1 / preprocess.scale).flatten() / 255],
        "input": _rule(source, plan),
    }


def _rule(source: Source, plan: Plan) -> str:
    """How to make the input from an image, in words."""
    if plan.with_preprocess:
        return "one RGB image, uint8, height x width x 3, any size"
    given = source.description["data_preprocessor"]
    sides = "as it is" if source.size is None else " x ".join(map(str, source.size))
    how = "" if source.size is None else f" by {given.get('interpolation', 'cubic')} interpolation"
    return (
        f"float32 RGB, batch x 3 x height x width: image {sides} (height x width){how}, divided by "
        "255, minus mean, divided by std"
    )


def example(source: Source, plan: Plan) -> Tensor:
    """An input for tracing the graph."""
    if plan.with_preprocess:
        return torch.zeros(*EXAMPLE_SIZE, 3, dtype=torch.uint8)
    size = EXAMPLE_SIZE if plan.dynamic == "size" else source.size or EXAMPLE_SIZE
    return torch.zeros(2 if plan.dynamic == "batch" else 1, 3, *size)
