"""engine/hooks/nan_guard.py: a batch whose loss is not finite changes nothing; a file lists it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from engine.hooks.nan_guard import StopOnNaN


class Run:
    """Two weights, a batch-norm, and steps whose loss is given."""

    def __init__(self, work_dir: Path, hook: StopOnNaN, gathered: int = 1) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.optim_wrapper = OptimWrapper(optimizer, accumulative_counts=gathered)
        self.optim_wrapper.initialize_count_status(self.model, 0, 1000)
        self.iter, self.epoch, self.work_dir, self.hook = 0, 0, str(work_dir), hook
        hook.before_train(self)

    def step(self, factor: float, ids: tuple[object, ...] = (1, 2)) -> None:
        self.hook.before_train_iter(self)
        inputs = torch.tensor([[1.0, 2.0], [3.0, -1.0]]) * factor  # poisons the statistics too
        self.optim_wrapper.update_params(self.model(inputs).square().sum() * factor)
        batch = {"targets": [{"image_id": number} for number in ids]}
        self.hook.after_train_iter(self, 0, data_batch=batch)
        self.iter += 1

    def state(self) -> dict[str, Any]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_skipped_batch_leaves_no_trace(tmp_path: Path, bad: float) -> None:
    with_bad, without = (Run(tmp_path, StopOnNaN()) for _ in range(2))
    for factor in (1.0, bad, 0.5):
        with_bad.step(factor)
    for factor in (1.0, 0.5):
        without.step(factor)
    for name, value in without.state().items():
        assert torch.equal(with_bad.state()[name], value), name


def test_lists_iteration_loss_and_images(tmp_path: Path) -> None:
    hook = StopOnNaN()
    run = Run(tmp_path, hook)
    run.step(1.0)
    run.step(float("nan"), ids=(17, "a/b.jpg"))
    wanted = [{"iteration": 2, "epoch": 1, "loss": "nan", "image_ids": [17, "a/b.jpg"]}]
    assert json.loads((tmp_path / "bad_batches.json").read_text()) == wanted
    other = StopOnNaN()
    other.load_state_dict(hook.state_dict())
    assert other.state_dict() == {"skipped": wanted}


def test_the_others_of_a_gathered_step_are_not_lost(tmp_path: Path) -> None:
    """The second of two batches per step is bad: the step uses the first, at half weight."""
    run, alone = Run(tmp_path, StopOnNaN(), gathered=2), Run(tmp_path, StopOnNaN())
    run.step(1.0)
    start = run.state()
    run.step(float("nan"))
    alone.hook.before_train_iter(alone)
    inputs = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    alone.optim_wrapper.update_params(alone.model(inputs).square().sum() / 2)
    assert not torch.equal(run.state()["0.weight"], start["0.weight"])
    assert torch.equal(run.state()["0.weight"], alone.state()["0.weight"])


@pytest.mark.parametrize(
    ("factors", "stops_at"),
    [
        ("bgbgbgb", 4),  # the limit of three in all
        ("bbb", 3),  # two in a row
        ("bbgbg", None),
    ],
)
def test_limits(tmp_path: Path, factors: str, stops_at: int | None) -> None:
    run = Run(tmp_path, StopOnNaN(limit=3, in_a_row=2))
    bad = 0
    for letter in factors:
        bad += letter == "b"
        if bad == stops_at:
            with pytest.raises(FloatingPointError, match=rf"{stops_at} batches skipped \(see"):
                run.step(float("nan"))
            assert len(json.loads((tmp_path / "bad_batches.json").read_text())) == stops_at
            return
        run.step(float("nan") if letter == "b" else 1.0)
    assert stops_at is None


def test_broken_weights_stop_at_once(tmp_path: Path) -> None:
    run = Run(tmp_path, StopOnNaN())
    with torch.no_grad():
        run.model[0].weight[0, 0] = float("inf")
    with pytest.raises(FloatingPointError, match=r"iteration 1 .* last good checkpoint: none yet"):
        run.step(1.0)


def test_processes_skip_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process reports a bad loss; this one's is fine."""
    run = Run(tmp_path, StopOnNaN())
    start = run.state()
    monkeypatch.setattr("engine.hooks.nan_guard.all_reduce", lambda bad, **_: bad.fill_(1))
    run.step(1.0)
    for name, value in start.items():
        assert torch.equal(run.state()[name], value), name
    assert run.hook.skipped[0]["loss"] != "nan"
