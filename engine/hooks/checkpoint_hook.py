"""Writes checkpoints during training, names them, and removes old ones."""

import re
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce_params, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop
from torch import nn

from engine.checkpoint import checkpoint
from engine.config import plain
from engine.fileio import remove_leftovers
from engine.hooks.ema import EMA
from engine.progress import warn

_STATE_NAME = re.compile(r"(?:epoch_(\d+)(?:_step_(\d+))?|iter_(\d+))\.pth")


class Place(NamedTuple):
    """Progress of a run: complete epochs, steps in the next epoch, and total steps."""

    epoch: int
    step: int
    iteration: int


def find_hook(runner: Any, kind: type[Hook]) -> Any:
    """The runner's first hook of that class, or None."""
    return next((hook for hook in runner.hooks if isinstance(hook, kind)), None)


def bare(model: nn.Module) -> Any:
    """The model without its distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


def newest(folder: Path) -> Path | None:
    """The latest readable state file in `folder`; damaged ones are logged and skipped."""
    for path in reversed(state_files(folder)):
        try:
            _check_sums(path)
            checkpoint.read(path)
        except ValueError as error:
            warn(f"{error}; trying the file before it")
        else:
            return path
    return None


def _check_sums(path: Path) -> None:
    """Raise ValueError if the file is truncated or a byte has changed; torch may miss that."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError):
        damaged = "its end"
    if damaged is not None:
        raise ValueError(f"{path}: not readable as a safe checkpoint (damaged, first at {damaged})")


def state_files(folder: Path) -> list[Path]:
    """All `epoch_N.pth`, `epoch_N_step_S.pth` and `iter_N.pth`, the earliest first."""
    files = [*folder.glob("epoch_*.pth"), *folder.glob("iter_*.pth")]
    return sorted(files, key=_order_of)


def _order_of(path: Path) -> tuple[int, int]:
    """Epochs (iterations) and steps in the file name; -1 for other names."""
    found = _STATE_NAME.fullmatch(path.name)
    if found is None:
        return (-1, 0)
    epoch, step, iteration = found.groups()
    return int(epoch or iteration), int(step or 0)


def unit_of(runner: Any) -> str:
    """Unit of the training loop: "epoch" or "iter"."""
    return "iter" if isinstance(runner.train_loop, IterBasedTrainLoop) else "epoch"


def done_of(runner: Any) -> int:
    """Number of complete epochs (iterations) of the run."""
    return runner.iter if unit_of(runner) == "iter" else runner.epoch


def data_order(runner: Any) -> dict[str, int]:
    """All values that determine the order of the images."""
    loader = runner.train_dataloader
    return {
        "seed": runner.seed,
        "images": len(loader.dataset),
        "batch_size": loader.batch_size,
        "processes": get_world_size(),
    }


