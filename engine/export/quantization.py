"""Post-training quantisation to 8 bits: calibrated on images, sensitive layers in float.

NNCF writes OpenVINO files, ONNX Runtime's static quantiser writes ONNX files.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS

from engine.data.image_files import find_images
from engine.data.images import read_image
from engine.data.layout import data_of
from engine.export.formats import FORMATS
from engine.export.graph import folded
from engine.export.metric_loss import Scorer
from engine.export.plan import Prepared
from engine.export.sensitivity import DEPTHWISE, Layer, layers
from engine.runtime.exported import contiguous
from engine.task import task_of_config, tasks_of_layout
from engine.types import Picture

NUM_CALIBRATION = 64
NUM_RANKED = 4  # of these, to rank the layers on
Reasons = tuple[str, ...]


@dataclass(frozen=True)
class EightBit:
    """How to quantise.

    Args:
        calib: Folder of images, or a data set of the task, on whose validation split the metric
            is checked.
        budget: Largest loss of the metric, in points of 0..100.
    """

    calib: Path
    budget: float = 1.0


@dataclass(frozen=True)
class Attempt:
    """One 8-bit file that was tried."""

    kept: tuple[str, ...]  # layers in float
    metric: float | None  # None without a data set


@dataclass(frozen=True)
class Outcome:
    """Result of quantisation."""

    ranked: list[Layer]  # the most sensitive first
    before: float | None  # metric of the checkpoint
    attempts: list[Attempt]  # the last one was written


def calibration_images(cfg: Config, folder: Path) -> list[Picture]:
    """Images of the training split if the folder is a data set, else of the whole folder.

    Raises:
        FileNotFoundError: the folder has no images.
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
    """At most NUM_CALIBRATION indices, evenly spread."""
    return np.linspace(0, count - 1, min(count, NUM_CALIBRATION)).round().astype(int).tolist()


def _check_layout(cfg: Config, folder: Path) -> None:
    ours = task_of_config(cfg)
    found = tasks_of_layout(folder)
    if found and ours not in found and data_of(cfg, folder) is None:
        raise ValueError(
            f"--calib {folder}: is a data set of the task {found[0].name!r}, the config is of the "
            f"task {ours.name!r}; give a folder of images, or data of this task"
        )


def attempts(ranked: Sequence[Layer], order: Sequence[Reasons]) -> Iterator[tuple[str, ...]]:
    """Sets of layers to keep in float, each larger than the one before.

    First the layers with the first reasons, then those with the further ones, then also the most
    sensitive of the others: 1, 2, 4, ...
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


def quantised(
    prepared: Prepared,
    files: tuple[Path, Path],
    images: Sequence[Picture],
    choice: EightBit,
    scorer: Scorer | None = None,
) -> Outcome:
    """Write a float32 export in 8 bits, with as few float layers as the budget allows.

    Args:
        prepared: The exported graph.
        files: The float32 file, and the file to write.
        images: Calibration images, of `calibration_images`.
        choice: Gives the budget.
        scorer: Scores files on the validation data; None without data.

    Raises:
        ValueError: a quantiser is missing, or no choice of layers keeps the metric.
    """
    model = prepared.source.model
    source, target = files
    preprocess = model.data_preprocessor
    inputs = [preprocess({"images": [torch.from_numpy(image)]})["images"] for image in images]
    whole = prepared.plan.with_preprocess
    samples = images if whole else [contiguous(x) for x in inputs]
    step = max(1, len(inputs) // NUM_RANKED)
    format_ = FORMATS[prepared.plan.format]
    few = inputs[::step][:NUM_RANKED]
    ranked = layers(
        folded(model), few, model.last_layers, outputs=DEPTHWISE in chain(*format_.float_reasons)
    )
    before = None if scorer is None else scorer.score(prepared.source.path)
    outcome = Outcome(ranked, before, [])
    order = format_.float_reasons
    reasoned = {layer.name for layer in ranked if layer.reason in chain(*order)}
    for number, kept in enumerate(attempts(ranked, order)):
        if scorer is None and not reasoned <= set(kept):
            continue  # without data, keep all layers that have a reason
        # A new folder each time: an engine may still have the last file mapped to memory.
        aside = source.parent / str(number) / target.name
        aside.parent.mkdir()
        content = {**prepared.content, "precision": "int8", "float_layers": list(kept)}
        format_.quantise(source, aside, samples, kept, content)
        after = None if scorer is None else scorer.score(aside)
        outcome.attempts.append(Attempt(kept, after))
        lost = 0.0
        if scorer is not None and before is not None and after is not None:
            found = f"{scorer.name} {before:.4f} before, {after:.4f} in 8 bits"
            print_log(f"{len(kept)} of {len(ranked)} layers in float: {found}", "current")
            lost = scorer.drop(before, after).points
        if lost <= choice.budget:
            for path in aside.parent.iterdir():
                shutil.move(path, target.parent / path.name)
            return outcome
    tried = ", ".join(f"{len(a.kept)} in float: {a.metric:.4f}" for a in outcome.attempts)
    raise ValueError(
        f"--int8: no choice of layers keeps {scorer and scorer.name} {before:.4f} within "
        f"{choice.budget} points ({tried}); raise --budget or export without --int8"
    )
