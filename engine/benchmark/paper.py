"""The tables of the PP-LCNet paper (arXiv 2109.15099) as rows to compare."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.fileio import read_toml
from engine.shipped_configs import config_folder
from engine.types import Size

TABLE = config_folder() / "paper/presets.toml"
PAPERS_MACHINE = "Intel Xeon Gold 6148 with MKL-DNN"


@dataclass(frozen=True)
class Published:
    """The paper's numbers of a row."""

    accuracy: float  # percent: top-1, AP or mIoU
    ms: float | None  # None if not in the table


@dataclass(frozen=True)
class Row:
    """A model to compare."""

    label: str
    config: str  # file
    published: Published | None = None


@dataclass(frozen=True)
class Preset:
    """A table of the paper, and the pairs of its rows to compare, by label.

    `recipe` is the config whose data, optimiser and schedule train all rows. `shape` is the
    (height, width) for latencies; None uses the configs' sizes.
    """

    rows: tuple[Row, ...]
    pairs: tuple[tuple[str, str], ...]
    recipe: str
    shape: Size | None = None


def read_presets(path: Path = TABLE) -> dict[str, Preset]:
    """The paper's tables by their --preset name."""
    return {name: _preset(table) for name, table in read_toml(path).items()}


def _preset(table: Mapping[str, Any]) -> Preset:
    rows = tuple(
        Row(row["label"], _config(row["config"]), Published(row["accuracy"], row.get("ms")))
        for row in table["rows"]
    )
    pairs = tuple((first, second) for first, second in table["pairs"])
    shape = table.get("shape")
    return Preset(rows, pairs, _config(table["recipe"]), shape and (shape[0], shape[1]))


def _config(name: str) -> str:
    return str(config_folder() / f"{name}.py")
