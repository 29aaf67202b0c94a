"""Plots learning rate, momentum and EMA decay of every iteration, before a training.

The runner is built as for the training; its schedulers and hooks step through all iterations
without training.

Shapes: N iterations.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import ParamSchedulerHook
from mmengine.registry import DATASETS
from mmengine.runner import IterBasedTrainLoop
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import Dataset

from engine.checks.preflight import check_data
from engine.config import require, resolve, use_data
from engine.hooks.checkpoint_hook import find_hook
from engine.hooks.ema import EMA, WeightAverage
from engine.mmengine_internals import set_step_count
from engine.reports.charts import COLOURS, frame, key, look, new_figure, plain, png
from engine.training.runner import TRAINING_PARTS, check_batch, prepare_training, start

Values = NDArray[np.float64]
NINES = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)  # ticks of the decay axis
MOST_POINTS = 20_000  # of a curve; more than the picture has pixels


class SchedulePlan(NamedTuple):
    """The settings of each of the N iterations of a training."""

    rates: dict[float, Values]  # (N,) by base rate of a parameter group
    momentum: Values  # (N,) of SGD, or the first beta of Adam
    decay: Values | None  # (N,) of the moving average after the iteration; None without EMA
    epoch_length: int | None  # iterations; None if the training counts no epochs
    images: int  # per step


@DATASETS.register_module()
class Placeholder(Dataset[None]):
    """A data set of `images` images and `classes` classes, without content."""

    def __init__(self, images: int, classes: int) -> None:
        self.images = images
        self.metainfo = {"classes": tuple(map(str, range(classes)))}

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> None:
        raise IndexError(f"image {index} is a placeholder and cannot be read")


def make_plan(
    cfg: Config, work_dir: Path, *, data: Path | None, epoch_length: int | None, scale_lr: bool
) -> SchedulePlan:
    """The schedule of a training that tools/train.py would start with these arguments.

    Args:
        cfg: Loaded config; is changed.
        work_dir: Folder for the runner's log.
        data: Data set that gives the length of an epoch; None uses the config's.
        epoch_length: Iterations of an epoch, used instead of data.
        scale_lr: As --auto-scale-lr.

    Raises:
        ValueError: config and data do not fit together.
        FileNotFoundError: the data does not exist.
    """
    require(cfg, TRAINING_PARTS, "a schedule")
    if epoch_length is None and data is None and _counts_iterations(cfg):
        epoch_length = 1
    if epoch_length is not None:
        images = epoch_length * cfg.train_dataloader.batch_size
        fake = {"type": Placeholder.__name__, "images": images, "classes": cfg.model.num_classes}
        cfg.train_dataloader.dataset, cfg.val_dataloader.dataset = fake, dict(fake)
    elif data is not None:
        use_data(cfg, data)
        check_data(cfg)
    prepare_training(cfg, data=data, work_dir=work_dir, seed=None, amp=False, scale_lr=scale_lr)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    return _step_through(start(cfg, "none"))


def _counts_iterations(cfg: Config) -> bool:
    kind = resolve(cfg.train_cfg.type)
    return kind is not None and issubclass(kind, IterBasedTrainLoop)


def _step_through(runner: Any) -> SchedulePlan:
    """Run all schedulers and the EMA hook through all iterations, as a training does."""
    check_batch(runner)
    optimiser = runner.optim_wrapper
    runner.scale_lr(optimiser, runner.auto_scale_lr)
    _thin_out(optimiser.optimizer)
    bases = optimiser.get_lr()["lr"]  # before the schedulers change them
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    optimiser.initialize_count_status(nn.Identity(), 0, runner.max_iters)
    schedule, average = find_hook(runner, ParamSchedulerHook), find_hook(runner, EMA)
    if average is not None:
        average.average = WeightAverage(nn.PReLU(), average.decay)
    in_epochs = not isinstance(runner.train_loop, IterBasedTrainLoop)
    length = len(runner.train_dataloader)
    optimiser.step()  # schedulers require one; changes nothing, as there are no gradients
    rows, decays = [], []
    for step in range(runner.max_iters):
        rows.append([*optimiser.get_lr()["lr"], optimiser.get_momentum()["momentum"][0]])
        set_step_count(optimiser, step + 1)  # as update_params does, but ten times faster
        schedule.after_train_iter(runner, step)
        if average is not None:
            average.after_train_iter(runner)
            decays.append(average.state.rate())
        if in_epochs and (step + 1) % length == 0:
            schedule.after_train_epoch(runner)
    table = np.array(rows, np.float64)  # (N, groups + 1)
    return SchedulePlan(
        rates=dict(zip(bases, table.T[:-1], strict=True)),
        momentum=table[:, -1],
        decay=np.array(decays) if average is not None else None,
        epoch_length=length if in_epochs else None,
        images=runner.train_dataloader.batch_size,
    )


def _thin_out(optimizer: torch.optim.Optimizer) -> None:
    """Keep one parameter group per learning rate; the others have the same schedule."""
    groups: dict[float, Any] = {}
    for group in optimizer.param_groups:
        groups.setdefault(group["lr"], group)
    optimizer.param_groups[:] = groups.values()


def draw(plan: SchedulePlan, title: str) -> bytes:
    """PNG with learning rate, momentum and, with EMA, its decay.

    Args:
        plan: Schedule of at least one iteration.
        title: Title of the figure.
    """
    panels = [_rates, _momentum] + ([_decay] if plan.decay is not None else [])
    figure = new_figure(8, 2.3 * len(panels) + 0.4)
    figure.suptitle(f"{plain(title)}: {length_of(plan)}", fontsize=11, x=0.01, ha="left")
    all_axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for panel, axes in zip(panels, all_axes, strict=True):
        panel(axes, plan)
        axes.margins(x=0.01)
    all_axes[-1].set_xlabel("epoch" if plan.epoch_length else "iteration", fontsize=9)
    return png(figure)


def length_of(plan: SchedulePlan) -> str:
    """The length of the training, in words."""
    steps, length = len(plan.momentum), plan.epoch_length
    if length is None:
        return f"{steps:,} iterations of {plan.images} images"
    return f"{steps // length:,} epochs of {length:,} iterations of {plan.images} images"


def summary(plan: SchedulePlan) -> list[str]:
    """First, highest and last value of each setting, one line each."""
    lines = [_extent("learning rate", rate) for rate in plan.rates.values()]
    lines.append(_extent("momentum", plan.momentum))
    return lines + ([_extent("EMA decay", plan.decay)] if plan.decay is not None else [])


def _extent(name: str, values: Values) -> str:
    """First, highest and last value; one number if all are equal."""
    if values.min() == values.max():
        return f"{name}: {values[0]:.4g}"
    top = int(values.argmax())
    between = f"{values[top]:.4g} at iteration {top:,}, " if 0 < top < len(values) - 1 else ""
    return f"{name}: {values[0]:.4g} at first, {between}{values[-1]:.4g} at last"


def _curve(axes: Any, plan: SchedulePlan, values: Values, **style: Any) -> None:
    every = -(-len(values) // MOST_POINTS)
    places = np.arange(len(values))[::every] / (plan.epoch_length or 1)
    axes.plot(places, values[::every], linewidth=1.8, **style)


def _rates(axes: Any, plan: SchedulePlan) -> None:
    for number, (first, values) in enumerate(plan.rates.items()):
        _curve(axes, plan, values, label=f"parameters of base rate {first:g}", **look(number))
    frame(axes, title=_extent("learning rate", next(iter(plan.rates.values()))))
    axes.set_ylim(bottom=0)
    if len(plan.rates) > 1:
        key(axes)


def _momentum(axes: Any, plan: SchedulePlan) -> None:
    _curve(axes, plan, plan.momentum, color=COLOURS[1])
    frame(axes, title=_extent("momentum", plan.momentum))
    axes.set_ylim(0, 1)


def _decay(axes: Any, plan: SchedulePlan) -> None:
    """Draw the decay on a logarithmic scale of its distance to 1."""
    assert plan.decay is not None
    _curve(axes, plan, -np.log10(1 - plan.decay), color=COLOURS[2])
    ticks = [tick for tick in NINES if tick <= plan.decay.max()]
    axes.set_yticks([-np.log10(1 - tick) for tick in ticks], [f"{tick:g}" for tick in ticks])
    frame(axes, title=_extent("EMA decay", plan.decay))
