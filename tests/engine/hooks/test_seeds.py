"""engine/hooks/seeds.py: all random draws depend only on seed, rank, epoch and iteration."""

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

from engine.data.dataset import SeededData
from engine.hooks.seeds import Clock


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


def draws() -> tuple[float, ...]:
    return float(torch.rand(())), float(np.random.rand()), random.random()  # noqa: NPY002


def test_all_generators_follow_from_the_step() -> None:
    def draw(iteration: int) -> tuple[float, ...]:
        draws()
        Clock().before_train_iter(runner(3, iteration), 0)
        return draws()

    assert draw(5) == draw(5)
    assert all(first != second for first, second in zip(draw(5), draw(6), strict=True))


class Drawn(SeededData):
    """Samples made of draws from the generators."""

    def __init__(self, training: bool) -> None:
        super().__init__(10, training=training, on_bad_image="stop", seed=4)

    def _read(self, *_: Any) -> None:
        draws()

    def _sample(self, *_: Any) -> Any:
        return draws()


def test_all_generators_follow_from_the_sample() -> None:
    """Whatever was drawn before; another image or pass draws others. Evaluation draws nothing."""
    first, second = Drawn(training=True), Drawn(training=True)
    rows = [first[index] for index in (0, 1, 2, 10, 11)]
    assert [second[index] for index in (11, 10, 2, 1, 0)] == rows[::-1]
    assert len({value for row in rows for value in row}) == 15
    second.set_epoch(1)
    assert second[0] == rows[3]
    before = random.getstate()
    SeededData.__getitem__(Still(), 0)
    assert random.getstate() == before


class Still(Drawn):
    """In evaluation, with a reader that draws nothing."""

    def __init__(self) -> None:
        super().__init__(training=False)

    def _read(self, *_: Any) -> None: ...

    def _sample(self, *_: Any) -> None: ...


def test_dropout_depends_on_seed_and_iteration_only() -> None:
    def draw(seed: int, iteration: int) -> list[float]:
        torch.rand(iteration + 1)  # whatever happened before
        Clock().before_train_iter(runner(seed, iteration), 0)
        return torch.rand(4).tolist()

    assert draw(0, 7) == draw(0, 7)
    assert len({tuple(draw(seed, step)) for seed in range(3) for step in range(5)}) == 15
