"""engine/training/schedules.py against the sequences of the Paddle recipes."""

import math
from typing import Any

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS
from torch.optim import SGD

from engine.training.schedules import PolyDecayLR, WarmupCosineLR


def rates(steps: int, base: float, kind: type = WarmupCosineLR, **options: float) -> list[float]:
    """Learning rates of iterations 0, 1, ..., as an optimiser gets them."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=base)
    schedule = kind(optimizer, **options)
    result = []
    for _ in range(steps):
        result.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return result


@pytest.mark.golden
def test_detector_recipe(schedules: dict[str, Any], assert_agrees) -> None:
    """Base 0.32, 6 epochs of 6 steps, 7 steps of warm-up from a tenth."""
    name = "det_cosine_warmup(base.32,max_epochs6,steps/epoch6,warm7,factor.1)"
    ours = rates(36, 0.32, warmup_iters=7, warmup_factor=0.1, epochs=6, epoch_length=6)
    what = "learning rates of the detector"
    assert_agrees(what, "PaddleDetection", ours, schedules[name], rtol=1e-6, atol=1e-9)


@pytest.mark.golden
def test_classifier_recipe(schedules: dict[str, Any], assert_agrees) -> None:
    """Base 0.8, 10 epochs of 5 steps, 2 epochs of warm-up from zero."""
    name = "clas_cosine_warmup(epochs10,steps5,lr.8,warm2)"
    options = {"warmup_factor": 0.0, "epochs": 10, "epoch_length": 5}
    ours = rates(50, 0.8, warmup_epochs=2, **options)
    what = "learning rates of the classifier"
    assert_agrees(what, "PaddleClas", ours, schedules[name], rtol=1e-6, atol=1e-9)
    assert ours == rates(50, 0.8, warmup_iters=10, **options)


def test_by_hand() -> None:
    """w = 4, f = 0.2, T = 12: 0.2 0.4 0.6 0.8, then 1 falling to 0, half in the middle."""
    ours = rates(14, 1.0, warmup_iters=4, warmup_factor=0.2, epochs=3, epoch_length=4)
    assert ours[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert ours[8] == pytest.approx(0.5)
    assert ours[6] == pytest.approx(0.5 + math.sqrt(0.5) / 2)
    assert ours[12:] == pytest.approx([0, 0], abs=1e-12)


def test_every_group_keeps_its_own_base() -> None:
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (1.0, 0.25)]
    optimizer = SGD(groups)
    WarmupCosineLR(optimizer, warmup_iters=2, warmup_factor=0.5, epochs=1, epoch_length=9)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.125]


def test_warmup_must_fit() -> None:
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.raises(
        ValueError, match=r"^warmup_iters: .* 300 must be below the 120 .*\(4 epochs of 30\)"
    ):
        WarmupCosineLR(optimizer, warmup_iters=300, warmup_factor=0.1, epochs=4, epoch_length=30)
    with pytest.raises(
        ValueError, match=r"^warmup_epochs 5: a warm-up of 150 must be below the 120"
    ):
        WarmupCosineLR(optimizer, warmup_epochs=5, warmup_factor=0.1, epochs=4, epoch_length=30)


@pytest.mark.golden
def test_segmenter_recipe(schedules: dict[str, Any], assert_agrees) -> None:
    """Base 0.01, power 0.9, zero after 40 iterations and from then on."""
    name = "seg_poly(lr.01,decay_steps40,power.9)"
    ours = rates(44, 0.01, PolyDecayLR, power=0.9, end=40)
    what = "learning rates of the segmenter"
    assert_agrees(what, "PaddleSeg", ours, schedules[name], rtol=1e-9, atol=1e-12)


def test_poly_decay_warms_up_where_wanted() -> None:
    """Power 1 over 8 iterations, 2 of warm-up: 1/2 * 8/8, 2/2 * 7/8, 6/8, ..."""
    ours = rates(4, 1.0, PolyDecayLR, power=1.0, end=8, warmup_iters=2)
    assert ours == pytest.approx([0.5, 0.875, 0.75, 0.625])


def test_without_epochs_it_lasts_as_long_as_the_run() -> None:
    """As the runner builds it: `end` is the run's, epochs if converted, else iterations."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    own = {"type": WarmupCosineLR, "optimizer": optimizer, "warmup_iters": 2, "warmup_factor": 0.0}
    counted = {"convert_to_iter_based": True, "epoch_length": 4, "end": 6}
    build = PARAM_SCHEDULERS.build
    assert build({**own, **counted}).total_iters == 24
    assert build({**own, **counted, "epochs": None}).total_iters == 24
    assert build({**own, **counted, "epochs": 3}).total_iters == 12
    assert build({**own, "by_epoch": False, "end": 90, "epoch_length": 4}).total_iters == 90


def test_by_iterations() -> None:
    """w = 4, f = 0.2, T = 12, as above."""
    options = {"warmup_iters": 4, "warmup_factor": 0.2}
    ours = rates(14, 1.0, by_epoch=False, end=12, **options)
    assert ours == rates(14, 1.0, epochs=3, epoch_length=4, **options)
    with pytest.raises(ValueError, match=r"of 4 must be below the 3 iterations of the schedule; s"):
        rates(1, 1.0, by_epoch=False, end=3, **options)


@pytest.mark.parametrize(
    "options", [{}, {"by_epoch": False, "epochs": 3}, {"by_epoch": False, "warmup_epochs": 1}]
)
def test_it_must_know_what_it_counts(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"give convert_to_iter_based=True to count epochs"):
        rates(1, 1.0, warmup_factor=0.0, end=12, **options)
