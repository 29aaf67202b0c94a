"""The report: every number in its place, one self-contained file."""

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engine.benchmark import comparison_report

pytestmark = pytest.mark.slow


def row(times: list[float], metric: float | None, ms: float | None) -> dict[str, Any]:
    return {
        "parameters": 2_952_520,
        "macs": 155_700_000,
        "bytes": 11_900_000,
        "published": {"accuracy": 71.32, "ms": ms},
        "runs": {} if metric is None else {"0": {"metric": metric}, "1": {"error": "a < b"}},
        "latency": {"torch, 1 thread": [9, 9, 9], "openvino, 2 threads": times},
    }


@pytest.fixture
def state() -> dict[str, Any]:
    return {
        "machine": {"processor": "Z80"},
        "data": "photos",
        "steps": {"A": 351, "B <b>": 351},
        "alike": True,
        "rows": {"A": row([1, 2, 3], 50.0, 2.46), "B <b>": row([2, 4, 6], 60.0, None)},
    }


def test_table_by_hand(state: dict[str, Any]) -> None:
    head, first, second = comparison_report.table(state["rows"])
    assert head[4:6] == ["torch, 1 thread: p50 / p90, ms", "openvino, 2 threads: p50 / p90, ms"]
    costs = ["A", "2.95", "155.7", "11.9"]
    assert first == [*costs, "9.00 / 9.00", "2.00 / 2.80", "50.0", "1", "71.32", "2.46"]
    assert second[-1] == ""


def test_markdown_and_html_say_the_same(state: dict[str, Any], tmp_path: Path) -> None:
    comparison_report.write(tmp_path, state, [("B <b>", "A")])
    text, page = ((tmp_path / f"report.{suffix}").read_text() for suffix in ("md", "html"))
    for part in ("2.00 / 2.80", "+10.0 points", "2.00 of its time", "351 steps", "Z80", "photos"):
        assert part in text
        assert part in page
    assert "- A, 1: a &lt; b" in text
    assert "A, 1: a &lt; b" in page
    assert "B <b>" not in page
    assert not re.search(r"(src|href)=[\"'](?!data:)", page)
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "report.html", "pareto.png"}


def test_picture_shows_the_rows(state: dict[str, Any]) -> None:
    """Equal numbers give equal bytes; the published layer is pale grey."""
    picture = comparison_report.pareto(state["rows"], state)
    assert picture == comparison_report.pareto(state["rows"], state)
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    pale = (pixels == 0xB8).all(axis=2).sum()
    state["rows"]["A"]["published"] = None
    assert (pixels != 255).any()
    without = comparison_report.pareto(state["rows"], state)
    bare = cv2.imdecode(np.frombuffer(without, np.uint8), cv2.IMREAD_COLOR)
    assert pale > 100 > (bare == 0xB8).all(axis=2).sum()


def test_without_training_accuracy_is_the_published(state: dict[str, Any]) -> None:
    for value in state["rows"].values():
        value["runs"] = {}
    assert comparison_report.run_tables(state["rows"]) == []
    assert comparison_report.cautions(state)[-1].startswith("nothing was trained or evaluated here")
    comparison_report.pareto(state["rows"], state)


def test_the_pictures_engine(state: dict[str, Any]) -> None:
    assert comparison_report.favourite(state["rows"]) == "openvino, 2 threads"
    for value in state["rows"].values():
        value["latency"] = {}
    assert comparison_report.favourite(state["rows"]) is None
    comparison_report.pareto(state["rows"], state)


def test_unlike_trainings_are_not_called_equal(state: dict[str, Any]) -> None:
    state["steps"]["A"] = 350
    lines = comparison_report.cautions(state)
    assert any("A 350, B <b> 351" in line for line in lines)
    assert not any("same order" in line for line in lines)
    state["steps"]["A"], state["alike"] = 351, False
    assert not any("same order" in line for line in comparison_report.cautions(state))


def test_texts_end_no_cell() -> None:
    assert comparison_report.markdown([[["a|b\nc"]]], []).splitlines()[2] == r"| a\|b c |"
