"""Checkpoints during training, and resuming from them."""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce_params, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import IterBasedTrainLoop
from torch import nn

from . import checkpoint
from .config import plain
from .ema import EMA


def find_hook(runner: Any, kind: type[Hook]) -> Any:
    """The runner's first hook of that class, or None."""
    return next((hook for hook in runner.hooks if isinstance(hook, kind)), None)


def bare(model: nn.Module) -> Any:
    """The model without its distributed wrapper."""
    return model.module if is_model_wrapper(model) else model


def newest(folder: Path) -> Path | None:
    """The latest state file in `folder` that can be read; damaged ones are named and passed."""
    for path in reversed(state_files(folder)):
        try:
            checkpoint.read(path)
        except ValueError as error:
            print_log(f"{error}; trying the one before", "current", logging.WARNING)
        else:
            return path
    return None


def state_files(folder: Path) -> list[Path]:
    """All `epoch_N.pth`, or of runs counted in iterations `iter_N.pth`, lowest N first."""
    files = [*folder.glob("epoch_*.pth"), *folder.glob("iter_*.pth")]
    return sorted(files, key=_number_of)


def _number_of(path: Path) -> int:
    number = path.stem.rsplit("_", 1)[-1]
    return int(number) if number.isdigit() else -1


def unit_of(runner: Any) -> str:
    """What the training loop of the run counts: "epoch" or "iter"."""
    return "iter" if isinstance(runner.train_loop, IterBasedTrainLoop) else "epoch"


def done_of(runner: Any) -> int:
    """Whole epochs (iterations) that the run has behind it."""
    return runner.iter if unit_of(runner) == "iter" else runner.epoch


