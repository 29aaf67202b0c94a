"""The commands on a drawn data set: train, resume, test, predict, and the trunk of another run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from engine.checkpoint import checkpoint
from engine.demo_data.writer import MiniData, make_mini_data

pytestmark = pytest.mark.slow

CONFIG = Path(__file__).parents[2] / "configs/deeplabv3plus_lcnet_own.py"
TINY = {
    "model.backbone.scale": 0.25,
    "train_dataloader.batch_size": 2,
    "train_dataloader.num_workers": 0,
    "train_dataloader.persistent_workers": False,
    "val_dataloader.num_workers": 0,
    "val_dataloader.persistent_workers": False,
    "test_dataloader.num_workers": 0,
    "train_dataloader.dataset.transforms.1.height": 48,
    "train_dataloader.dataset.transforms.1.width": 48,
    "train_cfg.max_iters": 4,
    "train_cfg.val_interval": 2,
    "default_hooks.checkpoint.interval": 2,
    "default_hooks.logger.interval": 1,
}


def options(**more: Any) -> list[str]:
    return ["--cfg-options", *(f"{key}={value}" for key, value in {**TINY, **more}.items())]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini")
    make_mini_data(folder, MiniData(seed=3, train=5, val=2, side=128))
    return folder / "segmentation"


@pytest.fixture(scope="module")
def trained(data: Path, run_tool: Callable[..., Any], tmp_path_factory) -> Path:
    """Work dir of four iterations."""
    folder = tmp_path_factory.mktemp("run")
    ran = run_tool("train", CONFIG, "--data", data, "--work-dir", folder, *options())
    assert ran.code == 0, ran.err
    return folder


def test_files_are_named_by_iteration_and_hold_the_classes_of_the_data(trained, data) -> None:
    names = sorted(path.name for path in trained.glob("*.pth"))
    assert names[-2:] == ["iter_2.pth", "iter_4.pth"]
    assert len(names) == 3
    assert names[0] in ("best_mIoU_iter_2.pth", "best_mIoU_iter_4.pth")
    content = checkpoint.read(trained / "iter_4.pth")
    assert content["classes"] == (data / "classes.txt").read_text().split()
    assert content["info"]["iteration"] == 4
    assert content["state_dict"]["decoder.classify.weight"].shape[0] == 9


def test_a_resumed_run_ends_as_the_uninterrupted_one(trained, data, run_tool, tmp_path) -> None:
    ran = run_tool(
        "train", CONFIG, "--data", data, "--work-dir", tmp_path, "--resume", trained / "iter_2.pth",
        *options(),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "after iter 2" in ran.out
    whole, resumed = (checkpoint.read(f / "iter_4.pth") for f in (trained, tmp_path))
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name


def test_metrics_masks_and_overlays_agree(trained, data, run_tool, tmp_path: Path) -> None:
    ran = run_tool(
        "test", CONFIG, trained / "iter_4.pth", "--data", data, "--work-dir", tmp_path / "w",
        "--out", tmp_path / "m.json", "--dump-predictions", tmp_path / "masks",
        "--show-dir", tmp_path / "show", *options(),
    )  # fmt: skip
    assert ran.code == 0, ran.err
    again = run_tool(
        "eval_miou", data / "gtFine/val", tmp_path / "masks", "--out", tmp_path / "again.json"
    )
    assert again.code == 0, again.err
    first, second = (json.loads((tmp_path / f).read_text()) for f in ("m.json", "again.json"))
    assert first == second
    masks = sorted((tmp_path / "masks").iterdir())
    overlays = sorted((tmp_path / "show").iterdir())
    assert [path.stem for path in masks] == [path.stem for path in overlays]
    assert cv2.imread(str(masks[0]), cv2.IMREAD_UNCHANGED).shape == (128, 128)
    assert cv2.imread(str(overlays[0])).shape[1] > 128  # the legend


def test_predict_writes_masks_and_areas(trained, data, run_tool, tmp_path: Path) -> None:
    picture = next((data / "leftImg8bit/val").rglob("*.jpg"))
    arguments = (CONFIG, trained / "iter_4.pth", picture)
    ran = run_tool("predict", *arguments, "--out-dir", tmp_path)
    assert ran.code == 0, ran.err
    mask = cv2.imread(str(tmp_path / f"{picture.stem}_mask.png"), cv2.IMREAD_UNCHANGED)
    (rows,) = json.loads((tmp_path / "predictions.json").read_text()).values()
    counts = np.bincount(mask.ravel(), minlength=9)
    assert {row["label"]: row["pixels"] for row in rows} == {
        label: count for label, count in enumerate(counts.tolist()) if count
    }
    mirrored = run_tool("predict", *arguments, "--cfg-options", "model.inference.flip=True")
    assert mirrored.code == 0, mirrored.err
    assert "share" in mirrored.out


def test_the_trunk_of_another_checkpoint_is_taken_whole_or_refused(
    trained, data, run_tool, tmp_path: Path
) -> None:
    start = ("train", CONFIG, "--data", data, "--work-dir", tmp_path, "--dry-run")
    source = ("--backbone-from", trained / "iter_4.pth")
    ran = run_tool(*start, *source, *options())
    assert ran.code == 0, ran.err
    assert "backbone only, weights: " in ran.out
    assert "missing" not in ran.out
    refused = run_tool(*start, *source, *options(**{"model.backbone.scale": 0.5}))
    assert refused.code == 1
    last = refused.err.splitlines()[-1]
    assert "is PPLCNet of scale 0.25, the config's is PPLCNet of scale 0.5" in last


def test_a_checkpoint_of_other_classes_is_refused(trained, data, run_tool, tmp_path) -> None:
    other = tmp_path / "data"
    other.mkdir()
    for part in ("leftImg8bit", "gtFine"):
        (other / part).symlink_to(data / part)
    (other / "classes.txt").write_text("".join(f"class {i}\n" for i in range(9)))
    ran = run_tool(
        "test", CONFIG, trained / "iter_4.pth", "--data", other, "--work-dir", tmp_path / "w",
        *options(),
    )  # fmt: skip
    assert ran.code == 1
    assert "was trained on the classes" in ran.err.splitlines()[-1]


def test_validations_are_logged_at_their_iteration(trained) -> None:
    scalars = next(trained.glob("*/vis_data/scalars.json"))
    rows = map(json.loads, scalars.read_text().splitlines())
    assert [row["step"] for row in rows if "mIoU" in row] == [2, 4]


def test_resuming_on_other_classes_is_refused(trained, data, run_tool, tmp_path: Path) -> None:
    other = shutil.copytree(data, tmp_path / "other")
    names = (other / "classes.txt").read_text().split()
    (other / "classes.txt").write_text("\n".join(reversed(names)))
    ran = run_tool(
        "train", CONFIG, "--data", other, "--work-dir", tmp_path / "w",
        "--resume", trained / "iter_2.pth", *options(),
    )  # fmt: skip
    assert ran.code == 1
    assert "resume with the same data" in ran.err


def test_masks_of_pictures_that_share_a_stem_do_not_replace_each_other(
    trained, data, run_tool, tmp_path: Path
) -> None:
    picture = cv2.imread(str(next(data.rglob("*_leftImg8bit.jpg"))))
    for name in ("a.jpg", "a.png"):
        assert cv2.imwrite(str(tmp_path / name), picture)
    out = tmp_path / "out"
    ran = run_tool(
        "predict", CONFIG, trained / "iter_4.pth", tmp_path / "a.jpg", tmp_path / "a.png",
        "--out-dir", out,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    names = sorted(path.name for path in out.iterdir())
    assert names == ["a.jpg", "a_2.png", "a_2_mask.png", "a_mask.png", "predictions.json"]
