"""engine/clock.py: everything random follows from seed, rank, epoch and iteration."""

from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from engine.clock import Clock


def runner(seed: int, iteration: int, epoch: int = 4) -> Any:
    model = nn.Module()
    model.data_preprocessor = nn.Module()  # type: ignore[assignment]
    dataset = SimpleNamespace(set_epoch=lambda value: setattr(dataset, "epoch", value))
    loader = SimpleNamespace(dataset=dataset)
    return SimpleNamespace(
        model=model, train_dataloader=loader, seed=seed, iter=iteration, epoch=epoch
    )


def test_tells_where_the_run_is() -> None:
    run, clock = runner(seed=5, iteration=12), Clock()
    clock.before_train(run)
    clock.before_train_epoch(run)
    clock.before_train_iter(run, 0)
    dataset, preprocess = run.train_dataloader.dataset, run.model.data_preprocessor
    assert (dataset.seed, dataset.epoch) == (5, 4)
    assert (preprocess.seed, preprocess.step) == (5, 12)
    assert run.model.epoch == 4


def test_dropout_depends_on_seed_and_iteration_only() -> None:
    def draw(seed: int, iteration: int) -> list[float]:
        torch.rand(iteration + 1)  # whatever happened before
        Clock().before_train_iter(runner(seed, iteration), 0)
        return torch.rand(4).tolist()

    assert draw(0, 7) == draw(0, 7)
    assert len({tuple(draw(seed, step)) for seed in range(3) for step in range(5)}) == 15
