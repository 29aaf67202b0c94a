"""engine/hooks/signals.py: who handles which signal (whole runs: tests/tools/test_train.py)."""

import os
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from engine.hooks.signals import StopOnSignal, Stopped, _start_worker


class Squares(Dataset[int]):
    """Small numbers."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> int:
        return index**2


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="the system has no sigwaitinfo")
def test_a_worker_obeys_its_parent_only() -> None:
    """A scheduler's signals to the whole group leave it working; it ends when the run does."""
    start = partial(_start_worker, None)
    loader = DataLoader(Squares(), num_workers=1, persistent_workers=True, worker_init_fn=start)
    squares = [torch.tensor([index**2]) for index in range(6)]
    assert list(loader) == squares
    worker = loader._iterator._workers[0]
    for name in ("INT", "USR1", "TERM"):
        subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)
    time.sleep(0.1)
    assert list(loader) == squares
    os.kill(worker.pid, signal.SIGTERM)  # as the interpreter does at its end
    worker.join(10)
    assert worker.exitcode == 0
    loader._iterator = None


def test_ignored_signals_stay_ignored() -> None:
    """As after nohup; the others get their handlers back."""
    stop = StopOnSignal()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    terminate = signal.getsignal(signal.SIGTERM)
    with stop._listening():
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == stop._note
    assert signal.getsignal(signal.SIGTERM) == terminate
    signal.signal(signal.SIGINT, before)


def test_when_a_signal_interrupts() -> None:
    """Between steps at once; within a step only the second Ctrl-C."""
    stop = StopOnSignal()
    stop._note(signal.SIGTERM, None)
    stop._note(signal.SIGTERM, None)
    stop._note(signal.SIGINT, None)
    assert stop.received == signal.SIGINT
    with pytest.raises(KeyboardInterrupt):
        stop._note(signal.SIGINT, None)
    stop.waiting = True
    with pytest.raises(KeyboardInterrupt):
        stop._note(signal.SIGUSR1, None)


def test_the_message_names_the_file() -> None:
    message = str(Stopped("SIGTERM", Path("w/epoch_3.pth")))
    assert message == "SIGTERM: saved w/epoch_3.pth and stopped; continue with --resume"
