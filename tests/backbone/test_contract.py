"""What every backbone promises, for every backbone class found in the package.

Every one whose width is its `scale`, that is: guests from other packages have tests of their own.
"""

import importlib
import inspect
import pkgutil
from math import ceil

import pytest
import torch
from torch import nn

import backbone
from backbone.layers import SqueezeExcite

STRIDES = (4, 8, 16, 32)


def found_backbones() -> list[type[nn.Module]]:
    modules = [
        importlib.import_module(f"backbone.{info.name}")
        for info in pkgutil.iter_modules(backbone.__path__)
    ]
    return [
        item
        for module in modules
        for item in vars(module).values()
        if isinstance(item, type)
        and issubclass(item, nn.Module)
        and item.__module__ == module.__name__
        and "channels" in item.__annotations__
        and "scale" in inspect.signature(item).parameters
    ]


@pytest.fixture(params=found_backbones(), ids=lambda cls: cls.__name__)
def cls(request: pytest.FixtureRequest) -> type[nn.Module]:
    torch.manual_seed(0)
    return request.param


def test_the_search_finds_the_two_known_ones() -> None:
    assert {cls.__name__ for cls in found_backbones()} >= {"PPLCNet", "MobileNetV3"}


def test_maps_have_the_promised_channels_and_rounded_up_sizes(cls: type[nn.Module]) -> None:
    model = cls(scale=0.5, out_strides=STRIDES).eval()
    maps = model(torch.rand(1, 3, 75, 93))
    assert model.strides == STRIDES
    assert [tuple(m.shape) for m in maps] == [
        (1, channels, ceil(75 / stride), ceil(93 / stride))
        for channels, stride in zip(model.channels, model.strides, strict=True)
    ]


def test_classifiers_learn_how_wide_to_go_before_pooling(cls: type[nn.Module]) -> None:
    """A whole multiple of 8; the same whatever maps are taken."""
    model = cls(scale=0.5)
    assert model.pre_pool_channels >= 0
    assert model.pre_pool_channels % 8 == 0
    assert cls(scale=0.5, out_strides=(8,)).pre_pool_channels == model.pre_pool_channels


def test_default_strides_are_8_16_32(cls: type[nn.Module]) -> None:
    assert cls().strides == (8, 16, 32)


def test_batch_of_two_equals_two_singles(cls: type[nn.Module]) -> None:
    model = cls(scale=0.5).eval()
    images = torch.randn(2, 3, 64, 96)
    together = model(images)
    for row, image in enumerate(images):
        for one, both in zip(model(image[None]), together, strict=True):
            torch.testing.assert_close(one[0], both[row], rtol=1e-5, atol=1e-5)


def test_fewer_strides_give_the_same_maps_without_idle_parameters(cls: type[nn.Module]) -> None:
    whole = cls(scale=0.5, out_strides=STRIDES).eval()
    part = cls(scale=0.5, out_strides=[8]).eval()
    part.load_state_dict({name: whole.state_dict()[name] for name in part.state_dict()})
    images = torch.randn(1, 3, 64, 64)
    (only,) = part(images)
    assert torch.equal(only, whole(images)[1])
    only.sum().backward()
    assert all(parameter.grad is not None for parameter in part.parameters())


def without_gates(model: nn.Module) -> nn.Module:
    """The model in eval mode without squeeze-excites, whose mean depends on the size of the map."""
    for part in model.modules():
        if isinstance(part, SqueezeExcite):
            part.forward = lambda x: x
    return model.eval()


@pytest.mark.parametrize("side", [64, 75])
@pytest.mark.parametrize("output_stride", [16, 8])
def test_a_dilated_map_holds_the_strided_one(
    cls: type[nn.Module], output_stride: int, side: int
) -> None:
    strided = without_gates(cls(scale=0.5, out_strides=STRIDES))
    dilated = without_gates(cls(scale=0.5, out_strides=STRIDES, output_stride=output_stride))
    dilated.load_state_dict(strided.state_dict())
    assert dilated.strides == tuple(min(stride, output_stride) for stride in STRIDES)
    assert dilated.channels == strided.channels
    images = torch.randn(1, 3, side, side)
    for coarse, fine, stride in zip(strided(images), dilated(images), STRIDES, strict=True):
        step = max(stride // output_stride, 1)
        torch.testing.assert_close(fine[..., ::step, ::step], coarse, rtol=1e-4, atol=1e-4)
        assert fine.shape[-1] == ceil(side / min(stride, output_stride))


def test_unknown_output_stride_names_the_known_ones(cls: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="output_stride=4 is unknown; known: 8, 16, 32"):
        cls(output_stride=4)


def test_every_convolution_starts_at_kaiming_scale(cls: type[nn.Module]) -> None:
    for name, part in cls().named_modules():
        if isinstance(part, nn.Conv2d) and part.weight.numel() > 5000:
            expected = (2 / part.weight[0].numel()) ** 0.5
            assert part.weight.std().item() == pytest.approx(expected, rel=0.1), name
        if isinstance(part, nn.Conv2d) and part.bias is not None:
            assert part.bias.abs().max() == 0


@pytest.mark.parametrize("strides", [(), (16, 8), (8, 8), (8, 64), (3,)])
def test_strides_that_are_no_ascending_choice_are_refused(
    cls: type[nn.Module], strides: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="out_strides"):
        cls(out_strides=strides)


def test_unknown_scale_names_the_known_ones(cls: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"scale=0.4 .* 0.35, 0.5, 0.75, 1.0"):
        cls(scale=0.4)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("pplcnet", backbone.PPLCNet),
        ("mobilenetv3_large", backbone.MobileNetV3),
        ("mobilenetv3_small", lambda: backbone.MobileNetV3("small")),
    ],
)
def test_parameter_names_and_shapes_are_a_contract(name, build, assert_golden_text) -> None:
    with torch.device("meta"):
        state = build().state_dict()
    lines = [f"{key} {tuple(value.shape)}\n" for key, value in state.items()]
    assert_golden_text(f"keys_{name}.txt", "".join(lines))
