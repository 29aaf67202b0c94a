"""8-bit files after training: calibrated on images, sensitive layers left in float.

NNCF writes OpenVINO's, ONNX Runtime's static quantiser writes ONNX's.
"""

import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS
from numpy.typing import NDArray
from torch import Tensor

from engine.config import plain
from engine.data.images import read_image
from engine.export import formats
from engine.export.graph import folded
from engine.export.metric_loss import data_of, metric, metric_name, points
from engine.export.plan import Prepared
from engine.export.sensitivity import DEPTHWISE, FIRST, LAST, POOLED, Layer, layers
from engine.extras import require
from engine.runtime.exported import contiguous, core
from engine.training.norm_calibration import find_images
from engine.types import Picture

NUM_CALIBRATION = 64
NUM_RANKED = 4  # of these, on which layers are ranked
Reasons = tuple[str, ...]
# Why layers stay in float, the cheapest reasons first. Depthwise ones need not where each channel
# in front of them has a scale of its own, which NNCF gives and ONNX Runtime does not.
ORDER: dict[str, tuple[Reasons, ...]] = {
    "openvino": ((POOLED,), (FIRST,), (LAST,)),
    "onnx": ((POOLED, DEPTHWISE), (FIRST,), (LAST,)),
}
# Folders that tell which task a data set is laid out for, by its model's type.
LAYOUTS = {"annotations": "PicoDet", "gtFine": "DeepLabV3Plus", "train_list.txt": "Classifier"}


@dataclass(frozen=True)
class EightBit:
    """How to quantise.

    Args:
        calib: Folder of images, or a data set of the task: then its validation split decides.
        budget: Points of 0..100 that the metric may lose.
    """

    calib: Path
    budget: float = 1.0


@dataclass(frozen=True)
class Attempt:
    """An 8-bit file with these layers in float, and its metric."""

    kept: tuple[str, ...]
    metric: float | None  # None without a data set


@dataclass(frozen=True)
class Outcome:
    """What became of quantising."""

    ranked: list[Layer]  # the most sensitive first
    before: float | None  # metric of the checkpoint
    attempts: list[Attempt]  # the last one is what was written


def calibration_images(cfg: Config, folder: Path) -> list[Picture]:
    """Images of the training split where the folder is a data set, else of all of it.

    Raises:
        FileNotFoundError: there is no image.
        ValueError: the folder is a data set of another task.
    """
    _check_layout(cfg, folder)
    data = data_of(cfg, folder, "train") if folder.is_dir() else None
    if data is not None:
        dataset = DATASETS.build(data.test_dataloader.dataset)
        return [dataset[index]["images"].numpy() for index in _spread(len(dataset))]
    files = find_images(folder)
    return [read_image(files[index]) for index in _spread(len(files))]


def _spread(count: int) -> list[int]:
    """At most NUM_CALIBRATION indices, evenly over all."""
    return np.linspace(0, count - 1, min(count, NUM_CALIBRATION)).round().astype(int).tolist()


def _check_layout(cfg: Config, folder: Path) -> None:
    ours = plain(cfg.model)["type"]
    for name, task in LAYOUTS.items():
        if (folder / name).exists() and task != ours and data_of(cfg, folder) is None:
            raise ValueError(
                f"--calib {folder}: is laid out for {task}, the config is one of {ours}; give a "
                "folder of images, or data of this task"
            )


def attempts(ranked: Sequence[Layer], order: Sequence[Reasons]) -> Iterator[tuple[str, ...]]:
    """Which layers to keep in float: by reason, in this order, then by rank.

    Those of the first reasons always; of the ranking twice as many each time.
    """
    kept: list[str] = []
    for reasons in order:
        more = [layer.name for layer in ranked if layer.reason in reasons]
        kept += more
        if more or reasons is order[0]:
            yield tuple(kept)
    others = [layer.name for layer in ranked if not layer.reason]
    count = 1
    while count < len(others):
        yield (*kept, *others[:count])
        count *= 2


def quantise_openvino(model: Any, samples: Sequence[NDArray[Any]], kept: Sequence[str]) -> Any:
    """An OpenVINO model in 8 bits but for the layers kept, and what is not a layer of ours.

    Biases are corrected by how far the mean of each channel moved.
    """
    os.environ.setdefault("NNCF_CI", "1")  # else it reports its use to its makers
    nncf = require("nncf")
    nncf.set_log_level(logging.ERROR)
    with _one_core():
        return nncf.quantize(
            model,
            nncf.Dataset(list(samples)),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(samples),
            ignored_scope=nncf.IgnoredScope(
                patterns=[rf"^{re.escape(name)}(/.*)?$" for name in kept] + [".*bmm.*"],
                validate=False,
            ),
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                # Half the range of weights, without which processors lacking VNNI overflow.
                overflow_fix=nncf.OverflowFix.ENABLE,
            ),
        )


