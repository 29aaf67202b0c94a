"""tools/train.py: runs, resumes and stops; errors in one line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from detection.data.dataset import CocoDetection
from engine import config
from engine.checkpoint import checkpoint
from engine.hooks.checkpoint_hook import newest
from engine.hooks.nan_guard import StopOnNaN

ROOT = Path(__file__).parents[2]
Train = Callable[..., Any]


def tensors(node: Any, where: str = "") -> dict[str, Any]:
    """Everything in a checkpoint by its path."""
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list | tuple):
        items = enumerate(node)
    else:
        return {where: node}
    return {key: v for k, value in items for key, v in tensors(value, f"{where}/{k}").items()}


def assert_equal_bits(first: Path, second: Path) -> None:
    """Every tensor and number of two checkpoints is the same."""
    a, b = tensors(checkpoint.read(first)), tensors(checkpoint.read(second))
    assert a.keys() == b.keys()
    different = [
        key
        for key in a
        if (not torch.equal(a[key], b[key]) if torch.is_tensor(a[key]) else a[key] != b[key])
    ]
    assert different == []


def last_line(ran: Any) -> str:
    """The error line of a failed run."""
    assert ran.code == 1, ran
    assert "Traceback" not in ran.err
    errors = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    return errors[0]


def only_line(ran: Any) -> str:
    """The only line of a run that failed at its start."""
    assert ran.err.count("\n") == 1, ran.err
    return last_line(ran)


def test_what_a_run_leaves(trained: Path) -> None:
    assert sorted(path.name for path in trained.glob("*.pth")) == [
        "best_coco_bbox_mAP_epoch_1.pth",
        "epoch_1.pth",
        "epoch_2.pth",
    ]
    content = checkpoint.read(trained / "epoch_2.pth")
    assert content["info"] == {"epoch": 2, "iteration": 6}
    assert len(content["classes"]) == content["model"]["num_classes"] == 8
    assert content["model"]["backbone"] == {"type": "PPLCNet", "scale": 0.25}
    assert content["training"]["average"]["steps"] == 6
    best = checkpoint.read(trained / "best_coco_bbox_mAP_epoch_1.pth")
    assert "training" not in best
    assert best["info"]["metrics"]["coco/bbox_mAP"] >= 0
    assert not list(trained.rglob("*.part"))


def test_weights_of_a_checkpoint_are_the_average(trained: Path) -> None:
    """s / (1 - d ** t) with d = 6 / 15."""
    content = checkpoint.read(trained / "epoch_2.pth")
    state, shadow = content["state_dict"], content["training"]["average"]["shadow"]
    for name in ("backbone.stem.conv.weight", "backbone.stem.norm.running_var"):
        assert torch.allclose(state[name], shadow[name] / (1 - 0.4**6), rtol=1e-6)
        assert not torch.equal(state[name], content["training"]["weights"][name])


def test_logs(trained: Path) -> None:
    """Loss, learning rate, validation loss and metrics, for people and for TensorBoard."""
    assert list(trained.rglob("events.out.tfevents.*"))
    (path,) = trained.rglob("scalars.json")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    rows = [row for row in lines if "val_loss" in row]
    assert len(rows) == 2
    assert rows[0]["val_loss"] == pytest.approx(
        rows[0]["loss_vfl"] + rows[0]["loss_dfl"] + rows[0]["loss_giou"], rel=1e-4
    )
    assert {"lr", "loss", "loss_vfl"} <= lines[0].keys() | lines[1].keys()


def test_dumped_config_reloads_to_the_run(trained: Path) -> None:
    cfg = config.load(trained / "picodet_lcnet_own.py")
    assert cfg.model.num_classes == 8
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.log_level == "INFO"
    assert cfg.train_dataloader.dataset.data_root.endswith("detection")


def test_a_used_work_dir_is_not_touched(tiny_train: Train, trained: Path) -> None:
    before = {path: path.read_bytes() for path in trained.glob("*.pth")}
    assert "has checkpoints of an earlier run" in last_line(tiny_train(trained))
    assert {path: path.read_bytes() for path in trained.glob("*.pth")} == before


@pytest.mark.slow
def test_resume_equals_the_uninterrupted_run(
    tiny_train: Train, trained: Path, tmp_path: Path
) -> None:
    shutil.copy(trained / "epoch_1.pth", tmp_path)
    shutil.copy(trained / "best_coco_bbox_mAP_epoch_1.pth", tmp_path)
    (tmp_path / "epoch_7.pth").write_bytes(b"damaged")
    ran = tiny_train(tmp_path, "--resume")
    assert ran.code == 0, ran.err
    assert "epoch_7.pth: not readable as a safe checkpoint" in ran.out + ran.err
    assert f"resumed {tmp_path / 'epoch_1.pth'} after epoch 1" in ran.out
    assert_equal_bits(tmp_path / "epoch_2.pth", trained / "epoch_2.pth")
    # No better value came, so the best file from before the interruption is the only one.
    assert len(list(tmp_path.glob("best_*"))) == 1


@pytest.mark.slow
def test_same_seed_same_bits_whatever_the_workers(
    tiny_train: Train, trained: Path, tmp_path: Path
) -> None:
    workers = {"train_dataloader__num_workers": 2, "train_dataloader__persistent_workers": True}
    assert tiny_train(tmp_path / "straight", **workers).code == 0
    assert_equal_bits(tmp_path / "straight/epoch_2.pth", trained / "epoch_2.pth")
    (tmp_path / "resumed").mkdir()
    shutil.copy(tmp_path / "straight/epoch_1.pth", tmp_path / "resumed")
    assert tiny_train(tmp_path / "resumed", "--resume", **workers).code == 0
    assert_equal_bits(tmp_path / "resumed/epoch_2.pth", trained / "epoch_2.pth")


@pytest.mark.slow
def test_another_seed_changes_weights_and_pictures(
    tiny_train: Train, trained: Path, tmp_path: Path
) -> None:
    ran = tiny_train(tmp_path, "--seed", "1", train_cfg__max_epochs=1)
    assert "seed 1" in ran.out
    first, second = (checkpoint.read(d / "epoch_1.pth") for d in (trained, tmp_path))
    name = "backbone.stem.conv.weight"
    assert not torch.equal(first["state_dict"][name], second["state_dict"][name])


@pytest.mark.slow
def test_keeps_two_and_the_best(tiny_train: Train, trained: Path, tmp_path: Path) -> None:
    """Epochs 3 and 4 follow on; a lower rate given on resuming is the one used."""
    shutil.copy(trained / "epoch_2.pth", tmp_path)
    lr = config.load(ROOT / "configs/picodet_lcnet_own.py").optim_wrapper.optimizer.lr
    ran = tiny_train(
        tmp_path, "--resume", train_cfg__max_epochs=4, optim_wrapper__optimizer__lr=lr / 100
    )
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in tmp_path.glob("epoch_*")) == ["epoch_3.pth", "epoch_4.pth"]
    then, now = (
        checkpoint.read(folder / name)["training"]["optimizer"]["param_groups"][0]
        for folder, name in ((trained, "epoch_2.pth"), (tmp_path, "epoch_3.pth"))
    )
    assert now["initial_lr"] == pytest.approx(then["initial_lr"] / 100)
    assert 0 < now["lr"] < then["lr"] / 100


@pytest.mark.slow
def test_nan_stops_and_keeps_the_last_good(
    tiny_train: Train, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(trained / "epoch_1.pth", tmp_path)
    options = {"optim_wrapper__optimizer__lr": 1e20, "+custom_hooks__nan_guard__limit": 0}
    ran = tiny_train(tmp_path, "--resume", **options)
    line = last_line(ran)
    assert "iteration 5 (epoch 2), learning rate" in line or "iteration 6 (epoch 2)" in line
    assert str(tmp_path / "epoch_1.pth") in line
    assert newest(tmp_path) == tmp_path / "epoch_1.pth"


def test_infinite_weights_are_not_saved(
    tiny_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A last step that breaks the weights shows in no loss of the epoch."""

    def spoil(_hook: Any, runner: Any, *_: Any, **__: Any) -> None:
        if runner.iter == 2:
            next(runner.model.parameters()).data.fill_(float("inf"))

    monkeypatch.setattr(StopOnNaN, "after_train_iter", spoil)
    line = last_line(tiny_train(tmp_path))
    assert "is not finite after epoch 1; nothing was saved" in line
    assert list(tmp_path.glob("*.pth")) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_a_signal_saves_and_stops(
    tiny_train: Train, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """In the second step of the second epoch; the rest equals the undisturbed run."""
    shutil.copy(trained / "epoch_1.pth", tmp_path)

    def send(_hook: Any, runner: Any, *_: Any, **__: Any) -> None:
        if runner.iter == 4:
            os.kill(os.getpid(), getattr(signal, name))

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    with monkeypatch.context() as changed:
        changed.setattr(StopOnNaN, "after_train_iter", send)
        ran = tiny_train(tmp_path, "--resume")
    signal.signal(signal.SIGINT, before)
    saved = tmp_path / "epoch_1_step_2.pth"
    assert ran.code == 75
    assert ran.err.splitlines()[-1] == (
        f"{name}: saved {saved} and stopped; continue with --resume"
    )
    assert newest(tmp_path) == saved
    assert tiny_train(tmp_path, "--resume").code == 0
    assert (tmp_path / "epoch_2.pth").read_bytes() == (trained / "epoch_2.pth").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_signal_ends_the_wait_for_data(
    tiny_train: Train, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """A disk that does not answer after the fourth step does not block."""
    shutil.copy(trained / "epoch_1.pth", tmp_path)
    original, run, read = CocoDetection._read, os.getpid(), []

    def hangs(dataset: CocoDetection, index: int) -> Any:
        read.append(index)
        if len(read) == 6:  # of the second batch
            time.sleep(2)  # for the first step, if batches are prefetched
            os.kill(run, signal.SIGTERM)
            time.sleep(100)
        return original(dataset, index)

    started = time.monotonic()
    with monkeypatch.context() as changed:
        changed.setattr(CocoDetection, "_read", hangs)
        ran = tiny_train(tmp_path, "--resume", train_dataloader__num_workers=workers)
    assert time.monotonic() - started < 60
    assert ran.code == 75, ran.err
    assert newest(tmp_path) == tmp_path / "epoch_1_step_1.pth"
    assert tiny_train(tmp_path, "--resume").code == 0
    assert (tmp_path / "epoch_2.pth").read_bytes() == (trained / "epoch_2.pth").read_bytes()


@pytest.mark.slow
def test_full_disk(tiny_train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert last_line(tiny_train(tmp_path)) == (
        f"error: {tmp_path / 'epoch_1.pth'}: No space left on device"
    )
    assert list(tmp_path.glob("*.p*")) == [tmp_path / "picodet_lcnet_own.py"]


def test_dry_run(tiny_train: Train, tmp_path: Path) -> None:
    ran = tiny_train(tmp_path, "--dry-run")
    assert (ran.code, ran.err) == (0, "")
    rows = dict(line.split() for line in ran.out.splitlines() if line.startswith(("loss", "coco")))
    parts = [float(rows[name]) for name in ("loss_vfl", "loss_dfl", "loss_giou")]
    assert float(rows["loss"]) == pytest.approx(sum(parts), abs=2e-4)
    assert float(rows["coco/bbox_mAP"]) >= 0
    assert "dry run done" in ran.out
    assert list(tmp_path.rglob("*.pth*")) == []


def test_warm_up_longer_than_the_run_is_shortened(tiny_train: Train, tmp_path: Path) -> None:
    """12 images, 4 per step, 4 epochs: 12 iterations leave a warm-up of 1."""
    ran = tiny_train(tmp_path, "--dry-run", param_scheduler__0__warmup_iters=12)
    assert ran.code == 0, ran.err
    assert "warmup_iters 12 is not below the 12 iterations of the schedule; using 1" in ran.out


@pytest.mark.slow
def test_published_recipe_dry_runs_on_few_images(
    run_tool: Callable[..., Any], real_dir: Path, tmp_path: Path
) -> None:
    """60 images are fewer than a batch of 64, and 300 epochs of one step no longer than warm-up."""
    ran = run_tool(
        "train", ROOT / "configs/picodet_lcnet.py", "--data", real_dir / "data/coco_mini",
        "--dry-run", "--work-dir", tmp_path,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "60 training images are fewer than one batch of 64" in ran.out
    assert "dry run done" in ran.out


@pytest.mark.slow
def test_load_from_refuses_folded_norms_and_other_models(
    tiny_train: Train, trained: Path, tmp_path: Path
) -> None:
    content = checkpoint.read(trained / "epoch_2.pth")
    content["info"]["norms_folded"] = True
    checkpoint.save(tmp_path / "folded.pth", content)
    ran = tiny_train(tmp_path / "a", "--load-from", tmp_path / "folded.pth")
    assert "--calibrate-bn" in only_line(ran)
    ran = tiny_train(
        tmp_path / "b", "--load-from", trained / "epoch_2.pth", model__neck_channels=24
    )
    assert "is a checkpoint of another model" in only_line(ran)


@pytest.mark.slow
def test_load_from_another_class_list(tiny_train: Train, trained: Path, tmp_path: Path) -> None:
    """With no learning rate the first epoch's raw weights are those of the file."""
    ran = tiny_train(
        tmp_path, "--load-from", trained / "epoch_2.pth", optim_wrapper__optimizer__lr=0.0,
        train_cfg__max_epochs=1,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "matched" in ran.out + ran.err
    start = checkpoint.read(trained / "epoch_2.pth")["state_dict"]
    after = checkpoint.read(tmp_path / "epoch_1.pth")["training"]["weights"]
    for name in ("backbone.stem.conv.weight", "head.cls.0.weight", "neck.laterals.0.conv.weight"):
        assert torch.equal(after[name], start[name])


@pytest.mark.slow
def test_amp_trains(tiny_train: Train, tmp_path: Path) -> None:
    """bfloat16's first loss is float32's to 2 %."""
    losses = []
    for name, flags in (("plain", []), ("amp", ["--amp"])):
        ran = tiny_train(tmp_path / name, "--dry-run", *flags)
        assert ran.code == 0, ran.err
        losses.append(float(ran.out.split("\nloss ", 1)[1].split(maxsplit=1)[0]))
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model__bakbone__scale": 1}, "no key 'bakbone' here; nearest known: backbone"),
        (
            {"model__data_preprocessor__size": "[321,320]"},
            "size 321 is not a multiple of 32; use 320",
        ),
        ({"default_hooks__checkpoint__save_best": "coco/map"}, "which no evaluator computes"),
        ({"model__backbone__type": "PPLCNett"}, "nearest known: PPLCNet"),
        ({"model__backbone__scale": 7}, "7"),
    ],
)
def test_wrong_options(
    tiny_train: Train, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    assert said in only_line(tiny_train(tmp_path, **options))


def test_wrong_paths(run_tool: Train, mini_coco: Path, trained: Path, tmp_path: Path) -> None:
    own = ROOT / "configs/picodet_lcnet_own.py"
    work = ["--work-dir", tmp_path / "w"]
    assert "no such config" in only_line(run_tool("train", tmp_path / "none.py", *work))
    assert "no.pth: no such checkpoint" in only_line(
        run_tool("train", own, "--data", mini_coco, *work, "--resume", tmp_path / "no.pth")
    )
    line = only_line(run_tool("train", own, "--data", tmp_path / "none", *work))
    assert str(tmp_path / "none") in line
    line = only_line(run_tool("train", ROOT / "configs/_base/coco.py", "--data", mini_coco, *work))
    assert "has no model, " in line


@pytest.mark.slow
def test_wrong_checkpoints(tiny_train: Train, trained: Path, tmp_path: Path) -> None:
    best = trained / "best_coco_bbox_mAP_epoch_1.pth"
    ran = tiny_train(tmp_path / "a", "--resume", best)
    assert "has no training state" in last_line(ran)
    ran = tiny_train(tmp_path / "b", "--resume", trained / "epoch_1.pth", model__neck_channels=32)
    assert "cannot be resumed, it is from another model or optimiser" in last_line(ran)
    torch.save({"a": 1}, tmp_path / "foreign.pth")
    ran = tiny_train(tmp_path / "c", "--load-from", tmp_path / "foreign.pth")
    assert "not a checkpoint of this project" in last_line(ran)


class Bomb:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("flag", ["--resume", "--load-from"])
def test_a_hostile_checkpoint_runs_nothing(tiny_train: Train, tmp_path: Path, flag: str) -> None:
    content = {"format": checkpoint.FORMAT, "training": Bomb(tmp_path / "ran")}
    torch.save(content, tmp_path / "x.pth")
    ran = tiny_train(tmp_path / "work", flag, tmp_path / "x.pth")
    assert "x.pth: not readable as a safe checkpoint" in last_line(ran)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_learning_rate_against_batch(tiny_train: Train, tmp_path: Path) -> None:
    wanted = {"auto_scale_lr__base_batch_size": 8, "optim_wrapper__optimizer__lr": 0.02}
    ran = tiny_train(tmp_path / "a", "--dry-run", **wanted)
    assert "rate 0.02 is meant for 8 images per step, this run has 4" in ran.out
    assert "--auto-scale-lr changes it to 0.01" in ran.out
    ran = tiny_train(tmp_path / "b", "--dry-run", "--auto-scale-lr", **wanted)
    assert "is meant for" not in ran.out


def test_usage(run_tool: Train) -> None:
    assert run_tool("train").code == 2
    assert run_tool("train", "c.py", "--launcher", "rockets").code == 2


def test_debug(tiny_train: Train, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bakbone"):
        tiny_train(tmp_path, "--debug", model__bakbone__scale=1)


@pytest.mark.slow
def test_two_processes_on_cpu(mini_coco: Path, tiny: dict[str, Any], tmp_path: Path) -> None:
    """torchrun with gloo: half the images each, one model, one checkpoint."""
    options = tiny | {"train_cfg.max_epochs": 1, "train_dataloader.batch_size": 2}
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port",
        "29731", ROOT / "tools/train.py", ROOT / "configs/picodet_lcnet_own.py", "--data",
        mini_coco, "--work-dir", tmp_path, "--launcher", "pytorch", "--cfg-options",
        *(f"{key}={value}" for key, value in options.items()),
    ]  # fmt: skip
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 processes" in done.stdout
    assert "meant for" not in done.stdout  # 2 x 2 images are the 4 that the rate is for
    content = checkpoint.read(tmp_path / "epoch_1.pth")
    assert content["info"] == {"epoch": 1, "iteration": 3}
    assert "val_loss" in done.stderr
