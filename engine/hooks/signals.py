"""Signals that ask a run to stop: it finishes its step, saves, and exits with a code of its own."""

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

# SIGTERM and SIGUSR1 are how schedulers announce the end of a job; Windows has no SIGUSR1.
SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
]
EXIT_SAVED = 75  # EX_TEMPFAIL of sysexits.h: try again, here with --resume


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The run was asked to stop; all it did is in `path`.

    Args:
        name: Of the signal.
        path: State file to resume from.
    """

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(f"{name}: saved {path} and stopped; continue with --resume")
        self.path = path


class StopOnSignal(Hook):
    """Between two steps, raises `Stopped` once a signal has come, after saving the state.

    A run that waits for data does not wait any longer: disks that do not answer would keep it. With
    several processes it is enough that one of them gets the signal, and each finishes its step.
    A second Ctrl-C stops at once and saves nothing. Loader workers, who get the signals of their
    group too, go on.
    """

    priority = "LOWEST"

    def __init__(self) -> None:
        self.received = 0  # number of the signal
        self.waiting = False  # between steps, where nothing is half done

    def train(self, runner: Any) -> None:
        """Train under these signals; `runner` has this hook."""
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
        """Take the signals, but those that this process was started to ignore (nohup, `&`)."""
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
        with suppress(OSError):  # a logger might be in use just now
            os.write(2, f"\n{name}: saving, then stopping\n".encode())
        if second or (self.waiting and get_world_size() == 1):
            raise KeyboardInterrupt

    def before_run(self, runner: Any) -> None:
        """Let loader workers, which are not running yet, go on when the signals reach them."""
        for loader in (runner.train_dataloader, runner.val_dataloader):
            if loader is not None:
                loader.worker_init_fn = partial(_start_worker, loader.worker_init_fn)

    def before_train_epoch(self, runner: Any) -> None:
        """The first batch is about to be fetched."""
        self.waiting = True

    def before_train_iter(self, runner: Any, *args: Any, **options: Any) -> None:
        """A step begins."""
        self.waiting = False

    def after_train_iter(self, runner: Any, *args: Any, **options: Any) -> None:
        """Stop here, unless an epoch is just about to be counted."""
        if not find_hook(runner, SaveCheckpoint).ends_epoch(runner):
            self._obey(runner)
            self.waiting = True

    def after_train_epoch(self, runner: Any) -> None:
        """Stop before the validation, which is made up for on resuming."""
        if unit_of(runner) == "epoch":
            self._obey(runner)

    def before_val(self, runner: Any) -> None:
        """The average is about to take the weights' place."""
        self.waiting = False

    def before_val_epoch(self, runner: Any) -> None:
        """A validation changes nothing, so it can be left."""
        self.waiting = True

    def after_val_iter(self, runner: Any, batch_idx: int, *args: Any, **options: Any) -> None:
        """Stop within a validation; processes of several may have different numbers of steps."""
        self.waiting = batch_idx + 1 < len(runner.val_dataloader)
        if get_world_size() == 1:
            self._obey(runner)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Where steps are counted in iterations, the next batch is about to be fetched."""
        self.waiting = True

    def _obey(self, runner: Any) -> None:
        number = torch.tensor([self.received])
        all_reduce(number, op="max")
        if int(number):
            path = find_hook(runner, SaveCheckpoint).save_now(runner)
            raise Stopped(signal.Signals(int(number)).name, path)


def _start_worker(then: Callable[[int], None] | None, worker: int) -> None:
    """Begin a loader worker: the main process alone decides what a signal means."""
    for number in SIGNALS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS, where SIGTERM ends the worker
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        Thread(target=_obey_the_parent, args=(os.getppid(),), daemon=True).start()
    if then is not None:
        then(worker)


def _obey_the_parent(parent: int) -> None:
    """End this process when `parent` sends SIGTERM, as it does at its own end; not for others."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