@HOOKS.register_module()
class SaveCheckpoint(Hook):
    """Writes `epoch_N.pth` every few epochs and `best_<metric>_epoch_N.pth` after validation.

    With an iteration-based training loop it counts iterations, and names have `iter` instead of
    `epoch`. Within an epoch it can write `epoch_N_step_S.pth`: N epochs and S steps are done.

    The weights in the files are the moving average, if there is one. All files but the best one
    also have the state to resume from (engine/training/resume.py): these are the state files. An
    old file is removed only when the new one is on disk.

    Args:
        interval: Epochs (iterations) between two state files; None: as between two validations.
            The last epoch always gets one.
        max_keep_ckpts: Number of state files to keep.
        save_best: Metric whose highest value selects the best file, or None.
        every_steps: Iterations between additional state files, or None.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        *,
        interval: int | None = 1,
        max_keep_ckpts: int = 2,
        save_best: str | None = None,
        every_steps: int | None = None,
    ) -> None:
        self.interval = interval
        self.max_keep_ckpts = max_keep_ckpts
        self.save_best = save_best
        self.every_steps = every_steps
        self.best_value = float("-inf")
        self.place = Place(0, 0, 0)
        self.history: list[dict[str, Any]] = []  # per validation: epoch, iteration, metrics
        self._saved: Place | None = None

    def state_dict(self) -> dict[str, Any]:
        """State of this hook for a state file."""
        return {"history": self.history}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()`."""
        self.history = list(state["history"])

    def before_train(self, runner: Any) -> None:
        """Remove incomplete files of a killed run."""
        if is_main_process():
            remove_leftovers(Path(runner.work_dir), "*.pth")

    def go_on_from(self, runner: Any, place: Place, source: Path) -> None:
        """Set the state of a run that resumes from `source`; the best file gives the best value."""
        self.place = place
        self._saved = place if source.resolve() == self._path(runner).resolve() else None
        for path in self._best_files(runner):
            try:
                value = checkpoint.read(path)["info"]["metrics"][self.save_best]
            except (ValueError, KeyError) as error:
                warn(f"{path}: ignored as best checkpoint ({error})")
            else:
                self.best_value = max(self.best_value, value)

    def after_train_iter(self, runner: Any, *args: Any, **options: Any) -> None:
        """Count the step; save the state if it is due."""
        done = runner.iter + 1
        if unit_of(runner) == "iter":
            self.place = Place(0, 0, done)
            if self._is_due(runner, done, runner.max_iters):
                self._write(runner)
            return
        self.place = Place(runner.epoch, self.place.step + 1, done)
        if self._step_due() and not self.ends_epoch(runner):
            self._write(runner)

    def after_train_epoch(self, runner: Any) -> None:
        """Save the state if it is due after this epoch."""
        if unit_of(runner) == "iter":
            return
        done = runner.epoch + 1
        self.place = Place(done, 0, runner.iter)
        if self._is_due(runner, done, runner.max_epochs):
            self._write(runner)

    def ends_epoch(self, runner: Any) -> bool:
        """Whether the latest step was the last one of an epoch that is not counted yet."""
        return unit_of(runner) == "epoch" and self.place.step >= len(runner.train_dataloader)

    def save_now(self, runner: Any) -> Path:
        """Save the state of the latest step, unless it is saved already; returns the file."""
        if ema := find_hook(runner, EMA):
            ema.after_val_epoch(runner)  # a validation may be running
        if self._saved != self.place:
            self._write(runner)
        return self._path(runner)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Store the metrics, and the weights if they are the best so far."""
        numbers = {key: float(number) for key, number in (metrics or {}).items()}
        row = {"epoch": self.place.epoch, "iteration": self.place.iteration, **numbers}
        others = (old for old in self.history if old["iteration"] != row["iteration"])
        self.history = [*others, row]
        value = numbers.get(self.save_best or "")
        if value is not None and value > self.best_value:
            self.best_value = value
            if is_main_process():
                self._write_best(runner, numbers)
        if self._saved == self.place:
            self._write(runner)  # again, with the metrics

    def _is_due(self, runner: Any, done: int, last: int) -> bool:
        interval = self.interval or runner.train_loop.val_interval
        return done % interval == 0 or done == last or self._step_due()

    def _step_due(self) -> bool:
        return self.every_steps is not None and self.place.iteration % self.every_steps == 0

    def _path(self, runner: Any) -> Path:
        epoch, step, iteration = self.place
        name = f"epoch_{epoch}" if unit_of(runner) == "epoch" else f"iter_{iteration}"
        return Path(runner.work_dir) / (f"{name}_step_{step}.pth" if step else f"{name}.pth")

    def _write(self, runner: Any) -> None:
        """Write the state, then remove old files; every process must call it."""
        all_reduce_params(bare(runner.model).buffers(), op="mean")  # they differ between processes
        if ema := find_hook(runner, EMA):
            ema.share()
        self._saved = self.place
        if not is_main_process():
            return
        content = self._content(runner)
        content["training"] = _training_state(runner, self.place)
        save_state(self._path(runner), content, self.max_keep_ckpts)

    def _write_best(self, runner: Any, metrics: dict[str, float]) -> None:
        content = self._content(runner)
        content["info"]["metrics"] = metrics
        name = f"{self._best_prefix()}{unit_of(runner)}_{done_of(runner)}.pth"
        path = Path(runner.work_dir) / name
        checkpoint.save(path, content)
        for old in self._best_files(runner):
            if old != path:
                old.unlink()
        print_log(f"new best {self.save_best} {self.best_value:.4f}: saved {path}", "current")

    def _best_prefix(self) -> str:
        return f"best_{(self.save_best or '').replace('/', '_')}_"

    def _best_files(self, runner: Any) -> list[Path]:
        return sorted(Path(runner.work_dir).glob(f"{self._best_prefix()}*.pth"))

    def _content(self, runner: Any) -> dict[str, Any]:
        """Content of every checkpoint."""
        model = bare(runner.model)
        ema = find_hook(runner, EMA)
        epoch, step, iteration = self.place
        averaged = ema is not None and ema.state.steps > 0
        with ema.applied() if averaged else nullcontext():
            classes = runner.train_dataloader.dataset.metainfo["classes"]
            info = {"epoch": epoch, "iteration": iteration}
            content = checkpoint.describe(model, plain(runner.cfg.model), classes, info)
        is_epoch = unit_of(runner) == "epoch" and not step
        _check_finite(
            content["state_dict"], f"epoch {epoch}" if is_epoch else f"iteration {iteration}"
        )
        return content


def save_state(path: Path, content: dict[str, Any], max_keep_ckpts: int) -> None:
    """Write a state file, then remove all but the last `max_keep_ckpts` of it and earlier ones.

    Raises:
        OSError: it cannot be written; no file is removed.
    """
    checkpoint.save(path, content)
    # Later files are from before a resume; they are not counted.
    files = [other for other in state_files(path.parent) if _order_of(other) <= _order_of(path)]
    for old in files[:-max_keep_ckpts]:
        old.unlink()


def _training_state(runner: Any, place: Place) -> dict[str, Any]:
    """State to resume from: see engine/training/resume.py."""
    model = bare(runner.model)
    ema = find_hook(runner, EMA)
    return {
        **place._asdict(),
        "order": data_order(runner),
        "weights": {name: value.clone() for name, value in model.state_dict().items()},
        "average": ema.state.state_dict() if ema else None,
        "optimizer": runner.optim_wrapper.state_dict(),
        "schedules": [schedule.state_dict() for schedule in runner.param_schedulers],
        "gradients": _gathered(runner, model),
        "hooks": {
            type(hook).__name__: hook.state_dict()
            for hook in runner.hooks
            if hasattr(hook, "state_dict")
        },
    }


def _gathered(runner: Any, model: nn.Module) -> dict[str, torch.Tensor] | None:
    """Gradients of accumulated batches before the next optimiser step, or None."""
    if runner.optim_wrapper.should_update():
        return None
    named = model.named_parameters()
    return {name: weight.grad.clone() for name, weight in named if weight.grad is not None}


def _check_finite(weights: dict[str, torch.Tensor], place: str) -> None:
    for name, value in weights.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise FloatingPointError(
                f"weight {name} is not finite after {place}; nothing was saved; lower "
                "optim_wrapper.optimizer.lr and resume from the last good checkpoint"
            )
