"""What the latency benchmarks print and keep of a race."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from engine.benchmark.worker import Timing
from engine.hardware import Peak

PATH = Path(__file__).parents[2] / "benchmarks" / "targets.py"


@pytest.fixture(scope="module")
def targets() -> ModuleType:
    """The module, which is not in a package."""
    spec = importlib.util.spec_from_file_location("targets", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Fixed:
    """A worker whose runs all take the same."""

    def __init__(self, name: str, ms: float) -> None:
        self.name, self.seconds = name, ms / 1000

    def burst(self, runs: int) -> list[Timing]:
        return [Timing(self.seconds, self.seconds)] * runs


def test_ratios_are_set_against_their_targets(
    targets: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "peak", lambda _: Peak(100.0, 10.0))
    wanted = [targets.Target("a", "b", 0.75), targets.Target("a", "b", 0.74)]
    found = targets.settle([Fixed("a", 3.0), Fixed("b", 4.0)], wanted, 20, {"size": "small"})
    assert [row["median"] for row in found["ratios"]] == pytest.approx([0.75, 0.75])
    assert found["times"]["b"]["p50"] == pytest.approx(4.0)
    lines = capsys.readouterr().out.splitlines()
    assert "a / b: 0.750 (fastest runs: 0.750), target 0.75: met" in lines
    assert "a / b: 0.750 (fastest runs: 0.750), target 0.74: missed" in lines
    assert "size: small" in lines
    json.dumps(found)  # plain data


def test_a_picture_that_is_none(targets: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"x\.jpg: not an image that can be read"):
        targets.pixels(Path("x.jpg"), b"nothing")
