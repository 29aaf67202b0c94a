"""The command `lcnet` without an installed wheel: what it lists, runs and refuses."""

import subprocess
import sys
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from engine.shipped_configs import config_names
from lcnet_vision import __main__ as lcnet
from lcnet_vision import __version__

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"


class Ran(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


class Run(Protocol):
    """Runs `lcnet` with these arguments."""

    def __call__(self, *arguments: str) -> Ran: ...


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["lcnet", *arguments])
        monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # put back after
        try:
            code = lcnet.main()
        except SystemExit as done:
            code = int(done.code or 0)
        return Ran(code, *capsys.readouterr())

    return run


def test_version(run: Run) -> None:
    assert run("--version") == Ran(0, "0.2.0\n", "")
    assert __version__ == "0.2.0"


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_has_a_line_for_each_command(run: Run, flag: str) -> None:
    ran = run(flag)
    rows = [line.split(maxsplit=1) for line in ran.out.splitlines() if line.startswith("  ")]
    lines = dict(rows)
    tools = {path.stem.replace("_", "-") for path in TOOLS.glob("*.py")}
    assert len(rows) == len(lines)
    assert lines.keys() == tools | {"list-configs"}
    assert lines["train"] == "Train any config"
    assert all(len(line.split()) > 1 for line in lines.values())
    assert (ran.code, ran.err) == (0, "")


def test_lists_without_what_takes_seconds_to_import() -> None:
    code = "import sys; from lcnet_vision.__main__ import main; sys.argv[1:] = ['list-configs']; "
    code += "main(); print({'torch', 'mmengine', 'numpy'} & sys.modules.keys())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ran.stdout.splitlines()[-1] == "set()"


def test_list_configs(run: Run) -> None:
    ran = run("list-configs")
    assert [line.split()[0] for line in ran.out.splitlines()] == config_names()
    assert "picodet_lcnet_mini " in ran.out
    assert "PicoDet-S on the drawn mini data set: a trained detector in minutes" in ran.out


def test_a_misspelled_command(run: Run) -> None:
    line = "error: no command 'mini-data'; nearest known: make-mini-data"
    ran = run("mini-data")
    assert ran.code == 2
    assert ran.err.startswith(line)
    assert ran.err.endswith("; lcnet --help lists all\n")


def test_no_command(run: Run) -> None:
    ran = run()
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == run("--help").out


def test_runs_a_script_by_its_name(run: Run) -> None:
    ran = run("convert-dataset", "--help")
    assert ran.code == 0
    assert ran.out.startswith("usage: lcnet convert-dataset [-h]")
    text = " ".join(ran.out.split())
    assert "layout for training: lcnet convert-dataset KIND DIR." in text
    assert "the rules of lcnet check-dataset find errors" in text


def test_codes_and_lines_of_a_script(run: Run) -> None:
    ran = run("print-config", "picodet_lcnet_owm")
    assert ran.code == 1
    assert ran.err.startswith("error: picodet_lcnet_owm: no such config; nearest known: picodet_")
    assert run("print-config").code == 2


def test_another_distribution_with_a_package_of_ours(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners = {"engine": ["lcnet-vision"], "detection": ["rival", "lcnet-vision"], "x": ["rival"]}
    monkeypatch.setattr(lcnet, "packages_distributions", lambda: owners)
    ran = run("print-config", "picodet_lcnet")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "error: detection: this package is also in rival, which overwrites it; "
        "run: pip uninstall rival, then install lcnet-vision again\n"
    )
    assert run("list-configs") == ran
    assert run("--help").code == 0
