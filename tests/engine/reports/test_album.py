"""engine/reports/album.py and tools/browse_dataset.py: the written files."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from engine.reports.album import resized
from engine.reports.browse import View

ROOT = Path(__file__).parents[3]
CONFIGS = {
    "detection": ROOT / "configs/picodet_lcnet_own.py",
    "segmentation": ROOT / "configs/deeplabv3plus_lcnet_own.py",
    "classification": ROOT / "configs/classifier_lcnet_own.py",
}


def test_boxes_and_mask_follow_the_picture() -> None:
    """From 10 x 20 into 40 x 40: factor 2."""
    mask = torch.zeros(10, 20, dtype=torch.uint8)
    mask[:5] = 255
    target = {"boxes": torch.tensor([[1.0, 2, 3, 4]]), "mask": mask}
    picture, moved = resized(View(np.zeros((10, 20, 3), np.uint8), target), (40, 40))
    assert picture.shape == (20, 40, 3)
    assert moved["boxes"].tolist() == [[2, 4, 6, 8]]
    assert (moved["mask"][:10] == 255).all()
    assert not moved["mask"][10:].any()
    assert target["boxes"].tolist() == [[1, 2, 3, 4]]


def sums(folder: Path) -> dict[str, str]:
    """Hash of every file in a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
@pytest.mark.parametrize("task", CONFIGS)
def test_every_task_can_be_browsed(
    task: str, mini_coco: Path, tmp_path: Path, run_tool: Callable[..., Any]
) -> None:
    data = mini_coco.parent / task
    before = sums(data)
    outs = [tmp_path / name for name in ("one", "two")]
    for out in outs:
        ran = run_tool(
            "browse_dataset", CONFIGS[task], "--data", data, "--number", "3", "--out", out
        )
        assert (ran.code, ran.err) == (0, "")
    assert sums(data) == before
    names = sorted(path.name for path in outs[0].iterdir())
    assert names[3:] == ["classes.png", "contact_sheet.png", "sizes.png"]
    assert [name[:4] for name in names[:3]] == ["001_", "002_", "003_"]
    assert list(sums(outs[0]).values()) == list(sums(outs[1]).values())
    sheet = cv2.imread(str(outs[0] / "contact_sheet.png"))
    assert sheet.std() > 20


@pytest.mark.slow
def test_modes_show_one_picture_or_two(
    mini_coco: Path, tmp_path: Path, run_tool: Callable[..., Any]
) -> None:
    widths = {}
    for mode in ("original", "pipeline", "pairs"):
        out = tmp_path / mode
        arguments = ("--data", mini_coco, "--split", "val", "--mode", mode, "--number", "1")
        ran = run_tool("browse_dataset", CONFIGS["detection"], *arguments, "--out", out)
        assert ran.code == 0, ran.err
        widths[mode] = cv2.imread(str(next(out.glob("001_*.jpg")))).shape[1]
    assert widths["original"] == widths["pipeline"] == 480
    assert widths["pairs"] == 2 * 480 + 6


def test_neither_a_full_folder_nor_the_data_is_written_to(
    mini_coco: Path, tmp_path: Path, run_tool: Callable[..., Any]
) -> None:
    (tmp_path / "mine.txt").write_text("")
    for out in (tmp_path, mini_coco / "look"):
        ran = run_tool("browse_dataset", CONFIGS["detection"], "--data", mini_coco, "--out", out)
        assert ran.code == 1
        assert ran.err.startswith(f"error: --out {out}: ")
        assert ran.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert not (mini_coco / "look").exists()
