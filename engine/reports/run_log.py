"""Reads the log of a training from its work dir, also while the training runs.

Every start of a run, including resumed ones, leaves a folder named by the time with
vis_data/scalars.json: one JSON object per line, of training (with "iter") or of validation.
"""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]
Points = list[tuple[float, float]]  # step in iterations, value


class RunLog(NamedTuple):
    """The whole log of one run, in the order of its steps."""

    name: str
    training: dict[str, Points]  # by mmengine's name, and "images/s"
    validation: dict[str, Points]
    epoch_length: int | None  # iterations; None if the run has no epochs, or is not known yet


class Part(NamedTuple):
    """The log of one start of a run."""

    rows: list[Row]
    images: int | None  # per step, over all processes

    @property
    def first(self) -> int:
        """Iteration of the first training row, which must exist."""
        return next(row["iter"] for row in self.rows if "iter" in row)


def read_runs(folders: Sequence[Path]) -> list[RunLog]:
    """The logs of work dirs, named by the folders, or by their paths if names are equal.

    Raises:
        FileNotFoundError: a folder is not the work dir of a training.
        ValueError: a log is damaged; an incomplete last line is allowed.
    """
    names = [folder.resolve().name for folder in folders]
    return [
        _joined(name if names.count(name) == 1 else str(folder), read_parts(folder))
        for name, folder in zip(names, folders, strict=True)
    ]


def read_parts(folder: Path) -> list[Part]:
    """The log of each start of a run, in the order of time; errors as `read_runs`.

    Starts without training rows, such as tests and those that have just begun, are left out.
    """
    files = sorted(folder.glob("*/vis_data/scalars.json"))
    if not files:
        raise FileNotFoundError(
            f"{folder}: no */vis_data/scalars.json found; give the --work-dir of a training that "
            "has logged its first losses"
        )
    parts = [Part(list(_rows(file)), _images_a_step(file.parents[1])) for file in files]
    return [part for part in parts if any("iter" in row for row in part.rows)]


def _rows(file: Path) -> Iterator[Row]:
    """The rows of a log; skips an incomplete last line of a running or killed training."""
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line or "{}")
        except json.JSONDecodeError:
            row = None
        if not isinstance(row, dict):
            if number < len(lines):
                raise ValueError(f"{file}: line {number} is not a JSON object; the log is damaged")
            return
        if row:
            yield row


def _images_a_step(folder: Path) -> int | None:
    """Images per step over all processes, from the config and log beside the scalars."""
    batch = _batch_size(folder / "vis_data" / "config.py")
    log = folder / f"{folder.name}.log"
    found = (
        re.search(r", (\d+) processes, seed", log.read_text("utf-8", "replace"))
        if log.is_file()
        else None
    )
    return batch and batch * (int(found[1]) if found else 1)


def _batch_size(config: Path) -> int | None:
    """train_dataloader.batch_size of a dumped config, which is parsed, not executed."""
    try:
        statements = ast.parse(config.read_text("utf-8", "replace")).body
    except (FileNotFoundError, SyntaxError, ValueError):  # missing or incomplete
        return None
    for statement in statements:
        match statement:
            case ast.Assign([ast.Name("train_dataloader")], ast.Call(keywords=entries)):
                return next(map(_number, (x for x in entries if x.arg == "batch_size")), None)
    return None


def _number(entry: ast.keyword) -> int | None:
    """The value of an integer argument, else None."""
    match entry.value:
        case ast.Constant(int(number)):
            return number
    return None


def _joined(name: str, parts: Sequence[Part]) -> RunLog:
    """Join the starts of a run; steps that a later start repeated replace the earlier ones."""
    length = _epoch_length(parts)
    training: dict[str, dict[float, float]] = {}
    validation: dict[str, dict[float, float]] = {}
    for part in parts:
        for known in (*training.values(), *validation.values()):
            for step in [step for step in known if step >= part.first]:
                del known[step]
        for step, row in _placed(part, length):
            _take(training if "iter" in row else validation, step, row, part.images)
    return RunLog(name, _in_order(training), _in_order(validation), length)


def _take(known: dict[str, dict[float, float]], step: float, row: Row, images: int | None) -> None:
    """Add the numbers of a row, and for a training row the images per second."""
    seconds = row.get("time") if "iter" in row else None
    speed = {"images/s": images / seconds} if images and seconds else {}
    for key, value in (row | speed).items():
        if key not in ("iter", "step", "epoch") and isinstance(value, int | float):
            known.setdefault(key, {})[step] = value


def _placed(part: Part, length: int | None) -> Iterator[tuple[int, Row]]:
    """Rows with their iteration; validation rows have the epoch or an unreliable step."""
    done = 0
    for row in part.rows:
        if "iter" in row:
            done = row["iter"]
            yield done, row
        else:
            yield (row["step"] * length if length else max(done, row["step"])), row


def _epoch_length(parts: Sequence[Part]) -> int | None:
    """The most frequent number of iterations between the first rows of adjacent epochs."""
    lengths: Counter[int] = Counter()
    for part in parts:
        firsts: dict[int, int] = {}
        for row in part.rows:
            if "iter" in row and "epoch" in row:
                firsts.setdefault(row["epoch"], row["iter"])
        for (epoch, step), (later, end) in pairwise(firsts.items()):
            if later == epoch + 1:
                lengths[end - step] += 1
    return lengths.most_common(1)[0][0] if lengths else None


def _in_order(known: dict[str, dict[float, float]]) -> dict[str, Points]:
    return {key: sorted(points.items()) for key, points in known.items() if points}
