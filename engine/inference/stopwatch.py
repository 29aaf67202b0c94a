"""Measures the time of each stage of a prediction."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import nn


class Stopwatch:
    """Milliseconds of every run of every stage."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}

    @contextmanager
    def stage(self, name: str, *, without: str = "") -> Iterator[None]:
        """Measure the block as one run of the stage `name`, minus the stage `without`."""
        before, start = self._sum(without), time.perf_counter()
        yield
        passed = 1000 * (time.perf_counter() - start)
        self.taken.setdefault(name, []).append(passed - (self._sum(without) - before))

    def watch(self, name: str, module: nn.Module) -> None:
        """Measure every later call of `module` as one run of the stage `name`."""
        started: list[float] = []

        def begin(*_: Any) -> None:
            started.append(time.perf_counter())

        def end(*_: Any) -> None:
            passed = 1000 * (time.perf_counter() - started.pop())
            self.taken.setdefault(name, []).append(passed)

        module.register_forward_pre_hook(begin)
        module.register_forward_hook(end)

    def medians(self) -> dict[str, float]:
        """Median milliseconds by stage, in the order in which the stages first ended."""
        return {name: float(np.median(values)) for name, values in self.taken.items()}

    def _sum(self, name: str) -> float:
        return sum(self.taken.get(name, []))
