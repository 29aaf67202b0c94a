"""Detectors with the weights of the golden files, and what the original computed with them."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from backbone import MobileNetV3, PPLCNet
from detection.boxes import decode
from detection.head import Predictions
from detection.paddle_weights import picodet_name, picodet_state
from detection.picodet import PicoDet
from detection.points import make_grid

BUILD: dict[str, Callable[[], PicoDet]] = {
    "picodet_s_320_coco_lcnet": lambda: PicoDet(backbone=PPLCNet(0.75), num_classes=80),
    "picodet_xs_320_coco_lcnet": lambda: PicoDet(backbone=PPLCNet(0.35), num_classes=80),
    "picodet_legacy_lcnet_x0_5": lambda: PicoDet(
        backbone=PPLCNet(0.5), num_classes=80, generation=1
    ),
    "picodet_legacy_mbv3_large_x0_35": lambda: PicoDet(
        backbone=MobileNetV3("large", 0.35), num_classes=80, generation=1
    ),
}


def drawn_weight(name: str, shape: list[int], seed: int, is_norm: bool) -> np.ndarray:
    """The weight that the README of the golden files prescribes for `name`."""
    random = np.random.RandomState(zlib.crc32(f"{seed}:{name}".encode()))
    if is_norm and name.endswith(".weight"):
        return (0.5 + random.random_sample(shape)).astype(np.float32)
    if len(shape) == 4:
        gain = np.sqrt(2 / np.prod(shape[1:]))
        return (random.standard_normal(shape) * gain).astype(np.float32)
    return (0.3 * random.standard_normal(shape)).astype(np.float32)


def build(name: str) -> PicoDet:
    return BUILD[name]().eval()


def golden_state(golden_dir: Path, name: str) -> dict[str, Tensor]:
    """State dict of the golden detector `name` by our names."""
    info = json.loads((golden_dir / f"{name}.json").read_text())
    stored = np.load(golden_dir / f"{name}.npz")
    shapes = info["state_dict"]
    arrays = {
        key: stored[f"state/{key}"]
        if f"state/{key}" in stored
        else drawn_weight(key, shape, info["seed"], f"{key.rsplit('.', 1)[0]}._mean" in shapes)
        for key, shape in shapes.items()
    }
    return picodet_state(arrays, build(name))


@dataclass
class Golden:
    """One golden file: what the original made of which input, and how to build the model."""

    model: PicoDet  # in eval mode
    arrays: dict[str, Tensor]
    info: dict


@pytest.fixture(scope="session")
def golden_detector(golden_dir: Path) -> Callable[[str], Golden]:
    """Loads a golden file of kind `detector eval` or, with `_train` at its end, of training."""
    states = cache(lambda name: golden_state(golden_dir, name))

    def load(name: str) -> Golden:
        base = name.removesuffix("_train")
        model = build(base)
        model.load_state_dict(states(base))
        stored = np.load(golden_dir / f"{name}.npz")
        arrays = {k: torch.from_numpy(stored[k]) for k in stored if not k.startswith("state/")}
        return Golden(model, arrays, json.loads((golden_dir / f"{name}.json").read_text()))

    return load


@pytest.fixture(scope="session")
def elementary(golden_dir: Path) -> dict[str, Tensor]:
    """Golden inputs and outputs of single formulas."""
    stored = np.load(golden_dir / "elementary.npz")
    return {key: torch.from_numpy(stored[key]) for key in stored}


@dataclass
class GoldenTraining:
    """What the original predicted in training mode, by our types, and made of it."""

    predictions: Predictions
    boxes: Tensor  # (B, P, 4) in pixels
    targets: list[dict[str, Tensor]]
    arrays: dict[str, Tensor]
    info: dict


@pytest.fixture(scope="session")
def golden_training(golden_dir: Path) -> Callable[[str], GoldenTraining]:
    """Loads the training part of a golden detector."""

    def load(name: str) -> GoldenTraining:
        stored = np.load(golden_dir / f"{name}_train.npz")
        arrays = {key: torch.from_numpy(stored[key]) for key in stored}
        grid = make_grid([(24, 24), (12, 12), (6, 6), (3, 3)], (8, 16, 32, 64), torch.device("cpu"))
        predictions = Predictions(arrays["train/pred_scores"], arrays["train/pred_regs"], grid)
        boxes = arrays["train/pred_bboxes_over_stride"] * grid.strides
        info = json.loads((golden_dir / f"{name}_train.json").read_text())
        return GoldenTraining(predictions, boxes, unpad(arrays), arrays, info)

    return load


def unpad(arrays: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Targets of the images without the rows that fill them up."""
    padded = zip(
        arrays["input/gt_bbox"],
        arrays["input/gt_class"][..., 0],
        arrays["input/pad_gt_mask"][..., 0] > 0,
        strict=True,
    )
    return [{"boxes": boxes[real], "labels": labels[real]} for boxes, labels, real in padded]


@pytest.fixture(scope="session")
def golden_legacy_training(golden_dir: Path) -> Callable[[str], GoldenTraining]:
    """Loads the training part of a golden detector of the first generation."""

    def load(name: str) -> GoldenTraining:
        stored = np.load(golden_dir / f"{name}.npz")
        arrays = {key: torch.from_numpy(stored[key]) for key in stored}
        grid = make_grid([(24, 24), (12, 12), (6, 6), (3, 3)], (8, 16, 32, 64), torch.device("cpu"))
        cls_logits, dist_logits = (
            torch.cat([arrays[f"train/{key}_{level}"].flatten(2).mT for level in range(4)], dim=1)
            for key in ("cls_logit", "reg")
        )
        predictions = Predictions(cls_logits.sigmoid(), dist_logits, grid, cls_logits)
        boxes = decode(dist_logits, grid.points, grid.strides)
        targets = [
            {"boxes": box[:count], "labels": label[:count, 0]}
            for box, label, count in zip(
                arrays["train/gt_bbox"],
                arrays["train/gt_class"],
                arrays["train/gt_num"].tolist(),
                strict=True,
            )
        ]
        info = json.loads((golden_dir / f"{name}.json").read_text())
        return GoldenTraining(predictions, boxes, targets, arrays, info)

    return load


@pytest.fixture(scope="session")
def golden_training_model(
    golden_dir: Path,
    golden_training: Callable[[str], GoldenTraining],
    golden_legacy_training: Callable[[str], GoldenTraining],
) -> Callable[[str], tuple[PicoDet, GoldenTraining, Callable[[str], str]]]:
    """Loads a golden detector in training mode, its training part and the map of names."""

    def load(name: str) -> tuple[PicoDet, GoldenTraining, Callable[[str], str]]:
        model = build(name)
        model.load_state_dict(golden_state(golden_dir, name))
        part = golden_legacy_training if model.generation == 1 else golden_training
        return model.train(), part(name), picodet_name

    return load
