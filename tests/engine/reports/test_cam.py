"""engine/reports/cam.py and tools/cam.py: heat computed by hand, and a picture for each task."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine import config
from engine.checkpoint import checkpoint
from engine.reports.cam import colours, heat_of, overlay

ROOT = Path(__file__).parents[3]
Run = Callable[..., Any]


class Means(nn.Module):
    """Score = 3 mean(first channel) - 2 mean(second channel) of a map, as a classifier's end."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(3, 2, 1, bias=False)
        self.other = nn.Conv2d(3, 2, 1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.maps.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[..., None, None])
            self.last.weight.copy_(torch.tensor([[3.0, -2.0]]))

    def forward(self, images: Tensor, mode: str) -> Tensor:
        assert mode == "tensor"
        self.other(images)
        return self.last(self.pool(self.maps(images)).flatten(1))


def heat(layer: str, method: str = "gradcam") -> np.ndarray:
    pytest.importorskip("pytorch_grad_cam")
    red = torch.tensor([[4.0, 2], [0, 1]])
    green = torch.tensor([[0.0, 1], [2, 1]])
    images = torch.stack([red, green, torch.zeros(2, 2)])[None]
    return heat_of(Means().eval(), images, lambda outputs: outputs[0][0], layer, method)


@pytest.mark.slow  # the library takes seconds to import
@pytest.mark.parametrize("method", ["gradcam", "hirescam"])
def test_heat_by_hand(method: str) -> None:
    """Each place of channel k weighs w_k / 4: (12, 6 - 2, -4, 3 - 2) / 4, below 0 cut, over 3."""
    assert heat("maps", method) == pytest.approx(np.array([[1, 4 / 12], [0, 1 / 12]]), abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("layer", ["pool", "last", "mapz", "", "other"])
def test_a_layer_that_gives_no_map_is_an_error(layer: str) -> None:
    with pytest.raises(ValueError, match=f"^--layer {layer}: "):
        heat(layer)


def test_where_nothing_is_added_the_picture_is_grey() -> None:
    picture = np.full((4, 8, 3), (200, 100, 0), np.uint8)
    warm = np.zeros((4, 8), np.float32)
    warm[:, 6:] = 1
    drawn = overlay(picture, warm)
    assert (drawn[:, :4] == drawn[0, 0, 0]).all()
    assert drawn[0, 0, 0] in (118, 119)  # 0.299 * 200 + 0.587 * 100 = 118.5
    brightest = 0.75 * colours(warm)[0, 7] + 0.25 * drawn[0, 0, 0]
    assert drawn[0, 7].tolist() == pytest.approx(brightest.tolist(), abs=1)


def test_without_the_library_one_line_says_what_to_install(
    run_tool: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    ran = run_tool("cam", "c.py", "c.pth", "a.jpg", "--out", tmp_path / "out")
    assert ran.code == 1
    assert ran.err.startswith("error: pytorch_grad_cam is not installed; run: pip install ")
    assert ran.err.count("\n") == 1


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A photo-like file of 96 x 64 pixels."""
    noise = np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8)
    path = tmp_path / "photo.jpg"
    cv2.imwrite(str(path), cv2.resize(noise, (96, 64), interpolation=cv2.INTER_CUBIC))
    return path


def test_no_picture_takes_the_name_of_another() -> None:
    """The second `a` would be `a_2`, which exists."""
    targets = runpy.run_path(str(ROOT / "tools/cam.py"))["targets"]
    sources = [Path(name) for name in ("x/a.jpg", "x/a_2.jpg", "y/a.jpg", "z/a.png")]
    names = [path.name for path in targets(Path("out"), sources)]
    assert names == ["a_cam.png", "a_2_cam.png", "a_3_cam.png", "a_4_cam.png"]


@pytest.fixture
def small_classifier(tmp_path: Path) -> Path:
    """A checkpoint of classifier_lcnet_own.py with random weights and three classes."""
    torch.manual_seed(0)
    options = {"model.backbone.scale": 0.25, "model.num_classes": 3}
    plain = config.plain(config.load(ROOT / "configs/classifier_lcnet_own.py", options).model)
    model = checkpoint.build_model(plain)
    path = tmp_path / "classifier.pth"
    checkpoint.save(path, checkpoint.describe(model, plain, ["a", "b", "c"], {"epoch": 1}))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fixture", "config_name", "arguments"),
    [
        ("small_detector", "picodet_lcnet_own", ("--score-thr", "0.05")),
        ("small_segmenter", "deeplabv3plus_lcnet_mini", ()),
        ("small_classifier", "classifier_lcnet_own", ("--class", "b", "c")),
    ],
)
def test_every_task_is_explained(
    fixture: str,
    config_name: str,
    arguments: tuple[str, ...],
    picture: Path,
    tmp_path: Path,
    run_tool: Run,
    request: pytest.FixtureRequest,
) -> None:
    pytest.importorskip("pytorch_grad_cam")
    weights, config_file = request.getfixturevalue(fixture), ROOT / f"configs/{config_name}.py"
    before = picture.read_bytes()
    common = ("cam", config_file, weights, picture, picture, "--out", tmp_path / "out")
    ran = run_tool(*common, *arguments)
    assert ran.code == 0, ran.err
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["photo_2_cam.png", "photo_cam.png"]
    drawn = cv2.imread(str(tmp_path / "out/photo_cam.png")).astype(int)
    assert drawn.shape[0] == 400 + 20 + 20
    saturation = (drawn.max(-1) - drawn.min(-1))[:400, -500:]
    assert (saturation > 60).mean() > 0.005  # heat on grey
    assert picture.read_bytes() == before
    wrong = run_tool(*common, "--class", "zebra")
    assert wrong.code == 1
    assert "--class zebra: not a class of the model; nearest known: " in wrong.err
