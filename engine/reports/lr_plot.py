"""The plan of a training as a picture."""

from typing import Any

import numpy as np

from engine.reports.charts import COLOURS, frame, key, look, new_figure, plain, png
from engine.reports.planned import Plan, Values

NINES = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999)  # ticks of a decay, whose distance to 1 counts
MOST_POINTS = 20_000  # of a curve: more than a picture has pixels


def draw(plan: Plan, title: str) -> bytes:
    """PNG with learning rate, momentum and, where an average is kept, its decay, one below another.

    Args:
        plan: Of at least one iteration.
        title: Stands above.
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


def length_of(plan: Plan) -> str:
    """How long the training is, in words."""
    steps, length = len(plan.momentum), plan.epoch_length
    if length is None:
        return f"{steps:,} iterations of {plan.images} images"
    return f"{steps // length:,} epochs of {length:,} iterations of {plan.images} images"


def summary(plan: Plan) -> list[str]:
    """The plan's ends and highest rate, a line each."""
    lines = [_extent("learning rate", rate) for rate in plan.rates.values()]
    lines.append(_extent("momentum", plan.momentum))
    return lines + ([_extent("EMA decay", plan.decay)] if plan.decay is not None else [])


def _extent(name: str, values: Values) -> str:
    """First, highest and last value; one number where they are all the same."""
    if values.min() == values.max():
        return f"{name}: {values[0]:.4g}"
    top = int(values.argmax())
    between = f"{values[top]:.4g} at iteration {top:,}, " if 0 < top < len(values) - 1 else ""
    return f"{name}: {values[0]:.4g} at first, {between}{values[-1]:.4g} at last"


def _curve(axes: Any, plan: Plan, values: Values, **style: Any) -> None:
    every = -(-len(values) // MOST_POINTS)
    places = np.arange(len(values))[::every] / (plan.epoch_length or 1)
    axes.plot(places, values[::every], linewidth=1.8, **style)


def _rates(axes: Any, plan: Plan) -> None:
    for number, (first, values) in enumerate(plan.rates.items()):
        _curve(axes, plan, values, label=f"parameters of base rate {first:g}", **look(number))
    frame(axes, title=_extent("learning rate", next(iter(plan.rates.values()))))
    axes.set_ylim(bottom=0)
    if len(plan.rates) > 1:
        key(axes)


def _momentum(axes: Any, plan: Plan) -> None:
    _curve(axes, plan, plan.momentum, color=COLOURS[1])
    frame(axes, title=_extent("momentum", plan.momentum))
    axes.set_ylim(0, 1)


def _decay(axes: Any, plan: Plan) -> None:
    """On a scale where each further nine takes the same room."""
    assert plan.decay is not None
    _curve(axes, plan, -np.log10(1 - plan.decay), color=COLOURS[2])
    ticks = [tick for tick in NINES if tick <= plan.decay.max()]
    axes.set_yticks([-np.log10(1 - tick) for tick in ticks], [f"{tick:g}" for tick in ticks])
    frame(axes, title=_extent("EMA decay", plan.decay))
