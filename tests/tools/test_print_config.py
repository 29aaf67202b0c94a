"""tools/print_config.py: the config as a run gets it, or one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import config

CONFIG = Path(__file__).parents[2] / "configs/picodet_lcnet.py"


def test_prints_what_reloads(run_tool: Callable[..., Any], tmp_path: Path) -> None:
    ran = run_tool("print_config", CONFIG, "--cfg-options", "model.backbone.scale=0.5")
    assert (ran.code, ran.err) == (0, "")
    (tmp_path / "printed.py").write_text(ran.out)
    printed = config.load(tmp_path / "printed.py")
    assert printed.to_dict() == config.load(CONFIG, {"model.backbone.scale": 0.5}).to_dict()


def test_wrong_key(run_tool: Callable[..., Any]) -> None:
    ran = run_tool("print_config", CONFIG, "--cfg-options", "model.backbone.scal=0.5")
    assert ran.code == 1
    assert ran.out == ""
    assert ran.err == (
        "error: --cfg-options model.backbone.scal: no key 'scal' here; nearest known: scale "
        "(a leading + adds a new key)\n"
    )


def test_usage(run_tool: Callable[..., Any]) -> None:
    assert run_tool("print_config").code == 2
