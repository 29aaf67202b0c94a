"""tools/benchmark.py: its file and its remarks on the numbers."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
OWN = ROOT / "configs/picodet_lcnet_own.py"
SMALL = ["--cfg-options", "model.backbone.scale=0.25", "+model.neck_channels=16"]


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    """The names that the script defines."""
    return runpy.run_path(str(ROOT / "tools/benchmark.py"))


def row(**changes: Any) -> dict[str, Any]:
    """A result."""
    stages = {"read": 0.5, "forward": 2.0, "total": 2.6}
    numbers = {"floor_arithmetic": 1.0, "floor_weights": 0.25, "repeatable": True}
    return {"backend": "torch", "threads": 2, "stages": stages, **numbers} | changes


def report(**changes: Any) -> dict[str, Any]:
    """Everything but the numbers of the results."""
    return {
        "machine": {"id": "abc", "load": 1.5},
        "random_weights": False,
        "survived": {"number": 7, "kind": "boxes"},
        "macs": 2_500_000,
        "weight_bytes": 4_000_000,
        "peaks": {"2": {"gflops": 150.0, "gigabytes": 20.0}},
        "results": [row()],
    } | changes


def test_stages_are_summed(tool: dict[str, Any]) -> None:
    assert list(tool["stages"]([row(), row(stages={})])) == [
        "torch, 2 threads: read 0.50 + forward 2.00 = 2.50 ms; measured 2.60"
    ]


def test_floors_are_named(tool: dict[str, Any]) -> None:
    network, floor = tool["floors"](report())
    assert network.startswith("the network: 2.5 M multiply-adds an image, 4.0 MB")
    assert floor.startswith("floor, 2 threads: 1.00 ms of arithmetic at 150 GFLOP/s, 0.25 ms")


def test_remarks(tool: dict[str, Any]) -> None:
    lines = list(tool["remarks"](report()))
    assert "post-processing returned 7 boxes for the picture" in lines
    assert not any(line.startswith("warning") for line in lines)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"random_weights": True}, "warning: random weights"),
        ({"survived": {"number": 0, "kind": "boxes"}}, "warning: the picture gave no result"),
        ({"results": [row(repeatable=False)]}, "warning: torch, 2 threads: the medians of the two"),
    ],
)
def test_warnings(tool: dict[str, Any], changes: dict[str, Any], line: str) -> None:
    (warning,) = (text for text in tool["remarks"](report(**changes)) if text.startswith("warning"))
    assert warning.startswith(line)


def test_a_missing_file_is_one_line(run_tool: Callable[..., Any], tmp_path: Path) -> None:
    ran = run_tool("benchmark", OWN, tmp_path / "none.onnx", "--backend", "onnxruntime")
    assert ran.code == 1
    assert ran.err == f"error: {tmp_path}/none.onnx: no such exported file\n"


@pytest.mark.slow
def test_the_whole_command(run_tool: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    ran = run_tool(
        "benchmark", OWN, "--backend", "torch", "openvino", "--shape", "64", "96",
        "--runs", "20", "--stages", "--out", out, *SMALL,
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "warning: random weights" in ran.out
    found = json.loads(out.read_text())
    assert [one["backend"] for one in found["results"]] == ["torch", "openvino"]
    assert found["input"] == [1, 3, 64, 96]
    assert found["random_weights"]
    assert found["machine"]["cores"] >= 1
    for one in found["results"]:
        assert one["runs"] == 20
        assert one["fastest"] <= one["p50"] <= one["p90"] <= one["p95"] <= one["p99"]
        assert one["over_floor"] > 1
        assert one["memory_mb"] > 0
        assert one["load_ms"] > 0
        total = one["stages"].pop("total")
        assert sum(one["stages"].values()) == pytest.approx(total, rel=0.1)
