"""Handles signals that stop a run: it finishes its step, saves, and exits with its own code."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Thread, current_thread, main_thread
from types import FrameType
from typing import Any

import torch
from mmengine.dist import all_reduce, get_world_size
from mmengine.hooks import Hook

from engine.hooks.checkpoint_hook import SaveCheckpoint, find_hook, unit_of

# Schedulers send SIGTERM or SIGUSR1 before they end a job; Windows does not have SIGUSR1.
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
]
EXIT_SAVED = 75  # EX_TEMPFAIL of sysexits.h: try again, with --resume


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """A signal stopped the run; its state is saved in `path`.

    Args:
        name: Name of the signal.
        path: State file to resume from.
    """

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(f"{name}: saved {path} and stopped; continue with --resume")
        self.path = path


class StopOnSignal(Hook):
    """After a signal, saves the state between two steps and raises `Stopped`.

    A run that waits for data stops waiting, because a disk that does not respond would block it.
    With several processes, one signal to any of them is enough; each finishes its step. A second
    Ctrl-C stops at once without saving. Loader workers get the signals of their process group too,
    and ignore them.
    """

    priority = "LOWEST"

    def __init__(self) -> None:
        self.received = 0  # number of the signal
        self.waiting = False  # True between steps, when no step is half done

    def train(self, runner: Any) -> None:
        """Train with these signal handlers; `runner` must have this hook."""
        with self._listening():
            try:
                runner.train()
            except KeyboardInterrupt:
                if self.waiting and find_hook(runner, SaveCheckpoint).place.iteration:
                    self.waiting = False
                    self._obey(runner)
                raise

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Handle the signals, except those that are ignored from the start (nohup, `&`)."""
        if current_thread() is not main_thread():
            yield
            return
        taken = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._note) for number in taken}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        second = number == signal.SIGINT == self.received
        self.received = number
        name = signal.Signals(number).name
        with suppress(OSError):  # not by a logger, which may be in use
            os.write(2, f"\n{name}: saving, then stopping\n".encode())
        if second or (self.waiting and get_world_size() == 1):
            raise KeyboardInterrupt

    def before_run(self, runner: Any) -> None:
        """Make loader workers, which are not started yet, ignore the signals."""
        for loader in (runner.train_dataloader, runner.val_dataloader):
            if loader is not None:
                loader.worker_init_fn = partial(_start_worker, loader.worker_init_fn)

    def before_train_epoch(self, runner: Any) -> None:
        """From here the run waits for the first batch."""
        self.waiting = True

    def before_train_iter(self, runner: Any, *args: Any, **options: Any) -> None:
        """A step begins: do not interrupt it."""
        self.waiting = False

    def after_train_iter(self, runner: Any, *args: Any, **options: Any) -> None:
        """Stop if a signal came, unless an epoch is about to be counted."""
        if not find_hook(runner, SaveCheckpoint).ends_epoch(runner):
            self._obey(runner)
            self.waiting = True

    def after_train_epoch(self, runner: Any) -> None:
        """Stop before the validation; resuming does it later."""
        if unit_of(runner) == "epoch":
            self._obey(runner)

    def before_val(self, runner: Any) -> None:
        """The average is about to replace the weights: do not interrupt that."""
        self.waiting = False

    def before_val_epoch(self, runner: Any) -> None:
        """A validation changes nothing, so it may be interrupted."""
        self.waiting = True

    def after_val_iter(self, runner: Any, batch_idx: int, *args: Any, **options: Any) -> None:
        """Stop within a validation if there is one process; several may differ in steps."""
        self.waiting = batch_idx + 1 < len(runner.val_dataloader)
        if get_world_size() == 1:
            self._obey(runner)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """From here the run may wait for the next batch."""
        self.waiting = True

    def _obey(self, runner: Any) -> None:
        number = torch.tensor([self.received])
        all_reduce(number, op="max")
        if int(number):
            path = find_hook(runner, SaveCheckpoint).save_now(runner)
            raise Stopped(signal.Signals(int(number)).name, path)


def _start_worker(then: Callable[[int], None] | None, worker: int) -> None:
    """Start a loader worker that ignores signals: only the main process handles them."""
    for number in SIGNALS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS, where SIGTERM ends the worker
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        Thread(target=_obey_the_parent, args=(os.getppid(),), daemon=True).start()
    if then is not None:
        then(worker)


def _obey_the_parent(parent: int) -> None:
    """End this process when `parent` sends SIGTERM; other senders are ignored."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
