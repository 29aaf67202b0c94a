"""The result of filling a model from a weight file of another project."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from engine.checkpoint.checkpoint import LoadReport, describe, load_weights


@dataclass(frozen=True)
class Foreign:
    """Load report of a filled model, its class names in label order, and `info` to store."""

    report: LoadReport
    classes: Sequence[str]
    info: Mapping[str, object] = field(default_factory=dict)  # plain data


def load_shapes(model: nn.Module, state: Mapping[str, Tensor], source: str) -> LoadReport:
    """Load a state dict, of the whole model or a part of it, all of whose shapes must fit.

    Raises:
        ValueError: an array has another shape than in the model, or no array fits.
    """
    report = load_weights(model, state, source=source)
    if report.mismatched:
        raise ValueError(
            f"{source}: {len(report.mismatched)} arrays have another shape than the model "
            f"({', '.join(report.mismatched[:3])}, ...); is it a model of another size or number "
            "of classes than --config describes?"
        )
    return report


def names_or_numbers(names: Sequence[str], count: int, source: Path | str) -> Sequence[str]:
    """The class names, or the numbers 0..count-1 if there are no names.

    Raises:
        ValueError: the number of names is not `count`.
    """
    if names and len(names) != count:
        raise ValueError(
            f"{source}: has {len(names)} class names, but model.num_classes is {count}"
        )
    return names or [str(label) for label in range(count)]


def content(
    model: Any, config: Mapping[str, Any], foreign: Foreign, info: Mapping[str, object]
) -> dict[str, Any]:
    """Content of a checkpoint of the filled model; `info` is added to that of `foreign`."""
    return describe(model, config, foreign.classes, {**foreign.info, **info})
