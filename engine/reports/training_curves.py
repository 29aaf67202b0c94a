"""Plots the logs of trainings: losses, metrics, learning rate, images per second.

Shapes: N points of a curve.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from engine.reports.charts import frame, look, new_figure, plain, png
from engine.reports.run_log import Points, RunLog

TIMES = ("time", "data_time")  # seconds; not shown, because images/s is
RATES = ("lr", "images/s")
COLUMNS = 3
PANEL = (4.4, 2.9)  # inches
WORDS = {"lr": "learning rate", "images/s": "images a second", "loss": "loss, sum"}
MOST_METRICS = 4
UNDER = 1.4  # points by which a learning rate curve is wider than that of the next run
PALE, BOLD = 0.35, 1.8  # opacity of raw curves, line width of smoothed ones


class Panel(NamedTuple):
    """One pair of axes."""

    title: str
    training: str = ""  # name of the curve in the training log
    validation: str = ""


def panels(runs: Sequence[RunLog], metrics: Sequence[str]) -> list[Panel]:
    """Panels for all losses, the given metrics (default: four per run), learning rate, speed.

    Raises:
        ValueError: no run has logged one of the metrics.
    """
    logged = _keys(run.training for run in runs)
    losses = [key for key in logged if key.startswith("loss_")]
    terms = losses if len(losses) > 1 else []
    judged = [
        [key for key in run.validation if "loss" not in key and key not in TIMES] for run in runs
    ]
    known = _keys(judged)
    first = _keys(keys[:MOST_METRICS] for keys in judged)
    for key in metrics:
        if key not in known:
            raise ValueError(f"--metrics {key}: not logged; logged are: {', '.join(known)}")
    return [
        *(Panel(WORDS["loss"], "loss", "val_loss") for _ in range("loss" in logged)),
        *(Panel(key, key, key) for key in terms),
        *(Panel(key, validation=key) for key in metrics or first),
        *(Panel(WORDS[key], key) for key in RATES if key in logged),
    ]


def _keys(logs: Any) -> list[str]:
    """Names in all of the logs, in the order of their first appearance."""
    return list(dict.fromkeys(key for log in logs for key in log))


def smoothed(values: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Exponential moving average (N,), in which the previous average has `weight`.

    Bias-corrected at the start like Adam's moments (Kingma and Ba 2014, section 3). NaN and
    infinity are left out.
    """
    total = share = 0.0
    result = np.full(len(values), np.nan)
    for place, value in enumerate(values):
        if np.isfinite(value):
            total = weight * total + (1 - weight) * value
            share = weight * share + 1 - weight
            result[place] = total / share
    return result


def draw(runs: Sequence[RunLog], metrics: Sequence[str], weight: float) -> bytes:
    """PNG with all panels, one colour per run.

    Args:
        runs: Logs to plot.
        metrics: Metrics to show; empty: the first four of each run.
        weight: Weight of the smoothing, from 0 (none) to below 1.

    Raises:
        ValueError: nothing is logged yet, or a metric is unknown.
    """
    wanted = panels(runs, metrics)
    if not wanted:
        raise ValueError("none of the runs has logged a loss yet; wait for its first log line")
    columns = min(COLUMNS, len(wanted))
    rows = -(-len(wanted) // columns)
    figure = new_figure(PANEL[0] * columns, PANEL[1] * rows + 0.5)
    all_axes = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten().tolist()
    in_epochs = all(run.epoch_length for run in runs)
    for axes, panel in zip(all_axes, wanted, strict=False):
        _draw_panel(axes, panel, runs, weight, in_epochs)
    for axes in all_axes[len(wanted) :]:
        axes.remove()
    _name_runs(figure, runs)
    return png(figure)


def _draw_panel(
    axes: Any, panel: Panel, runs: Sequence[RunLog], weight: float, in_epochs: bool
) -> None:
    """Draw one panel, one colour per run."""
    for number, run in enumerate(runs):
        unit = run.epoch_length if in_epochs and run.epoch_length else 1
        if panel.training == "lr":
            width = BOLD + UNDER * min(len(runs) - 1 - number, 3)
            # Wider than later curves, which may cover it.
            steps, rates = _columns(run.training.get("lr", []), unit)
            axes.plot(steps, rates, **look(number), linewidth=width)
        else:
            _draw_run(axes, panel, run, look(number), weight, unit)
    frame(axes, title=plain(panel.title), x="epoch" if in_epochs else "iteration")
    axes.tick_params(labelbottom=True)
    if panel.training == "images/s":
        axes.set_ylim(bottom=0)


def _draw_run(
    axes: Any, panel: Panel, run: RunLog, style: dict[str, Any], weight: float, unit: int
) -> None:
    """Draw the curves of one run in one panel; `unit` is the iterations per unit of x."""
    steps, values = _columns(run.training.get(panel.training, []), unit)
    axes.plot(steps, values, **style, linewidth=0.9, alpha=PALE)
    axes.plot(steps, smoothed(values, weight), **style, linewidth=BOLD)
    steps, values = _columns(run.validation.get(panel.validation, []), unit)
    thin = {"linewidth": 0.8 if panel.training else BOLD, "markersize": 4}
    axes.plot(steps, values, **style, **thin, marker="o", markerfacecolor="white")


def _columns(points: Points, unit: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps (N,) in units of `unit` iterations, and values (N,)."""
    table = np.array(points, np.float64).reshape(-1, 2)
    return table[:, 0] / unit, table[:, 1]


def _name_runs(figure: Any, runs: Sequence[RunLog]) -> None:
    """Draw the legend above all panels: the runs, and the line styles."""
    grey = "#555555"
    lines = [Line2D([], [], **look(number), linewidth=3) for number in range(len(runs))]
    lines += [
        Line2D([], [], color=grey, linewidth=0.9, alpha=PALE),
        Line2D([], [], color=grey, linewidth=BOLD),
        Line2D(
            [], [], color=grey, linewidth=0.8, marker="o", markersize=4, markerfacecolor="white"
        ),
    ]
    names = [*(plain(run.name) for run in runs), "as logged", "smoothed", "validation"]
    figure.legend(
        lines, names, loc="outside upper left", ncols=min(len(names), 7), fontsize=9, frameon=False
    )
