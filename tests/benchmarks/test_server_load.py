"""The load benchmark tells right answers from wrong ones, and sends what it says it sends."""

import runpy
from pathlib import Path
from typing import Any

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "server_load.py"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the benchmark defines."""
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    return runpy.run_path(str(BENCHMARK))


def rows(*scores: float) -> list[dict[str, Any]]:
    return [{"class": "a", "score": s, "box_xyxy": [0.0, 1.0, 200.0, 9.0]} for s in scores]


def test_right_answers(load: dict[str, Any]) -> None:
    """Equal but for rounding; a row at the threshold of 0.05 may be missing."""
    same = load["same_rows"]
    assert same(rows(0.9, 0.5), rows(0.9001, 0.5))
    assert same(rows(0.9, 0.05001), rows(0.9))
    assert not same(rows(0.9), rows(0.9003))
    assert not same(rows(0.9, 0.06), rows(0.9))
    assert not same(rows(0.9), [{**rows(0.9)[0], "class": "b"}])
    moved = [{**rows(0.9)[0], "box_xyxy": [0.0, 1.0, 200.1, 9.0]}]
    assert not same(moved, rows(0.9))
    assert not same([], rows(0.9))


def test_five_in_a_hundred_are_broken(load: dict[str, Any]) -> None:
    case = load["Case"]
    good = [case(bytes([number]) * 300, 200, []) for number in range(7)]
    broken = load["broken_cases"](good[0])
    sent = [load["case_of"](number, good, broken) for number in range(400)]
    assert [c.status for c in sent].count(422) == 20
    assert {c.data for c in sent if c.status == 422} == {c.data for c in broken}
    assert {c.data for c in sent if c.status == 200} == {c.data for c in good}


def test_numbers_are_given_out_once(load: dict[str, Any]) -> None:
    assert sorted(load["Shared"](range(1000))) == list(range(1000))
