"""Checks before a training that config, data and schedules fit together."""

import math
from collections.abc import Sequence

from mmengine.config import Config, ConfigDict

from engine.config import check_sizes, resolve
from engine.fileio import near
from engine.progress import warn


def check(cfg: Config, classes: Sequence[str]) -> None:
    """Check values that depend on each other.

    Raises:
        ValueError: the numbers of classes of model and data differ, an input size does not fit the
            model's strides, or the metric that selects the best checkpoint is not evaluated.
    """
    if cfg.model.num_classes != len(classes):
        raise ValueError(
            f"model.num_classes is {cfg.model.num_classes}, but the data has {len(classes)} "
            f"classes ({', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''}); pass "
            f"--cfg-options model.num_classes={len(classes)}, or --data DIR to take them from it"
        )
    check_sizes(cfg)
    _check_best_key(cfg)


def _check_best_key(cfg: Config) -> None:
    best = cfg.default_hooks.checkpoint.get("save_best")
    evaluators = cfg.get("val_evaluator")
    if not best or not evaluators:
        return
    known = [
        key
        for evaluator in (evaluators if isinstance(evaluators, list) else [evaluators])
        for key in getattr(resolve(evaluator.type), "keys", ())
    ]
    if known and best not in known:
        raise ValueError(
            f"default_hooks.checkpoint.save_best is {best!r}, which no evaluator computes; "
            f"{near(best, known)}"
        )


def _epochs_of(schedule: ConfigDict, cfg: Config) -> int:
    """Length of a schedule in epochs, its own or that of the training; 0: in iterations."""
    return int(schedule.get("epochs") or cfg.train_cfg.get("max_epochs") or 0)


def check_ends(cfg: Config) -> None:
    """Warn if a schedule does not end with the training.

    Raises:
        ValueError: a schedule counts epochs, but the training counts iterations.
    """
    last = cfg.train_cfg.get("max_epochs")
    for number, schedule in enumerate(cfg.param_scheduler):
        end = _epochs_of(schedule, cfg)
        if schedule.get("convert_to_iter_based") and not (end or schedule.get("end")):
            raise ValueError(
                f"param_scheduler.{number}: convert_to_iter_based=True counts epochs, train_cfg "
                "iterations; give by_epoch=False instead"
            )
        if last is None or end == last:
            continue
        share = 50 * (1 + math.cos(math.pi * min(1, last / end)))
        warn(
            f"train_cfg.max_epochs is {last}, param_scheduler.{number}.epochs {end}: the learning "
            f"rate ends at about {share:.0f} %"
            + ("" if last < end else f" and is 0 for the last {last - end} epochs")
            + f"; param_scheduler.{number}.epochs=None makes it last as long as the training"
        )


def fit_warmups(cfg: Config, epoch_length: int) -> None:
    """Shorten warm-ups that are not shorter than their schedule, with a warning."""
    for number, schedule in enumerate(cfg.param_scheduler):
        last = _epochs_of(schedule, cfg)
        if total := last * epoch_length or cfg.train_cfg.get("max_iters", 0):
            _fit_warmup(schedule, f"param_scheduler.{number}", last, total)


def _fit_warmup(schedule: ConfigDict, where: str, last: int, total: int) -> None:
    """Shorten a warm-up that is not shorter than the schedule of `total` iterations.

    `last` is the number of epochs of the schedule, 0 if it counts iterations.
    """
    iterations, epochs = schedule.get("warmup_iters", 0), schedule.get("warmup_epochs", 0)
    if iterations + (round(epochs * total / last) if epochs and last else 0) < total:
        return
    if epochs:
        schedule.warmup_epochs = last / 10
        warn(
            f"{where}.warmup_epochs {epochs} is too long for the {last} epochs of the schedule; "
            f"using {schedule.warmup_epochs:g}"
        )
    if iterations and (not epochs or iterations + total // 10 >= total):
        schedule.warmup_iters = total // 10
        warn(
            f"{where}.warmup_iters {iterations} is not below the {total} iterations of the "
            f"schedule; using {schedule.warmup_iters}"
        )
