"""MobileNetV3 against its published counts and the arrays of the Paddle implementation."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from backbone import MobileNetV3
from backbone.layers import make_divisible
from backbone.mobilenetv3 import SteepHardsigmoid
from engine.hardware import cost

ALL_STRIDES = (4, 8, 16, 32)

# arch, scale, trainable parameters with 1000 classes, MACs in millions at 224.
COSTS = [
    ("large", 1.25, 7_443_308, 349.97),
    ("large", 1.0, 5_480_206, 219.80),
    ("large", 0.75, 3_912_248, 143.78),
    ("large", 0.5, 2_673_422, 66.70),
    ("large", 0.35, 2_104_328, 37.19),
    ("small", 1.25, 3_627_370, 95.36),
    ("small", 1.0, 2_939_958, 60.12),
    ("small", 0.75, 2_375_106, 43.05),
    ("small", 0.5, 1_902_536, 20.76),
    ("small", 0.35, 1_665_954, 13.16),
]


@pytest.mark.parametrize(("arch", "scale", "params", "mmacs"), COSTS)
def test_costs_are_the_published_ones(arch: str, scale: float, params: int, mmacs: float) -> None:
    """The trunk, a 1x1 conv-BN to 960 (small 576) x scale, a 1x1 to 1280 without bias, the fc."""
    with torch.device("meta"):
        model = MobileNetV3(arch, scale).eval()
    width, wide = model.channels[-1], make_divisible({"large": 960, "small": 576}[arch] * scale)
    trunk = cost(model, torch.empty(1, 3, 224, 224, device="meta"))
    head = width * wide + 2 * wide + wide * 1280 + 1280 * 1000 + 1000
    assert trunk.parameters + head == params
    macs = trunk.macs + 7 * 7 * width * wide + wide * 1280 + 1280 * 1000
    assert macs / 1e6 == pytest.approx(mmacs, abs=0.006)


GOLDEN = {
    "MobileNetV3_large_x0_5_c10": (2, 5, 11, 14),
    "MobileNetV3_large_x1_0_c1000": (2, 5, 11, 14),
    "MobileNetV3_small_x1_0_c10": (0, 2, 7, 10),
}


@pytest.mark.golden
@pytest.mark.parametrize("name", GOLDEN)
@torch.no_grad()
def test_features_are_those_of_the_original(
    name, golden, golden_trunk, scale_of, assert_agrees
) -> None:
    arch, scale, case = name.split("_")[1], scale_of(name), golden(name)
    wanted, weights = case.arrays, case.weights()
    model = golden_trunk(MobileNetV3(arch, scale, ALL_STRIDES), weights)
    gated: list[Tensor] = []
    block = {"large": 3, "small": 0}[arch]
    model.blocks[block].se.register_forward_hook(lambda *args: gated.append(args[-1]))
    images = torch.from_numpy(wanted["input/x"])
    maps = model(images)
    found = {f"feat/blocks.{tap}": ours for tap, ours in zip(GOLDEN[name], maps, strict=True)}
    found |= {"feat/conv": model.stem(images), f"feat/blocks.{block}.mid_se": gated[0]}
    what = f"MobileNetV3 {arch} x{scale}"
    for key, ours in found.items():
        assert_agrees(f"{what}: features", "PaddleClas", ours, wanted[key], of_largest=1e-4)
    found = {"output/logits": maps[-1]}
    if "input/x_odd" in wanted:
        found["output/logits_odd"] = model(torch.from_numpy(wanted["input/x_odd"]))[-1]
    for key, last in found.items():
        ours = logits(last, weights)
        assert_agrees(f"{what}: logits", "PaddleClas", ours, wanted[key], of_largest=1e-4)


def logits(features: Tensor, arrays: dict) -> Tensor:
    """The classifier in eval mode on the last map (B, C, h, w)."""
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    norm = [
        tensors[f"last_second_conv.bn.{part}"] for part in ("_mean", "_variance", "weight", "bias")
    ]
    wide = F.conv2d(features, tensors["last_second_conv.conv.weight"])
    pooled = F.hardswish(F.batch_norm(wide, *norm)).mean((2, 3), keepdim=True)
    last = F.hardswish(F.conv2d(pooled, tensors["last_conv.weight"])).flatten(1)
    return 0.8 * last @ tensors["fc.weight"] + tensors["fc.bias"]


@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "scale", "strides", "images", "reference"),
    [
        ("picodet_legacy_mbv3_large_x0_35", 0.35, (8, 16, 32), "input/image", "PaddleDetection"),
        ("deeplabv3p_mbv3_large_x0_5", 0.5, (4, 8, 16, 32), "input/x", "PaddleSeg"),
    ],
)
def test_trunks_of_the_tasks_are_those_of_the_originals(
    name, scale, strides, images, reference, golden, golden_trunk, assert_agrees
) -> None:
    """PaddleDetection's own names (conv1, conv2 ...) and taps (blocks 5, 11, 14), PaddleSeg's."""
    case = golden(name)
    model = golden_trunk(MobileNetV3("large", scale, strides), case.weights())
    for level, ours in enumerate(model(torch.from_numpy(case.arrays[images]))):
        wanted = case.arrays[f"backbone/{level}"]
        assert_agrees(
            f"MobileNetV3 large x{scale}: features", reference, ours, wanted, of_largest=1e-4
        )


def test_gate_has_slope_one_fifth() -> None:
    x = torch.tensor([-3.0, -2.5, -1.0, 0.0, 1.0, 2.5, 3.0])
    expected = torch.tensor([0.0, 0.0, 0.3, 0.5, 0.7, 1.0, 1.0])
    torch.testing.assert_close(SteepHardsigmoid()(x), expected)


def test_squeeze_width_is_a_plain_quarter() -> None:
    model = MobileNetV3("large")
    widths = [model.blocks[index].se.reduce.out_channels for index in (3, 4, 10)]
    assert widths == [72 // 4, 120 // 4, 480 // 4]


def test_shortcuts_stand_where_nothing_changes() -> None:
    """Large: every block that keeps stride 1 and its width, 10 of 15."""
    shortcuts = [index for index, block in enumerate(MobileNetV3().blocks) if block.shortcut]
    assert shortcuts == [0, 2, 4, 5, 7, 8, 9, 11, 13, 14]


def test_unknown_arch_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"arch='medium' .* large, small"):
        MobileNetV3("medium")
