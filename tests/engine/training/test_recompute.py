"""Recomputed activations: the same gradients and statistics, less kept."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from engine.training.recompute import recompute


class Pyramid(nn.Module):
    """Three stages of convolution, norm, activation and dropout; gives the last two maps."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(3 if number == 0 else 8, 8, 3, padding=1, bias=False),
                nn.BatchNorm2d(8),
                nn.Hardswish(),
                nn.Dropout(0.3),
                nn.Conv2d(8, 8, 3, padding=1),
            )
            for number in range(3)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1:]


class Net(nn.Module):
    """The pyramid in a model."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Pyramid()

    def forward(self, x: Tensor) -> Tensor:
        return sum(level.square().mean() for level in self.backbone(x))


def trained(names: Sequence[str] | str) -> tuple[dict[str, Any], int]:
    """State and gradients after two steps, and how many bytes the passes kept."""
    torch.manual_seed(0)
    model = Net()
    if names:
        recompute(model, names)
    kept = 0

    def pack(value: Tensor) -> Tensor:
        nonlocal kept
        kept += value.numel() * value.element_size()
        return value

    for _ in range(2):
        images = torch.randn(2, 3, 16, 16)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
            loss = model(images)
        loss.backward()
    state = dict(model.state_dict())
    return state | {f"{n}/grad": p.grad for n, p in model.named_parameters()}, kept


@pytest.mark.slow  # torch imports its compiler for it
@pytest.mark.parametrize(
    "names", ["backbone", ["backbone.stages.0", "backbone.stages.1", "backbone.stages.2"]]
)
def test_nothing_changes_but_what_is_kept(names: Sequence[str] | str) -> None:
    """Bit for bit: gradients through dropout, running mean and variance, and their count."""
    wanted, before = trained(())
    found, after = trained(names)
    assert found.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(found[name], wanted[name])] == []
    assert found["backbone.stages.0.1.num_batches_tracked"].item() == 2
    assert after < 0.3 * before


def test_evaluation_is_as_it_was() -> None:
    model = Net().eval()
    images = torch.randn(1, 3, 8, 8)
    wanted = model(images)
    recompute(model, "backbone")
    assert torch.equal(model(images), wanted)


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"no module 'backbone\.stage\.1' .*backbone\.stages\.1"):
        recompute(Net(), ["backbone.stage.1"])
