"""Trunks with golden weights, and the arithmetic by which tests compare them."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor, nn

from backbone.weights import trunk_state


@pytest.fixture
def scale_of() -> Callable[[str], float]:
    """The scale in a golden file's name: `PPLCNet_x0_25_c7` -> 0.25."""
    return lambda name: float("{}.{}".format(*re.search(r"_x(\d)_(\d+)", name).groups()))


@pytest.fixture
def golden_trunk() -> Callable[[nn.Module, dict[str, np.ndarray]], nn.Module]:
    """Fills a trunk, all of it, with arrays by Paddle's names; gives it back in eval mode."""

    def fill(model: nn.Module, arrays: dict[str, np.ndarray]) -> nn.Module:
        trunk = {
            name.removeprefix("backbone."): array
            for name, array in arrays.items()
            if not name.startswith(("neck.", "head."))
        }
        report = model.load_state_dict(trunk_state(trunk, model), strict=False)
        assert report.missing_keys == []
        return model.eval()

    return fill


@pytest.fixture
def assert_golden() -> Callable[[Tensor, np.ndarray], None]:
    """Checks for an error of at most 1e-4 of the largest value."""

    def check(ours: Tensor, golden: np.ndarray) -> None:
        assert tuple(ours.shape) == golden.shape
        error = np.abs(ours.detach().numpy() - golden).max()
        assert error <= 1e-4 * np.abs(golden).max()

    return check


@pytest.fixture
def stored(golden_dir: Path) -> Callable[[str], dict[str, np.ndarray]]:
    """All arrays of a golden file."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(golden_dir / f"{name}.npz") as archive:
            return dict(archive)

    return load
