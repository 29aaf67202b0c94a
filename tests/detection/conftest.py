"""Detectors with the weights of the golden files, and what the original computed with them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from backbone import MobileNetV3, PPLCNet
from detection.boxes import decode
from detection.head import Predictions
from detection.paddle_weights import picodet_name, picodet_state
from detection.picodet import PicoDet

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


def build(name: str) -> PicoDet:
    return BUILD[name]().eval()


def tensors(arrays: dict[str, Any]) -> dict[str, Any]:
    """The arrays as tensors, sampled ones as they are."""
    return {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value
        for name, value in arrays.items()
    }


@dataclass
class GoldenDetector:
    """One golden case: what the original made of which input, and the model."""

    model: PicoDet  # in eval mode
    arrays: dict[str, Any]
    info: dict


@pytest.fixture(scope="session")
def golden_detector(golden) -> Callable[[str], GoldenDetector]:
    """Loads the golden case of that name, with a model of its own."""

    @cache
    def state(name: str) -> dict[str, Tensor]:
        return picodet_state(golden(name).weights(), build(name))

    def load(name: str) -> GoldenDetector:
        model = build(name)
        model.load_state_dict(state(name))
        return GoldenDetector(model, tensors(golden(name).arrays), golden(name).info)

    return load


@pytest.fixture(scope="session")
def elementary(golden) -> dict[str, Tensor]:
    """Golden inputs and outputs of single formulas."""
    return tensors(golden("elementary").arrays)


@dataclass
class GoldenTraining:
    """What the original predicted in training mode, by our types, and made of it."""

    predictions: Predictions
    boxes: Tensor  # (B, P, 4) in pixels
    targets: list[dict[str, Tensor]]
    arrays: dict[str, Any]
    info: dict


@torch.no_grad()
def predict(detector: GoldenDetector, images: Tensor) -> Predictions:
    model = detector.model.train()
    return model.head(model.neck(model.backbone(images)))


@pytest.fixture(scope="session")
def golden_training(golden, golden_detector) -> Callable[[str], GoldenTraining]:
    """Loads the training part of a golden detector.

    All on which an assignment depends is the original's: boxes, the scores of the objects'
    classes, and the distances of points with an object. The other predictions are our model's.
    """

    @cache
    def load(name: str) -> GoldenTraining:
        case = golden(f"{name}_train")
        arrays = tensors(case.arrays)
        predictions = predict(golden_detector(name), arrays["input/image"])
        classes = arrays["input/gt_class"].mT.expand(-1, len(predictions.grid.points), -1)
        predictions.scores.scatter_(2, classes, arrays["train/scores_of_targets"])
        kinds = ("static_atss", "task_aligned")
        taken = torch.stack([arrays[f"{kind}/assigned_labels"] < 80 for kind in kinds]).any(0)
        predictions.dist_logits[taken] = arrays["train/regs_of_positives"]
        boxes = arrays["train/pred_bboxes_over_stride"] * predictions.grid.strides
        return GoldenTraining(predictions, boxes, unpad(arrays), arrays, case.info)

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
def golden_legacy_training(golden_detector) -> Callable[[str], GoldenTraining]:
    """Loads the training part of a golden detector of the first generation; our predictions."""

    @cache
    def load(name: str) -> GoldenTraining:
        detector = golden_detector(name)
        arrays = detector.arrays
        predictions = predict(detector, arrays["train/image"])
        grid = predictions.grid
        boxes = decode(predictions.dist_logits, grid.points, grid.strides)
        targets = [
            {"boxes": box[:count], "labels": label[:count, 0]}
            for box, label, count in zip(
                arrays["train/gt_bbox"],
                arrays["train/gt_class"],
                arrays["train/gt_num"].tolist(),
                strict=True,
            )
        ]
        return GoldenTraining(predictions, boxes, targets, arrays, detector.info)

    return load


@pytest.fixture(scope="session")
def golden_training_model(
    golden_detector,
    golden_training: Callable[[str], GoldenTraining],
    golden_legacy_training: Callable[[str], GoldenTraining],
) -> Callable[[str], tuple[PicoDet, GoldenTraining, Callable[[str], str]]]:
    """Loads a golden detector in training mode, its training part and the map of names."""

    def load(name: str) -> tuple[PicoDet, GoldenTraining, Callable[[str], str]]:
        model = golden_detector(name).model
        part = golden_legacy_training if model.generation == 1 else golden_training
        return model.train(), part(name), picodet_name

    return load
