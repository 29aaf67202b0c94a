"""Number of project files that a config or a network imports, with `__init__` files."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import classification
import engine

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(path.parent.name for path in ROOT.glob("*/__init__.py"))
LOAD = "from engine import config; config.load('configs/{}.py')"


@cache
def imported(statement: str) -> list[str]:
    """Project modules that a statement imports in a new process."""
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return [name for name in done.stdout.splitlines() if name.partition(".")[0] in PACKAGES]


@pytest.mark.parametrize(
    ("statement", "most"),
    [
        (LOAD.format("picodet_lcnet"), 40),
        (LOAD.format("deeplabv3plus_lcnet"), 40),
        (LOAD.format("classifier_lcnet"), 40),
        ("import detection.picodet", 20),
        ("from engine import config", 10),
    ],
)
def test_few_files(statement: str, most: int) -> None:
    found = imported(statement)
    assert len(found) <= most, found


def test_loading_a_config_imports_what_its_model_needs() -> None:
    found = imported(LOAD.format("picodet_lcnet"))
    assert {"detection.picodet", "backbone.pplcnet", "engine.data.preprocess"} <= set(found)
    for name in ("detection.data.dataset", "detection.evaluation.metric", "engine.hooks.ema"):
        assert name not in found


def test_names_that_are_imported_when_asked_for() -> None:
    assert imported("import engine, classification") == ["engine", "classification"]
    for package, name in ((engine, "load_model"), (classification, "create_model")):
        assert name in dir(package)
        assert callable(getattr(package, name))
        with pytest.raises(AttributeError, match=f"'{package.__name__}' has no attribute 'other'"):
            _ = package.other
