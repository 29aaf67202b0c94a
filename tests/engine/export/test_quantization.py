"""8-bit files: calibration folders, and the whole command on a small detector."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine import config, load_model
from engine.export.exporter import export
from engine.export.plan import Plan
from engine.export.quantization import EightBit, calibration_images

ROOT = Path(__file__).parents[3]
OWN = ROOT / "configs/picodet_lcnet_own.py"
SEGMENTER = ROOT / "configs/deeplabv3plus_lcnet_mini.py"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten small pictures."""
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(10):
        image = cv2.resize(random.integers(0, 256, (6, 8, 3), dtype=np.uint8), (96, 64))
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


def test_images_of_a_folder(photos: Path) -> None:
    images = calibration_images(config.load(OWN), photos)
    assert [image.shape for image in images] == [(64, 96, 3)] * 10


def test_images_of_the_training_split(mini_coco: Path) -> None:
    assert len(calibration_images(config.load(OWN), mini_coco)) == 12


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no image"):
        calibration_images(config.load(OWN), tmp_path)


def test_data_of_another_task(mini_coco: Path) -> None:
    with pytest.raises(
        ValueError, match="is a data set of the task 'det', the config is of the task 'seg'"
    ):
        calibration_images(config.load(SEGMENTER), mini_coco)


def test_torchscript_has_no_eight_bits(small_detector: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--int8: 8-bit export to torchscript is not supported"):
        export(
            config.load(OWN), small_detector, tmp_path / "a.pt", Plan(format="torchscript"),
            eight_bit=EightBit(tmp_path),
        )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("format_", "name"), [("openvino", "a.xml"), ("onnx", "a.onnx")])
def test_a_folder_without_a_metric(
    small_detector: Path, photos: Path, tmp_path: Path, format_: str, name: str
) -> None:
    """First, last and pooled layers stay in float; outputs change little."""
    pytest.importorskip({"openvino": "nncf", "onnx": "onnxruntime"}[format_])
    pytest.importorskip("onnxscript")
    out = tmp_path / name
    report: Any = export(
        config.load(OWN), small_detector, out, Plan(format=format_, end2end=True),
        eight_bit=EightBit(photos),
    )  # fmt: skip
    (attempt,) = report.eight_bit.attempts
    assert attempt.metric is None
    kept = set(attempt.kept)
    assert {"backbone.stem.conv", "head.cls.0", "head.reg.3"} <= kept
    assert len(kept) < len(report.eight_bit.ranked) * 2 / 3  # depthwise layers among them
    model = load_model(OWN, out)
    assert model.network.exported.content["precision"] == "int8"
    picture = cv2.imread(str(photos / "0.png"))
    scores = model.predict(picture)[0]["scores"][:10].numpy()
    wanted = load_model(OWN, small_detector).predict(picture)[0]["scores"][:10].numpy()
    # Random weights in 8 bits; trained models are checked by their metric.
    assert scores == pytest.approx(wanted, abs=0.2)
