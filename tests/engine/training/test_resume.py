"""engine/training/resume.py: a run killed with -9 and resumed gives the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from engine.checkpoint import checkpoint
from engine.data.dataset import SeededData
from engine.demo_data.writer import MiniData, make_mini_data
from engine.hooks.checkpoint_hook import newest
from engine.hooks.ema import EMA
from engine.training.resume import saved_seed

CONFIGS = Path(__file__).parents[3] / "configs"
SHARED = {
    "model.backbone.scale": 0.25,
    "train_dataloader.batch_size": 4,
    "train_dataloader.num_workers": 0,
    "train_dataloader.persistent_workers": False,
    "val_dataloader.num_workers": 0,
    "val_dataloader.persistent_workers": False,
    "auto_scale_lr.base_batch_size": 4,
}
EPOCHS = {"param_scheduler.0.epochs": 2, "train_cfg.max_epochs": 2, "train_cfg.val_interval": 1}
TASKS: dict[str, tuple[str, dict[str, Any], str]] = {  # config, options, last file of 6 steps
    "detection": (
        "picodet_lcnet_own.py",
        EPOCHS
        | {
            "model.neck_channels": 16,
            "model.tower_convs": 1,
            "model.static_epochs": 1,
            "model.data_preprocessor.size": "64,64",
            "model.data_preprocessor.train_sizes": "[64,96]",
            "param_scheduler.0.warmup_iters": 2,
        },
        "epoch_2.pth",
    ),
    "classification": (
        "classifier_lcnet_own.py",
        EPOCHS
        | {
            "model.data_preprocessor.size": "[48,48]",
            "model.data_preprocessor.resize_shortest": 56,
            "train_dataloader.dataset.transforms.0.size": "[32,32]",
            "train_dataloader.batch_size": 16,
            "optim_wrapper.accumulative_counts": 2,
            "param_scheduler.0.warmup_epochs": 1,
            "model.batch_mix.mixup": 0.2,
        },
        "epoch_2.pth",
    ),
    "segmentation": (
        "deeplabv3plus_lcnet_own.py",
        {
            "train_dataloader.batch_size": 2,
            "train_dataloader.dataset.transforms.1.height": 48,
            "train_dataloader.dataset.transforms.1.width": 48,
            "param_scheduler.0.warmup_iters": 2,
            "train_cfg.max_iters": 6,
            "train_cfg.val_interval": 3,
            "default_hooks.checkpoint.interval": 6,
        },
        "iter_6.pth",
    ),
}
ROOT = CONFIGS.parent


class Task(NamedTuple):
    """A training function, and the last file of an uninterrupted run."""

    run_tool: Callable[..., Any]
    name: str
    data: Path
    last: Path

    def arguments(self, work_dir: Path, **more: object) -> list[str | Path]:
        config, options, _ = TASKS[self.name]
        changes = {key.replace("__", "."): value for key, value in more.items()}
        settings = {**SHARED, **options, **changes}
        return [
            CONFIGS / config, "--data", self.data, "--work-dir", work_dir,
            "--cfg-options", *(f"{key}={value}" for key, value in settings.items()),
        ]  # fmt: skip

    def train(self, work_dir: Path, *flags: str, **more: object) -> Any:
        return self.run_tool("train", *self.arguments(work_dir, **more), *flags)

    @property
    def steps(self) -> int:
        return int(checkpoint.read(self.last)["info"]["iteration"])

    @property
    def batch(self) -> int:
        return {**SHARED, **TASKS[self.name][1]}["train_dataloader.batch_size"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    make_mini_data(folder, MiniData(seed=3, train=12, val=6, side=128))
    return folder


@pytest.fixture(scope="module", params=TASKS)
def task(
    request: pytest.FixtureRequest,
    run_tool: Callable[..., Any],
    data: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Task:
    folder = tmp_path_factory.mktemp("straight")
    task = Task(run_tool, request.param, data / request.param, folder / TASKS[request.param][2])
    ran = task.train(folder, "--seed", "5")
    assert ran.code == 0, ran.err
    return task


# Runs tools/train.py until a signal 9 in a step, before that step is saved.
DIE = """
import os, runpy, signal, sys
from engine.hooks.nan_guard import StopOnNaN

script, last, *sys.argv[1:] = sys.argv[1:]

def die(hook, runner, *_, **__):
    if runner.iter == int(last) - 1:
        os.kill(os.getpid(), signal.SIGKILL)

