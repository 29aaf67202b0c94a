"""Fixtures shared by all tests."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of reference material beside the repository; tests that need it skip without it."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"no reference material at {folder}")
    return folder


@pytest.fixture(scope="session")
def golden_dir(shared_dir: Path) -> Path:
    """Arrays that the official implementations computed."""
    return shared_dir / "golden"


def _drawn(name: str, shape: list[int], seed: int, is_norm: bool) -> np.ndarray:
    """The array that the README of the golden files prescribes for a weight called `name`."""
    random = np.random.RandomState(zlib.crc32(f"{seed}:{name}".encode()))
    if is_norm and name.endswith(".weight"):
        return 0.5 + random.random_sample(shape)
    if len(shape) == 4:
        return random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    if len(shape) == 2:
        return random.standard_normal(shape) / np.sqrt(shape[0])
    return 0.3 * random.standard_normal(shape)


@pytest.fixture(scope="session")
def golden_arrays(golden_dir: Path) -> Callable[[str], dict[str, np.ndarray]]:
    """Weights of a golden file without .pdparams by Paddle's names: stored, else drawn."""

    def load(name: str) -> dict[str, np.ndarray]:
        info = json.loads((golden_dir / f"{name}.json").read_text())
        stored = np.load(golden_dir / f"{name}.npz")
        shapes = info["state_dict"]
        return {
            key: stored[f"state/{key}"]
            if f"state/{key}" in stored
            else _drawn(
                key, shape, info["seed"], f"{key.rpartition('.')[0]}._mean" in shapes
            ).astype(np.float32)
            for key, shape in shapes.items()
        }

    return load


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the files of ours")


@pytest.fixture
def assert_golden_text(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with the file of that name in tests/golden, or writes it."""

    def check(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if request.config.getoption("--update-golden"):
            path.write_text(text)
        assert text == path.read_text(), f"{path} differs; --update-golden if that is meant"

    return check
