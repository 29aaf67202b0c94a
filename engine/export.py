"""A checkpoint as a file that runs without this project, checked before it gets its name.

Shapes: B images, H, W the size of the network input, h, w the size of an image before it.
"""

import copy
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS
from torch import Tensor

from . import checkpoint, writers
from .config import check_sizes
from .exported import FORMAT, Exported, contiguous, open_exported
from .gaps import Gap, largest, values_apart
from .graph import Graph, Reading, fold_scale, folded
from .images import read_image
from .interface import Ending, Picture, Size
from .mini_scenes import draw_scene
from .predict import describe, fill
from .sources import IMAGE_SUFFIXES
from .verify import ALLOWED_POINTS, Drop, data_of, metric, metric_name

DISTRIBUTION = "lcnet-vision"
SUFFIXES = {"onnx": (".onnx",), "openvino": (".xml",), "torchscript": (".pt", ".ts")}
OPSETS = range(18, 22)  # that the exporter writes and both engines were tried with
MAX_CHECKED = 8  # pictures that outputs are compared on
DRAWN_SIZES = ((240, 320), (320, 256), (128, 128))  # of the pictures drawn where none are given
EXAMPLE_SIZE = (256, 320)  # of the input that a graph for any size is traced with

# Largest differences from PyTorch that pass, by (preprocessing in the graph, ending in the graph).
# Of raw outputs over the largest value; of endings in pixels and percent of score. Preprocessing in
# the graph may round a pixel the other way than cv2 does: one value in 8,000 with cubic
# interpolation, one in 10 with linear, by one of 255 levels.
TOLERANCE = {
    (False, False): Gap(value=1e-3, share=0.0),
    (False, True): Gap(value=0.05, share=0.02),
    (True, False): Gap(value=0.02, share=0.0),
    (True, True): Gap(value=0.5, share=0.05),
}


