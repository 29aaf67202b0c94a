"""Resumes a run from a state file; it ends like a run that was never interrupted.

The `training` entry of a checkpoint holds
    epoch, step, iteration      complete epochs, steps in the next one, and total steps
    order                       seed, images, batch size, processes: they determine the data order
    weights, average            raw weights, and the shadow of the moving average
    optimizer, schedules        their state dicts from torch and mmengine
    gradients                   of accumulated batches before the next optimiser step, or None
    hooks                       state of hooks: metrics of all validations, skipped batches

The state of random generators is not needed, because every draw depends on the seed and its
position: samples on (seed, epoch, index) (engine/data/dataset.py), input sizes on (seed, iteration)
(engine/data/preprocess.py), all generators in a step on (seed, process, iteration)
(engine/hooks/seeds.py), the order of images on (seed, epoch) (engine/data/samplers.py). Times are
not stored.
"""

from pathlib import Path
from types import NoneType
from typing import Any

from mmengine.hooks import Hook, IterTimerHook
from mmengine.logging import print_log

from engine.checkpoint import checkpoint
from engine.hooks.checkpoint_hook import (
    Place,
    SaveCheckpoint,
    bare,
    data_order,
    done_of,
    find_hook,
    unit_of,
)
from engine.hooks.ema import EMA
from engine.mmengine_internals import set_progress, set_step_count
from engine.progress import warn
from engine.training.loops import EpochLoop

KINDS: dict[str, tuple[type, ...]] = {  # types of the parts of the entry
    "epoch": (int,), "iteration": (int,), "weights": (dict,), "average": (dict, NoneType),
    "optimizer": (dict,), "schedules": (list,),
}  # fmt: skip
OPTIONAL: dict[str, tuple[type, ...]] = {
    "step": (int,), "order": (dict,), "gradients": (dict, NoneType), "hooks": (dict,),
}  # fmt: skip


