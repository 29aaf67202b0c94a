"""Passes seed, epoch and iteration on to model, preprocessing and data set."""

from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from engine.data.seeds import reseed_step
from engine.hooks.checkpoint_hook import bare


@HOOKS.register_module()
class Clock(Hook):
    """Updates `model.epoch`, `dataset.set_epoch` and the preprocessing's `step` during training.

    Their random draws depend only on the run's seed and these numbers. The generators of torch
    (dropout), numpy and Python are seeded from them at every step. So a resumed run continues like
    an uninterrupted one.
    """

    priority = "VERY_HIGH"

    def before_train(self, runner: Any) -> None:
        """Set the seed, before loader workers copy the data set."""
        runner.train_dataloader.dataset.seed = runner.seed
        bare(runner.model).data_preprocessor.seed = runner.seed

    def before_train_epoch(self, runner: Any) -> None:
        """Set the epoch, from 0."""
        bare(runner.model).epoch = runner.epoch
        runner.train_dataloader.dataset.set_epoch(runner.epoch)

    def after_train_epoch(self, runner: Any) -> None:
        """Log the number of images that could not be read so far."""
        if count := runner.train_dataloader.dataset.num_bad_images:
            runner.logger.warning(f"{count} training images skipped so far: they cannot be read")

    def before_train_iter(self, runner: Any, *args: Any, **options: Any) -> None:
        """Set the iteration, from 0."""
        bare(runner.model).data_preprocessor.step = runner.iter
        reseed_step((runner.seed, get_rank(), runner.iter))
