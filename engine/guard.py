"""Stops a run whose loss is no number any more."""

import math
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from .saving import newest


@HOOKS.register_module()
class StopOnNaN(Hook):
    """Raises FloatingPointError at the first loss that is not finite; checkpoints stay."""

    priority = "HIGHEST"

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Check the sum of the losses."""
        value = float(outputs["loss"].detach())
        if math.isfinite(value):
            return
        rates = runner.optim_wrapper.get_lr()["lr"]
        last = newest(Path(runner.work_dir))
        raise FloatingPointError(
            f"loss is {value} at iteration {runner.iter + 1} (epoch {runner.epoch + 1}), learning "
            f"rate {rates[0]:.3g}; lower optim_wrapper.optimizer.lr or lengthen the warm-up; "
            f"last good checkpoint: {last or 'none yet'}"
        )
