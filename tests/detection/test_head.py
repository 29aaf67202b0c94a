import math

import pytest
import torch

from detection.head import PicoHead, joint_score


def small_head() -> PicoHead:
    torch.manual_seed(0)
    return PicoHead(num_classes=3, channels=32, tower_convs=2, reg_max=7, strides=(8, 16))


def test_score_is_the_root_of_class_times_quality() -> None:
    """sqrt(0.5 x 0.5) = 0.5; sqrt(0.8 x 0.2) = 0.4."""
    cls_logits = torch.tensor([[[0.0, math.log(4)]]])
    assert joint_score(cls_logits, torch.zeros(1, 1, 1))[0, 0, 0].item() == pytest.approx(0.5)
    quality = torch.full((1, 1, 1), -math.log(4))
    assert joint_score(cls_logits, quality)[0, 0, 1].item() == pytest.approx(0.4)


def test_a_score_of_nothing_keeps_a_finite_slope() -> None:
    logits = torch.full((1, 1, 1), -200.0, requires_grad=True)
    joint_score(logits, torch.zeros(1, 1, 1)).sum().backward()
    assert logits.grad is not None
    assert logits.grad.item() == 0


def test_half_precision_logits_do_not_round_scores() -> None:
    """sqrt(sigmoid(6) x sigmoid(6)) = 0.99753, which bfloat16 would round to 0.99609 or 1."""
    logits = torch.full((1, 1, 1), 6.0, dtype=torch.bfloat16)
    assert joint_score(logits, logits).item() == pytest.approx(1 / (1 + math.exp(-6)), abs=1e-6)


def test_points_follow_the_maps_row_by_row() -> None:
    """The prediction of point 1 * 4 + 2 of a 3 x 4 level is what the layers say at row 1, col 2."""
    head = small_head().eval()
    maps = [torch.randn(1, 32, 3, 4), torch.randn(1, 32, 2, 2)]
    predictions = head(maps)
    feature = head.towers[0](maps[0])
    gate = head.se_gate[0](feature.mean((2, 3), keepdim=True)).sigmoid()
    attended = head.se_conv[0](feature * gate)
    torch.testing.assert_close(predictions.dist_logits[0, 6], head.reg[0](attended)[0, :, 1, 2])
    assert predictions.scores.shape == (1, 16, 3)
    assert predictions.grid.points[6].tolist() == [20, 12]


def test_initial_weights() -> None:
    head = small_head()
    assert head.cls[0].bias.tolist() == pytest.approx([-math.log(99)] * 3)
    assert head.reg[1].bias.abs().max().item() == 0
    assert head.reg[1].weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert head.towers[1][0].pointwise.conv.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert head.se_conv[0].conv.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert head.se_gate[0].weight.std().item() == pytest.approx(0.001, rel=0.1)
    bound = math.sqrt(6 / (32 * 25))  # He-uniform of the dense 5 x 5
    assert head.align[0].conv1.conv.weight.abs().max().item() == pytest.approx(bound, rel=0.02)


def test_the_first_generation_has_plain_outputs() -> None:
    """The score is the sigmoid of the class alone; both outputs start at the prior's bias."""
    torch.manual_seed(0)
    head = PicoHead(
        num_classes=3, channels=32, tower_convs=2, reg_max=7, strides=(8, 16), aligned=False
    ).eval()
    assert {name.split(".")[0] for name in head.state_dict()} == {"towers", "cls", "reg"}
    for output in (head.cls[0], head.reg[1]):
        assert output.bias.detach().unique().tolist() == pytest.approx([-math.log(99)])
    maps = [torch.randn(1, 32, 3, 4), torch.randn(1, 32, 2, 2)]
    predictions = head(maps)
    logits = head.cls[0](head.towers[0](maps[0]))[0, :, 1, 2]
    torch.testing.assert_close(predictions.scores[0, 6], logits.sigmoid())
    torch.testing.assert_close(predictions.cls_logits[0, 6], logits)


@pytest.mark.golden
@torch.no_grad()
def test_inner_maps_equal_the_originals(golden_detector, assert_agrees) -> None:
    name = "picodet_s_320_coco_lcnet"
    golden = golden_detector(name)
    model, head = golden.model, golden.model.head
    feature = head.towers[2](model.neck(model.backbone(golden.arrays["input/image"]))[2])
    gate = head.se_gate[2](feature.mean((2, 3), keepdim=True)).sigmoid()
    found = {"conv_feat": feature, "se_feat": head.se_conv[2](feature * gate)}
    for key, ours in found.items():
        wanted = golden.arrays[f"head/{key}_level2"]
        assert_agrees(f"{name}: inside the head", "PaddleDetection", ours, wanted, of_largest=1e-3)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["picodet_s_320_coco_lcnet", "picodet_legacy_lcnet_x0_5"])
@torch.no_grad()
def test_raw_outputs_equal_the_originals(golden_detector, name: str, assert_agrees) -> None:
    golden = golden_detector(name)
    model, what = golden.model, f"{name}: head"
    found = model.head(model.neck(model.backbone(golden.arrays["input/image"])))
    wanted = [golden.arrays[f"raw/score_{level}"] for level in range(4)]
    sizes = [level.shape[1] for level in wanted]
    for ours, theirs in zip(found.scores.split(sizes, dim=1), wanted, strict=True):
        assert_agrees(f"{what} scores", "PaddleDetection", ours, theirs, atol=1e-3)
    for level, ours in enumerate(found.dist_logits.split(sizes, dim=1)):
        theirs = golden.arrays[f"raw/reg_{level}"]
        assert_agrees(f"{what} distances", "PaddleDetection", ours, theirs, of_largest=1e-3)
