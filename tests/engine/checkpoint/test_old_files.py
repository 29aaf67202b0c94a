"""Files that version 0.1 wrote still load, give the same scores and resume the same way."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine import load_model
from engine.checkpoint import checkpoint

ROOT = Path(__file__).parents[3]
CLASSIFIER = ROOT / "configs/classifier_lcnet_x0_25.py"
DETECTOR = ROOT / "configs/picodet_lcnet_own.py"
COLOURS = {"a": (200, 40, 40), "b": (40, 200, 40), "c": (40, 40, 200)}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the files that version 0.1 wrote."""
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ROOT / "tests/golden/written_by_0_1.tar.xz") as archive:
        for member in archive:
            (folder / member.name).write_bytes(archive.extractfile(member).read())
    return folder


@pytest.fixture(scope="module")
def expected(old: Path) -> dict[str, Any]:
    """Scores that version 0.1 gave, and what a resumed epoch led to."""
    return json.loads((old / "expected.json").read_text())


@pytest.fixture
def image() -> np.ndarray:
    y, x = np.mgrid[:48, :64]
    return np.stack([4 * x, 5 * y, 2 * (x + y)], -1).astype(np.uint8)


@pytest.mark.parametrize(
    "name", ["classifier.pth", "classifier.onnx", "classifier.xml", "classifier.pt"]
)
def test_a_classifier_gives_the_same_scores(
    name: str, old: Path, expected: dict[str, Any], image: np.ndarray
) -> None:
    found = load_model(CLASSIFIER, old / name).predict(image)[0]["scores"]
    np.testing.assert_allclose(found, expected[name], rtol=0, atol=1e-5)


def test_a_detector_gives_the_same_scores(
    old: Path, expected: dict[str, Any], image: np.ndarray
) -> None:
    """The best five, sorted: boxes with nearly the same score may change places."""
    found = np.sort(load_model(DETECTOR, old / "detector.pth").predict(image)[0]["scores"])[::-1]
    wanted = sorted(expected["detector.pth"]["scores"], reverse=True)
    np.testing.assert_allclose(found[:5], wanted, rtol=0, atol=1e-5)


def draw_folders(folder: Path) -> None:
    """The class folders on which the resumable file was trained: a noisy colour a class."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for number in range(4):
                image = np.array(colour) + random.integers(-30, 30, (40, 40, 3))
                picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
                picture.save(folder / split / name / f"{number}.png")


def test_a_run_resumes(
    old: Path, expected: dict[str, Any], run_tool: Callable[..., Any], tmp_path: Path
) -> None:
    """The second of two epochs of three steps, from the state after the first."""
    draw_folders(tmp_path / "data")
    work_dir = tmp_path / "run"
    work_dir.mkdir()
    (work_dir / "epoch_1.pth").write_bytes((old / "epoch_1.pth").read_bytes())
    ran = run_tool(
        "train", CLASSIFIER, "--data", tmp_path / "data", "--work-dir", work_dir, "--resume",
        "--cfg-options", *expected["options"],
    )  # fmt: skip
    assert ran.code == 0, ran.err
    training = checkpoint.read(work_dir / "epoch_2.pth")["training"]
    wanted = expected["resumed"]
    assert training["iteration"] == wanted["iteration"] == 6
    keys = {"classify.weight": "classify.weight", "backbone.stem": expected["resumed_key"]}
    for name, key in keys.items():
        found = training["weights"][key].double().abs().sum().item()
        assert found == pytest.approx(wanted[name], rel=1e-3)
