"""A training loop in epochs that can start within an epoch."""

from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop

from engine.mmengine_internals import set_progress


@LOOPS.register_module()
class EpochLoop(EpochBasedTrainLoop):
    """mmengine's loop; after a resume within an epoch, the step count continues."""

    first_step = 0

    def run_epoch(self) -> None:
        """Train for the rest of the epoch."""
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        for step, batch in enumerate(self.dataloader, self.first_step):
            self.run_iter(step, batch)
        self.first_step = 0
        self.runner.call_hook("after_train_epoch")
        set_progress(self, self.epoch + 1, self.iter)
