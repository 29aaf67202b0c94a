"""The benchmark's arithmetic, its turns, and which file each engine runs."""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import config
from engine.benchmark import latency
from engine.benchmark.latency import Order, RunTimes, bursts, floor, middle_half, race, summary
from engine.benchmark.statistics import ratio
from engine.benchmark.worker import COLD, Local, Timing
from engine.hardware import Cost, Peak

ROOT = Path(__file__).parents[3]
OWN = ROOT / "configs/picodet_lcnet_own.py"
TINY = {"model.backbone.scale": 0.25, "model.num_classes": 3}


class Scripted:
    """A worker whose runs take the milliseconds of a list, repeated."""

    name = "scripted"

    def __init__(self, times: list[float]) -> None:
        self.times, self.at = times, 0

    def burst(self, runs: int) -> list[Timing]:
        found = []
        for _ in range(runs):
            seconds = self.times[self.at % len(self.times)] / 1000
            self.at += 1
            found.append(Timing(seconds, 2 * seconds))
        return found


def subject(order: Order, folder: Path) -> latency.Subject:
    return latency.subject(config.load(order.config, order.options), order, folder)


def record(*rounds: list[float]) -> RunTimes:
    made = RunTimes(Scripted([1.0]))
    made.rounds = [[Timing(ms / 1000, ms / 500) for ms in burst] for burst in rounds]
    return made


def test_workers_take_turns_and_another_begins_each_time() -> None:
    log: list[str] = []
    found = race([Local("a", lambda: log.append("a")), Local("b", lambda: log.append("b"))], 35)
    turns = "".join(key for key, _ in groupby(log[-sum(bursts(35)) * 2 - 8 * COLD :]))
    assert turns == "ababa"  # ab ba ab ba
    assert [[len(one) for one in record.rounds] for record in found] == [[10, 10, 10, 5]] * 2


@pytest.mark.parametrize(
    ("times", "turns"),
    [
        ([5.0], 2),  # the second agrees with the first
        ([9.0] * 10 + [6.0] * 10 + [5.0] * 10 + [5.1] * 10, 4),  # 2 % apart at the end
        ([float(2**n) for n in range(10) for _ in range(10)], 10),  # never stable
    ],
)
def test_warm_up_ends_once_times_are_stable(times: list[float], turns: int) -> None:
    (found,) = race([Scripted(times)], 10)
    assert found.warm_up == turns * latency.BURST


def test_percentiles_by_hand() -> None:
    """1 ms to 100 ms in ten rounds."""
    found = summary(record(*([10.0 * r + n for n in range(1, 11)] for r in range(10))))
    assert [found[f"p{q}"] for q in (50, 90, 95, 99)] == pytest.approx([50.5, 90.1, 95.05, 99.01])
    assert found["fastest"] == pytest.approx(1.0)
    assert found["processor_p50"] == pytest.approx(101.0)
    assert found["rounds_p50"] == pytest.approx([5.5 + 10 * r for r in range(10)])
    assert found["halves_p50"] == pytest.approx([25.5, 75.5])
    assert not found["repeatable"]


@pytest.mark.parametrize(
    ("second", "same"), [(10.9, True), (11.1, False), (9.2, True), (9.0, False)]
)
def test_halves_that_differ_by_more_than_a_tenth(second: float, same: bool) -> None:
    assert summary(record([10.0], [second]))["repeatable"] is same
    assert summary(record([10.0]))["repeatable"] is False  # one round is not enough


def test_floor_by_hand() -> None:
    """5 GMAC at 100 GFLOP/s take 100 ms an image, 10 MB at 10 GB/s take 1 ms."""
    found = floor(
        record([300.0, 250.0, 400.0]), 2, Cost(2 * 10**6, 5 * 10**9, 10**7), Peak(100.0, 10.0)
    )
    assert found["floor_arithmetic"] == pytest.approx(200.0)
    assert found["floor_weights"] == pytest.approx(1.0)
    assert found["over_floor"] == pytest.approx(1.25)  # of the fastest
    assert found["images_per_second"] == pytest.approx(2 / 0.3)


def test_ratio_is_of_rounds_in_pairs() -> None:
    """The machine is half as fast in the third round; the ratio does not change."""
    ours, theirs = record([3.0, 2.0, 9.0], [3.0], [6.0]), record([4.0], [4.0], [8.0])
    assert ours.medians == pytest.approx([0.003, 0.003, 0.006])
    assert ratio(ours.medians, theirs.medians) == pytest.approx((0.75, 0.75, 0.75))


def test_stages_of_the_middle_runs_add_up() -> None:
    rows = [{"read": n / 1000, "forward": 2 * n / 1000, "total": 3 * n / 1000} for n in range(1, 9)]
    found = middle_half([*reversed(rows)])
    assert found == pytest.approx({"read": 4.5, "forward": 9.0, "total": 13.5})  # 3, 4, 5, 6
    assert middle_half([]) == {}


def test_a_photo_is_drawn_where_none_is_given(tmp_path: Path) -> None:
    from engine.data.images import read_image

    drawn = read_image(latency.photo(None, tmp_path))
    assert drawn.shape == (480, 640, 3)
    assert np.unique(drawn.reshape(-1, 3), axis=0).shape[0] > 1000  # no flat colour
    assert latency.photo(tmp_path / "mine.jpg", tmp_path) == tmp_path / "mine.jpg"


def test_torch_runs_the_checkpoint_and_random_weights_are_none_of_a_file(tmp_path: Path) -> None:
    found = subject(Order(OWN, ["torch"], TINY, shape=(64, 96)), tmp_path)
    assert found.path("torch") == tmp_path / "random.pth"
    assert found.exported is None  # not needed
    assert found.size == (64, 96)
    weights = torch.load(found.path("torch"), weights_only=True)["state_dict"]
    numbers = sum(v.numel() for k, v in weights.items() if "running" not in k and "num_" not in k)
    assert found.cost.weight_bytes == 4 * numbers


def test_an_exported_file_is_run_as_it_is(onnx_file: Callable[..., Path], tmp_path: Path) -> None:
    path = onnx_file()
    found = subject(Order(OWN, ["onnxruntime", "openvino"], path=path), tmp_path)
    assert {found.path("onnxruntime"), found.path("openvino")} == {path}
    assert (found.size, found.precision) == ((64, 96), "fp32")


@pytest.mark.parametrize(
    ("changes", "order", "line"),
    [
        ({}, {"backends": ["torch"]}, "--backend torch cannot run it; use onnxruntime or openv"),
        (
            {},
            {"batch": 2},
            "takes one image per run; leave out --batch, or export with --dynamic batch",
        ),
    ],
)
def test_what_a_file_cannot_do(
    onnx_file: Callable[..., Path], tmp_path: Path, changes: dict, order: dict, line: str
) -> None:
    asked = {"backends": ["onnxruntime"], "path": onnx_file(**changes), **order}
    with pytest.raises(ValueError, match=line):
        subject(Order(OWN, **asked), tmp_path)
