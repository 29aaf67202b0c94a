"""PP-LCNet against its published counts and the arrays of the original implementation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from backbone import PPLCNet
from backbone.weights import read_arrays
from engine.hardware import cost

ALL_STRIDES = (2, 4, 8, 16, 32)

# scale, trainable parameters of the classifier with 1000 classes, its MACs in millions at 224.
COSTS = [
    (0.25, 1_521_184, 16.773),
    (0.35, 1_643_090, 27.358),
    (0.5, 1_879_576, 44.731),
    (0.75, 2_357_008, 94.786),
    (1.0, 2_952_520, 155.700),
    (1.5, 4_499_832, 334.188),
    (2.0, 6_521_512, 580.195),
    (2.5, 9_017_560, 893.720),
]


@pytest.mark.parametrize(("scale", "params", "mmacs"), COSTS)
def test_costs_are_those_of_the_paper(scale: float, params: int, mmacs: float) -> None:
    """The trunk, a 1x1 convolution to 1280 without bias, and 1280 x 1000 + 1000 of the fc."""
    with torch.device("meta"):
        model = PPLCNet(scale).eval()
    width = model.channels[-1]
    trunk = cost(model, torch.empty(1, 3, 224, 224, device="meta"))
    assert trunk.parameters + width * 1280 + 1280 * 1000 + 1000 == params
    macs = trunk.macs + width * 1280 + 1280 * 1000
    assert macs / 1e6 == pytest.approx(mmacs, abs=0.0006)


def logits(features: Tensor, arrays: dict[str, np.ndarray], keep: float) -> Tensor:
    """The classifier on the last map (B, C, h, w); `keep` is 0.8 where Paddle's dropout ran."""
    weight, fc, bias = (
        torch.from_numpy(arrays[name]) for name in ("last_conv.weight", "fc.weight", "fc.bias")
    )
    pooled = F.hardswish(F.conv2d(features.mean((2, 3), keepdim=True), weight)).flatten(1)
    return keep * pooled @ fc + bias


CLASSIFIERS = ["PPLCNet_x0_25_c1000", "PPLCNet_x0_5_c10", "PPLCNet_x1_0_c10", "PPLCNet_x2_5_c1000"]


@pytest.mark.golden
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_features_are_those_of_the_original(
    name, golden, golden_trunk, scale_of, assert_agrees
) -> None:
    case = golden(name)
    model = golden_trunk(PPLCNet(scale_of(name), ALL_STRIDES), case.weights())
    check_features(model, case, f"PP-LCNet x{scale_of(name)}", assert_agrees)


@pytest.mark.golden
def test_features_from_pdparams_are_those_of_the_original(
    golden, golden_trunk, pdparams_file, assert_agrees
) -> None:
    name = "PPLCNet_x0_25_c7"
    model = golden_trunk(PPLCNet(0.25, ALL_STRIDES), read_arrays(pdparams_file(name)))
    check_features(model, golden(name), "PP-LCNet x0.25 from a .pdparams file", assert_agrees)


@torch.no_grad()
def check_features(model: nn.Module, case: Any, what: str, assert_agrees: Callable) -> None:
    gated: list[Tensor] = []
    model.stages[4][0].se.register_forward_hook(lambda *args: gated.append(args[-1]))
    wanted, weights = case.arrays, case.weights()
    images = torch.from_numpy(wanted["input/x"])
    maps = model(images)
    found = {f"feat/blocks{stage}": ours for stage, ours in zip((2, 3, 4, 5, 6), maps, strict=True)}
    found |= {"feat/conv1": model.stem(images), "feat/blocks6.0.se": gated[0]}
    for key, ours in found.items():
        assert_agrees(f"{what}: features", "PaddleClas", ours, wanted[key], of_largest=1e-4)
    found = {"output/logits": maps[-1]}
    if "input/x_odd" in wanted:
        found["output/logits_odd"] = model(torch.from_numpy(wanted["input/x_odd"]))[-1]
    for key, last in found.items():
        ours = logits(last, weights, 0.8)
        assert_agrees(f"{what}: logits", "PaddleClas", ours, wanted[key], of_largest=1e-4)


