import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, distributed

from backbone import PPLCNet
from detection.assigners import Assignment, assign_atss, assign_task_aligned, gather_truths
from detection.head import Predictions
from detection.loss import (
    PicoLoss,
    distribution_focal_loss,
    varifocal_loss,
    varifocal_loss_of_logits,
)
from detection.picodet import PicoDet
from detection.points import make_grid
from detection.simota import assign_simota

CPU = torch.device("cpu")
NOTHING = torch.empty(0, dtype=torch.long)


def assigned(places: Tensor, boxes: Tensor, labels: Tensor, scores: Tensor) -> Assignment:
    """As the second generation's assigners do: a box counts by its target score."""
    return Assignment(places, boxes, labels, scores, scores)


def one_point() -> Predictions:
    """One point (32, 32) of stride 64 and two classes with probabilities 0.5 and 0.2."""
    return Predictions(
        torch.tensor([[[0.5, 0.2]]]), torch.zeros(1, 1, 32), make_grid([(1, 1)], (64,), CPU)
    )


def test_varifocal_loss_by_hand() -> None:
    """Positive p 0.5, q 0.8: 0.8 x ln 2. Negative p 0.2: 0.75 x 0.04 x -ln 0.8."""
    loss = varifocal_loss(torch.tensor([0.5, 0.2]), torch.tensor([0]), torch.tensor([0.8]))
    assert loss.item() == pytest.approx(0.8 * math.log(2) - 0.75 * 0.04 * math.log(0.8))


def test_varifocal_loss_of_logits_is_that_of_probabilities_and_stays_exact() -> None:
    """Negative logit 30: 0.75 x 30 with slope 0.75; the probability itself would round to 1."""
    logits = torch.tensor([0.4, -1.2, 2.0, -3.0])
    index, targets = torch.tensor([2]), torch.tensor([0.8])
    torch.testing.assert_close(
        varifocal_loss_of_logits(logits, index, targets),
        varifocal_loss(logits.sigmoid(), index, targets),
    )
    certain = torch.tensor([30.0, 0.0], requires_grad=True)
    loss = varifocal_loss_of_logits(certain, torch.tensor([1]), torch.tensor([0.5]))
    loss.backward()
    assert loss.item() == pytest.approx(22.5 + 0.5 * math.log(2))
    assert certain.grad is not None
    assert certain.grad.tolist() == pytest.approx([0.75, 0.0])


def test_distribution_focal_loss_by_hand() -> None:
    """Even bins: ln 8 wherever the target lies. Bin 2 e times as likely: at 2.25 it has 3/4."""
    logits = torch.zeros(2, 8)
    logits[1, 2] = 1.0
    loss = distribution_focal_loss(logits, torch.tensor([5.5, 2.25]))
    assert loss.tolist() == pytest.approx([math.log(8), math.log(7 + math.e) - 0.75])


def test_the_three_terms_by_hand() -> None:
    """Even bins mean 3.5 strides = 224 px: the box is (-192, -192, 256, 256) = 448 squared.

    The object (0, 0, 64, 64) within it has IoU 1/49 and no wasted hull. Score target 0.5, so the
    sum 0.5 counts as 1: vfl 0.5 ln 2 - 0.03 ln 0.8, dfl 0.5 x 0.5 x ln 8, giou 2.5 x 0.5 x 48/49.
    """
    assignment = assigned(
        torch.tensor([0]),
        torch.tensor([[0.0, 0.0, 64.0, 64.0]]),
        torch.tensor([0]),
        torch.tensor([0.5]),
    )
    losses = PicoLoss()(one_point(), assignment)
    assert losses["loss_vfl"].item() == pytest.approx(0.5 * math.log(2) - 0.03 * math.log(0.8))
    assert losses["loss_dfl"].item() == pytest.approx(0.25 * math.log(8))
    assert losses["loss_giou"].item() == pytest.approx(1.25 * 48 / 49)


def test_terms_are_divided_by_the_sum_of_targets() -> None:
    """Two points of target 0.9: the sum is 1.8 and dfl their mean, 0.5 x ln 8."""
    predictions = Predictions(
        torch.full((2, 1, 1), 0.5), torch.zeros(2, 1, 32), make_grid([(1, 1)], (64,), CPU)
    )
    boxes = torch.tensor([[0.0, 0.0, 64.0, 64.0]]).expand(2, 4)
    assignment = assigned(torch.arange(2), boxes, torch.zeros(2).long(), torch.full((2,), 0.9))
    loss = PicoLoss()(predictions, assignment)["loss_dfl"]
    assert loss.item() == pytest.approx(0.5 * math.log(8))


