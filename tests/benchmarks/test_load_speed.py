"""The benchmark of loading runs on little, and its workers load what they are asked for."""

import json
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.logging import MMLogger

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "load_speed.py"


@pytest.fixture
def exit_code(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Run the benchmark with arguments; gives its exit code."""
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    logger = MMLogger.get_current_instance()
    level = logger.level

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["load_speed.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(BENCHMARK), run_name="__main__")
        return int(stop.value.code or 0)

    yield run
    logger.setLevel(level)  # which the benchmark raises


def test_measures_every_worker(exit_code, tmp_path: Path, capsys) -> None:
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.JPG"), noise)
    out = tmp_path / "speed.json"
    options = ("--batch", 2, "--rounds", 1, "--size", 32, "--out", out)
    assert exit_code(tmp_path, *options) == 0
    rates = json.loads(out.read_text())["rates"]
    assert list(rates) == ["crop", "colour", "auto"]
    printed = capsys.readouterr().out
    assert "3 JPEG files, median 50 x 40, to 32 pixels" in printed
    for augment, rows in rates.items():
        assert {"ours", "torchvision v2, Pillow", "torchvision v2, decode_image"} <= set(rows)
        for name, rate in rows.items():
            assert 0 < rate["low"] == rate["median"] == rate["high"]
            ratio = rows["ours"]["median"] / rate["median"]
            line = next(x for x in printed.splitlines() if x.startswith(f"{augment:8}{name:30}"))
            assert line.endswith(f" {ratio:.2f}")


def test_a_folder_without_images(exit_code, tmp_path: Path, capsys) -> None:
    assert exit_code(tmp_path) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path}: no JPEG file in it; give a folder of images\n"
    )
