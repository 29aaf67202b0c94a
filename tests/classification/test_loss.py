"""Losses against numbers worked out by hand."""

from math import log

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from classification.loss import (
    ClassificationLoss,
    DistillationLoss,
    jensen_shannon_loss,
    soft_label_loss,
    symmetric_loss,
)

LN = log  # natural
P, Q = [0.5, 0.25, 0.25], [0.25, 0.5, 0.25]


def logits(*rows: list[float]) -> Tensor:
    """Logits whose softmax are these probabilities."""
    return torch.tensor(rows).log()


def test_cross_entropy_with_and_without_smoothing() -> None:
    """Probabilities 1/2, 1/4, 1/4, label 0: plain ln 2.

    Smoothed by 0.3 the target is 0.8, 0.1, 0.1: 0.8 ln 2 + 0.2 ln 4 = 1.2 ln 2.
    """
    loss = ClassificationLoss(label_smoothing=0.3)
    scores, labels = logits(P), torch.tensor([0])
    assert loss(scores, labels)["loss_ce"].item() == pytest.approx(1.2 * LN(2))
    assert loss.eval()(scores, labels)["loss_ce"].item() == pytest.approx(LN(2))


def test_soft_targets() -> None:
    """Target 0.6, 0.4, 0: 0.6 ln 2 + 0.4 ln 4 = 1.4 ln 2; smoothed by 0.3: 0.52, 0.38, 0.1."""
    loss = ClassificationLoss(label_smoothing=0.3)
    target = torch.tensor([[0.6, 0.4, 0.0]])
    smoothed = 0.52 * LN(2) + 0.48 * LN(4)
    assert loss(logits(P), target)["loss_ce"].item() == pytest.approx(smoothed)
    assert loss.eval()(logits(P), target)["loss_ce"].item() == pytest.approx(1.4 * LN(2))


def test_the_mean_is_over_images() -> None:
    scores = logits(P, P)
    loss = ClassificationLoss(label_smoothing=0.0)
    value = loss(scores, torch.tensor([0, 1]))["loss_ce"].item()
    assert value == pytest.approx((LN(2) + LN(4)) / 2)


def test_soft_labels() -> None:
    """KL(Q || P) = 1/4 ln(1/2) + 1/2 ln 2 + 0 = 1/4 ln 2."""
    assert soft_label_loss(logits(P), logits(Q), 1.0).item() == pytest.approx(LN(2) / 4)


def test_temperature_softens_and_scales() -> None:
    """At T = 2 softmax(z / 2) is proportional to the square root: 4 KL of those."""
    root = torch.tensor([P, Q]).sqrt()
    p, q = root / root.sum(1, keepdim=True)
    expected = 4 * (q * (q / p).log()).sum().item()
    assert soft_label_loss(logits(P), logits(Q), 2.0).item() == pytest.approx(expected, rel=1e-5)


def test_symmetric() -> None:
    """KL(P || Q) = KL(Q || P) = 1/4 ln 2 here; with another pair both directions count."""
    assert symmetric_loss(logits(P), logits(Q), 1.0).item() == pytest.approx(LN(2) / 4)
    r = [0.5, 0.375, 0.125]
    forward = 0.5 * LN(2) + 0.375 * LN(0.75) + 0.125 * LN(0.5)  # KL(r || Q)
    backward = 0.25 * LN(0.5) + 0.5 * LN(4 / 3) + 0.25 * LN(2)  # KL(Q || r)
    value = symmetric_loss(logits(r), logits(Q), 1.0).item()
    assert value == pytest.approx((forward + backward) / 2, rel=1e-5)


def test_jensen_shannon() -> None:
    """The middle of P and Q is 3/8, 3/8, 1/4; both KL are 1/2 ln(4/3) + 1/4 ln(2/3)."""
    expected = LN(4 / 3) / 2 + LN(2 / 3) / 4
    assert jensen_shannon_loss(logits(P), logits(Q), 1.0).item() == pytest.approx(expected)


def test_jensen_shannon_of_strangers_is_log_two_and_finite() -> None:
    far = torch.tensor([[200.0, 0.0]])
    assert jensen_shannon_loss(far, -far, 1.0).item() == pytest.approx(LN(2))


@pytest.mark.parametrize("loss", [soft_label_loss, symmetric_loss, jensen_shannon_loss])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_equal_logits_lose_nothing_and_others_something(loss, temperature: float) -> None:
    torch.manual_seed(0)
    one, other = torch.randn(2, 5, 7)
    assert loss(one, one + 3.0, temperature).item() == pytest.approx(0, abs=1e-6)
    assert loss(one, other, temperature).item() > 1e-3


def test_temperature_keeps_the_size_of_the_gradient() -> None:
    """Hinton's reason for T^2: for large T the gradient tends to (z_s - z_t) / K, means aside."""
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 1, 5)
    student.requires_grad_()
    soft_label_loss(student, teacher, 1000.0).backward()
    apart = (student - teacher).detach()
    expected = (apart - apart.mean()) / 5
    torch.testing.assert_close(student.grad, expected, rtol=2e-2, atol=1e-3)


def test_weights_of_labels_and_teacher() -> None:
    loss = DistillationLoss(weight=2.0, label_weight=0.5, label_smoothing=0.0)
    values = loss(logits(P), torch.tensor([1]), logits(Q))
    assert values["loss_ce"].item() == pytest.approx(0.5 * LN(4))
    assert values["loss_distill"].item() == pytest.approx(2 * LN(2) / 4)


def test_evaluation_is_plain_cross_entropy_without_a_teacher() -> None:
    values = DistillationLoss(label_weight=0.0).eval()(logits(P), torch.tensor([1]))
    assert values.keys() == {"loss_ce"}
    assert values["loss_ce"].item() == pytest.approx(LN(4))


def test_training_without_a_teacher_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs model\.teacher"):
        DistillationLoss()(logits(P), torch.tensor([1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"divergence": "kl"}, "divergence 'kl' is unknown; use one of .'soft', 'symmetric', 'js'"),
        ({"temperature": 0.0}, "temperature 0.0 must be above 0"),
        ({"weight": -1.0}, "weight -1.0"),
        ({"label_smoothing": 1.0}, "label_smoothing 1.0 must be at least 0 and below 1"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DistillationLoss(**options)


def test_mixed_precision_keeps_the_loss_in_float32() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        scores = F.linear(torch.ones(1, 2), torch.eye(2))
        value = ClassificationLoss()(scores, torch.tensor([0]))["loss_ce"]
    assert scores.dtype == torch.bfloat16
    assert value.dtype == torch.float32
