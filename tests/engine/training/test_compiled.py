"""A compiled trunk: the same losses, and weights of the same names."""

from typing import Any

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from backbone import PPLCNet
from classification.classifier import Classifier
from engine.data.preprocess import Preprocess
from engine.training.compiled import compile_trunk


def build() -> Any:
    torch.manual_seed(0)
    prepare = Preprocess(size=(64, 64), resize_shortest=64)
    trunk = PPLCNet(0.25, out_strides=(32,))
    return Classifier(backbone=trunk, num_classes=3, hidden=16, data_preprocessor=prepare).train()


def losses(model: Any, steps: int) -> list[float]:
    """Of training steps on drawn pixels; momentum carries a wrong gradient on."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    wrapper, source = OptimWrapper(optimizer), torch.Generator().manual_seed(1)
    found = []
    for step in range(steps):
        torch.manual_seed(step)
        shape = (8, 64, 64, 3)
        images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=source)
        targets = [{"label": number % 3} for number in range(8)]
        logged = model.train_step({"images": list(images), "targets": targets}, wrapper)
        found.append(float(logged["loss"].detach()))
    return found


@pytest.mark.slow
def test_losses_are_those_of_the_network_as_it_is() -> None:
    """Traced, forward and backward, in three steps; weights keep their names."""
    plain, compiled = build(), build()
    names = list(compiled.state_dict())
    compile_trunk(compiled, {"backend": "aot_eager", "dynamic": False})
    assert losses(compiled, 3) == pytest.approx(losses(plain, 3), abs=1e-5)
    assert compiled.backbone._compiled_call_impl is not None
    assert list(compiled.state_dict()) == names == list(plain.state_dict())


class Unit(nn.Module):
    """One convolution with norm and activation, as a trunk."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, bias=False), nn.BatchNorm2d(8), nn.Hardswish()
        )


@pytest.mark.slow
def test_torchs_own_compiler() -> None:
    """Which writes C++, minutes of it for a whole network: gradients and statistics of one unit."""
    plain, compiled = Unit(), Unit()
    compile_trunk(compiled, True)
    images = torch.randn(4, 3, 16, 16)
    for model in (plain, compiled):
        model.backbone(images).square().mean().backward()
    for (name, wanted), found in zip(plain.named_parameters(), compiled.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, atol=1e-5, rtol=0, msg=name)
    assert torch.allclose(compiled.backbone[1].running_var, plain.backbone[1].running_var)


@pytest.mark.slow
def test_options() -> None:
    model = nn.Module()
    model.backbone = nn.Conv2d(1, 1, 1)
    with pytest.raises(ValueError, match=r"compile\.backends is unknown; nearest known: backend"):
        compile_trunk(model, {"backends": "eager"})
    assert model.backbone._compiled_call_impl is None
    compile_trunk(model, True)
    assert model.backbone._compiled_call_impl is not None
