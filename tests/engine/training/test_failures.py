"""Missing data, full disks and dead loader workers: the error is one line with a remedy."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from engine.data.bad_images import BadImages
from engine.data.images import FolderGone, read_image
from engine.data.preprocess import collate
from engine.hooks.checkpoint_hook import SaveCheckpoint, newest

ROOT = Path(__file__).parents[3]


def test_a_missing_folder_is_no_missing_image(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.jpg: no such image file$"):
        read_image(tmp_path / "a.jpg")
    with pytest.raises(FolderGone, match=r"a\.jpg: no such image file; its folder is missing too"):
        read_image(tmp_path / "train/a.jpg")


def test_skipping_ends_where_the_folder_is_gone(tmp_path: Path) -> None:
    """Otherwise all images would be tried for each one."""
    tried = []
    folder = tmp_path / "images"
    folder.mkdir()
    cv2.imwrite(str(folder / "2.png"), np.zeros((4, 4, 3), np.uint8))

    def reader(index: int) -> Any:
        tried.append(index)
        return read_image(folder / f"{index}.png")

    images = BadImages("skip", 5, training=True)
    assert images.read(0, reader)[0] == 2
    shutil.rmtree(folder)
    tried.clear()
    with pytest.raises(FolderGone):
        images.read(0, reader)
    assert tried == [0]


def test_workers_share_tensors_before_they_queue_them(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = {"images": torch.zeros(2, 2, 3), "targets": {"label": 1, "boxes": torch.ones(1, 4)}}
    collate([sample])
    assert not sample["images"].is_shared()
    monkeypatch.setattr("engine.data.preprocess.get_worker_info", lambda: object())
    batch = collate([sample])
    assert batch["images"][0].is_shared()
    assert batch["targets"][0]["boxes"].is_shared()
    assert batch["targets"][0] == sample["targets"]


@pytest.fixture(scope="module")
def mounts() -> None:
    """Skips if the process may not mount a small file system."""
    tried = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/mnt"]
    if (
        shutil.which("unshare") is None
        or subprocess.run(tried, capture_output=True, check=False).returncode
    ):
        pytest.skip("no right to mount a small disk")


def on_small_disk(folder: str | Path, size: str, command: list[str | Path]) -> Any:
    """Run a command that sees a file system of that size in `folder`."""
    mount = f'mount -t tmpfs -o size={size} tmpfs {folder} && exec "$@"'
    return subprocess.run(
        list(map(str, ["unshare", "-m", "sh", "-c", mount, "sh", *command])),
        capture_output=True, text=True, check=False, timeout=240, cwd=ROOT,
    )  # fmt: skip


def training(data: Path, work_dir: Path, options: dict[str, object]) -> list[str | Path]:
    return [
        "env", f"PYTHONPATH={ROOT}", sys.executable, ROOT / "tools/train.py",
        ROOT / "configs/picodet_lcnet_own.py", "--data", data, "--work-dir", work_dir,
        "--cfg-options", *(f"{key}={value}" for key, value in options.items()),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("mounts")
def test_shared_memory_runs_out(mini_coco: Path, tiny: dict[str, object], tmp_path: Path) -> None:
    options = tiny | {"train_dataloader.num_workers": 1}
    ran = on_small_disk("/dev/shm", "200k", training(mini_coco, tmp_path, options))
    assert ran.returncode == 1, ran
    assert ran.stderr.splitlines()[-1].startswith("error: /dev/shm is full; loader workers pass")


@pytest.mark.slow
@pytest.mark.usefixtures("mounts")
def test_the_disk_is_full(
    mini_coco: Path, tiny: dict[str, object], trained: Path, tmp_path: Path
) -> None:
    """There is space for one and a half state files; the first one stays complete."""
    size = (trained / "epoch_1.pth").stat().st_size
    work_dir, kept = tmp_path / "work", tmp_path / "kept"
    work_dir.mkdir()
    look = f'"$@"; code=$?; cp -r {work_dir} {kept}; exit $code'
    command = ["sh", "-c", look, "sh", *training(mini_coco, work_dir, tiny)]
    ran = on_small_disk(work_dir, str(int(2.4 * size)), command)
    assert ran.returncode == 1, ran
    assert ran.stderr.splitlines()[-1].endswith(".pth: No space left on device"), ran.stderr
    assert (kept / "epoch_1.pth").is_file()
    assert "Traceback" not in ran.stderr, ran.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_the_data_goes_away(
    tiny_train: Callable[..., Any], mini_coco: Path, tmp_path: Path, workers: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """After the first epoch; what it saved stays, and the error is one line."""
    folder, away = mini_coco / "train", mini_coco / "away"
    original = SaveCheckpoint.after_train_epoch

    def unmount(hook: SaveCheckpoint, runner: Any) -> None:
        original(hook, runner)
        folder.rename(away)

    monkeypatch.setattr(SaveCheckpoint, "after_train_epoch", unmount)
    try:
        ran = tiny_train(tmp_path, train_dataloader__num_workers=workers)
    finally:
        away.rename(folder)
    assert ran.code == 1
    line = ran.err.splitlines()[-1]
    assert line.startswith(f"error: {folder}")
    assert line.endswith("no such image file; its folder is missing too")
    assert newest(tmp_path) == tmp_path / "epoch_1.pth"


@pytest.mark.slow
def test_a_worker_dies(
    tiny_train: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like a worker that the kernel kills when memory runs out."""

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("detection.data.dataset.CocoDetection._read", die)
    ran = tiny_train(tmp_path, train_dataloader__num_workers=1)
    assert ran.code == 1
    line = ran.err.splitlines()[-1]
    assert re.match(
        "error: a loader worker (is killed by signal: Killed|exited unexp.*), most", line
    )
    assert line.endswith(f"checkpoints in {tmp_path} are complete")
