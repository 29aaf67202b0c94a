import math

import pytest
import torch
from torch import Tensor

from detection.neck import PAN, CSPFusion


def features(side: int = 8, widths: tuple[int, ...] = (4, 6, 8)) -> list[Tensor]:
    random = torch.Generator().manual_seed(0)
    sides = (side, side // 2, side // 4)
    return [torch.randn(2, c, n, n, generator=random) for c, n in zip(widths, sides, strict=True)]


def test_the_extra_level_adds_a_lateral_and_an_output() -> None:
    """With the branch from the top output silenced, P6 is the other one on C5's lateral."""
    neck = PAN((4, 6, 8), 16).eval()
    maps = features()
    torch.nn.init.zeros_(neck.extra_output.pointwise.norm.weight)
    wanted = neck.extra_lateral(neck.laterals[2](maps[2]))
    torch.testing.assert_close(neck(maps)[3], wanted)


def test_an_image_gives_the_same_alone_and_in_a_batch() -> None:
    neck = PAN((4, 6, 8), 16).eval()
    maps = features()
    alone = neck([m[:1] for m in maps])
    for both, one in zip(neck(maps), alone, strict=True):
        torch.testing.assert_close(both[:1], one, rtol=1e-5, atol=1e-6)


def test_memory_layout_flows_through() -> None:
    maps = [m.to(memory_format=torch.channels_last) for m in features()]
    neck = PAN((4, 6, 8), 16).eval().to(memory_format=torch.channels_last)
    for output in neck(maps)[:3]:  # a 1 x 1 map has both layouts at once
        assert output.is_contiguous(memory_format=torch.channels_last)


def test_initial_weights() -> None:
    """He-uniform is bounded by sqrt(6 / fan-in), He-normal deviates by sqrt(2 / fan-in)."""
    torch.manual_seed(0)
    neck = PAN((48, 88, 176), 96)
    lateral = neck.laterals[2].conv.weight
    assert lateral.abs().max().item() == pytest.approx(math.sqrt(6 / 176), rel=0.01)
    fusion = neck.top_down[0][0].pointwise.conv.weight
    assert fusion.std().item() == pytest.approx(math.sqrt(2 / 192), rel=0.02)
    assert fusion.abs().max().item() > math.sqrt(6 / 192)  # not uniform


def test_a_cross_stage_block_joins_bottleneck_and_shortcut_in_that_order() -> None:
    block = CSPFusion(16).eval()
    pair = torch.randn(1, 32, 4, 4)
    torch.nn.init.zeros_(block.short.norm.weight)
    joined = torch.cat([block.bottleneck(block.main(pair)), torch.zeros(1, 8, 4, 4)], dim=1)
    torch.testing.assert_close(block(pair), block.final(joined))


def test_initial_weights_of_the_first_generation() -> None:
    """He-uniform everywhere: bounded by sqrt(6 / fan-in)."""
    torch.manual_seed(0)
    neck = PAN((48, 88, 176), 96, CSPFusion)
    for layer, fan_in in ((neck.top_down[0].final, 96), (neck.bottom_up[1].main, 192)):
        bound = math.sqrt(6 / fan_in)
        assert layer.conv.weight.abs().max().item() == pytest.approx(bound, rel=0.01)


@pytest.mark.golden
@pytest.mark.parametrize(
    "name",
    [
        "picodet_s_320_coco_lcnet",
        "picodet_xs_320_coco_lcnet",
        "picodet_legacy_lcnet_x0_5",
        "picodet_legacy_mbv3_large_x0_35",
    ],
)
@torch.no_grad()
def test_maps_equal_the_originals(golden_detector, name: str, assert_agrees) -> None:
    golden = golden_detector(name)
    found = golden.model.neck(golden.model.backbone(golden.arrays["input/image"]))
    for level, output in enumerate(found):
        wanted = golden.arrays[f"neck/{level}"]
        assert_agrees(f"{name}: neck", "PaddleDetection", output, wanted, of_largest=1e-3)