@HOOKS.register_module()
class SaveCheckpoint(Hook):
    """Writes `epoch_N.pth` every few epochs and `best_<metric>_epoch_N.pth` after validation.

    Under an iteration-based training loop it counts iterations, and says `iter` for `epoch`.

    Both hold the moving average as their weights where one is kept; an `epoch_N.pth` also holds
    all that resuming needs. A new file is complete before an old one goes.

    Args:
        interval: Epochs (iterations) between two `epoch_N.pth`; the last one always gets one.
        keep: How many `epoch_N.pth` stay.
        best: Metric whose highest value picks the best file, or None.
    """

    priority = "VERY_LOW"

    def __init__(self, *, interval: int = 1, keep: int = 2, best: str | None = None) -> None:
        self.interval = interval
        self.keep = keep
        self.best = best
        self.resume_from: Path | None = None
        self.best_value = float("-inf")

    def before_train(self, runner: Any) -> None:
        """Take up the state of `resume_from` where one is set."""
        if self.resume_from is None:
            return
        content = checkpoint.read(self.resume_from)
        if "training" not in content:
            raise ValueError(
                f"{self.resume_from}: holds no training state; resume from an epoch_N.pth or "
                "iter_N.pth, or start from its weights with --load-from"
            )
        classes = list(runner.train_dataloader.dataset.metainfo["classes"])
        if content["classes"] != classes:
            raise ValueError(
                f"{self.resume_from}: was trained on the classes {content['classes']}, the data "
                f"has {classes}; resume on the same data, or start from it with --load-from"
            )
        _restore(runner, content["training"], self.resume_from)
        for path in self._best_files(runner):
            value = checkpoint.read(path)["info"]["metrics"][self.best]
            self.best_value = max(self.best_value, value)
        place = f"{unit_of(runner)} {done_of(runner)}"
        print_log(f"resumed {self.resume_from} after {place}", "current")

    def after_train_epoch(self, runner: Any) -> None:
        """Save the state when an epoch makes it due."""
        if unit_of(runner) == "epoch":
            self._save_when_due(runner, runner.epoch + 1, runner.max_epochs, runner.iter)

    def after_train_iter(self, runner: Any, *args: Any, **options: Any) -> None:
        """Save the state when an iteration makes it due."""
        if unit_of(runner) == "iter":
            self._save_when_due(runner, runner.iter + 1, runner.max_iters, runner.iter + 1)

    def _save_when_due(self, runner: Any, done: int, last: int, iteration: int) -> None:
        """Write the state after `done` of `last` epochs or iterations, and remove old ones."""
        if done % self.interval and done != last:
            return
        all_reduce_params(bare(runner.model).buffers(), op="mean")  # they differ by process
        if ema := find_hook(runner, EMA):
            ema.share()
        if not is_main_process():
            return
        unit = unit_of(runner)
        epoch = done if unit == "epoch" else runner.epoch
        content = self._content(runner, epoch, iteration)
        folder = Path(runner.work_dir)
        checkpoint.save(folder / f"{unit}_{done}.pth", content)
        # Later ones are left from before a resume and not ours to count.
        files = [path for path in state_files(folder) if _number_of(path) <= done]
        for old in files[: -self.keep]:
            old.unlink()

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Save the weights when their metric is the best so far."""
        metrics = metrics or {}
        value = metrics.get(self.best or "")
        if value is None or value <= self.best_value or not is_main_process():
            return
        self.best_value = value
        content = self._content(runner, runner.epoch, runner.iter)
        del content["training"]
        content["info"]["metrics"] = {key: float(number) for key, number in metrics.items()}
        name = f"{self._best_prefix()}{unit_of(runner)}_{done_of(runner)}.pth"
        path = Path(runner.work_dir) / name
        checkpoint.save(path, content)
        for old in self._best_files(runner):
            if old != path:
                old.unlink()
        print_log(f"best {self.best} so far: {value:.4f}, saved as {path}", "current")

    def _best_prefix(self) -> str:
        return f"best_{(self.best or '').replace('/', '_')}_"

    def _best_files(self, runner: Any) -> list[Path]:
        return sorted(Path(runner.work_dir).glob(f"{self._best_prefix()}*.pth"))

    def _content(self, runner: Any, epoch: int, iteration: int) -> dict[str, Any]:
        model = bare(runner.model)
        ema = find_hook(runner, EMA)
        info = {"epoch": epoch, "iteration": iteration}
        raw = {name: value.clone() for name, value in model.state_dict().items()}
        averaged = ema is not None and ema.state.steps > 0
        with ema.applied() if averaged else nullcontext():
            classes = runner.train_dataloader.dataset.metainfo["classes"]
            content = checkpoint.describe(model, plain(runner.cfg.model), classes, info)
        epochs = unit_of(runner) == "epoch"
        place = f"epoch {epoch}" if epochs else f"iteration {iteration}"
        _check_finite(content["state_dict"], place)
        content["training"] = {
            **info,
            "weights": raw,
            "average": ema.state.state_dict() if ema else None,
            "optimizer": runner.optim_wrapper.state_dict(),
            "schedules": [schedule.state_dict() for schedule in runner.param_schedulers],
        }
        return content


def _check_finite(weights: dict[str, torch.Tensor], place: str) -> None:
    for name, value in weights.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise FloatingPointError(
                f"weight {name} is not finite after {place}; nothing was saved, the last "
                "good checkpoint stays; lower optim_wrapper.optimizer.lr and resume from it"
            )


def _restore(runner: Any, state: dict[str, Any], source: Path) -> None:
    """Put a saved training state into the runner, its model, optimiser, schedules and hooks."""
    try:
        bare(runner.model).load_state_dict(state["weights"])
        if state["average"] is not None and (ema := find_hook(runner, EMA)):
            ema.state.load_state_dict(state["average"])
        _restore_rates(runner, state)
    except (RuntimeError, ValueError, KeyError) as error:
        first = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{source}: cannot be resumed, it is of another model or optimiser; resume with the "
            f"config it was trained with ({first} ...)"
        ) from error
    runner.train_loop._epoch, runner.train_loop._iter = state["epoch"], state["iteration"]


def _restore_rates(runner: Any, state: dict[str, Any]) -> None:
    """Put back what optimiser and schedules counted and summed up; their options stay the config's.

    So a run that is resumed with a lower learning rate, or for more epochs, does as it is told.
    """
    optimizer = runner.optim_wrapper
    wanted = [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state["optimizer"])
    for group, options in zip(optimizer.param_groups, wanted, strict=True):
        then, now = group.get("initial_lr", group["lr"]), options.get("initial_lr", options["lr"])
        group.update({**options, "lr": group["lr"] * (now / then if then else 1.0)})
    for schedule, saved in zip(runner.param_schedulers, state["schedules"], strict=True):
        for key in ("last_step", "_global_step", "_last_value"):
            setattr(schedule, key, saved[key])
