"""Moving average of the weights, as in PaddleDetection (ppdet/optimizer/ema.py)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import all_reduce_params
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from torch import Tensor, nn


class WeightAverage:
    """Bias-corrected moving average of all floating-point weights and buffers of a model.

    The shadow s starts at zero. Step t = 1, 2, ... computes s <- d_t s + (1 - d_t) w with
    d_t = min(decay, t / (t + 9)), which is (1 + n) / (10 + n) for the n = t - 1 previous steps. The
    average is s / (1 - d_t ** t) with the last d_t.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        floating = {k: v for k, v in model.state_dict().items() if v.is_floating_point()}
        self.names, self.weights = list(floating), list(floating.values())
        self.shadow = [torch.zeros_like(weight) for weight in self.weights]

    def rate(self) -> float:
        """d_t of the latest step t."""
        return min(self.decay, self.steps / (self.steps + 9))

    @torch.no_grad()
    def update(self) -> None:
        """Update the average with the current weights."""
        self.steps += 1
        torch._foreach_lerp_(self.shadow, self.weights, 1 - self.rate())

    @torch.no_grad()
    def swap(self, raw: list[Tensor] | None) -> list[Tensor]:
        """Copy the average (or `raw`) into the model; returns the previous weights."""
        before = [weight.clone() for weight in self.weights]
        if raw is None:
            correction = 1 - self.rate() ** self.steps
            raw = [shadow / correction for shadow in self.shadow]
        torch._foreach_copy_(self.weights, raw)
        return before

    def state_dict(self) -> dict[str, Any]:
        """Number of steps and the uncorrected shadow by weight name."""
        return {"steps": self.steps, "shadow": dict(zip(self.names, self.shadow, strict=True))}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()` of the same model."""
        self.steps = state["steps"]
        torch._foreach_copy_(self.shadow, [state["shadow"][name] for name in self.names])


@HOOKS.register_module()
class EMA(Hook):
    """Keeps a `WeightAverage` and evaluates it.

    The weights of a checkpoint are the average; the training state has the raw weights.

    Args:
        decay: Upper bound of d_t. Published: 0.9998; for N iterations use about 1 - 10 / N.
    """

    priority = "NORMAL"

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: WeightAverage | None = None
        self._raw: list[Tensor] | None = None

    def before_run(self, runner: Any) -> None:
        """Create the average; resuming fills it later."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self.average = WeightAverage(model, self.decay)

    def after_train_iter(self, runner: Any, *args: Any, **options: Any) -> None:
        """Update the average after an optimiser step; batches may be accumulated for one."""
        if runner.optim_wrapper.should_update():
            self.state.update()

    def share(self) -> None:
        """Average over processes, as batch-norm statistics differ; every process must call it."""
        all_reduce_params(self.state.shadow, op="mean")

    def before_val_epoch(self, runner: Any) -> None:
        """Put the average into the model for the validation."""
        if self.state.steps:
            self.share()
            self._raw = self.state.swap(None)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Put the raw weights back."""
        if self._raw is not None:
            self.state.swap(self._raw)
            self._raw = None

    @contextmanager
    def applied(self) -> Iterator[list[Tensor]]:
        """Put the average into the model inside the context; yields the raw weights."""
        raw = self.state.swap(None)
        try:
            yield raw
        finally:
            self.state.swap(raw)

    @property
    def state(self) -> WeightAverage:
        """The average; available after `before_run`."""
        assert self.average is not None
        return self.average
