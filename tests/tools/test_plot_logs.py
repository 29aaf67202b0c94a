"""tools/plot_logs.py: a picture of real runs."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine.reports.run_log import read_runs

Run = Callable[..., Any]


@pytest.mark.slow
def test_two_runs_in_one_picture(trained: Path, tmp_path: Path, run_tool: Run) -> None:
    """Six iterations each; panels of 528 x 348 pixels, three in a row, both colours present."""
    (tmp_path / "copy").symlink_to(trained)
    out = tmp_path / "f.png"
    ran = run_tool("plot_logs", trained, tmp_path / "copy", "--out", out)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count("6 iterations logged") == 2
    picture = cv2.imread(str(out), cv2.IMREAD_COLOR_RGB)
    assert (picture.shape[1], (picture.shape[0] - 60) % 348) == (3 * 528, 0)
    for colour in ((0, 0x72, 0xB2), (0xD5, 0x5E, 0)):
        assert (np.abs(picture.astype(int) - colour).sum(-1) < 6).sum() > 100


def test_errors_are_one_line(tmp_path: Path, run_tool: Run) -> None:
    ran = run_tool("plot_logs", tmp_path, "--out", tmp_path / "f.png")
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert run_tool("plot_logs", tmp_path, "--out", tmp_path / "f.jpg").code == 2
    assert run_tool("plot_logs", tmp_path, "--out", tmp_path / "f.png", "--smooth", "1").code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_real_resumed_run_has_each_step_once(
    tiny_train: Run, trained: Path, tmp_path: Path
) -> None:
    """The second of two epochs of three iterations is repeated from the first one's state."""
    work_dir = tmp_path / "run"
    shutil.copytree(trained, work_dir)
    (work_dir / "epoch_2.pth").unlink()
    ran = tiny_train(work_dir, "--resume")
    assert ran.code == 0, ran.err
    assert len(list(work_dir.glob("*/vis_data/scalars.json"))) == 2
    (whole,), (joined,) = read_runs([trained]), read_runs([work_dir])
    assert [step for step, _ in joined.training["loss"]] == [3, 6]
    assert joined.training["lr"] == whole.training["lr"]  # losses are means since the start
    assert joined.validation["coco/bbox_mAP"] == whole.validation["coco/bbox_mAP"]
    assert joined.epoch_length == 3