def test_the_first_generations_terms_by_hand() -> None:
    """The point of the test above with overlap 0.5 and weight 0.2: vfl over 1 point, the box terms
    over the weight, which counts as 1: dfl 0.25 x 0.2 x ln 8, giou 2 x 0.2 x 48/49. With the point
    twice: vfl over 2 points."""
    loss = PicoDet(backbone=PPLCNet(0.25), num_classes=2, generation=1).loss
    logits = torch.tensor([[[0.0, -math.log(4)]]])
    predictions = one_point()._replace(cls_logits=logits)
    box, half = torch.tensor([[0.0, 0.0, 64.0, 64.0]]), torch.tensor([0.5])
    first = torch.tensor([0])
    found = loss(predictions, Assignment(first, box, first, half, torch.tensor([0.2])))
    vfl = 0.5 * math.log(2) - 0.03 * math.log(0.8)
    assert found["loss_vfl"].item() == pytest.approx(vfl)
    assert found["loss_dfl"].item() == pytest.approx(0.05 * math.log(8))
    assert found["loss_giou"].item() == pytest.approx(0.4 * 48 / 49)
    grid = make_grid([(1, 1)], (64,), CPU)
    pair = Predictions(
        logits.sigmoid().repeat(2, 1, 1), torch.zeros(2, 1, 32), grid, logits.repeat(2, 1, 1)
    )
    both, zeros = torch.arange(2), torch.zeros(2, dtype=torch.long)
    again = loss(pair, Assignment(both, box.repeat(2, 1), zeros, half.repeat(2), half.repeat(2)))
    assert again["loss_vfl"].item() == pytest.approx(vfl)
    assert again["loss_dfl"].item() == pytest.approx(0.25 * math.log(8))


def test_weights_multiply_their_terms() -> None:
    boxes = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    assignment = assigned(torch.tensor([0]), boxes, torch.tensor([1]), torch.tensor([0.5]))
    usual = PicoLoss()(one_point(), assignment)
    other = PicoLoss(vfl_weight=2.0, dfl_weight=0.25, giou_weight=5.0)(one_point(), assignment)
    ratios = [(other[key] / usual[key]).item() for key in ("loss_vfl", "loss_dfl", "loss_giou")]
    assert ratios == pytest.approx([2, 0.5, 2])


def test_without_objects_only_negatives_count() -> None:
    """0.75 x (0.25 ln 2 - 0.04 ln 0.8); the slopes of the boxes are zero, not missing."""
    predictions = one_point()
    predictions.scores.requires_grad_()
    predictions.dist_logits.requires_grad_()
    assignment = assigned(NOTHING, torch.empty(0, 4), NOTHING, torch.empty(0))
    losses = PicoLoss()(predictions, assignment)
    negatives = 0.75 * (0.25 * math.log(2) - 0.04 * math.log(0.8))
    assert losses["loss_vfl"].item() == pytest.approx(negatives)
    assert losses["loss_dfl"].item() == losses["loss_giou"].item() == 0
    sum(losses.values()).backward()
    assert predictions.dist_logits.grad is not None
    assert predictions.dist_logits.grad.abs().max().item() == 0
    assert predictions.scores.grad is not None
    assert (predictions.scores.grad > 0).all()


def test_a_positive_with_target_zero_is_a_negative() -> None:
    boxes = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    zero = assigned(torch.tensor([0]), boxes, torch.tensor([0]), torch.tensor([0.0]))
    none = assigned(NOTHING, torch.empty(0, 4), NOTHING, torch.empty(0))
    found, wanted = PicoLoss()(one_point(), zero), PicoLoss()(one_point(), none)
    assert {k: v.item() for k, v in found.items()} == {k: v.item() for k, v in wanted.items()}


@pytest.mark.parametrize("extreme", [0.0, 1.0])
def test_certain_scores_keep_loss_and_slope_finite(extreme: float) -> None:
    scores = torch.full((4,), extreme, requires_grad=True)
    loss = varifocal_loss(scores, torch.tensor([1]), torch.tensor([0.7]))
    loss.backward()
    assert torch.isfinite(loss)
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()


def test_loss_is_float32_under_autocast() -> None:
    boxes = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    assignment = assigned(torch.tensor([0]), boxes, torch.tensor([1]), torch.tensor([0.5]))
    predictions = one_point()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = PicoLoss()(
            predictions._replace(dist_logits=predictions.dist_logits.bfloat16()), assignment
        )
    for key, value in PicoLoss()(predictions, assignment).items():
        assert rounded[key].dtype == torch.float32
        assert rounded[key].item() == value.item()


def test_processes_share_the_mean_of_their_sums(ranks: Callable[..., list[Any]]) -> None:
    """Sums 0 and 7 have the mean 3.5, half of it 1.75; two of 0.25 are 0.5, which count as 1, half
    of it for each; validation keeps its own."""

    def work(rank: int) -> list[float]:
        distributed.init_process_group("gloo")
        loss = PicoLoss()
        scores = torch.tensor([4.0, 3.0]) if rank else torch.empty(0)
        total, weight = loss._totals(scores, scores / 2)
        small, _ = loss._totals(torch.tensor([0.25]), scores)
        alone, _ = loss.eval()._totals(scores, scores)
        return [total.item(), weight.item(), small.item(), alone.item()]

    assert ranks(work) == [[3.5, 1.75, 0.5, 1.0], [3.5, 1.75, 0.5, 7.0]]


