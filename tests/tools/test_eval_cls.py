"""tools/eval_cls.py: the metric's numbers from files, and errors in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from classification.evaluation.metric import ClassificationMetric
from classification.evaluation.predictions import ImageScores, write_predictions

Run = Callable[..., Any]
SCORES = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]], np.float32)
NAMES = [f"val/{i}.jpg" for i in range(4)]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Truth 0 0 1 1 and predictions: three of four right."""
    truth, found = tmp_path / "val_list.txt", tmp_path / "found.npz"
    truth.write_text("".join(f"{name} {i // 2}\n" for i, name in enumerate(NAMES)))
    write_predictions(found, ImageScores(SCORES, NAMES, ("nobody", "someone")))
    return truth, found


def test_prints_and_writes_what_the_metric_gives(files, tmp_path: Path, run_tool: Run) -> None:
    out, picture = tmp_path / "m.json", tmp_path / "c.png"
    ran = run_tool("eval_cls", *files, "--out", out, "--confusion", picture)
    assert (ran.code, ran.err) == (0, "")
    written = json.loads(out.read_text())
    metric = ClassificationMetric(classwise=True)
    metric.dataset_meta = {"classes": ("nobody", "someone")}
    assert written == metric.compute_metrics(
        [(name, i // 2, row) for i, (name, row) in enumerate(zip(NAMES, SCORES, strict=True))]
    )
    assert written["accuracy/top1"] == 75
    assert written["Acc/nobody"] == 50
    assert written["threshold"] == 0.6
    assert f"accuracy/top1  {written['accuracy/top1']!r}" in ran.out
    assert "0 nobody" in ran.out
    assert cv2.imread(str(picture)) is not None


def test_a_budget_moves_the_threshold(files, tmp_path: Path, run_tool: Run) -> None:
    out = tmp_path / "m.json"
    assert run_tool("eval_cls", *files, "--fpr", "0.5", "--out", out).code == 0
    written = json.loads(out.read_text())
    assert (written["threshold"], written["tpr_at_fpr"], written["fpr"]) == (0.1, 100, 50)


def test_a_folder_of_class_folders_is_a_truth_too(files, tmp_path: Path, run_tool: Run) -> None:
    ids = ["test/nobody/0.png", "test/nobody/1.png", "test/someone/2.png", "test/someone/3.png"]
    for path in ids:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    write_predictions(files[1], ImageScores(SCORES, ids, ("nobody", "someone")))
    ran = run_tool("eval_cls", tmp_path / "test", files[1])
    assert (ran.code, ran.err) == (0, "")
    assert "accuracy/top1  75.0" in ran.out
    (tmp_path / "test").rename(tmp_path / "elsewhere")
    (tmp_path / "test").symlink_to("elsewhere")
    ran = run_tool("eval_cls", tmp_path / "test", files[1])
    assert (ran.code, ran.err) == (0, "")


def test_errors_are_one_line(files, tmp_path: Path, run_tool: Run) -> None:
    truth, found = files

    def line(*arguments: object) -> str:
        ran = run_tool("eval_cls", *arguments)
        assert ran.code == 1, ran
        assert ran.err.startswith("error: ")
        assert ran.err.count("\n") == 1
        return str(ran.err)

    assert "none.txt: no such list file" in line(tmp_path / "none.txt", found)
    assert "none.npz: no such file of predictions" in line(truth, tmp_path / "none.npz")
    assert "val_list.txt: not a file of predictions" in line(truth, truth)
    assert "false positive rate, 7.0, must be in 0..1" in line(truth, found, "--fpr", "7")
    (tmp_path / "classes.txt").write_text("someone\nnobody\n")
    assert "classes.txt: its classes are ['someone', 'nobody']" in line(truth, found)
    (tmp_path / "classes.txt").unlink()
    truth.write_text("val/0.jpg 0\nval/1.jpg 2\n")
    assert "line 2: class 2 is not one of the 2 classes" in line(truth, found)
    truth.write_text("val/0.jpg 0\nval/9.jpg 1\n")
    assert "found.npz: no prediction for val/9.jpg (1 of 2 images)" in line(truth, found)
    truth.write_text("val/0.jpg 0\n")
    assert "predictions for val/1.jpg, which is not listed" in line(truth, found)
