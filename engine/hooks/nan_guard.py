"""Leaves out batches whose loss is no number, and stops a run that has too many of them."""

import logging
import math
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from torch import Tensor

from engine.fileio import write_json
from engine.hooks.checkpoint_hook import bare, newest
from engine.mmengine_internals import count_step


@HOOKS.register_module()
class StopOnNaN(Hook):
    """Skips batches whose loss is not finite, and stops when there are too many.

    A skipped batch changes neither weights nor batch-norm statistics. Every one is listed in
    `bad_batches.json` of the work dir, with the ids of its images. A weight that is not finite
    stops the run at once, for no later batch could mend it.

    Args:
        limit: How many batches of the whole run may be skipped.
        in_a_row: How many one after the other: a run that diverged must not go on for long, for
            its checkpoints replace better ones.
    """

    priority = "HIGHEST"

    def __init__(self, limit: int = 10, in_a_row: int = 3) -> None:
        self.limit = limit
        self.in_a_row = in_a_row
        self.skipped: list[dict[str, Any]] = []  # iteration, epoch, loss, image_ids
        self._buffers: list[Tensor] = []
        self._before: list[Tensor] = []
        self._loss: float | None = None  # of the step, where it was skipped

    def state_dict(self) -> dict[str, Any]:
        """The batches skipped so far."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up `state_dict()`."""
        self.skipped = list(state["skipped"])

    def before_train(self, runner: Any) -> None:
        """Stand before the optimiser, where all of mmengine's wrappers hand the loss over."""
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
        """Remember the batch-norm statistics."""
        self._loss = None
        with torch.no_grad():
            torch._foreach_copy_(self._before, self._buffers)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """List a skipped batch.

        Raises:
            FloatingPointError: it is one too many, or a weight is not finite.
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
            raise FloatingPointError(self._farewell(runner, path))
        print_log(
            f"loss is {self._loss} at iteration {runner.iter + 1}: batch skipped, the "
            f"{len(self.skipped)}. of at most {self.limit}; its images are listed in {path}",
            "current",
            logging.WARNING,
        )

    def _too_many(self) -> bool:
        """Whether the latest skipped batch was one too many, of all or in a row."""
        latest = [row["iteration"] for row in self.skipped[-self.in_a_row - 1 :]]
        in_a_row = len(latest) > self.in_a_row and latest[-1] - latest[0] == self.in_a_row
        return in_a_row or len(self.skipped) > self.limit

    def _skip(self, optimizer: Any) -> None:
        """Undo what the forward pass did, and take the step that others may wait for."""
        with torch.no_grad():
            torch._foreach_copy_(self._buffers, self._before)
        count_step(optimizer)
        groups = optimizer.param_groups
        waiting = any(w.grad is not None for group in groups for w in group["params"])
        if waiting and optimizer.should_update():
            optimizer.step()
            optimizer.zero_grad()

    def _farewell(self, runner: Any, path: Path) -> str:
        rates = runner.optim_wrapper.get_lr()["lr"]
        last = newest(Path(runner.work_dir))
        return (
            f"loss is {self._loss} at iteration {runner.iter + 1} (epoch {runner.epoch + 1}), "
            f"learning rate {rates[0]:.3g}, {len(self.skipped)} batches in all (listed in {path}); "
            "look at their images, or lower optim_wrapper.optimizer.lr or lengthen the warm-up; "
            f"last good checkpoint: {last or 'none yet'}"
        )


def _finite_everywhere(loss: Tensor) -> bool:
    """Whether the loss is finite in every process; all must agree to take the step."""
    bad = torch.tensor([0 if math.isfinite(float(loss.detach())) else 1])
    all_reduce(bad, op="max")
    return not int(bad)


def _finite_weights(model: torch.nn.Module) -> bool:
    return all(bool(torch.isfinite(weight).all()) for weight in model.parameters())
