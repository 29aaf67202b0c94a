"""tools/export.py: the file gives the results of its checkpoint; errors in one line."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OWN = ROOT / "configs/picodet_lcnet_own.py"
QUIET = ["--cfg-options", "test_dataloader.num_workers=0"]
Run = Callable[..., Any]


def error_line(ran: Any) -> str:
    assert ran.code == 1, ran
    assert ran.err.count("\n") == 1, ran.err
    return ran.err


@pytest.fixture
def refuse(run_tool: Run, trained: Path, tmp_path: Path) -> Callable[..., str]:
    """Runs the command, which must fail with one line and write nothing: (arguments) -> line."""

    def run(*arguments: str | Path, format_: str = "onnx", name: str = "new/a.onnx") -> str:
        out = tmp_path / "out" / name
        ran = run_tool(
            "export", OWN, trained / "epoch_2.pth", "--format", format_, "--out", out, *arguments
        )
        assert not out.parent.exists() or list(out.parent.iterdir()) == []
        return error_line(ran)

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shape", "64", "65"], "input size 65 is not a multiple of 32; use 64 or 96"),
        (["--opset", "9"], "--opset 9: use 18 to "),
        (["--dynamic", "size", "--shape", "64", "64"], "exclude each other"),
        (["--int8"], "--int8 needs --calib DIR"),
        (["--verify", "nowhere"], "nowhere"),
    ],
)
def test_options_that_do_not_fit(
    refuse: Callable[..., str], arguments: list[str], message: str
) -> None:
    assert message in refuse(*arguments)


def test_name_of_another_format(refuse: Callable[..., str]) -> None:
    assert "is .xml" in refuse(format_="openvino")


def test_no_images_to_calibrate(refuse: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    line = refuse("--int8", "--calib", tmp_path / "empty")
    assert f"{tmp_path / 'empty'}: no image" in line


def test_images_of_another_task(refuse: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "streets/gtFine").mkdir(parents=True)
    line = refuse("--int8", "--calib", tmp_path / "streets")
    assert "streets: is a data set of the task 'seg', the config is of the task 'det'" in line


@pytest.mark.parametrize(
    ("format_", "package"),
    [("onnx", "onnxscript"), ("openvino", "openvino"), ("openvino", "nncf")],
)
def test_package_that_is_not_installed(
    refuse: Callable[..., str],
    mini_coco: Path,
    monkeypatch: pytest.MonkeyPatch,
    format_: str,
    package: str,
) -> None:
    for name in ("onnx", "onnxscript", "openvino"):
        if name != package:
            pytest.importorskip(name)
    monkeypatch.setitem(sys.modules, package, None)
    name = {"onnx": "a.onnx", "openvino": "a.xml"}[format_]
    line = refuse("--int8", "--calib", mini_coco, format_=format_, name=name)
    assert f"{package} is not installed; run: pip install 'lcnet-vision[export]'" in line


def test_the_file_in_the_checkpoints_place(
    run_tool: Run, trained: Path, mini_coco: Path, tmp_path: Path
) -> None:
    """Equal metric and results; one line if the file is truncated or refers to others."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    checkpoint, out = trained / "epoch_2.pth", tmp_path / "a.onnx"
    ran = run_tool(
        "export", OWN, checkpoint, "--format", "onnx", "--end2end", "--out", out,
        "--verify", mini_coco, *QUIET,
    )  # fmt: skip
    assert (ran.code, ran.err) == (0, ""), ran.err
    assert "outputs against PyTorch on 8 pictures" in ran.out
    assert "coco/bbox_mAP" in ran.out
    found = {}
    for path in (checkpoint, out):
        numbers = tmp_path / f"{path.suffix}.json"
        work = ["--work-dir", tmp_path / "work", "--out", numbers]
        ran = run_tool("test", OWN, path, "--data", mini_coco, *work, *QUIET)
        assert ran.code == 0, ran.err
        found[path.suffix] = json.loads(numbers.read_text())
    assert found[".onnx"] == pytest.approx(found[".pth"], abs=1e-4)

    picture = next((mini_coco / "val").iterdir())
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(out.read_bytes()[:5000])
    ran = run_tool("predict", OWN, cut, picture, "--out-dir", tmp_path / "shown")
    assert "cut.onnx: damaged or incomplete" in error_line(ran)
    model = onnx.load(out)
    onnx.save(model, tmp_path / "b.onnx", save_as_external_data=True, location="weights")
    shutil.move(tmp_path / "weights", tmp_path.parent / "weights")
    model = onnx.load(tmp_path / "b.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = entry.value.replace("weights", "../weights")
    (tmp_path / "b.onnx").write_bytes(model.SerializeToString())
    ran = run_tool("predict", OWN, tmp_path / "b.onnx", picture, "--out-dir", tmp_path / "shown")
    assert "read from ../weights, outside its folder" in error_line(ran)
    assert not (tmp_path / "shown").exists()
