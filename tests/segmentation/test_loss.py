"""Cross-entropy: by hand, against the official one, weights, hard pixels, nothing to learn from."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from segmentation.loss import SegmentationLoss


def logits_of(probabilities: list[list[float]]) -> Tensor:
    """Logits (1, K, 1, N) of N pixels with the given class probabilities."""
    return torch.tensor(probabilities).log().T[None, :, None]


def masks_of(labels: list[int]) -> Tensor:
    return torch.tensor(labels)[None, None]


# Probability of the true class: 1/2, 1/4, 4/5; the last pixel is ignored.
LOGITS = logits_of([[0.5, 0.5], [0.75, 0.25], [0.2, 0.8], [0.9, 0.1]])
MASKS = masks_of([0, 1, 1, 255])


def test_mean_over_the_pixels_that_count() -> None:
    """(ln 2 + ln 4 + ln 1.25) / 3 = ln(10) / 3."""
    loss = SegmentationLoss()(LOGITS, MASKS)["loss_ce"]
    assert loss.item() == pytest.approx(math.log(10) / 3, rel=1e-6)


def test_class_weights_weigh_the_mean() -> None:
    """(1 ln 2 + 3 ln 4 + 3 ln 1.25) / (1 + 3 + 3)."""
    loss = SegmentationLoss(class_weights=[1.0, 3.0])(LOGITS, MASKS)["loss_ce"]
    expected = (math.log(2) + 3 * math.log(4) + 3 * math.log(1.25)) / 7
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    reference = F.cross_entropy(LOGITS, MASKS, torch.tensor([1.0, 3.0]), ignore_index=255)
    assert loss.item() == pytest.approx(reference.item(), rel=1e-6)


@pytest.mark.parametrize(
    ("threshold", "min_kept", "kept"),
    [
        (0.7, 0, [2, 4]),  # the two below 0.7
        (0.3, 0, [4]),
        (0.3, 2, [2, 4]),  # one is below 0.3, but two are wanted
        (0.3, 100, [2, 4, 1.25]),  # more wanted than there are
        (0.1, 0, []),  # none is that hard
    ],
)
def test_hard_pixels(threshold: float, min_kept: int, kept: list[float]) -> None:
    loss = SegmentationLoss(ohem_threshold=threshold, ohem_min_kept=min_kept)(LOGITS, MASKS)
    expected = sum(map(math.log, kept)) / max(len(kept), 1)
    assert loss["loss_ce"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.golden
def test_loss_and_gradient_equal_the_official_ones(golden, assert_agrees) -> None:
    stored = golden("elementary").arrays
    logits = torch.from_numpy(stored["segce/logits"]).requires_grad_()
    masks = torch.from_numpy(stored["segce/labels"]).long()
    loss = SegmentationLoss()(logits, masks)["loss_ce"]
    loss.backward()
    what = "cross-entropy with ignored pixels"
    assert_agrees(what, "PaddleSeg", loss.item(), stored["segce/loss"].item(), rtol=1e-6)
    wanted = stored["segce/grad"]
    assert_agrees(f"{what}: gradient", "PaddleSeg", logits.grad, wanted, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize(
    "options", [{}, {"class_weights": [1.0, 3.0]}, {"ohem_threshold": 0.7}, {"ohem_min_kept": 0}]
)
def test_nothing_but_ignored_pixels_cost_nothing(options: dict[str, object]) -> None:
    logits = LOGITS.clone().requires_grad_()
    loss = SegmentationLoss(**options)(logits, torch.full_like(MASKS, 255))["loss_ce"]
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_impossible_options_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        SegmentationLoss(class_weights=[1.0, -1.0])
    with pytest.raises(ValueError, match=r"ohem_threshold 1.5 must be between 0 and 1"):
        SegmentationLoss(ohem_threshold=1.5)