StopOnNaN.after_train_iter = die
sys.argv[0] = script
runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture(scope="module")
def killed(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work dir of a run with two workers that signal 9 ended within the second epoch."""
    folder = tmp_path_factory.mktemp("killed")
    arguments = task.arguments(folder, train_dataloader__num_workers=2)
    script = ROOT / "tools/train.py"
    command = [sys.executable, "-c", DIE, script, task.steps, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [*map(str, command), "--seed", "5", "--save-every-steps", "1"],
        env=environment, capture_output=True, check=False, timeout=200,
    )  # fmt: skip
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_ends_like_an_uninterrupted_run(
    task: Task, killed: Path, workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images before the place of the kill are not read again."""
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    assert newest(tmp_path) not in (None, tmp_path / task.last.name)
    read: list[int] = []
    original = SeededData.__getitem__

    def noting(dataset: SeededData, index: int) -> Any:
        if dataset._training:
            read.append(index)
        return original(dataset, index)

    monkeypatch.setattr(SeededData, "__getitem__", noting)
    ran = task.train(tmp_path, "--resume", train_dataloader__num_workers=workers)
    assert ran.code == 0, ran.err
    assert f"after {'iter' if 'iter' in task.last.name else 'epoch 1 and'} " in ran.out
    assert (tmp_path / task.last.name).read_bytes() == task.last.read_bytes()
    assert len(read) == (0 if workers else task.batch)  # one step is left; workers count apart


@pytest.mark.slow
def test_a_validation_that_was_not_done_is_made_up(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended between the last state file and its validation."""
    original = EMA.before_val_epoch

    def ends(hook: EMA, runner: Any) -> None:
        if runner.iter == task.steps:
            raise KeyboardInterrupt
        original(hook, runner)

    with monkeypatch.context() as changed:
        changed.setattr(EMA, "before_val_epoch", ends)
        assert task.train(tmp_path, "--seed", "5").code == 1
    path = tmp_path / task.last.name
    assert path.read_bytes() != task.last.read_bytes()  # lacks the metrics
    ran = task.train(tmp_path, "--resume")
    assert ran.code == 0, ran.err
    assert "is missing; doing it now" in ran.out
    assert path.read_bytes() == task.last.read_bytes()
    rows = checkpoint.read(path)["training"]["hooks"]["SaveCheckpoint"]["history"]
    assert [row["iteration"] for row in rows] == [task.steps // 2, task.steps]
    assert saved_seed(path) == 5


@pytest.mark.slow
def test_within_an_epoch_the_order_of_images_must_not_change(
    task: Task, killed: Path, tmp_path: Path
) -> None:
    shutil.copytree(killed, tmp_path, dirs_exist_ok=True)
    ran = task.train(tmp_path, "--resume", train_dataloader__batch_size=1)
    changed = f"batch_size was {task.batch}, is 1"
    if "iter" in task.last.name:
        assert changed in ran.out
        assert "the result differs from an uninterrupted run" in ran.out
    else:
        assert ran.code == 1
        assert changed in ran.err
        assert "resume with the old values, or from an epoch_N.pth" in ran.err


HONEST = {
    "epoch": 1, "iteration": 3, "weights": {}, "average": None, "optimizer": {}, "schedules": [],
    "order": {"seed": 5},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"epoch": "1"}, "'epoch' of its training state is wrong"),
        ({"weights": []}, "'weights' of its training state is wrong"),
        ({"schedules": None}, "'schedules' of its training state is wrong"),
        ({"order": 5}, "'order' of its training state is wrong"),
        ({"order": {"seed": "5"}}, "its seed is '5'"),
        ({"hooks": []}, "'hooks' of its training state is wrong"),
        (None, "'epoch' of its training state is wrong"),
    ],
)
def test_a_training_state_of_other_things_is_refused(
    tmp_path: Path, changes: dict[str, object] | None, why: str
) -> None:
    content = {"model": {}, "classes": ["a"], "state_dict": {}, "info": {}, "training": HONEST}
    checkpoint.save(tmp_path / "a.pth", content)
    assert saved_seed(tmp_path / "a.pth") == 5
    content["training"] = None if changes is None else HONEST | changes
    checkpoint.save(tmp_path / "a.pth", content)
    with pytest.raises(ValueError, match=rf"a\.pth: damaged checkpoint.*{why}"):
        saved_seed(tmp_path / "a.pth")
