"""The comparison with timm runs on little, and both sides do the same work."""

import json
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger

pytest.importorskip("timm")
BENCHMARK = Path(__file__).parents[2] / "benchmarks/classifier_step.py"


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """The benchmark silences the logger."""
    logger = MMLogger.get_current_instance()
    before = logger.level
    yield
    logger.setLevel(before)


def test_the_numbers_are_written(monkeypatch, tmp_path: Path, capsys) -> None:
    out = tmp_path / "speed.json"
    options = ["--batch", "2", "--size", "32", "--rounds", "1", "--threads", "1"]
    monkeypatch.setattr("sys.argv", [str(BENCHMARK), *options, "--cpu-time", "--out", str(out)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(BENCHMARK), run_name="__main__")
    assert not stop.value.code
    content = json.loads(out.read_text())
    assert list(content["medians"]) == ["ours", "timm", "timm, channels last"]
    for name, values in content["images_per_second"].items():
        assert len(values) == 1
        assert content["medians"][name] == values[0] > 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("ours 1.000 times as fast, median of rounds")


def test_both_train_as_many_parameters_and_normalise_alike() -> None:
    """Losses of fresh networks are near log 1000; one step changes them."""
    names = runpy.run_path(str(BENCHMARK))
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    labels = torch.tensor([1, 2, 3, 4])
    ours = names["our_step"](pixels, labels, False)
    theirs = names["timms_step"](pixels, labels, False, True)
    for step in (ours, theirs):
        first, second = (float(step().detach()) for _ in range(2))
        assert first == pytest.approx(6.9, abs=1.0)
        assert first != second
