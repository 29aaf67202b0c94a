"""engine/hooks/ema.py against the published average's values, and in a validation."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from engine.hooks.ema import EMA, WeightAverage

STEPS = SimpleNamespace(should_update=lambda: True)  # an optimiser that steps every time


class Scalars(nn.Module):
    """A weight, a floating buffer and a count."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.register_buffer("running", torch.zeros(1))
        self.register_buffer("count", torch.zeros(1, dtype=torch.int64))

    def set(self, value: float) -> None:
        with torch.no_grad():
            self.weight.fill_(value)
            self.running.fill_(-value)
            self.count.fill_(int(value))


@pytest.mark.golden
def test_published_average(schedules: dict[str, Any], assert_agrees) -> None:
    """Twenty updates; read after every fourth."""
    stored = schedules["det_ema_cycle-1"]
    model = Scalars()
    average = WeightAverage(model, decay=0.9998)
    read = []
    for step, value in enumerate(stored["weight_after_each_update"], start=1):
        model.set(value)
        average.update()
        if step % 4 == 0:
            raw = average.swap(None)
            read.append(model.weight.item())
            assert model.running.item() == -model.weight.item()
            average.swap(raw)
            assert model.weight.item() == pytest.approx(value)
    name = "applied_at_end_of_each_of_5_epochs(4 updates each)"
    assert_agrees("average of weights", "PaddleDetection", read, stored[name], rtol=1e-5, atol=1e-7)


def test_by_hand() -> None:
    """Steps 1 and 2 with weights 10 and 20: d = 0.1 and 2 / 11.

    s1 = 0.9 * 10 = 9; s2 = 9 * 2 / 11 + 20 * 9 / 11 = 18; average 18 / (1 - 4 / 121).
    """
    model = Scalars()
    average = WeightAverage(model, decay=0.9998)
    for value in (10.0, 20.0):
        model.set(value)
        average.update()
    average.swap(None)
    assert model.weight.item() == pytest.approx(18 / (1 - 4 / 121), rel=1e-6)
    assert model.count.item() == 20  # counts are not averaged


def test_the_decay_is_bounded() -> None:
    average = WeightAverage(Scalars(), decay=0.5)
    average.steps = 9
    assert average.rate() == 0.5
    average.steps = 3
    assert average.rate() == 3 / 12


def test_constant_weights_are_their_average() -> None:
    model = Scalars()
    average = WeightAverage(model, decay=0.99)
    model.set(3.0)
    for _ in range(50):
        average.update()
    average.swap(None)
    # Near, not equal: the correction takes the last d for all steps.
    assert model.weight.item() == pytest.approx(3.0, rel=1e-2)


def test_state_continues() -> None:
    model, other = Scalars(), Scalars()
    straight, resumed = WeightAverage(model, 0.9), WeightAverage(other, 0.9)
    for value in (1.0, 5.0, -2.0, 4.0):
        model.set(value)
        straight.update()
        if value == 5.0:
            saved = {"steps": straight.steps, "shadow": dict(straight.state_dict()["shadow"])}
            saved["shadow"] = {name: s.clone() for name, s in saved["shadow"].items()}
            resumed.load_state_dict(saved)
        elif value != 1.0:
            other.set(value)
            resumed.update()
    assert resumed.steps == straight.steps == 4
    assert torch.equal(resumed.shadow[0], straight.shadow[0])
    assert torch.equal(resumed.shadow[1], straight.shadow[1])


def test_validation_sees_the_average_and_training_goes_on_raw() -> None:
    model, hook = Scalars(), EMA(decay=0.9)
    runner = SimpleNamespace(model=model, optim_wrapper=STEPS)
    hook.before_run(runner)
    hook.before_val_epoch(runner)  # no step yet: nothing to put in
    assert model.weight.item() == 0
    hook.after_val_epoch(runner)
    for value in (1.0, 3.0):
        model.set(value)
        hook.after_train_iter(runner)
    hook.before_val_epoch(runner)
    assert 1.0 < model.weight.item() < 3.0
    hook.after_val_epoch(runner)
    assert model.weight.item() == 3.0
    with hook.applied() as raw:
        assert 1.0 < model.weight.item() < 3.0
        assert raw[0].item() == 3.0
    assert model.weight.item() == 3.0


def test_gathered_batches_are_one_step() -> None:
    """Three batches a step, eight in all: steps after the third, the sixth and the last."""
    model, hook = Scalars(), EMA(decay=0.9)
    weights = torch.nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapper(torch.optim.SGD([weights], lr=0.1), accumulative_counts=3)
    wrapper.initialize_count_status(model, 0, 8)
    runner = SimpleNamespace(model=model, optim_wrapper=wrapper)
    hook.before_run(runner)
    steps = []
    for _ in range(8):
        wrapper.update_params(weights.sum())
        hook.after_train_iter(runner)
        steps.append(hook.state.steps)
    assert steps == [0, 0, 1, 1, 1, 2, 2, 3]
