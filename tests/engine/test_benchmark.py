"""The benchmark's arithmetic, its turns, and stages that add up."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine import benchmark, config
from engine.benchmark import Contestant, race, summary
from engine.images import read_image
from engine.machine import Cost, Peak

ROOT = Path(__file__).parents[2]
OWN = ROOT / "configs/picodet_lcnet_own.py"
IMAGES = np.zeros((1, 3, 64, 96), np.float32)


def runner(log: list[str], name: str) -> Contestant:
    def run(_: np.ndarray) -> list[np.ndarray]:
        log.append(name)
        return []

    return Contestant(name, 1, run, 0.5, 2_000_000)


def test_contestants_take_turns() -> None:
    log: list[str] = []
    entries = [runner(log, "a"), runner(log, "b")]
    race(entries, IMAGES, 5)
    assert "".join(log[-10:]) == "ababababab"
    assert [len(entry.wall) for entry in entries] == [5, 5]
    assert log.count("a") - 5 >= 2 * benchmark.WINDOW  # warm-up: at least two windows


def test_numbers_by_hand() -> None:
    """1 ms to 100 ms; 5 GMAC at 100 GFLOP/s take 100 ms, 10 MB at 10 GB/s take 1 ms."""
    entry = runner([], "a")
    entry.wall = [n / 1000 for n in range(1, 101)]
    entry.processor = [0.002] * 100
    found = summary(entry, 1, Cost(5 * 10**9, 10**7), Peak(100.0, 10.0), {"read": [0.001, 0.003]})
    assert found["p50"] == pytest.approx(50.5)
    assert found["p90"] == pytest.approx(90.1)
    assert found["floor_arithmetic"] == pytest.approx(100.0)
    assert found["floor_weights"] == pytest.approx(1.0)
    assert found["over_floor"] == pytest.approx(0.505)
    assert found["halves_p50"] == pytest.approx([25.5, 75.5])
    assert not found["repeatable"]
    assert (found["load_ms"], found["memory_mb"]) == (500, 2)
    assert found["stages"] == {"read": 2.0}


def test_stages_add_up_and_boxes_are_counted(
    onnx_file: Callable[..., Path], tmp_path: Path
) -> None:
    what = benchmark.subject(
        config.load(OWN), onnx_file(), tmp_path, backends=["onnxruntime"], shape=None, batch=1
    )
    entry = benchmark.contestant(what, "onnxruntime", 1)
    path = benchmark.photo(None, tmp_path)
    parts = benchmark.stages(what, entry, path, 5)
    assert list(parts) == [*benchmark.STAGES, "total"]
    total = sum(sum(times) for name, times in parts.items() if name != "total")
    assert total == pytest.approx(sum(parts["total"]), rel=0.05)
    image = read_image(path)
    assert benchmark.survivors(what, entry, image) == (1, "boxes")


def test_engine_that_does_not_run_a_file(onnx_file: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="--backend torch does not run it; use onnxruntime or open"
    ):
        benchmark.subject(
            config.load(OWN), onnx_file(), tmp_path, backends=["torch"], shape=None, batch=1
        )


def test_more_threads_than_cores(onnx_file: Callable[..., Path], tmp_path: Path) -> None:
    what = benchmark.subject(
        config.load(OWN), onnx_file(), tmp_path, backends=["onnxruntime"], shape=None, batch=1
    )
    with pytest.raises(ValueError, match="--threads 999: this process may use"):
        benchmark.contestant(what, "onnxruntime", 999)
