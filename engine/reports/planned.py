"""What learning rate, momentum and moving average will be at every iteration of a training.

The runner is built as for the training, and its own schedulers and hooks are stepped through, with
nothing trained in between.

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

from engine.config import require, resolve
from engine.hooks.checkpoint_hook import find_hook
from engine.hooks.ema import EMA, WeightAverage
from engine.training.runner import TRAINING_PARTS, check_batch, prepare_training, start

Values = NDArray[np.float64]


class Plan(NamedTuple):
    """What each iteration of a training will have; N of them."""

    rates: dict[float, Values]  # (N,) by the base rate of a group of parameters
    momentum: Values  # (N,) of SGD, or the first beta of Adam
    decay: Values | None  # (N,) of the moving average after the iteration, where one is kept
    epoch_length: int | None  # iterations; None where the training counts no epochs
    images: int  # of a step


@DATASETS.register_module()
class Placeholder(Dataset[None]):
    """So many images of so many classes that nobody looks at."""

    def __init__(self, images: int, classes: int) -> None:
        self.images = images
        self.metainfo = {"classes": tuple(map(str, range(classes)))}

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, index: int) -> None:
        raise IndexError(f"image {index} is a placeholder; nothing can be trained on it")


def make_plan(
    cfg: Config, work_dir: Path, *, data: Path | None, epoch_length: int | None, scale_lr: bool
) -> Plan:
    """The plan of a training that tools/train.py would start with these arguments.

    Args:
        cfg: Loaded config; is changed.
        work_dir: Where the runner may write its log.
        data: Data set that tells how long an epoch is; None is the config's.
        epoch_length: Iterations of an epoch, instead of any data.
        scale_lr: As --auto-scale-lr.

    Raises:
        ValueError: config and data do not fit together.
        FileNotFoundError: the data is not there.
    """
    require(cfg, TRAINING_PARTS, "a schedule")
    if epoch_length is None and data is None and _counts_iterations(cfg):
        epoch_length = 1
    if epoch_length is not None:
        images = epoch_length * cfg.train_dataloader.batch_size
        fake = {"type": Placeholder.__name__, "images": images, "classes": cfg.model.num_classes}
        cfg.train_dataloader.dataset, cfg.val_dataloader.dataset = fake, dict(fake)
    prepare_training(cfg, data=data, work_dir=work_dir, seed=None, amp=False, scale_lr=scale_lr)
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    return _step_through(start(cfg, "none"))


def _counts_iterations(cfg: Config) -> bool:
    kind = resolve(cfg.train_cfg.type)
    return kind is not None and issubclass(kind, IterBasedTrainLoop)


def _step_through(runner: Any) -> Plan:
    """Call what changes rates, momentum and average as a training does, for all its iterations."""
    check_batch(runner)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    optimiser = runner.optim_wrapper
    runner.scale_lr(optimiser, runner.auto_scale_lr)
    _thin_out(optimiser.optimizer)
    bases = optimiser.get_lr()["lr"]  # before a scheduler touches them
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    optimiser.initialize_count_status(nn.Identity(), 0, runner.max_iters)
    schedule, average = find_hook(runner, ParamSchedulerHook), find_hook(runner, EMA)
    if average is not None:
        average.average = WeightAverage(nn.PReLU(), average.decay)
    in_epochs = not isinstance(runner.train_loop, IterBasedTrainLoop)
    length = len(runner.train_dataloader)
    optimiser.step()  # schedulers insist on one; no parameter has a gradient
    rows, decays = [], []
    for step in range(runner.max_iters):
        rows.append([*optimiser.get_lr()["lr"], optimiser.get_momentum()["momentum"][0]])
        optimiser._inner_count = step + 1  # as its update_params does, in a tenth of the time
        schedule.after_train_iter(runner, step)
        if average is not None:
            average.after_train_iter(runner)
            decays.append(average.state.rate())
        if in_epochs and (step + 1) % length == 0:
            schedule.after_train_epoch(runner)
    table = np.array(rows, np.float64)  # (N, groups + 1)
    return Plan(
        rates=dict(zip(bases, table.T[:-1], strict=True)),
        momentum=table[:, -1],
        decay=np.array(decays) if average is not None else None,
        epoch_length=length if in_epochs else None,
        images=runner.train_dataloader.batch_size,
    )


def _thin_out(optimizer: torch.optim.Optimizer) -> None:
    """Leave one group of parameters of each learning rate: the others would do as it does."""
    groups: dict[float, Any] = {}
    for group in optimizer.param_groups:
        groups.setdefault(group["lr"], group)
    optimizer.param_groups[:] = groups.values()