@pytest.mark.golden
def test_varifocal_loss_and_slope_equal_the_originals(
    elementary: dict[str, Tensor], assert_agrees
) -> None:
    scores = elementary["vfl/prob"].requires_grad_()
    targets = elementary["vfl/target"].flatten()
    index = (targets > 0).nonzero().squeeze(1)
    loss = varifocal_loss(scores, index, targets[index]) / 7.5
    wanted = elementary["vfl/loss_prob_avg7.5"][0]
    assert_agrees("varifocal loss", "PaddleDetection", loss, wanted, rtol=1e-5)
    (slope,) = torch.autograd.grad(loss, scores)
    wanted = elementary["vfl/grad_prob"]
    assert_agrees(
        "varifocal loss: gradient", "PaddleDetection", slope, wanted, rtol=1e-4, atol=1e-5
    )


@pytest.mark.golden
def test_varifocal_loss_of_logits_and_slope_equal_the_originals(
    elementary: dict[str, Tensor], assert_agrees
) -> None:
    logits = elementary["vfl/logit"].requires_grad_()
    targets = elementary["vfl/target"].flatten()
    index = (targets > 0).nonzero().squeeze(1)
    loss = varifocal_loss_of_logits(logits, index, targets[index]) / 7.5
    wanted, what = elementary["vfl/loss_sigmoid_avg7.5"][0], "varifocal loss of logits"
    assert_agrees(what, "PaddleDetection", loss, wanted, rtol=1e-5)
    (slope,) = torch.autograd.grad(loss, logits)
    wanted = elementary["vfl/grad_logit"]
    assert_agrees(f"{what}: gradient", "PaddleDetection", slope, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.golden
def test_distribution_focal_loss_and_slope_equal_the_originals(
    elementary: dict[str, Tensor], assert_agrees
) -> None:
    logits = elementary["dfl/pred"].requires_grad_()
    loss = distribution_focal_loss(logits, elementary["dfl/target"])
    wanted, what = elementary["dfl/per_item"], "distribution focal loss"
    assert_agrees(what, "PaddleDetection", loss, wanted, rtol=1e-5, atol=1e-6)
    weighed = 0.5 * (loss * elementary["dfl/weight"]).sum() / 4
    assert_agrees(what, "PaddleDetection", weighed, elementary["dfl/w0.5_avg4"][0], rtol=1e-5)
    (slope,) = torch.autograd.grad(weighed, logits)
    wanted = elementary["dfl/grad"]
    assert_agrees(f"{what}: gradient", "PaddleDetection", slope, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["picodet_s_320_coco_lcnet", "picodet_xs_320_coco_lcnet"])
@pytest.mark.parametrize(
    ("kind", "assign"), [("static_atss", assign_atss), ("task_aligned", assign_task_aligned)]
)
def test_terms_equal_the_originals(
    golden_training, name: str, kind: str, assign, assert_agrees
) -> None:
    golden = golden_training(name)
    assignment = assign(gather_truths(golden.targets), golden.predictions, golden.boxes)
    losses = PicoLoss()(golden.predictions, assignment)
    found, wanted = assignment.scores.sum(), golden.info["cases"][kind]["sum_scores"]
    what = f"{name}, {kind}: sum of targets"
    assert_agrees(what, "PaddleDetection", found, wanted, rtol=1e-4)
    check_terms(losses, golden.arrays, kind, name, assert_agrees)


def check_terms(losses: dict, arrays: dict, kind: str, name: str, assert_agrees: Any) -> None:
    for ours, paddle in (("vfl", "vfl"), ("dfl", "dfl"), ("giou", "bbox")):
        found, wanted = losses[f"loss_{ours}"], arrays[f"{kind}/loss_{paddle}"][0]
        assert_agrees(f"{name}, {kind}: loss terms", "PaddleDetection", found, wanted, rtol=1e-4)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["picodet_legacy_lcnet_x0_5", "picodet_legacy_mbv3_large_x0_35"])
def test_the_first_generations_terms_equal_the_originals(
    golden_legacy_training, name: str, assert_agrees
) -> None:
    golden = golden_legacy_training(name)
    assignment = assign_simota(gather_truths(golden.targets), golden.predictions, golden.boxes)
    loss = PicoDet(backbone=PPLCNet(0.25), num_classes=80, generation=1).loss
    losses = loss(golden.predictions, assignment)
    check_terms(losses, golden.arrays, "simota", name, assert_agrees)
