"""DeepLabV3+ with golden weights, and Cityscapes folders drawn on the fly."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from backbone.mobilenetv3 import MobileNetV3
from backbone.pplcnet import PPLCNet
from segmentation.deeplabv3plus import DeepLabV3Plus
from segmentation.paddle_weights import deeplab_state

TRUNKS = {
    "deeplabv3p_pplcnet_x0_5": lambda: PPLCNet(0.5, (4, 32)),
    "deeplabv3p_mbv3_large_x0_5": lambda: MobileNetV3("large", 0.5, (4, 32)),
}


@pytest.fixture(params=sorted(TRUNKS))
def golden_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def golden_model(golden_name: str, golden) -> DeepLabV3Plus:
    """The model of a golden case in eval mode, every weight filled from it."""
    model = DeepLabV3Plus(backbone=TRUNKS[golden_name](), num_classes=19)
    model.load_state_dict(deeplab_state(golden(golden_name).weights()))
    return model.eval()


@pytest.fixture
def tiny_model() -> DeepLabV3Plus:
    """A model of three classes with random weights, in eval mode."""
    torch.manual_seed(0)
    return DeepLabV3Plus(backbone=PPLCNet(0.25, (4, 32)), num_classes=3).eval()


Masks = dict[str, np.ndarray]


@pytest.fixture
def write_split(tmp_path: Path) -> Callable[..., Path]:
    """Writes a Cityscapes folder of masks by "city/stem"; pictures are random of their size."""

    def write(masks: Masks, *, split: str = "train", kind: str = "labelTrainIds") -> Path:
        random = np.random.default_rng(0)
        for name, mask in masks.items():
            image = random.integers(0, 256, (*mask.shape[:2], 3), dtype=np.uint8)
            picture = tmp_path / "leftImg8bit" / split / f"{name}_leftImg8bit.png"
            truth = tmp_path / "gtFine" / split / f"{name}_gtFine_{kind}.png"
            for path, array in ((picture, image), (truth, mask)):
                path.parent.mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(path), array)
        return tmp_path

    return write
