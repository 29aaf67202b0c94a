"""Progress bar of a training or a test."""

import logging
import re
import sys
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from rich.progress import TaskID

from engine.progress import consoles, live_line

STEPS = 20  # number of steps over which images per second are averaged
# Log lines of mmengine about single steps.
STEP_LINE = re.compile(r"(Epoch|Iter)\((train\)|.*  eta: )|Exp name: ")


def _is_no_step(record: logging.LogRecord) -> bool:
    return not STEP_LINE.match(record.getMessage())


def _place(runner: Any) -> str:
    """Current epoch and their number; only "training" if the loop counts iterations."""
    if runner.max_epochs == 1:
        return "training"
    return f"epoch {runner.epoch + 1}/{runner.max_epochs}"


@HOOKS.register_module()
class LiveProgress(Hook):
    """Shows epoch, iteration, remaining time, loss, images per second and last metric in one line.

    It covers a training with its validations, or a test. On a terminal it replaces the log lines of
    training steps; the log file still gets them.

    Args:
        quiet: Show no progress bar, and only warnings and errors of the log.
    """

    priority = "LOWEST"

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.bar = live_line(quiet=quiet)
        self.task: TaskID | None = None
        self.metric = ""

    def before_train(self, runner: Any) -> None:
        """Start the bar; other log lines appear above it."""
        self._start(runner, "training", runner.max_iters, runner.iter)

    def before_test(self, runner: Any) -> None:
        """The same for a test, counted in batches; without a bar the log is not changed."""
        if not self.bar.disable:
            self._start(runner, "testing", len(runner.test_dataloader))

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Update the bar."""
        if self.bar.disable or self.task is None:
            return
        seconds = runner.message_hub.get_scalar("train/time").mean(STEPS)
        speed = len(data_batch["images"]) * get_world_size() / max(seconds, 1e-9)
        loss = float(outputs["loss"].detach())
        note = f"loss {loss:.3f}  {speed:.{0 if speed >= 10 else 1}f} images/s  {self.metric}"
        place = _place(runner)
        self.bar.update(self.task, completed=runner.iter + 1, description=place, note=note)

    def after_val_iter(self, runner: Any, batch_idx: int, *args: Any, **options: Any) -> None:
        """Show the progress of the validation."""
        if self.task is not None:
            place = f"validating {batch_idx + 1}/{len(runner.val_dataloader)}"
            self.bar.update(self.task, description=place)

    def after_test_iter(self, runner: Any, *args: Any, **options: Any) -> None:
        """Update the bar."""
        if self.task is not None:
            self.bar.advance(self.task)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Show the first metric in the bar."""
        for name, value in list((metrics or {}).items())[:1]:
            self.metric = f"{name} {value:.3f}"

    def after_run(self, runner: Any) -> None:
        """Remove the bar (`engine.training.runner.train` does it after an error)."""
        self.bar.stop()

    def _start(self, runner: Any, place: str, total: int, done: int = 0) -> None:
        self.bar.start()
        self.task = self.bar.add_task(place, total=total, completed=done, note="")
        for handler in consoles(runner.logger):
            handler.setStream(sys.stderr)
            if not self.bar.disable:
                handler.addFilter(_is_no_step)
