"""Rates by prefix, with unchanged decay; and mmengine's accumulation of gradients."""

import pytest
import torch
from mmengine.optim import OptimWrapper, build_optim_wrapper
from torch import nn
from torch.optim import SGD

from engine.training.stage_rates import StageRates


class Net(nn.Module):
    """Two stages of convolution and batch-norm, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)) for _ in range(2)
        )
        self.classify = nn.Linear(3, 2)


def built(**paramwise: object) -> tuple[dict[str, tuple[float, float]], OptimWrapper]:
    """(rate, decay) by parameter name, of base rate 0.1 and decay 0.01."""
    net = Net()
    config = {
        "type": OptimWrapper,
        "optimizer": {"type": SGD, "lr": 0.1, "weight_decay": 0.01},
        "constructor": StageRates,
        "paramwise_cfg": paramwise,
    }
    wrapper = build_optim_wrapper(net, config)
    names = {id(value): name for name, value in net.named_parameters()}
    found = {
        names[id(group["params"][0])]: (group["lr"], group["weight_decay"])
        for group in wrapper.optimizer.param_groups
    }
    return found, wrapper


def test_the_longest_prefix_counts_and_norms_stay_without_decay() -> None:
    found, _ = built(norm_decay_mult=0.0, lr_mults={"stages.": 0.5, "stages.0.": 0.0})
    assert found["stages.0.0.weight"] == (0.0, 0.01)
    assert found["stages.0.1.weight"] == (0.0, 0.0)
    assert found["stages.1.0.bias"] == (0.05, 0.01)
    assert found["stages.1.1.bias"] == (0.05, 0.0)
    assert found["classify.weight"] == (0.1, 0.01)


def test_without_other_entries() -> None:
    found, _ = built(lr_mults={"classify": 10.0})
    assert found["classify.bias"] == (1.0, 0.01)
    assert found["stages.0.1.weight"] == (0.1, 0.01)


@pytest.mark.parametrize("lr_mults", [{"stage9.": 0.5}, {"stages.": -1.0}])
def test_a_prefix_of_nothing_is_refused(lr_mults: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"lr_mults: 'stage.*such as stages\.0\.0\.weight"):
        built(lr_mults=lr_mults)


def test_accumulated_quarters_step_as_the_whole_batch() -> None:
    """Four batches of 2 with `accumulative_counts=4` against one of 8: one equal step."""
    torch.manual_seed(0)
    inputs, labels = torch.randn(8, 5), torch.randint(0, 3, (8,))
    steps = []
    for count in (1, 4):
        torch.manual_seed(1)
        layer = nn.Linear(5, 3)
        optimizer = SGD(layer.parameters(), lr=0.5, momentum=0.9, weight_decay=0.01)
        wrapper = OptimWrapper(optimizer, accumulative_counts=count)
        wrapper.initialize_count_status(layer, 0, 8)
        start = layer.weight.detach().clone()
        for x, y in zip(inputs.chunk(count), labels.chunk(count), strict=True):
            assert torch.equal(layer.weight, start)  # nothing moves before the last one
            wrapper.update_params(nn.functional.cross_entropy(layer(x), y))
        steps.append(layer.weight.detach().clone())
    assert not torch.equal(steps[0], start)
    torch.testing.assert_close(steps[0], steps[1])
