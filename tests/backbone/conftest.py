"""Trunks with golden weights, and their costs."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from torch import nn

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