@contextmanager
def _one_core() -> Iterator[None]:
    """NNCF's calls of `openvino.Core()` give ours, see `core`."""
    openvino, ours = require("openvino"), core()
    made = openvino.Core
    openvino.Core = lambda: ours
    try:
        yield
    finally:
        openvino.Core = made


def quantise_onnx(
    source: Path, target: Path, samples: Sequence[NDArray[Any]], kept: Sequence[str]
) -> None:
    """Write an ONNX file in 8 bits but for the layers kept, and what is not a layer of ours."""
    onnx, quantization = require("onnx"), require("onnxruntime.quantization")
    model = onnx.load(source)
    name = model.graph.input[0].name
    foreign = [node.name for node in model.graph.node if "bmm" in node.name]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined]
        """Hands out the samples, one a call."""

        def __init__(self) -> None:
            self.left = iter(samples)

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            """The next one, None at the end."""
            sample = next(self.left, None)
            return None if sample is None else {name: sample}

    prepared = target.with_suffix(".prepared.onnx")  # with the shapes of all tensors
    shape_inference = require("onnxruntime.quantization.shape_inference")
    shape_inference.quant_pre_process(source, prepared, skip_optimization=True)
    quantization.quantize_static(
        prepared,
        target,
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        per_channel=True,
        reduce_range=True,  # 7 bits of weights: processors lacking VNNI overflow with 8
        weight_type=quantization.QuantType.QInt8,
        activation_type=quantization.QuantType.QUInt8,
        nodes_to_exclude=[*kept, *foreign],
    )
    prepared.unlink()


def quantised(
    cfg: Config,
    prepared: Prepared,
    files: tuple[Path, Path],
    images: Sequence[Picture],
    choice: EightBit,
    options: Mapping[str, Any] | None = None,
) -> Outcome:
    """Write a float32 export in 8 bits, with as few layers in float as the budget allows.

    Args:
        cfg: Loaded config of the checkpoint.
        prepared: What was exported.
        files: The float32 file, and the one to write.
        images: To calibrate with, `calibration_images`.
        choice: Data to decide on, and budget.
        options: Overrides that were applied to `cfg`.

    Raises:
        ValueError: a quantiser is missing, or no choice of layers keeps the metric.
    """
    model = prepared.source.model
    source, target = files
    inputs = [_network_input(model, image) for image in images]
    whole = prepared.plan.with_preprocess
    samples = images if whole else [contiguous(x) for x in inputs]
    step = max(1, len(inputs) // NUM_RANKED)
    format_ = prepared.plan.format
    few = inputs[::step][:NUM_RANKED]
    ranked = layers(folded(model), few, model.last_layers, outputs=format_ == "onnx")
    data = data_of(cfg, choice.calib)
    before = None if data is None else metric(data, prepared.source.path, options)
    outcome = Outcome(ranked, before, [])
    order = ORDER[format_]
    reasoned = {layer.name for layer in ranked if layer.reason in chain(*order)}
    for number, kept in enumerate(attempts(ranked, order)):
        if data is None and not reasoned <= set(kept):
            continue  # nothing would tell that it is good enough
        # Each in a place of its own: an engine may still have the one before mapped to memory.
        aside = source.parent / str(number) / target.name
        aside.parent.mkdir()
        _write(prepared, source, aside, samples, kept)
        after = None if data is None else metric(data, aside)
        outcome.attempts.append(Attempt(kept, after))
        if after is not None:
            found = f"{metric_name(cfg)} {before:.4f} before, {after:.4f} in 8 bits"
            print_log(f"{len(kept)} of {len(ranked)} layers in float: {found}", "current")
        if before is None or after is None or points(before, after) <= choice.budget:
            for path in aside.parent.iterdir():
                shutil.move(path, target.parent / path.name)
            return outcome
    tried = ", ".join(f"{len(a.kept)} in float: {a.metric:.4f}" for a in outcome.attempts)
    raise ValueError(
        f"--int8: no choice of layers keeps {metric_name(cfg)} {before:.4f} within "
        f"{choice.budget} points ({tried}); raise --budget or export without --int8"
    )


def _network_input(model: Any, image: Picture) -> Tensor:
    inputs: Tensor = model.data_preprocessor({"images": [torch.from_numpy(image)]})["images"]
    return inputs


def _write(
    prepared: Prepared,
    source: Path,
    target: Path,
    samples: Sequence[NDArray[Any]],
    kept: Sequence[str],
) -> None:
    """Write `target` in 8 bits, with its description."""
    content = {**prepared.content, "precision": "int8", "float_layers": list(kept)}
    if prepared.plan.format == "openvino":
        model = quantise_openvino(formats.convert(source), samples, kept)
        formats.write_openvino(model, target, content)
        return
    quantise_onnx(source, target, samples, kept)
    onnx = require("onnx")
    written = onnx.load(target)
    formats.describe_onnx(written, content)
    onnx.save(written, target)
