"""The commands on a drawn data set: train, resume, test, predict, start from others, be taught."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from engine import load_model
from engine.checkpoint import checkpoint

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "configs"
CONFIG = CONFIGS / "classifier_lcnet_own.py"
TINY = {
    "model.backbone.scale": 0.25,
    "model.data_preprocessor.size": "[48,48]",
    "model.data_preprocessor.resize_shortest": 56,
    "train_dataloader.batch_size": 4,
    "train_dataloader.num_workers": 0,
    "train_dataloader.persistent_workers": False,
    "val_dataloader.num_workers": 0,
    "val_dataloader.persistent_workers": False,
    "test_dataloader.num_workers": 0,
    "train_dataloader.dataset.transforms.0.size": "[32,32]",
    "param_scheduler.0.warmup_epochs": 1,
    "param_scheduler.0.epochs": 2,
    "train_cfg.max_epochs": 2,
    "train_cfg.val_interval": 1,
    "auto_scale_lr.base_batch_size": 4,
    "model.batch_mix.mixup": 0.2,
    "model.batch_mix.cutmix": 1.0,
}


def options(**more: Any) -> list[str]:
    return ["--cfg-options", *(f"{key}={value}" for key, value in {**TINY, **more}.items())]


def draw(folder: Path, classes: dict[str, int]) -> Path:
    """Eight training and two other pictures a class: noise around the class's brightness."""
    random = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 2)):
        for name, level in classes.items():
            for number in range(count):
                path = folder / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                shape = (int(random.integers(40, 90)), int(random.integers(40, 90)), 3)
                cv2.imwrite(str(path), random.integers(level, level + 90, shape, dtype=np.uint8))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("data"), {"dark": 0, "grey": 80, "light": 160})


@pytest.fixture(scope="module")
def trained(data: Path, run_tool: Callable[..., Any], tmp_path_factory) -> Path:
    """Work dir of two epochs of six iterations."""
    folder = tmp_path_factory.mktemp("run")
    ran = run_tool("train", CONFIG, "--data", data, "--work-dir", folder, *options())
    assert ran.code == 0, ran.err
    return folder


def test_checkpoints_hold_the_classes_of_the_data(trained: Path) -> None:
    names = sorted(path.name for path in trained.glob("*.pth"))
    assert names[-2:] == ["epoch_1.pth", "epoch_2.pth"]
    assert names[0].startswith("best_accuracy_top1_epoch_")
    content = checkpoint.read(trained / "epoch_2.pth")
    assert content["classes"] == ["dark", "grey", "light"]
    assert content["state_dict"]["classify.weight"].shape == (3, 1280)


def test_a_resumed_run_ends_as_the_uninterrupted_one(trained, data, run_tool, tmp_path) -> None:
    ran = run_tool(
        "train", CONFIG, "--data", data, "--work-dir", tmp_path,
        "--resume", trained / "epoch_1.pth", *options(),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    whole, resumed = (checkpoint.read(f / "epoch_2.pth") for f in (trained, tmp_path))
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name


def test_evaluation_and_prediction_in_python_agree(trained, data, run_tool, tmp_path) -> None:
    ran = run_tool(
        "test", CONFIG, trained / "epoch_2.pth", "--data", data, "--work-dir", tmp_path / "w",
        "--out", tmp_path / "m.json", "--dump-predictions", tmp_path / "found.npz",
        "--show-dir", tmp_path / "show", *options(),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    found = np.load(tmp_path / "found.npz")
    model = load_model(CONFIG, trained / "epoch_2.pth")
    assert model.classes == ("dark", "grey", "light")
    results = model.predict([data / image_id for image_id in found["image_ids"]])
    ours = np.stack([result["scores"].numpy() for result in results])
    np.testing.assert_allclose(ours, found["scores"], rtol=1e-4, atol=1e-6)
    right = [
        model.classes[result["label"]] == Path(image_id).parts[1]
        for result, image_id in zip(results, found["image_ids"], strict=True)
    ]
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["accuracy/top1"] == pytest.approx(100 * np.mean(right))
    assert len(list((tmp_path / "show").rglob("*.jpg"))) == 6


def test_other_classes_take_all_but_their_rows_and_say_so(
    trained, run_tool, tmp_path: Path
) -> None:
    other = draw(tmp_path / "data", {"dark": 0, "white": 160})
    start = ("train", CONFIG, "--data", other, "--work-dir", tmp_path / "w", "--dry-run")
    ran = run_tool(*start, "--load-from", trained / "epoch_2.pth", *options())
    assert ran.code == 0, ran.err
    assert "2 reshaped to other classes (classify.weight, classify.bias; rows taken by" in ran.out
    trunk = run_tool(*start, "--backbone-from", trained / "epoch_2.pth", *options())
    assert trunk.code == 0, trunk.err
    assert "backbone only, weights: " in trunk.out


def test_a_student_is_taught_by_a_checkpoint(trained, data, run_tool, tmp_path: Path) -> None:
    config = CONFIGS / "classifier_lcnet_distill.py"
    teacher = {"model.teacher.checkpoint": trained / "epoch_2.pth"}
    ran = run_tool(
        "train", config, "--data", data, "--work-dir", tmp_path, "--dry-run", *options(**teacher)
    )
    assert ran.code == 0, ran.err
    values = dict(line.split()[:2] for line in ran.out.splitlines() if line.startswith("loss"))
    assert float(values["loss_distill"]) > 0
    total = float(values["loss_ce"]) + float(values["loss_distill"])
    assert float(values["loss"]) == pytest.approx(total, abs=2e-4)
    refused = run_tool("train", config, "--data", data, "--work-dir", tmp_path, *options())
    assert refused.code == 1
    assert refused.err.splitlines()[-1].endswith("teacher.pth: no such checkpoint")


def test_a_resumed_student_ends_as_the_uninterrupted_one(
    trained, data, run_tool, tmp_path: Path
) -> None:
    """Whichever step builds the teacher, the student's dropout stays the same."""
    config = CONFIGS / "classifier_lcnet_distill.py"
    taught = options(**{"model.teacher.checkpoint": trained / "epoch_2.pth"})
    start = ("train", config, "--data", data, "--work-dir")
    ran = run_tool(*start, tmp_path / "a", *taught)
    assert ran.code == 0, ran.err
    ran = run_tool(*start, tmp_path / "b", "--resume", tmp_path / "a" / "epoch_1.pth", *taught)
    assert ran.code == 0, ran.err
    whole, resumed = (checkpoint.read(tmp_path / f / "epoch_2.pth") for f in "ab")
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name
