"""engine/hooks/checkpoint_hook.py: files survive a kill, and the newest is found.

When a run saves is seen in tests/tools/test_train.py and test_resuming.py.
"""

import multiprocessing
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engine.checkpoint import checkpoint
from engine.fileio import remove_leftovers
from engine.hooks.checkpoint_hook import SaveCheckpoint, newest, save_state, state_files
from engine.training.runner import resume_path


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


def state(folder: Path, name: str, value: float = 0.0, size: int = 100_000) -> Path:
    content = {"model": {}, "classes": [], "state_dict": {"w": torch.full((size,), value)}}
    save_state(folder / name, {**content, "info": {}, "training": {}}, max_keep_ckpts=2)
    return folder / name


def test_files_are_ordered_by_epoch_and_step(tmp_path: Path) -> None:
    names = ["epoch_1.pth", "epoch_1_step_9.pth", "epoch_1_step_10.pth", "epoch_2.pth"]
    for name in (*reversed(names), "epoch_1_step_x.pth"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in state_files(tmp_path)] == ["epoch_1_step_x.pth", *names]


def test_keeps_the_last_two_up_to_the_new_one(tmp_path: Path) -> None:
    (tmp_path / "epoch_7.pth").write_bytes(b"of before a resume")
    for name in ("epoch_1.pth", "epoch_1_step_3.pth", "epoch_2.pth"):
        state(tmp_path, name)
    assert [path.name for path in state_files(tmp_path)] == [
        "epoch_1_step_3.pth",
        "epoch_2.pth",
        "epoch_7.pth",
    ]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.999])
def test_a_changed_bit_or_a_cut_is_found(folder: Path, share: float) -> None:
    """torch itself reads weights with a changed bit."""
    whole = state(folder, "iter_20.pth").read_bytes()
    (folder / "iter_20.pth").write_bytes(whole[: int(share * len(whole))])
    assert newest(folder) == folder / "epoch_10.pth"
    bad = bytearray(whole)
    bad[len(bad) // 2] ^= 1
    (folder / "iter_20.pth").write_bytes(bad)
    assert checkpoint.read(folder / "iter_20.pth")
    assert newest(folder) == folder / "epoch_10.pth"


def test_new_is_on_disk_before_old_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, then its name, then the folder; only then is an old file removed."""
    done: list[str] = []

    def note(module: Any, name: str) -> None:
        original = getattr(module, name)

        def noting(*arguments: Any, **options: Any) -> Any:
            if name != "unlink" or arguments[0].exists():
                done.append(name)
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, noting)

    for module, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink")):
        note(module, name)
    for number in (1, 2, 3):
        state(tmp_path, f"iter_{number}.pth")
    assert done == ["fsync", "replace", "fsync"] * 3 + ["unlink"]


@pytest.mark.parametrize(
    ("interval", "epochs"), [(1, [*range(1, 11)]), (3, [3, 6, 9, 10]), (None, [4, 8, 10])]
)
def test_the_epochs_that_get_a_file(interval: int | None, epochs: list[int]) -> None:
    """Of ten, with a validation after each fourth."""
    hook = SaveCheckpoint(interval=interval)
    written: list[int] = []
    hook._write = lambda _: written.append(hook.place.epoch)  # type: ignore[method-assign]
    loop = SimpleNamespace(val_interval=4)
    for epoch in range(10):
        runner = SimpleNamespace(train_loop=loop, epoch=epoch, iter=7 * epoch, max_epochs=10)
        hook.after_train_epoch(runner)
    assert written == epochs


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    """Also if equal parts are one object in the first file and two in the second."""
    word, numbers = "".join(["w", "x"]), [1.0]
    one = {"model": {"a": word, "b": word, "c": numbers, "d": numbers}, "weight": torch.ones(3)}
    two = {"model": {"a": "wx", "b": "".join("wx"), "c": [1.0], "d": [1.0]}}
    checkpoint.save(tmp_path / "one.pth", one)
    checkpoint.save(tmp_path / "another_name.pth", {**two, "weight": torch.ones(3)})
    assert (tmp_path / "one.pth").read_bytes() == (tmp_path / "another_name.pth").read_bytes()


def test_leftovers_of_a_killed_run_go(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "60"])
    names = {".epoch_1.pth.999999999.part", f".epoch_1.pth.{os.getpid()}.part"}
    kept = {f".epoch_1.pth.{other.pid}.part", ".metrics.json.999999999.part"}
    for name in names | kept:
        (tmp_path / name).write_bytes(b"half")
    remove_leftovers(tmp_path, "*.pth")
    other.kill()
    other.wait()
    assert {path.name for path in tmp_path.iterdir()} == kept


def save_forever(folder: Path, done: Any) -> None:
    """A run that only saves: a state at each step, a best file at each third."""
    step = 0
    while True:
        step += 1
        state(folder, f"iter_{step}.pth", float(step), 300_000)
        if step % 3 == 0:
            content = {"model": {}, "classes": [], "state_dict": {"w": torch.full((9,), step)}}
            best = folder / f"best_top1_iter_{step}.pth"
            checkpoint.save(best, {**content, "info": {"step": step}})
            for old in folder.glob("best_*.pth"):
                if old != best:
                    old.unlink()
        done.value = step


@pytest.mark.slow
def test_a_kill_at_any_moment_loses_one_save_at_most(tmp_path: Path) -> None:
    """At 40 moments: all saved files are complete, and the best file too."""
    random = np.random.default_rng(0)
    fork = multiprocessing.get_context("fork")
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        shared = fork.Value("q", 0, lock=False)
        child = fork.Process(target=save_forever, args=(folder, shared))
        child.start()
        while not shared.value:
            time.sleep(0.001)
        time.sleep(random.uniform(0.0, 0.1))
        child.kill()
        child.join()
        done, found = int(shared.value), newest(folder)
        assert found is not None
        step = int(found.stem.split("_")[1])
        assert step in (done, done + 1)
        assert torch.equal(checkpoint.read(found)["state_dict"]["w"], torch.full((300_000,), step))
        best = [checkpoint.read(path)["info"]["step"] for path in folder.glob("best_*.pth")]
        assert max(best, default=0) in (done // 3 * 3, (done + 1) // 3 * 3)
        shutil.rmtree(folder)
