"""Tells the model, the preprocessing and the data set where in the run they are."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from .saving import bare


@HOOKS.register_module()
class Clock(Hook):
    """Sets `model.epoch`, `dataset.set_epoch` and the preprocessing's `step` as training goes on.

    All that is random in them follows from a seed and these numbers, which is why a resumed run
    continues as an uninterrupted one.
    """

    priority = "VERY_HIGH"

    def before_train_epoch(self, runner: Any) -> None:
        """Pass the epoch on, counted from 0."""
        bare(runner.model).epoch = runner.epoch
        runner.train_dataloader.dataset.set_epoch(runner.epoch)

    def before_train_iter(self, runner: Any, *args: Any, **options: Any) -> None:
        """Pass the iteration on, counted from 0."""
        bare(runner.model).data_preprocessor.step = runner.iter