@dataclass(frozen=True)
class Plan:
    """What to export.

    Args:
        format: A key of SUFFIXES.
        shape: (height, width) of the network input; None is the preprocessing's size.
        dynamic: "batch" or "size" for any number of images or any size, None for one of a shape.
        end2end: Put what comes after the network into the graph.
        with_preprocess: Put what comes before the network into the graph.
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
    """A checkpoint as it will be exported."""

    path: Path
    model: Any  # of the task, in eval mode, with its weights
    description: dict[str, Any]  # its plain config
    classes: list[str]
    info: dict[str, Any]

    @property
    def size(self) -> Size | None:
        """(height, width) of the network input; None takes images as they are."""
        size: Size | None = self.model.data_preprocessor.size
        return size


@dataclass(frozen=True)
class Prepared:
    """What is written, and what it is checked against."""

    source: Source
    plan: Plan
    graph: Graph  # folded
    ending: Any  # Ending, or None
    content: dict[str, Any]  # the description in the file


@dataclass(frozen=True)
class Report:
    """What became of an export."""

    path: Path
    gap: Gap
    allowed: Gap
    num_pictures: int
    drop: Drop | None  # where a data set was given


def export(
    cfg: Config,
    path: Path,
    out: Path,
    plan: Plan,
    *,
    options: Mapping[str, Any] | None = None,
    verify: Path | None = None,
) -> Report:
    """Write a checkpoint as the plan says; nothing is left of a file that fails a check.

    Args:
        cfg: Loaded config of the checkpoint.
        path: The checkpoint.
        out: File to write.
        plan: What to export.
        options: Overrides that were applied to `cfg`.
        verify: Image or folder to check the outputs on, drawn pictures if None; of a data set in
            the task's layout the metric is compared too.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: plan and checkpoint do not fit, the export fails a check, or an engine is
            missing.
    """
    check_name(out, plan)
    images = pictures(verify)
    source = load(cfg, path, plan, options)
    prepared = prepare(source, plan)
    with written_together(out) as aside:
        write(prepared, aside)
        gap = check_outputs(prepared, aside, images)
        drop = None if verify is None else check_metric(cfg, source, aside, verify, options)
    return Report(out, gap, tolerance(prepared), len(images), drop)


def check_metric(
    cfg: Config,
    source: Source,
    path: Path,
    folder: Path,
    options: Mapping[str, Any] | None = None,
    allowed: float = ALLOWED_POINTS,
) -> Drop | None:
    """The metric of checkpoint and file on a data set; None where the folder is none.

    Raises:
        ValueError: the file loses more than `allowed` points.
    """
    data = data_of(cfg, folder) if folder.is_dir() else None
    if data is None:
        return None
    drop = Drop(metric_name(cfg), metric(data, source.path, options), metric(data, path))
    if drop.points > allowed:
        raise ValueError(f"{drop}: more than {allowed} points lost; nothing was written")
    return drop


def load(cfg: Config, path: Path, plan: Plan, options: Mapping[str, Any] | None = None) -> Source:
    """The checkpoint with the network size of the plan.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: it is damaged, or the plan does not fit it.
    """
    content = checkpoint.read(path)
    description = describe(cfg, content, path, options)
    _check_plan(plan, description, cfg)
    preprocess = description["data_preprocessor"]
    if plan.shape is not None:
        preprocess["size"] = list(plan.shape)
    elif plan.dynamic == "size":
        preprocess["size"] = None
    if description.get("inference") and (plan.end2end or plan.with_preprocess):
        print_log("windows, scales and mirror of model.inference are not in the graph", "current")
        description["inference"] = None
    model: Any = checkpoint.build_model(copy.deepcopy(description))
    fill(model, content, path)
    return Source(path, model.eval(), description, content["classes"], content["info"])


def _check_plan(plan: Plan, description: Mapping[str, Any], cfg: Config) -> None:
    """ValueError where the parts of a plan do not fit together, or not to the model."""
    size = plan.shape or description["data_preprocessor"].get("size")
    if plan.opset not in OPSETS:
        raise ValueError(f"--opset {plan.opset}: use {OPSETS[0]} to {OPSETS[-1]}")
    if plan.dynamic and plan.with_preprocess and (plan.dynamic == "batch" or size is not None):
        raise ValueError(
            f"--dynamic {plan.dynamic} with --with-preprocess: the graph takes one image of any "
            "size already; leave out --dynamic"
        )
    if size is None and plan.dynamic != "size":
        raise ValueError(
            "the preprocessing of this model keeps the size of images; give --shape HEIGHT WIDTH, "
            "which images will be resized to, or --dynamic size"
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
        ValueError: a part of the preprocessing cannot be put in a graph.
    """
    model = folded(source.model)
    ending = source.model.ending(batched=plan.dynamic == "batch") if plan.end2end else None
    reading = None
    if plan.with_preprocess:
        reading = _reading(source)
        fold_scale(model, reading.scale, torch.zeros(1, 3, *(source.size or EXAMPLE_SIZE)))
    graph = Graph(model, reading, ending).eval()
    names = source.model.outputs if ending is None else ending.outputs
    return Prepared(source, plan, graph, ending, _content(source, plan, names))


def _reading(source: Source) -> Reading:
    """The preprocessing of the model as a part of the graph."""
    given = dict(source.description["data_preprocessor"])
    for key in ("type", "train_sizes", "seed"):  # which evaluation does not look at
        given.pop(key, None)
    try:
        return Reading(**given)
    except TypeError as error:
        raise ValueError(f"--with-preprocess: {error}; export without it") from error


def _content(source: Source, plan: Plan, outputs: Sequence[str]) -> dict[str, Any]:
    """What a file says of itself."""
    preprocess = MODELS.build(source.description["data_preprocessor"])
    height, width = source.size or (None, None)
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
    """How an image becomes the input, in words."""
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
    """An input to trace the graph with."""
    if plan.with_preprocess:
        return torch.zeros(*EXAMPLE_SIZE, 3, dtype=torch.uint8)
    return torch.zeros(2 if plan.dynamic == "batch" else 1, 3, *(source.size or EXAMPLE_SIZE))


@contextmanager
def written_together(out: Path) -> Iterator[Path]:
    """Path of the same name in a folder of its own; all files in it move to `out`'s on success."""
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        yield folder / out.name
        # The file named last, so that what it needs is there when it is.
        for path in sorted(folder.iterdir(), key=lambda path: path.name == out.name):
            path.replace(out.parent / path.name)
    finally:
        shutil.rmtree(folder)


def check_name(out: Path, plan: Plan) -> None:
    """ValueError where the file's name does not say its format."""
    if out.suffix not in SUFFIXES[plan.format]:
        raise ValueError(
            f"--out {out}: a file of --format {plan.format} ends in "
            f"{' or '.join(SUFFIXES[plan.format])}"
        )


