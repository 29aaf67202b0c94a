"""The benchmarks of scale run on little, and measure what they say."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from mmengine.logging import MMLogger

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports one of benchmarks/ by name."""
    monkeypatch.syspath_prepend(str(FOLDER))
    level = MMLogger.get_current_instance().level

    def load(name: str) -> ModuleType:
        return __import__(name)

    yield load
    MMLogger.get_current_instance().setLevel(level)  # which the benchmarks raise


def test_both_libraries_evaluate_the_same_drawing(
    benchmark: Callable[[str], Any], tmp_path: Path
) -> None:
    """Twelve equal numbers, some of them between nothing and everything."""
    speed = benchmark("eval_speed")
    truth = speed.draw_truth(12, seed=1)
    assert sum(record["iscrowd"] for record in speed.draw_truth(200, 0)["annotations"]) > 3
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    found = list(speed.draw_found(truth, 30, seed=1))
    assert {len(sample["scores"]) for sample in found} == {30}
    costs = [speed.evaluate(library, path, 30, 1) for library in speed.LIBRARIES]
    assert costs[0].numbers == costs[1].numbers
    assert 0.05 < costs[0].numbers["bbox_mAP"] < 0.95
    assert min(cost.peak_mb for cost in costs) > 50


def test_drawn_annotations_load(benchmark: Callable[[str], Any], tmp_path: Path) -> None:
    from classification.data.dataset import ImageFolder
    from detection.data.dataset import CocoDetection

    load = benchmark("annotation_load")
    path = load.write_coco(tmp_path / "coco", seed=0, images=20, boxes=160)
    data = CocoDetection(path.parents[1], split="train", training=True)
    assert len(data._coco.boxes) == 160
    assert len(data) <= 20
    path = load.write_list(tmp_path / "list", lines=25, folders=4)
    listed = ImageFolder(path.parent, training=True)
    assert (len(listed), len(listed.classes)) == (25, 4)


def test_files_and_shards_are_read(
    benchmark: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    pytest.importorskip("webdataset")
    benchmark("shard_speed")
    for number in range(6):
        path = tmp_path / "data/train" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        cv2.imwrite(str(path), noise)
    options = ["--batch", "2", "--rounds", "2", "--size", "32", "--out", tmp_path / "speed.json"]
    monkeypatch.setattr(sys, "argv", ["shard_speed.py", *map(str, [tmp_path / "data", *options])])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(FOLDER / "shard_speed.py"), run_name="__main__")
    assert not stop.value.code
    assert "6 images, 1 shards" in capsys.readouterr().out
    rates = json.loads((tmp_path / "speed.json").read_text())["rates"]
    assert {name: len(row["core"]) for name, row in rates.items()} == {"files": 2, "shards": 2}


@pytest.mark.slow  # torch imports its compiler for it
def test_recomputing_gives_the_same_step(benchmark: Callable[[str], Any]) -> None:
    memory = benchmark("recompute_memory")
    costs = [memory.step(names, 1, 64, 64) for names in memory.CHOICES.values()]
    assert {cost.loss for cost in costs} == {costs[0].loss}
    assert [cost.slope for cost in costs] == pytest.approx([costs[0].slope] * 3, rel=1e-6)
