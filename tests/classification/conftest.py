"""Classifiers with golden weights, small ones, and drawn data sets in both layouts."""

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from backbone.mobilenetv3 import MobileNetV3
from backbone.pplcnet import PPLCNet
from classification.classifier import Classifier

Write = Callable[..., Path]


def trunk_of(name: str) -> torch.nn.Module:
    """The trunk a golden file's name means: `MobileNetV3_small_x1_0_c10`."""
    scale = float("{}.{}".format(*re.search(r"_x(\d)_(\d+)", name).groups()))
    if name.startswith("PPLCNet"):
        return PPLCNet(scale)
    return MobileNetV3(name.split("_")[1], scale)


@pytest.fixture
def golden_classifier() -> Callable[..., Classifier]:
    """An unfilled classifier of the shape a golden file's name means."""

    def build(name: str, **options: object) -> Classifier:
        classes = re.search(r"_c(\d+)$", name)
        options = {"num_classes": int(classes[1]) if classes else 10, **options}
        return Classifier(backbone=trunk_of(name), **options)

    return build


@pytest.fixture
def tiny_model() -> Classifier:
    """A model of three classes with random weights, in eval mode."""
    torch.manual_seed(0)
    return Classifier(backbone=PPLCNet(0.25), num_classes=3).eval()


@pytest.fixture
def write_images(tmp_path: Path) -> Write:
    """Writes flat PNGs at these paths below a folder, each of another grey; gives the folder."""

    def write(*paths: str, size: tuple[int, int] = (20, 30)) -> Path:
        for number, path in enumerate(paths):
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / path), np.full((*size, 3), 10 * number, np.uint8))
        return tmp_path

    return write
