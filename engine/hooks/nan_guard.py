"""Skips batches whose loss is not finite, and stops a run that has too many of them."""

import math
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from torch import Tensor

from engine.fileio import write_json
from engine.hooks.checkpoint_hook import bare, newest
from engine.mmengine_internals import count_step
from engine.progress import warn


@HOOKS.register_module()
class StopOnNaN(Hook):
    """Skips batches whose loss is not finite, and stops when there are too many.

    A skipped batch changes neither weights nor batch-norm statistics. `bad_batches.json` in the
    work dir lists all skipped batches with the ids of their images. A weight that is not finite
    stops the run at once, because no later batch can repair it.

    Args:
        limit: Largest number of skipped batches in a run.
        in_a_row: Largest number of consecutive skipped batches. A run that diverged must stop
            soon, because its checkpoints replace better ones.
    """

    priority = "HIGHEST"

    def __init__(self, limit: int = 10, in_a_row: int = 3) -> None:
        self.limit = limit
        self.in_a_row = in_a_row
        self.skipped: list[dict[str, Any]] = []  # iteration, epoch, loss, image_ids
        self._buffers: list[Tensor] = []
        self._before: list[Tensor] = []
        self._loss: float | None = None  # of a skipped step, else None

    def state_dict(self) -> dict[str, Any]:
        """The batches skipped so far."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()`."""
        self.skipped = list(state["skipped"])

    def before_train(self, runner: Any) -> None:
        """Check the loss before `update_params`, which all optimiser wrappers of mmengine call."""
        self._buffers = list(bare(runner.model).buffers())
        self._before = [buffer.clone() for buffer in self._buffers]
        optimizer = runner.optim_wrapper
        update = optimizer.update_params

        def update_if_finite(loss: Tensor) -> None:
            if _finite_everywhere(loss):
                update(loss)
            else:
                self._loss = float(loss.detach())
                self._skip(optimizer)

        optimizer.update_params = update_if_finite

    def before_train_iter(self, runner: Any, *args: Any, **options: Any) -> None:
        """Save the batch-norm statistics."""
        self._loss = None
        with torch.no_grad():
            torch._foreach_copy_(self._before, self._buffers)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Add a skipped batch to the list.

        Raises:
            FloatingPointError: too many batches were skipped, or a weight is not finite.
        """
        if self._loss is None:
            return
        targets = data_batch["targets"]
        gathered = all_gather_object([target.get("image_id") for target in targets])
        ids = [image_id for part in gathered for image_id in part]
        row = {"iteration": runner.iter + 1, "epoch": runner.epoch + 1, "loss": str(self._loss)}
        self.skipped = [*self.skipped, {**row, "image_ids": ids}]
        path = Path(runner.work_dir) / "bad_batches.json"
        if is_main_process():
            write_json(path, self.skipped)
        if self._too_many() or not _finite_weights(bare(runner.model)):
            raise FloatingPointError(self._explanation(runner, path))
        warn(
            f"loss is {self._loss} at iteration {runner.iter + 1}: batch skipped, number "
            f"{len(self.skipped)} of at most {self.limit}; its images are listed in {path}"
        )

    def _too_many(self) -> bool:
        """Whether too many batches were skipped, in all or in a row."""
        latest = [row["iteration"] for row in self.skipped[-self.in_a_row - 1 :]]
        in_a_row = len(latest) > self.in_a_row and latest[-1] - latest[0] == self.in_a_row
        return in_a_row or len(self.skipped) > self.limit

    def _skip(self, optimizer: Any) -> None:
        """Undo the forward pass; do the optimiser step of accumulated batches if it is due."""
        with torch.no_grad():
            torch._foreach_copy_(self._buffers, self._before)
        count_step(optimizer)
        groups = optimizer.param_groups
        waiting = any(w.grad is not None for group in groups for w in group["params"])
        if waiting and optimizer.should_update():
            optimizer.step()
            optimizer.zero_grad()

    def _explanation(self, runner: Any, path: Path) -> str:
        rates = runner.optim_wrapper.get_lr()["lr"]
        last = newest(Path(runner.work_dir))
        return (
            f"loss is {self._loss} at iteration {runner.iter + 1} (epoch {runner.epoch + 1}), "
            f"learning rate {rates[0]:.3g}, {len(self.skipped)} batches skipped (see {path}); "
            "check their images, lower optim_wrapper.optimizer.lr, or use a longer warm-up; "
            f"last good checkpoint: {last or 'none yet'}"
        )


def _finite_everywhere(loss: Tensor) -> bool:
    """Whether the loss is finite in every process; only then all of them do the step."""
    bad = torch.tensor([0 if math.isfinite(float(loss.detach())) else 1])
    all_reduce(bad, op="max")
    return not int(bad)


def _finite_weights(model: torch.nn.Module) -> bool:
    return all(bool(torch.isfinite(weight).all()) for weight in model.parameters())
