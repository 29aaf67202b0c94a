"""Trunks with golden weights, and their costs."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
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
def multiply_adds() -> Callable[[nn.Module, int], int]:
    """Multiply-adds of a trunk's convolutions for one square image, counted without computing."""

    def count(model: nn.Module, side: int) -> int:
        total = 0

        def add(conv: nn.Conv2d, _: tuple[Tensor, ...], output: Tensor) -> None:
            nonlocal total
            total += output.numel() * conv.weight[0].numel()

        for part in model.modules():
            if isinstance(part, nn.Conv2d):
                part.register_forward_hook(add)
        model(torch.empty(1, 3, side, side, device="meta"))
        return total

    return count