def _training(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """The `training` entry; ValueError if it is missing or a part has a wrong type."""
    if "training" not in content:
        raise ValueError(
            f"{path}: has no training state; resume from an epoch_N.pth or iter_N.pth, or start "
            "from its weights with --load-from"
        )
    state = content["training"]
    known = state if isinstance(state, dict) else {}
    wanted = KINDS | {key: kinds for key, kinds in OPTIONAL.items() if key in known}
    for key, kinds in wanted.items():
        if key not in known or not isinstance(known[key], kinds):
            raise ValueError(f"{path}: damaged checkpoint, {key!r} of its training state is wrong")
    return known


def saved_seed(path: Path) -> int | None:
    """Seed of the run that wrote a state file; None if the file does not have it.

    Raises:
        ValueError: the file is not a checkpoint of this project.
    """
    content = checkpoint.read(path)
    seed = _training(path, content).get("order", {}).get("seed") if "training" in content else None
    if not isinstance(seed, int | NoneType):
        raise ValueError(f"{path}: damaged checkpoint, its seed is {seed!r:.80}")
    return seed


class Resume(Hook):
    """Restores the state of a file before training, and does a validation that was missed.

    Args:
        source: A state file of this run.
    """

    priority = "VERY_LOW"

    def __init__(self, source: Path) -> None:
        self.source = source

    def before_train(self, runner: Any) -> None:
        """Restore model, optimiser, schedules, hooks and the position in the data.

        Raises:
            ValueError: the file is from another run, or it is within an epoch and the data changed.
        """
        content = checkpoint.read(self.source)
        state = _training(self.source, content)
        classes = list(runner.train_dataloader.dataset.metainfo["classes"])
        if content["classes"] != classes:
            raise ValueError(
                f"{self.source}: was trained on the classes {content['classes']}, but the data has "
                f"{classes}; resume with the same data, or start from the file with --load-from"
            )
        self._check_order(state, data_order(runner))
        self._restore(runner, state)
        self._go_to(runner, Place(state["epoch"], state.get("step", 0), state["iteration"]))
        step = f" and {state['step']} steps" if state.get("step") else ""
        place = f"{unit_of(runner)} {done_of(runner)}{step}"
        print_log(f"resumed {self.source} after {place}", "current")
        if "hooks" in state:
            _make_up_validation(runner)

    def _check_order(self, state: dict[str, Any], now: dict[str, int]) -> None:
        then = state.get("order", now)
        changed = ", ".join(
            f"{key} was {then.get(key)}, is {now[key]}" for key in now if then.get(key) != now[key]
        )
        if changed and state.get("step"):
            raise ValueError(
                f"{self.source}: was saved within an epoch, and its order of images changed "
                f"({changed}); resume with the old values, or from an epoch_N.pth"
            )
        if changed:
            warn(f"{self.source}: {changed}; so the result differs from an uninterrupted run")

    def _restore(self, runner: Any, state: dict[str, Any]) -> None:
        """Restore the runner's model, optimiser, schedules and hooks."""
        model = bare(runner.model)
        try:
            model.load_state_dict(state["weights"])
            if state["average"] is not None and (ema := find_hook(runner, EMA)):
                ema.state.load_state_dict(state["average"])
            _restore_rates(runner, state)
            for name, gradient in (state.get("gradients") or {}).items():
                model.get_parameter(name).grad = gradient.to(model.get_parameter(name).device)
            for hook in runner.hooks:
                saved = state.get("hooks", {}).get(type(hook).__name__)
                if saved is not None:
                    hook.load_state_dict(saved)
        except (RuntimeError, ValueError, KeyError, AttributeError, TypeError, IndexError) as error:
            first = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{self.source}: cannot be resumed, it is from another model or optimiser; resume "
                f"with the config of its training ({first} ...)"
            ) from error

    def _go_to(self, runner: Any, place: Place) -> None:
        """Set all counters; within an epoch also the sampler."""
        loop = runner.train_loop
        set_progress(loop, place.epoch, place.iteration)
        set_step_count(runner.optim_wrapper, place.iteration)
        runner.message_hub.update_info("epoch", place.epoch)
        runner.message_hub.update_info("iter", place.iteration)
        find_hook(runner, SaveCheckpoint).go_on_from(runner, place, self.source)
        if (timer := find_hook(runner, IterTimerHook)) is not None:
            timer.start_iter = place.iteration  # the remaining time is computed from it
        if not place.step:
            return
        loader = runner.train_dataloader
        if not (isinstance(loop, EpochLoop) and hasattr(loader.sampler, "skip")):
            raise ValueError(
                f"{self.source}: was saved within an epoch, which needs train_cfg.type=EpochLoop "
                "and train_dataloader.sampler.type=EpochSampler; or resume from an epoch_N.pth"
            )
        loop.first_step = place.step
        loader.sampler.set_epoch(place.epoch)
        loader.sampler.skip(place.step * loader.batch_size)


def _restore_rates(runner: Any, state: dict[str, Any]) -> None:
    """Restore the state of optimiser and schedules; their options are those of the config.

    So a run can be resumed with a lower learning rate or for more epochs.
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


def _make_up_validation(runner: Any) -> None:
    """Do the validation that was due when the run stopped, unless its metrics are known."""
    saver, loop = find_hook(runner, SaveCheckpoint), runner.train_loop
    done, last = done_of(runner), runner.max_iters
    if unit_of(runner) == "epoch":
        last = runner.max_epochs
    due = done >= max(1, loop.val_begin) and (done % loop.val_interval == 0 or done == last)
    known = any(row["iteration"] == saver.place.iteration for row in saver.history)
    if runner.val_loop is None or saver.place.step or known or not due:
        return
    print_log(f"the validation after {unit_of(runner)} {done} is missing; doing it now", "current")
    bare(runner.model).epoch = max(0, runner.epoch - 1)  # as at the end of that epoch
    runner.val_loop.run()
