"""engine/inference/stopwatch.py, with a clock that the test moves."""

from types import SimpleNamespace

import pytest
import torch

from engine.inference import stopwatch
from engine.inference.stopwatch import Stopwatch


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(stopwatch, "time", SimpleNamespace(perf_counter=made))
    return made


class Slow(torch.nn.Module):
    """Takes the given number of seconds."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def forward(self, seconds: float) -> None:
        self.clock.now += seconds


def test_medians_of_each_stage(clock: Clock) -> None:
    watch = Stopwatch()
    for seconds in (1, 2, 9):
        with watch.stage("read"):
            clock.now += seconds
    with watch.stage("write"):
        clock.now += 4
    assert watch.medians() == {"read": 2000, "write": 4000}
    assert Stopwatch().medians() == {}


def test_a_watched_module_is_taken_out_of_what_calls_it(clock: Clock) -> None:
    watch, slow = Stopwatch(), Slow(clock)
    watch.watch("prepare", slow)
    for seconds in (3, 5):
        with watch.stage("network", without="prepare"):
            clock.now += 1
            slow(seconds)
            clock.now += 0.5
    assert watch.taken == {"prepare": [3000, 5000], "network": [1500, 1500]}