def write(prepared: Prepared, path: Path) -> None:
    """Write the graph in the plan's format.

    Raises:
        ValueError: the exporter or its checker refuses it, or an engine is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations and tracing hints, checked by outputs
        WRITERS[prepared.plan.format](prepared, path)


def _write_onnx(prepared: Prepared, path: Path) -> None:
    plan, source = prepared.plan, prepared.source
    writers.write_onnx(
        prepared.graph,
        example(source, plan),
        path,
        content=prepared.content,
        dynamic=writers.dynamic_sides(
            plan.dynamic, plan.with_preprocess, source.model.size_divisor
        ),
        operators={} if prepared.ending is None else prepared.ending.onnx_operators(),
        opset=plan.opset,
    )


def _write_openvino(prepared: Prepared, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        through = Path(folder) / "graph.onnx"
        _write_onnx(prepared, through)
        writers.write_openvino(writers.convert(through), path, prepared.content)


def _write_torchscript(prepared: Prepared, path: Path) -> None:
    inputs = example(prepared.source, prepared.plan)
    writers.write_torchscript(prepared.graph, inputs, path, prepared.content)


WRITERS = {
    "onnx": _write_onnx,
    "openvino": _write_openvino,
    "torchscript": _write_torchscript,
}


def pictures(sources: Path | None) -> list[Picture]:
    """Pictures to compare outputs on: of a file or folder, or drawn ones.

    Raises:
        FileNotFoundError: there is none.
    """
    if sources is None:
        return [_drawn(*size) for size in DRAWN_SIZES]
    files = [sources]
    if sources.is_dir():
        files = sorted(p for p in sources.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise FileNotFoundError(f"{sources}: no image there; give a file or folder of images")
    step = max(1, len(files) // MAX_CHECKED)
    return [read_image(path) for path in files[::step][:MAX_CHECKED]]


def _drawn(height: int, width: int) -> Picture:
    scene = draw_scene(np.random.default_rng(0), max(height, width), 1)
    return np.ascontiguousarray(scene.image[:height, :width])


def check_outputs(prepared: Prepared, path: Path, images: Sequence[Picture]) -> Gap:
    """Largest difference of the file's outputs from those of the unfolded model in PyTorch.

    The model's inputs are those of `Preprocess`, so that preprocessing in the graph is checked too.

    Raises:
        ValueError: it exceeds the tolerance.
    """
    exported = open_exported(path)
    gap = largest([_picture_gap(prepared, exported, image) for image in images])
    allowed = tolerance(prepared)
    if gap.value > allowed.value or gap.share > allowed.share:
        raise ValueError(
            f"the {prepared.plan.format} file computes something else than PyTorch: {gap} "
            f"(allowed: {allowed}); nothing was written"
        )
    return gap


def tolerance(prepared: Prepared) -> Gap:
    """What may be between the outputs of a float32 file and PyTorch's."""
    return TOLERANCE[prepared.plan.with_preprocess, prepared.ending is not None]


def _picture_gap(prepared: Prepared, exported: Exported, image: Picture) -> Gap:
    """Difference of all outputs for one picture."""
    wanted, inputs = reference(prepared, image)
    given = image if prepared.plan.with_preprocess else contiguous(inputs)
    found = [torch.from_numpy(np.asarray(output)) for output in exported.run(given)]
    if prepared.ending is not None:
        ending: Ending = prepared.ending
        return ending.apart(wanted, found)
    return largest([values_apart(*pair) for pair in zip(wanted, found, strict=True)])


@torch.inference_mode()
def reference(prepared: Prepared, image: Picture) -> tuple[list[Tensor], Tensor]:
    """What PyTorch computes for a picture, and the network input (B, 3, H, W) it had."""
    model, plan = prepared.source.model, prepared.plan
    if prepared.source.size is None:  # sides that the network takes
        image = _trimmed(image, model.size_divisor)
    inputs = model.data_preprocessor({"images": [torch.from_numpy(image)]})["images"]
    if plan.dynamic == "batch":
        inputs = torch.cat([inputs, inputs.flip(-1)])
    outputs = model(inputs, mode="tensor")
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    if prepared.ending is not None:
        size = (inputs.shape[2], inputs.shape[3])
        given = (image.shape[0], image.shape[1]) if plan.with_preprocess else size
        outputs = prepared.ending(*outputs, size, given)
    return list(outputs), inputs


def _trimmed(image: Picture, divisor: int) -> Picture:
    height, width = (side // divisor * divisor for side in image.shape[:2])
    return np.ascontiguousarray(image[:height, :width])
