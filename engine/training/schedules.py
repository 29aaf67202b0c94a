"""Learning-rate schedules of the Paddle recipes."""

import math
from typing import Any

from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(_ParamScheduler):
    """Linear warm-up, then a cosine that starts at its end; both change at every iteration.

    The base rate is r, the warm-up has w iterations from the factor f, and the cosine reaches zero
    at iteration T:  r (f + (1 - f) t / w)  for t < w, then  r / 2 (1 + cos(pi (t - w) / (T - w))).

    Args:
        optimizer: The optimiser whose learning rate is set.
        warmup_iters: Iterations of the warm-up.
        warmup_epochs: Epochs of the warm-up, which do not depend on the images per step; w is the
            sum of both.
        warmup_factor: f.
        epochs: Epochs until the cosine is zero; a run may stop earlier. None: epochs of the run.
        epoch_length: Iterations of an epoch, so T = epochs * epoch_length; the runner sets it if
            the config has `convert_to_iter_based=True`.
        end: T, if it is not given by epochs; the runner sets it to the iterations of the run if the
            config has `by_epoch=False`.
        by_epoch: As in the config; the rate changes at every iteration in any case.

    Raises:
        ValueError: the warm-up is not shorter than the whole schedule, or the config has neither
            `convert_to_iter_based=True` nor `by_epoch=False`.
    """

    def __init__(
        self,
        optimizer: Any,
        *,
        warmup_iters: int = 0,
        warmup_epochs: float = 0.0,
        warmup_factor: float,
        epochs: int | None = None,
        epoch_length: int | None = None,
        end: int | None = None,
        by_epoch: bool = True,
    ) -> None:
        total, counted = end, ""
        if epochs is not None and epoch_length is not None:
            total, counted = epochs * epoch_length, f" ({epochs} epochs of {epoch_length})"
        elif by_epoch or epochs is not None or warmup_epochs:
            raise ValueError(
                "WarmupCosineLR: give convert_to_iter_based=True to count epochs; to count "
                "iterations give by_epoch=False and warmup_iters, not epochs or warmup_epochs"
            )
        assert total is not None
        self.warmup_iters = warmup_iters + round(warmup_epochs * (epoch_length or 0))
        self.warmup_factor = warmup_factor
        self.total_iters = total
        if self.warmup_iters >= total:
            key = f"warmup_epochs {warmup_epochs:g}" if warmup_epochs else "warmup_iters"
            raise ValueError(
                f"{key}: a warm-up of {self.warmup_iters} must be below the {total} iterations of "
                f"the schedule{counted}; shorten it"
            )
        super().__init__(optimizer, "lr", by_epoch=False)

    @classmethod
    def build_iter_from_epoch(
        cls, *args: Any, end: int, epochs: int | None = None, **options: Any
    ) -> Any:
        """The schedule for a run of `end` epochs (called by the runner)."""
        return cls(*args, epochs=end if epochs is None else epochs, **options)

    def factor(self, step: int) -> float:
        """Share of the base rate at iteration `step`."""
        if step < self.warmup_iters:
            return self.warmup_factor + (1 - self.warmup_factor) * step / self.warmup_iters
        done = (step - self.warmup_iters) / (self.total_iters - self.warmup_iters)
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def _get_value(self) -> list[float]:
        share = self.factor(self.last_step)
        return [base * share for base in self.base_values]


@PARAM_SCHEDULERS.register_module()
class PolyDecayLR(_ParamScheduler):
    """Base rate times (1 - t / T) ** power at iteration t, with an optional linear warm-up.

    mmengine's PolyLR reaches zero one iteration early, and accumulates rounding errors. T is the
    last iteration of the run, which the runner sets as `end`.

    Args:
        optimizer: The optimiser whose learning rate is set.
        power: Published: 0.9.
        end: T.
        warmup_iters: In the first w iterations a factor (t + 1) / w is applied too; published: 0.
    """

    def __init__(
        self,
        optimizer: Any,
        *,
        power: float,
        end: int,
        warmup_iters: int = 0,
        by_epoch: bool = False,
        last_step: int = -1,
    ) -> None:
        self.power = power
        self.total_iters = end
        self.warmup_iters = warmup_iters
        super().__init__(optimizer, "lr", by_epoch=by_epoch, last_step=last_step)

    def factor(self, step: int) -> float:
        """Share of the base rate at iteration `step`."""
        warm = min(1.0, (step + 1) / self.warmup_iters) if self.warmup_iters else 1.0
        return warm * (1 - min(step / self.total_iters, 1.0)) ** self.power

    def _get_value(self) -> list[float]:
        share = self.factor(self.last_step)
        return [base * share for base in self.base_values]
