"""tools/eval_miou.py: the metric's numbers from files, and errors in one line."""

import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

TOOL = Path(__file__).parents[2] / "tools/eval_miou.py"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Truth and prediction of one image: class 0 with IoU 1/2, class 1 with 2/3."""
    truth, found = tmp_path / "data/gtFine/val/a", tmp_path / "found"
    for path, values in (
        (truth / "a_1_gtFine_labelTrainIds.png", [0, 0, 1, 1, 255]),
        (found / "a_1.png", [0, 1, 1, 1, 0]),
    ):
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), np.array([values], np.uint8))
    return truth.parent, found


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(TOOL), run_name="__main__")
    return int(done.value.code or 0)


def test_prints_and_writes_the_numbers(folders, tmp_path: Path, monkeypatch, capsys) -> None:
    out = tmp_path / "m.json"
    assert run(monkeypatch, *folders, "--out", out) == 0
    written = json.loads(out.read_text())
    assert written["mIoU"] == pytest.approx(100 * (1 / 2 + 2 / 3) / 2)
    assert written["IoU/road"] == 50
    assert written["aAcc"] == 75
    printed = capsys.readouterr().out
    assert "left out of the mean" in printed
    assert f"mIoU   {written['mIoU']!r}" in printed


def test_classes_come_from_the_data_or_the_options(folders, tmp_path, monkeypatch, capsys) -> None:
    names = tmp_path / "data/classes.txt"
    names.write_text("cat\ndog\n")
    assert run(monkeypatch, *folders) == 0
    assert run(monkeypatch, *folders, "--classes", names) == 0
    assert capsys.readouterr().out.count("dog") == 2
    assert run(monkeypatch, *folders, "--num-classes", 2) == 0


def test_a_missing_prediction_is_one_line_and_exit_code_1(folders, monkeypatch, capsys) -> None:
    next(folders[1].iterdir()).unlink()
    assert run(monkeypatch, *folders) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "a_1.png: no prediction" in error
