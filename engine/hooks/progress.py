"""The live line of a training or a test."""

import logging
import re
import sys
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from rich.progress import TaskID

from engine.progress import consoles, live_line

STEPS = 20  # that the images a second are averaged over
STEP_LINE = re.compile(
    r"(Epoch|Iter)\((train\)|.*  eta: )|Exp name: "
)  # mmengine's of single steps


def _is_no_step(record: logging.LogRecord) -> bool:
    return not STEP_LINE.match(record.getMessage())


def _place(runner: Any) -> str:
    """Which epoch of how many; nothing where the loop counts iterations, as the bar does too."""
    if runner.max_epochs == 1:
        return "training"
    return f"epoch {runner.epoch + 1}/{runner.max_epochs}"


@HOOKS.register_module()
class LiveProgress(Hook):
    """Epoch, iteration, time left, loss, images a second and last metric in one line.

    It runs through training, with its validations, or through a test. On a terminal it stands in
    for the log lines of training steps, which the log file gets all the same.

    Args:
        quiet: No line, and of the log warnings and errors alone.
    """

    priority = "LOWEST"

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.bar = live_line(quiet=quiet)
        self.task: TaskID | None = None
        self.metric = ""

    def before_train(self, runner: Any) -> None:
        """Start the line and let other log lines pass above it."""
        self._start("training", runner.max_iters, runner.iter)
        for handler in consoles(runner.logger):
            handler.setStream(sys.stderr)
            if not self.bar.disable:
                handler.addFilter(_is_no_step)

    def before_test(self, runner: Any) -> None:
        """The same for a test, counted in batches; without a line its log stays as it is."""
        if not self.bar.disable:
            self._start("testing", len(runner.test_dataloader))
            for handler in consoles(runner.logger):
                handler.setStream(sys.stderr)
                handler.addFilter(_is_no_step)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Move the line."""
        if self.bar.disable or self.task is None:
            return
        seconds = runner.message_hub.get_scalar("train/time").mean(STEPS)
        speed = len(data_batch["images"]) * get_world_size() / max(seconds, 1e-9)
        loss = float(outputs["loss"].detach())
        note = f"loss {loss:.3f}  {speed:.{0 if speed >= 10 else 1}f} images/s  {self.metric}"
        place = _place(runner)
        self.bar.update(self.task, completed=runner.iter + 1, description=place, note=note)

    def after_val_iter(self, runner: Any, batch_idx: int, *args: Any, **options: Any) -> None:
        """Say how far the validation is."""
        if self.task is not None:
            place = f"validating {batch_idx + 1}/{len(runner.val_dataloader)}"
            self.bar.update(self.task, description=place)

    def after_test_iter(self, runner: Any, *args: Any, **options: Any) -> None:
        """Move the line."""
        if self.task is not None:
            self.bar.advance(self.task)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Remember the first metric for the line."""
        for name, value in list((metrics or {}).items())[:1]:
            self.metric = f"{name} {value:.3f}"

    def after_run(self, runner: Any) -> None:
        """Take the line away (`engine.training.runner.train` does so after an error)."""
        self.bar.stop()

    def _start(self, place: str, total: int, done: int = 0) -> None:
        self.bar.start()
        self.task = self.bar.add_task(place, total=total, completed=done, note="")
