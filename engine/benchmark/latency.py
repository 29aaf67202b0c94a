"""How long a model takes, measured so that the numbers can be trusted.

Workers take turns, some runs each, so that whatever else the machine does hits all of them
alike. Threads are pinned; nothing counts before times are stable.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config

from engine import config
from engine.benchmark.worker import (
    STAGES,
    TORCH,
    Job,
    Survivors,
    Timed,
    Timing,
    Worker,
    workers,
)
from engine.checkpoint import checkpoint
from engine.checkpoint.restore import describe
from engine.data.images import encode_image
from engine.export.check_pictures import picture
from engine.export.exporter import write
from engine.export.plan import Plan, load, prepare
from engine.hardware import Cost, Peak, cost, fingerprint, peak, pinned
from engine.runtime.content import read_content
from engine.runtime.exported import is_exported
from engine.types import Size

BACKENDS = (*TORCH, "onnxruntime", "openvino")
FILE_BACKENDS = {
    ".onnx": ("onnxruntime", "openvino"),
    ".xml": ("openvino",),
    ".pt": ("torch",),
    ".ts": ("torch",),
}
PERCENTILES = (50, 90, 95, 99)
BURST = 10  # runs of a turn, and those whose medians are compared until they agree
STABLE = 0.05
MAX_WARM_UP = 10  # bursts
STAGE_SHARE = 5  # one run by stages for so many of the network alone
REPEATABLE = 0.10  # by which the medians of both halves may differ
PHOTO = (480, 640)  # of the picture drawn where none is given
MS = 1e3


@dataclass(frozen=True)
class Order:
    """What to measure.

    Args:
        config: Config file.
        options: Overrides of it.
        path: Checkpoint, exported file, or None for random weights.
        backends: Out of BACKENDS.
        threads: Numbers of threads, each with every backend.
        batch: Images at once.
        runs: Of each backend and number of threads.
        shape: (height, width) of the network input, None for the model's own.
        stages: Whether to time the way from file to result by stage too.
        image: Picture to run on, None for a drawn one.
    """

    config: Path
    backends: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    threads: Sequence[int] = (1,)
    batch: int = 1
    runs: int = 300
    shape: Size | None = None
    stages: bool = False
    image: Path | None = None


@dataclass(frozen=True)
class Subject:
    """The files that the engines run, and the size of what is in them."""

    checkpoint: Path | None  # for torch
    exported: Path | None  # for the others
    size: Size  # of the network input
    cost: Cost  # of one image
    precision: str

    def path(self, backend: str) -> Path:
        """The file that a backend runs."""
        path = self.checkpoint if backend in TORCH and self.checkpoint else self.exported
        assert path is not None  # `subject` made it
        return path


@dataclass
class RunTimes:
    """What was measured of one worker."""

    entry: Timed
    rounds: list[list[Timing]] = field(default_factory=list)
    warm_up: int = 0  # runs before
    stages: list[dict[str, float]] = field(default_factory=list)  # seconds by stage, and `total`

    @property
    def wall(self) -> list[float]:
        """Seconds of all runs."""
        return [run.wall for burst in self.rounds for run in burst]

    @property
    def medians(self) -> list[float]:
        """Median seconds of every round."""
        return [_median(burst) for burst in self.rounds]

    @property
    def processor(self) -> list[float]:
        """Seconds of processor time of all runs."""
        return [run.processor for burst in self.rounds for run in burst]


def measure(
    order: Order, folder: Path, advance: Callable[[int], None] = lambda _: None
) -> dict[str, Any]:
    """All numbers as plain data, times in milliseconds.

    Args:
        order: What to measure.
        folder: Where files may be written that the engines need.
        advance: Called with the number of runs that each has done, after each round.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file is damaged, its size is not known, an engine does not run it or is not
            installed, or there are fewer cores than threads.
    """
    load_before, image = os.getloadavg()[0], photo(order.image, folder)
    what = subject(config.load(order.config, order.options), order, folder)
    before = peaks(order.threads)
    with workers(jobs(order, what, image)) as entries:
        records = race(entries, order.runs, advance)
        left = entries[0].survivors()
        if order.stages:
            time_stages(records, entries, order.runs // STAGE_SHARE)
    best = {count: top.or_better(before[count]) for count, top in peaks(order.threads).items()}
    rows = [
        {
            **_settings(entry, order.batch),
            **summary(record),
            **floor(record, order.batch, what.cost, best[entry.job.threads]),
        }
        for record, entry in zip(records, entries, strict=True)
    ]
    return {
        "machine": {**fingerprint(), "load": load_before},
        **_header(order, what, left),
        "peaks": {str(threads): top._asdict() for threads, top in best.items()},
        "results": rows,
    }


def _header(order: Order, what: Subject, left: Survivors) -> dict[str, Any]:
    return {
        "config": order.config.name,
        "file": None if order.path is None else order.path.name,
        "random_weights": order.path is None,
        "precision": what.precision,
        "input": [order.batch, 3, *what.size],
        "macs": what.cost.macs,
        "weight_bytes": what.cost.weight_bytes,
        "survived": left._asdict(),
    }


def _settings(entry: Worker, batch: int) -> dict[str, Any]:
    return {
        "backend": entry.job.backend,
        "threads": entry.job.threads,
        "batch": batch,
        "load_ms": entry.start.load_seconds * MS,
        "first_ms": entry.start.first_seconds * MS,
        "memory_mb": entry.start.memory_bytes / 1e6,
    }


def jobs(order: Order, what: Subject, image: Path) -> list[Job]:
    """Every backend with every number of threads."""
    return [
        Job(
            config=order.config,
            options=order.options,
            path=what.path(backend),
            backend=backend,
            threads=threads,
            size=what.size,
            batch=order.batch,
            image=image,
        )
        for backend in order.backends
        for threads in order.threads
    ]


def subject(cfg: Config, order: Order, folder: Path) -> Subject:
    """The model of a checkpoint, of an exported file, or with random weights.

    Args:
        cfg: Loaded config.
        order: What to measure.
        folder: Where files may be written that the engines need.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, its size is not known, or an engine does not run it.
    """
    if order.path is not None and is_exported(order.path):
        return _exported_subject(cfg, order, order.path)
    source_path = order.path or _random_checkpoint(cfg, folder)
    plan = Plan(format="onnx", shape=order.shape, dynamic="batch" if order.batch > 1 else None)
    source = load(cfg, source_path, plan, order.options)
    assert source.size is not None  # `load` asked for one
    size = cost(source.model, torch.zeros(1, 3, *source.size))
    if set(order.backends) <= set(TORCH):
        return Subject(source_path, None, source.size, size, "fp32")
    graph = folder / "graph.onnx"
    write(prepare(source, plan), graph)
    return Subject(source_path, graph, source.size, size, "fp32")


def _exported_subject(cfg: Config, order: Order, path: Path) -> Subject:
    able = FILE_BACKENDS[path.suffix.lower()]
    for backend in order.backends:
        if backend not in able:
            raise ValueError(
                f"{path}: --backend {backend} does not run it; use {' or '.join(able)}"
            )
    content = read_content(cfg, path)
    batched = content["shape"][0] is None and not content["with_preprocess"]
    if order.batch > 1 and not batched:
        raise ValueError(f"{path}: takes one image; leave out --batch or export --dynamic batch")
    model: Any = checkpoint.build_model(describe(cfg, content, path, order.options)).eval()
    size = order.shape or model.data_preprocessor.size
    if size is None and not content["with_preprocess"]:
        raise ValueError(f"{path}: takes any size; give --shape HEIGHT WIDTH")
    size = size or PHOTO
    return Subject(None, path, size, cost(model, torch.zeros(1, 3, *size)), content["precision"])


def _random_checkpoint(cfg: Config, folder: Path) -> Path:
    plain = config.plain(cfg.model)
    names = [str(label) for label in range(plain["num_classes"])]
    path = folder / "random.pth"
    model = checkpoint.build_model(plain)
    checkpoint.save(path, checkpoint.describe(model, plain, names, {}))
    return path


def photo(path: Path | None, folder: Path) -> Path:
    """The image file to measure on: the one given, or a picture drawn and written as JPEG."""
    if path is not None:
        return path
    drawn = folder / "photo.jpg"
    drawn.write_bytes(encode_image(picture(*PHOTO), ".jpg"))
    return drawn


def bursts(runs: int) -> list[int]:
    """The runs of each turn."""
    whole, rest = divmod(runs, BURST)
    return [BURST] * whole + [rest] * bool(rest)


def race(
    entries: Sequence[Timed], runs: int, advance: Callable[[int], None] = lambda _: None
) -> list[RunTimes]:
    """Let all warm up, then run in turns, another one first each time, so many runs each."""
    records = [RunTimes(entry, warm_up=_warm_up(entry)) for entry in entries]
    for turn, length in enumerate(bursts(runs)):
        first = turn % len(records)
        for record in records[first:] + records[:first]:
            record.rounds.append(record.entry.burst(length))
        advance(length)
    return records


def _warm_up(entry: Timed) -> int:
    """Run until the median of a burst is that of the one before, within 5 %; how many runs."""
    before, done, stable = 0.0, 0, False
    while not stable and done < MAX_WARM_UP:
        now = _median(entry.burst(BURST))
        before, done, stable = now, done + 1, abs(now - before) <= STABLE * now
    return done * BURST


def time_stages(records: Iterable[RunTimes], entries: Sequence[Worker], runs: int) -> None:
    """Let all go from file to result in turns."""
    pairs = list(zip(records, entries, strict=True))
    for length in bursts(runs):
        for record, entry in pairs:
            record.stages += entry.stages(length)


def _median(burst: Sequence[Timing]) -> float:
    return float(np.median([run.wall for run in burst]))


def summary(record: RunTimes) -> dict[str, Any]:
    """The numbers of one worker as plain data, times in milliseconds."""
    times = np.asarray(record.wall) * MS
    medians = record.medians
    half = len(medians) // 2
    parts = (medians[:half], medians[half:])
    halves = [float(np.median(part)) * MS for part in parts if part]
    return {
        "warm_up": record.warm_up,
        "runs": len(times),
        **{f"p{q}": float(np.percentile(times, q)) for q in PERCENTILES},
        "fastest": float(times.min()),
        "processor_p50": float(np.median(record.processor)) * MS,
        "rounds_p50": [median * MS for median in medians],
        "halves_p50": halves,
        "repeatable": len(halves) == 2 and abs(halves[0] - halves[1]) <= REPEATABLE * min(halves),
        "stages": middle_half(record.stages),
    }


def floor(record: RunTimes, batch: int, size: Cost, best: Peak) -> dict[str, Any]:
    """What a machine that does nothing but multiply, or read weights, would take, in ms.

    Against the fastest run, because the floor is of the machine at its fastest.
    """
    fastest = min(record.wall) * MS
    arithmetic = batch * 2 * size.macs / best.gflops / 1e9 * MS
    memory = size.weight_bytes / best.gigabytes / 1e9 * MS
    return {
        "images_per_second": batch / float(np.median(record.wall)),
        "floor_arithmetic": arithmetic,
        "floor_weights": memory,
        "over_floor": fastest / max(arithmetic, memory),
    }


def middle_half(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean milliseconds by stage, over the half of the runs whose totals lie in the middle.

    Unlike medians, means of the same runs add up.
    """
    ordered = sorted(rows, key=lambda row: row["total"])
    quarter = len(ordered) // 4
    middle = ordered[quarter : len(ordered) - quarter]
    names = [name for name in (*STAGES, "total") if middle and name in middle[0]]
    return {name: float(np.mean([row[name] for row in middle])) * MS for name in names}


def peaks(threads: Sequence[int]) -> dict[int, Peak]:
    """What the machine reaches at best, by number of threads."""
    found = {}
    for count in threads:
        with pinned(count):
            found[count] = peak(count)
    return found
