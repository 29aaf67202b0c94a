"""One live line on a terminal; plain log lines elsewhere."""

import logging
import sys
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)


def live_line(console: Console | None = None) -> Progress:
    """A progress bar that shows itself on terminals only."""
    console = console or Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def _place(runner: Any) -> str:
    """Which epoch of how many; nothing where the loop counts iterations, as the bar does too."""
    if runner.max_epochs == 1:
        return "training"
    return f"epoch {runner.epoch + 1}/{runner.max_epochs}"


@HOOKS.register_module()
class LiveProgress(Hook):
    """Epoch, iteration, time left, loss and last metric in one line while training runs."""

    priority = "LOWEST"

    def __init__(self) -> None:
        self.bar = live_line()
        self.task: TaskID | None = None
        self.metric = ""

    def before_train(self, runner: Any) -> None:
        """Start the line and let log lines pass above it."""
        self.bar.start()
        self.task = self.bar.add_task(
            "training", total=runner.max_iters, completed=runner.iter, note=""
        )
        for handler in runner.logger.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setStream(sys.stderr)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Move the line."""
        if self.bar.disable or self.task is None:
            return
        note = f"loss {float(outputs['loss'].detach()):.3f} {self.metric}"
        self.bar.update(
            self.task,
            completed=runner.iter + 1,
            description=_place(runner),
            note=note,
        )

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Remember the first metric for the line."""
        for name, value in list((metrics or {}).items())[:1]:
            self.metric = f"{name} {value:.3f}"

    def after_run(self, runner: Any) -> None:
        """Take the line away (`engine.runner.train` does so after an error)."""
        self.bar.stop()
