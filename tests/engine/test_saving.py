"""engine/saving.py: which file is the newest (the rest is seen in tests/tools/test_train.py)."""

from pathlib import Path

import pytest
import torch

from engine import checkpoint
from engine.runner import resume_path
from engine.saving import newest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    content = {"model": {}, "classes": [], "state_dict": {"w": torch.ones(1)}, "info": {}}
    for epoch in (2, 9, 10):
        checkpoint.save(tmp_path / f"epoch_{epoch}.pth", content)
    return tmp_path


def test_newest_counts_epochs_as_numbers(folder: Path) -> None:
    assert newest(folder) == folder / "epoch_10.pth"


def test_newest_passes_damaged_files(folder: Path) -> None:
    data = (folder / "epoch_10.pth").read_bytes()
    (folder / "epoch_10.pth").write_bytes(data[: len(data) // 2])
    (folder / "epoch_11.pth").write_bytes(b"")
    (folder / "epoch_x.pth").write_bytes(b"")
    assert newest(folder) == folder / "epoch_9.pth"


def test_what_resume_means(folder: Path, tmp_path: Path) -> None:
    assert resume_path(None, folder) is None
    assert resume_path("auto", folder) == folder / "epoch_10.pth"
    assert resume_path("auto", tmp_path / "empty") is None
    assert resume_path(str(folder / "epoch_2.pth"), folder) == folder / "epoch_2.pth"
    with pytest.raises(FileNotFoundError, match=r"--resume .*none\.pth: no such checkpoint"):
        resume_path(str(folder / "none.pth"), folder)
