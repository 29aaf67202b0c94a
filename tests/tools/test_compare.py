"""tools/compare.py: reports from configs and from checkpoints, and errors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import config
from engine.benchmark import runs
from engine.checkpoint import checkpoint

ROOT = Path(__file__).parents[2]
OWN = ROOT / "configs/picodet_lcnet_own.py"
SMALL = [
    "--runs", "3", "--backend", "torch", "--shape", "64", "64", "--cfg-options",
    "model.backbone.scale=0.25", "+model.neck_channels=16", "+model.tower_convs=1",
    "model.data_preprocessor.size=[64,64]", "model.data_preprocessor.train_sizes=[64]",
    "train_dataloader.batch_size=4", "param_scheduler.0.warmup_iters=1", "model.static_epochs=1",
    "val_dataloader.num_workers=0", "val_dataloader.persistent_workers=False",
    "train_dataloader.num_workers=0", "train_dataloader.persistent_workers=False",
    "test_dataloader.num_workers=0", "auto_scale_lr.base_batch_size=4",
]  # fmt: skip
Run = Callable[..., Any]


@pytest.mark.slow
def test_costs_and_latencies_without_data(run_tool: Run, tmp_path: Path) -> None:
    out = tmp_path / "report"
    ran = run_tool("compare", OWN, "--out", out, *SMALL)
    assert ran.code == 0, ran.err
    state = json.loads((out / "report.json").read_text())
    (row,) = state["rows"].values()
    assert len(row["latency"]["torch, 1 thread"]) == 3
    assert row["runs"] == {}
    assert ran.out.strip() == (out / "report.md").read_text().strip()
    before = (out / "report.json").read_text()
    run_tool("compare", OWN, "--out", out, *SMALL)
    again = json.loads((out / "report.json").read_text())
    assert again["rows"] == json.loads(before)["rows"]


@pytest.mark.slow
def test_trains_reports_a_failure_and_goes_on(
    run_tool: Run, tmp_path: Path, mini_coco: Path
) -> None:
    """The first row's loss overflows; the other run is reused when the command is repeated."""
    wild, out = tmp_path / "wild.py", tmp_path / "report"
    runs.dump(config.load(OWN, {"optim_wrapper.optimizer.lr": 1e30}), wild)
    arguments = (wild, OWN, "--data", mini_coco, "--steps", "6", "--out", out, *SMALL)
    ran = run_tool("compare", *arguments)
    assert ran.code == 1
    rows = json.loads((out / "report.json").read_text())["rows"]
    error = rows["wild"]["runs"]["0"]["error"]
    assert error.startswith("training failed with exit code 1: error: loss is")
    kept = rows["picodet_lcnet_own"]["runs"]["0"]
    (best,) = (out / "runs").glob("picodet_lcnet_own_*/best_*.pth")
    assert kept["metric"] == 100 * checkpoint.read(best)["info"]["metrics"]["coco/bbox_mAP"]
    assert "Failed runs" in (out / "report.html").read_text()
    again = run_tool("compare", *arguments)
    assert "wild, 0: training failed" in again.out
    assert "picodet_lcnet_own, 0:" not in again.out
    assert (
        json.loads((out / "report.json").read_text())["rows"]["picodet_lcnet_own"]["runs"]["0"]
        == kept
    )


@pytest.mark.slow
def test_evaluates_checkpoints(
    run_tool: Run, tmp_path: Path, mini_coco: Path, trained: Path
) -> None:
    out = tmp_path / "report"
    (best,) = trained.glob("best_*.pth")
    given = ("--data", mini_coco, "--checkpoints", best, "--out", out, *SMALL[:7])
    other = run_tool("compare", OWN, *given)
    assert "not a checkpoint of picodet_lcnet_own: model.backbone.scale" in other.err
    ran = run_tool("compare", OWN, *given, *SMALL[7:11])
    assert ran.code == 0, ran.err
    (row,) = json.loads((out / "report.json").read_text())["rows"].values()
    metrics = checkpoint.read(best)["info"]["metrics"]
    assert row["runs"]["checkpoint"]["metric"] == 100 * metrics["coco/bbox_mAP"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give either configs or one --preset"),
        (["--preset", "paper-detection", str(OWN)], "give either configs or one --preset"),
        (["configs/picodet_lcnet_owm.py"], "no such config; nearest known: "),
        ([str(OWN), "--checkpoints", "a.pth", "b.pth"], "--checkpoints: give 1, one for each"),
        (["picodet_lcnet_own", "--checkpoints", "a", "b"], "--checkpoints: give 1, one for each"),
        ([str(OWN), "--checkpoints", "a.pth"], "--checkpoints: give --data too, to evaluate them"),
    ],
)
def test_refuses_with_one_line(
    run_tool: Run, tmp_path: Path, arguments: list[str], said: str
) -> None:
    out = tmp_path / "report"
    ran = run_tool("compare", *arguments, "--out", out)
    assert ran.code == 1
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert not out.exists()
