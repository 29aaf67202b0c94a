"""Tells the model, the preprocessing and the data set where in the run they are."""

from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from engine.data.seeds import reseed_step
from engine.hooks.checkpoint_hook import bare


@HOOKS.register_module()
class Clock(Hook):
    """Sets `model.epoch`, `dataset.set_epoch` and the preprocessing's `step` as training goes on.

    All that is random in them follows from the run's seed and these numbers, and the generators of
    torch (dropout), numpy and Python are reseeded with them at every step, which is why a resumed
    run continues as an uninterrupted one.
    """

    priority = "VERY_HIGH"

    def before_train(self, runner: Any) -> None:
        """Pass the seed on, before loader workers copy the data set."""
        runner.train_dataloader.dataset.seed = runner.seed
        bare(runner.model).data_preprocessor.seed = runner.seed

    def before_train_epoch(self, runner: Any) -> None:
        """Pass the epoch on, counted from 0."""
        bare(runner.model).epoch = runner.epoch
        runner.train_dataloader.dataset.set_epoch(runner.epoch)

    def after_train_epoch(self, runner: Any) -> None:
        """Say how many images could not be read so far, where any."""
        if count := runner.train_dataloader.dataset.num_bad_images:
            runner.logger.warning(f"{count} training images skipped so far: they do not decode")

    def before_train_iter(self, runner: Any, *args: Any, **options: Any) -> None:
        """Pass the iteration on, counted from 0."""
        bare(runner.model).data_preprocessor.step = runner.iter
        reseed_step((runner.seed, get_rank(), runner.iter))
