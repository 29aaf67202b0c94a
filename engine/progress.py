"""Progress bars on a terminal, log lines elsewhere, and a way to be quiet."""

import logging
import sys
from typing import Any

from mmengine.logging import print_log
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def live_line(console: Console | None = None, *, quiet: bool = False) -> Progress:
    """A progress bar that is shown on terminals only, and not if `quiet`."""
    console = console or Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=quiet or not console.is_terminal,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # not if the output goes to a file or a pipe
    )


def warn(line: str) -> None:
    """Log a warning."""
    print_log(line, "current", logging.WARNING)


def hush(logger: logging.Logger) -> None:
    """Show only warnings and errors of the logger on the console; its file gets all lines."""
    for handler in consoles(logger):
        handler.setLevel(max(handler.level, logging.WARNING))


def consoles(logger: logging.Logger) -> "list[logging.StreamHandler[Any]]":
    """The handlers of the logger that write to a console."""
    return [handler for handler in logger.handlers if type(handler) is logging.StreamHandler]
