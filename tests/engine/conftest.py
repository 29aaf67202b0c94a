"""A small detector as a checkpoint, and a hand-made ONNX file with a description."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine import config
from engine.checkpoint import checkpoint
from engine.runtime.exported import FORMAT

ROOT = Path(__file__).parents[2]
OWN = ROOT / "configs/picodet_lcnet_own.py"
SEGMENTER = ROOT / "configs/deeplabv3plus_lcnet_mini.py"
SMALL = {
    "model.backbone.scale": 0.25,
    "model.num_classes": 3,
    "+model.neck_channels": 16,
    "+model.tower_convs": 1,
    "model.data_preprocessor.size": [64, 96],
}


def _shaken(model: Any) -> Any:
    """The model with norms that hold the statistics of noise and are not all alike.

    With those of a new model the outputs would hardly depend on the image: all scores would tie
    within rounding, and the last bit would decide which boxes a suppression leaves.
    """
    norms = [part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.weight.data.uniform_(0.8, 1.2)
    coarse = [torch.randn(8, 3, 64 // step, 96 // step) for step in (1, 4, 16)]
    images = [torch.nn.functional.interpolate(x, (64, 96), mode="bicubic") for x in coarse]
    model.train()(torch.cat(images), mode="tensor")
    for norm in norms:
        norm.momentum = 0.1
    return model.eval()


def _saved(path: Path, config_file: Path, options: dict[str, Any], classes: list[str]) -> Path:
    torch.manual_seed(0)
    plain = config.plain(config.load(config_file, options).model)
    model = _shaken(checkpoint.build_model(plain))
    if plain["type"] == "PicoDet":
        for layer in model.head.cls:
            torch.nn.init.normal_(layer.weight, std=0.3)
            torch.nn.init.constant_(layer.bias, -1.5)
    checkpoint.save(path, checkpoint.describe(model, plain, classes, {"epoch": 1}))
    return path


@pytest.fixture(scope="session")
def small_detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of picodet_lcnet_own.py with random weights, three classes, input 64 x 96."""
    path = tmp_path_factory.mktemp("small") / "detector.pth"
    return _saved(path, OWN, SMALL, ["a", "b", "c"])


@pytest.fixture(scope="session")
def small_segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of deeplabv3plus_lcnet_mini.py with random weights and nine classes."""
    path = tmp_path_factory.mktemp("small") / "segmenter.pth"
    return _saved(path, SEGMENTER, {"model.backbone.scale": 0.25}, list("abcdefghi"))


@pytest.fixture
def onnx_file(tmp_path: Path, small_detector: Path) -> Callable[..., Path]:
    """Writes an ONNX file whose outputs do not depend on its input: (name, description changes).

    It has the four points of a finished detection: boxes, scores, labels.
    """
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    values = {
        "boxes": np.array([[8, 8, 48, 32]], np.float32),
        "scores": np.array([0.75], np.float32),
        "labels": np.array([1], np.int64),
    }

    def write(name: str = "small.onnx", **changes: Any) -> Path:
        nodes = [
            helper.make_node("Constant", [], [key], value=numpy_helper.from_array(value))
            for key, value in values.items()
        ]
        outputs = [
            helper.make_tensor_value_info(
                key, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape
            )
            for key, value in values.items()
        ]
        inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 96])]
        model = helper.make_model(
            helper.make_graph(nodes, "small", inputs, outputs),
            opset_imports=[helper.make_opsetid("", 18)],
            ir_version=10,
        )
        content = {
            "format": FORMAT,
            "model": checkpoint.read(small_detector)["model"],
            "classes": ["a", "b", "c"],
            "info": {},
            "shape": [1, 3, 64, 96],
            "outputs": list(values),
            "end2end": True,
            "with_preprocess": False,
            "precision": "fp32",
        } | changes
        for key, value in content.items():
            text = value if isinstance(value, str) else json.dumps(value)
            model.metadata_props.add(key=key, value=text)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return write
