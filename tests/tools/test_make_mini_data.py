"""The command that draws the mini data set."""

import runpy
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "make_mini_data.py"
FEW = ("--train", "1", "--val", "1", "--side", "128")


@pytest.fixture
def exit_code(monkeypatch: pytest.MonkeyPatch):
    """Run the command with arguments; returns its exit code."""

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["make_mini_data.py", *arguments])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(TOOL), run_name="__main__")
        return int(stop.value.code or 0)

    return run


def test_draws_then_recognises(tmp_path: Path, exit_code, capsys) -> None:
    out = tmp_path / "mini"
    assert exit_code("--out", str(out), *FEW) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{out}: 1 training and 1 validation scenes, drawn",
        *(f"  --data {out / task}" for task in ("detection", "segmentation", "classification")),
    ]
    assert exit_code("--out", str(out), *FEW) == 0
    assert "already exists" in capsys.readouterr().out


def test_refuses_another_set_in_one_line_until_forced(tmp_path: Path, exit_code, capsys) -> None:
    out = str(tmp_path / "mini")
    assert exit_code("--out", out, *FEW) == 0
    assert exit_code("--out", out, *FEW, "--seed", "1") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "has a mini data set of other settings" in error
    assert exit_code("--out", out, *FEW, "--seed", "1", "--force") == 0


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("--out", "x", "--val", "0"), 1)])
def test_wrong_arguments(arguments: tuple[str, ...], code: int, exit_code) -> None:
    assert exit_code(*arguments) == code
