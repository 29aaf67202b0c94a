"""Checks of the runner before the first step."""

import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from engine.training import runner as engine_runner


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged."""
    found: list[str] = []
    monkeypatch.setattr(engine_runner, "warn", lambda line: found.append(line))
    return found


@pytest.mark.parametrize("base", [4, 8, 32])
def test_images_a_step_count_the_gathered_batches(lines: list[str], base: int) -> None:
    """Batches of 4, two per step: 8 images, although mmengine counts one batch."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.02)
    loader = SimpleNamespace(batch_size=4)
    run = SimpleNamespace(
        auto_scale_lr={"base_batch_size": base},
        cfg=ConfigDict(optim_wrapper={"optimizer": {"lr": 0.02}, "accumulative_counts": 2}),
        train_dataloader=loader,
        _train_dataloader={"batch_size": 4},
        world_size=1,
        param_schedulers=None,
        logger=logging.getLogger(__name__),
    )
    engine_runner.check_batch(run)
    expected = f"this run has 8; --auto-scale-lr changes it to {0.02 * 8 / base:.4g}"
    assert [line.endswith(expected) for line in lines] == [True] * (base != 8)
    run.auto_scale_lr["enable"] = True
    engine_runner.check_batch(run)
    Runner.scale_lr(run, OptimWrapper(optimizer, accumulative_counts=2), run.auto_scale_lr)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.02 * 8 / base)