@pytest.mark.golden
def test_training_mode_is_that_of_the_original(golden, golden_trunk, assert_agrees) -> None:
    """First step of the training trajectory: batch statistics, dropout off."""
    case = golden("PPLCNet_x0_25_train_traj")
    wanted, weights = case.arrays, case.weights()
    model = golden_trunk(PPLCNet(0.25), weights).train()
    features = model(torch.from_numpy(wanted["input/x"][0]))[-1]
    what = "PP-LCNet x0.25 in training mode"
    for part, ours, key in (
        ("logits", logits(features, weights, 1.0), "step0/logits"),
        ("running mean", model.stem.norm.running_mean, "step0/conv1.bn._mean"),
    ):
        assert_agrees(f"{what}: {part}", "PaddleClas", ours, wanted[key], of_largest=1e-4)


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "scale", "strides", "images", "reference"),
    [
        ("picodet_s_320_coco_lcnet", 0.75, (8, 16, 32), "input/image", "PaddleDetection"),
        ("picodet_xs_320_coco_lcnet", 0.35, (8, 16, 32), "input/image", "PaddleDetection"),
        ("picodet_legacy_lcnet_x0_5", 0.5, (8, 16, 32), "input/image", "PaddleDetection"),
        ("deeplabv3p_pplcnet_x0_5", 0.5, (4, 8, 16, 32), "input/x", "PaddleSeg"),
    ],
)
def test_trunks_of_the_tasks_are_those_of_the_originals(
    name, scale, strides, images, reference, golden, golden_trunk, assert_agrees
) -> None:
    case = golden(name)
    model = golden_trunk(PPLCNet(scale, strides), case.weights())
    for level, ours in enumerate(model(torch.from_numpy(case.arrays[images]))):
        wanted = case.arrays[f"backbone/{level}"]
        assert_agrees(f"PP-LCNet x{scale}: features", reference, ours, wanted, of_largest=1e-4)


ABLATIONS = [
    # argument, 13 positions, how many blocks have it
    ("se", (1, 1) + (0,) * 11, 2),
    ("se", (0,) * 6 + (1, 1) + (0,) * 5, 2),
    ("se", (1,) * 13, 13),
    ("se", (0,) * 13, 0),
    ("large_kernel", (1,) * 13, 13),
    ("large_kernel", (1,) * 7 + (0,) * 6, 7),
]


@pytest.mark.parametrize(("argument", "positions", "count"), ABLATIONS)
def test_switches_reach_exactly_their_blocks(
    argument: str, positions: tuple[int, ...], count: int
) -> None:
    model = PPLCNet(0.5, **{argument: positions})
    blocks = [block for stage in model.stages for block in stage]
    if argument == "se":
        found = [int(not isinstance(block.se, nn.Identity)) for block in blocks]
    else:
        found = [int(block.depthwise.conv.kernel_size == (5, 5)) for block in blocks]
    assert sum(found) == count
    assert tuple(found) == positions


def test_default_switches_are_the_ones_of_the_paper() -> None:
    plain = PPLCNet(0.5).state_dict()
    se, large = (0,) * 11 + (1, 1), (0,) * 6 + (1,) * 7
    switched = PPLCNet(0.5, se=se, large_kernel=large).state_dict()
    assert {name: value.shape for name, value in plain.items()} == {
        name: value.shape for name, value in switched.items()
    }


def test_activation_is_everywhere_but_in_the_squeeze_excite() -> None:
    model = PPLCNet(0.25, act="relu6")
    assert sum(isinstance(part, nn.ReLU6) for part in model.modules()) == 1 + 2 * 13
    assert not any(isinstance(part, nn.Hardswish) for part in model.modules())


@pytest.mark.parametrize("argument", ["se", "large_kernel"])
@pytest.mark.parametrize("value", [(), (1,) * 12, (2,) * 13])
def test_switch_without_13_bits_is_refused(argument: str, value: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"{argument}=.* 13 zeros and ones"):
        PPLCNet(**{argument: value})


def test_unknown_activation_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"act='swish' .* hardswish, relu, relu6"):
        PPLCNet(act="swish")


TEXT_LINE = (2, (2, 1), (2, 1), (2, 1), (2, 1))


def test_rectangular_downsampling_keeps_the_columns() -> None:
    """80 x 160 with strides 2 and (2, 1) x 4: 80 / 32 rounds up to 3, 160 / 2 = 80."""
    model = PPLCNet(0.25, (32,), downsampling=TEXT_LINE).eval()
    (last,) = model(torch.rand(1, 3, 80, 160))
    assert last.shape == (1, 128, 3, 80)
    assert model.strides == (32,)
    assert model.state_dict().keys() == PPLCNet(0.25).state_dict().keys()


def test_square_downsampling_tells_its_strides() -> None:
    """2, 1, 2, 2, 1: the stages reach 2, 2, 4, 8, 8."""
    model = PPLCNet(0.25, (8, 16, 32), downsampling=(2, 1, 2, 2, 1)).eval()
    assert model.strides == (4, 8, 8)
    assert [m.shape[-1] for m in model(torch.rand(1, 3, 64, 64))] == [16, 8, 8]
    plain = PPLCNet(0.25, downsampling=[2] * 5)
    images = torch.rand(1, 3, 64, 64)
    plain.load_state_dict(PPLCNet(0.25).state_dict())
    other = PPLCNet(0.25).eval()
    other.load_state_dict(plain.state_dict())
    for ours, theirs in zip(plain.eval()(images), other(images), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"downsampling": (2, 2)}, "must hold 5 strides"),
        ({"downsampling": [2] * 5, "output_stride": 16}, "with output_stride=32, not 16"),
        ({"downsampling": TEXT_LINE}, r"for classifiers, .* out_strides=\(32,\)"),
    ],
)
def test_downsampling_that_does_not_fit_is_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PPLCNet(0.25, **options)
