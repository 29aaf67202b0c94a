"""Training counted in epochs that can begin within one."""

from mmengine.registry import LOOPS
from mmengine.runner import EpochBasedTrainLoop

from engine.mmengine_internals import set_progress


@LOOPS.register_module()
class EpochLoop(EpochBasedTrainLoop):
    """mmengine's loop; after a resume in the middle of an epoch its steps are counted on."""

    first_step = 0

    def run_epoch(self) -> None:
        """Train for what is left of the epoch."""
        self.runner.call_hook("before_train_epoch")
        self.runner.model.train()
        for step, batch in enumerate(self.dataloader, self.first_step):
            self.run_iter(step, batch)
        self.first_step = 0
        self.runner.call_hook("after_train_epoch")
        set_progress(self, self.epoch + 1, self.iter)
