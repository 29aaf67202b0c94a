"""engine/reports/lr_plot.py: the plotted schedule equals that of the training."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.hooks import Hook

from engine import config
from engine.hooks.checkpoint_hook import find_hook
from engine.hooks.ema import EMA
from engine.reports.lr_plot import SchedulePlan, length_of, make_plan, summary
from engine.training import runner

ROOT = Path(__file__).parents[3]
OWN = ROOT / "configs/picodet_lcnet_own.py"
SEGMENTER = ROOT / "configs/deeplabv3plus_lcnet_own.py"
CLASSIFIER = ROOT / "configs/classifier_lcnet_own.py"


def test_iterations_need_no_data(tmp_path: Path) -> None:
    """r (t + 1) / 100 (1 - t / 200) ** 0.9 at iterations 0, 49 and 199; Adam's beta is 0.9."""
    options = {"train_cfg.max_iters": 200, "model.backbone.scale": 0.25}
    cfg = config.load(SEGMENTER, options)
    plan = make_plan(cfg, tmp_path, data=None, epoch_length=None, scale_lr=False)
    rate = plan.rates[0.002]
    assert rate[[0, 49, 199]] == pytest.approx(
        [0.00002, 0.001 * (151 / 200) ** 0.9, 0.002 * (1 / 200) ** 0.9]
    )
    assert set(plan.momentum) == {0.9}
    assert plan.decay is not None
    assert plan.decay[[0, 8, 199]] == pytest.approx([1 / 10, 9 / 18, 200 / 209])
    assert (plan.epoch_length, len(rate)) == (None, 200)


def test_groups_of_other_rates_are_followed_apart(tmp_path: Path) -> None:
    """The backbone starts at a tenth; two batches per step, so the average changes every other
    iteration; auto-scaling counts both.
    """
    options: dict[str, Any] = {
        "model.backbone.scale": 0.25,
        "+optim_wrapper.paramwise_cfg.custom_keys": {"backbone": {"lr_mult": 0.1}},
        "optim_wrapper.accumulative_counts": 2,
        "train_cfg.max_epochs": 4,
        "param_scheduler.0.epochs": 4,
        "param_scheduler.0.warmup_epochs": 1,
        "train_dataloader.batch_size": 16,
    }
    cfg = config.load(CLASSIFIER, options)
    plan = make_plan(cfg, tmp_path, data=None, epoch_length=5, scale_lr=True)
    peaks = sorted(rate.max() for rate in plan.rates.values())
    assert peaks == pytest.approx([0.005, 0.05])  # 0.1 * 2 * 16 / 64, and a tenth
    assert plan.decay is not None
    assert plan.decay[:4] == pytest.approx([0, 1 / 10, 1 / 10, 2 / 11])
    assert length_of(plan) == "4 epochs of 5 iterations of 16 images"


def test_summary_names_first_highest_and_last() -> None:
    rate = np.array([0.1, 0.5, 0.2])
    plan = SchedulePlan({0.1: rate}, np.full(3, 0.9), None, None, 8)
    assert summary(plan) == [
        "learning rate: 0.1 at first, 0.5 at iteration 1, 0.2 at last",
        "momentum: 0.9",
    ]


class Watch(Hook):
    """Records the settings of each iteration of a training."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.momentum: list[float] = []
        self.decays: list[float] = []

    def before_train_iter(self, run: Any, *_: Any, **__: Any) -> None:
        self.rates.append(run.optim_wrapper.get_lr()["lr"][0])
        self.momentum.append(run.optim_wrapper.get_momentum()["momentum"][0])

    def after_train_iter(self, run: Any, *_: Any, **__: Any) -> None:
        self.decays.append(find_hook(run, EMA).state.rate())


def loaded(tiny: dict[str, object]) -> Config:
    """The tiny detector, with scheduled momentum and an average over two accumulated batches."""
    sizes = {"model.data_preprocessor.size": [64, 64], "model.data_preprocessor.train_sizes": [64]}
    options = tiny | sizes | {"+optim_wrapper.accumulative_counts": 2, "train_cfg.val_interval": 9}
    cfg = config.load(OWN, options | {"default_hooks.logger.interval": 1})
    cfg.param_scheduler.append(
        {"type": "LinearMomentum", "start_factor": 0.5, "by_epoch": True, "end": 2}
    )
    return cfg


@pytest.mark.slow
def test_a_real_training_has_these_numbers(
    mini_coco: Path, tmp_path: Path, tiny: dict[str, object]
) -> None:
    """2 epochs of 3 iterations: rates as logged, momentum and decay as recorded."""
    place = {"data": mini_coco, "work_dir": tmp_path / "run"}
    cfg = loaded(tiny)
    runner.prepare_training(cfg, **place, seed=0, amp=False, scale_lr=False)
    run = runner.start(cfg, "none")
    run.register_hook(watch := Watch())
    runner.train(run, resume=None, load_from=None)
    logs = next((tmp_path / "run").glob("*/vis_data/scalars.json")).read_text().splitlines()
    logged = [row["lr"] for row in map(json.loads, logs) if "iter" in row]
    plan = make_plan(
        loaded(tiny), tmp_path / "plan", data=mini_coco, epoch_length=None, scale_lr=False
    )
    (rate,) = plan.rates.values()
    assert rate.tolist() == logged == watch.rates
    assert len(set(logged)) == 6
    assert plan.momentum.tolist() == watch.momentum
    assert len(set(watch.momentum)) == 2
    assert plan.decay is not None
    assert plan.decay.tolist() == watch.decays
    assert plan.epoch_length == 3


@pytest.mark.slow
def test_the_tool_writes_a_picture_or_says_what_is_missing(
    tmp_path: Path, run_tool: Callable[..., Any]
) -> None:
    out = tmp_path / "s.png"
    options = ("--cfg-options", "train_cfg.max_iters=50", "model.backbone.scale=0.25")
    ran = run_tool("plot_schedule", SEGMENTER, "--out", out, *options)
    assert ran.code == 0, ran.err
    assert "50 iterations of 8 images" in ran.out
    assert out.read_bytes().startswith(b"\x89PNG")
    ran = run_tool("plot_schedule", OWN, "--data", tmp_path, "--out", out)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
