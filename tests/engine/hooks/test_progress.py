"""engine/hooks/progress.py: what the progress bar shows, and which log lines it replaces."""

import io
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.logging import MessageHub
from rich.console import Console

from engine.hooks.progress import LiveProgress
from engine.progress import live_line


@pytest.fixture
def terminal() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def hook(terminal: io.StringIO) -> Iterator[LiveProgress]:
    """A hook that writes to a fake terminal of 160 columns."""
    result = LiveProgress()
    result.bar = live_line(Console(file=terminal, force_terminal=True, width=160))
    yield result
    result.bar.stop()


def runner(log: io.StringIO) -> Any:
    """At iteration 69 of 300, in the third epoch of 12; 0.4 s and 0.6 s were the last steps."""
    hub = MessageHub.get_instance("test_progress")
    hub.log_scalars.clear()
    for seconds in (0.4, 0.6):
        hub.update_scalar("train/time", seconds)
    logger = logging.Logger("run")
    logger.addHandler(logging.StreamHandler(log))
    return SimpleNamespace(
        iter=69, epoch=2, max_iters=300, max_epochs=12, message_hub=hub, logger=logger,
        val_dataloader=[None] * 7, test_dataloader=[None] * 4,
    )  # fmt: skip


def test_the_line_says_where_how_well_and_how_fast(
    hook: LiveProgress, terminal: io.StringIO
) -> None:
    """8 images in 0.5 s a step."""
    run = runner(io.StringIO())
    hook.before_train(run)
    hook.after_val_epoch(run, {"coco/bbox_mAP": 0.3012, "other": 1.0})
    hook.after_train_iter(run, 19, {"images": [None] * 8}, {"loss": torch.tensor(1.25)})
    hook.bar.refresh()
    shown = terminal.getvalue()
    for part in ("epoch 3/12", "70/300", "loss 1.250", "16 images/s", "coco/bbox_mAP 0.301"):
        assert part in shown
    hook.after_val_iter(run, 4)
    hook.bar.refresh()
    assert "validating 5/7" in terminal.getvalue()


def test_a_test_counts_batches(hook: LiveProgress, terminal: io.StringIO) -> None:
    run = runner(io.StringIO())
    hook.before_test(run)
    hook.after_test_iter(run)
    hook.bar.refresh()
    assert "testing" in terminal.getvalue()
    assert "1/4" in terminal.getvalue()


def test_step_lines_leave_the_terminal_to_the_line(hook: LiveProgress) -> None:
    run = runner(io.StringIO())
    hook.before_train(run)
    kept = "Epoch(val) [3][7/7]    coco/bbox_mAP: 0.3"
    steps = ("Epoch(train)  [3][20/25]  lr: 0.1", "Iter(train) [20/90]  lr: 0.1", "Exp name: run_1")
    for line in (*steps, "Epoch(val) [3][5/7]    eta: 0:00:01  time: 0.1", kept):
        record = logging.LogRecord("run", logging.INFO, "", 0, line, None, None)
        passed = bool(run.logger.handlers[0].filter(record))
        assert passed == (line is kept)


def test_without_a_terminal_there_is_no_line_and_all_is_logged() -> None:
    result, run, stream = LiveProgress(), runner(io.StringIO()), io.StringIO()
    result.bar = live_line(Console(file=stream))
    result.before_train(run)
    result.after_train_iter(run, 19, {"images": [None]}, {"loss": torch.tensor(1.0)})
    result.bar.stop()
    assert not stream.getvalue()
    assert not run.logger.handlers[0].filters


@pytest.mark.slow
def test_quiet_runs_print_warnings_alone_and_log_everything(
    tiny_train: Callable[..., Any], tmp_path: Path
) -> None:
    ran = tiny_train(tmp_path / "run", "--quiet")
    assert ran.code == 0
    assert all("WARNING" in line for line in (ran.out + ran.err).splitlines() if line)
    log = next((tmp_path / "run").glob("*/*.log")).read_text()
    assert "Epoch(train)" in log or "Epoch(val)" in log
