"""docs/safety.md names tests that exist, limits that hold, and as many files as fuzzing tries."""

import importlib.util
import re
from pathlib import Path

import pytest

from backbone import npz
from classification.data import shards
from engine.checkpoint import bounds
from engine.checkpoint.download import Manners
from engine.data import images
from engine.runtime import exported

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/safety.md").read_text()


def test_the_tests_named_are_there() -> None:
    named = set(re.findall(r"`(tests/[\w/]+\.py)`", TEXT))
    assert len(named) >= 18
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_limits_are_those_of_the_code() -> None:
    assert images.MAX_PIXELS == 2**28
    assert (bounds.MAX_WEIGHTS, bounds.MAX_NUMBER) == (2**29, 2**20)
    assert (npz.MAX_BYTES, exported.MAX_CODE, shards.MAX_MEMBER) == (2**31, 64 << 20, 128 << 20)
    assert Manners().limit == 256 << 20


def test_the_number_of_files_is_what_fuzzing_tries() -> None:
    """Every test draws its examples; `FEW` or `MANY` in it says how many files each makes."""
    pytest.importorskip("hypothesis")
    path = ROOT / "tests/fuzz/test_readers.py"
    spec = importlib.util.spec_from_file_location("fuzz_readers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = re.split(r"\n@RUN\n", path.read_text())[1:]
    assert len(tests) == 13
    sizes = {"FEW": module.FEW, "MANY": module.MANY}
    files = [
        sum(sizes[word] for word in re.findall(r", (FEW|MANY)\)", test)) or 1 for test in tests
    ]
    examples = int(re.findall(r"FUZZ_EXAMPLES=(\d+)", TEXT)[0])
    assert f"tries {examples * sum(files):,} files" in TEXT
