"""Measures the latency of a model reproducibly.

Workers run in turns, a few runs each, so that other work on the machine affects all of them
equally. Threads are pinned; runs count once the times are stable.
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
from engine.benchmark.worker import STAGES, TORCH, Job, Timed, Timing, Worker, workers
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
BURST = 10  # runs per turn
STABLE = 0.05  # relative difference of two bursts' medians that ends the warm-up
MAX_WARM_UP = 10  # most bursts of the warm-up
STAGE_SHARE = 5  # runs of the network alone per run by stages
REPEATABLE = 0.10  # largest relative difference of the two halves' medians
PHOTO = (480, 640)  # height and width of the generated picture
MS = 1e3


@dataclass(frozen=True)
class Order:
    """What to measure.

    Args:
        config: Config file.
        options: Overrides of the config.
        path: Checkpoint or exported file; None uses random weights.
        backends: Names from BACKENDS.
        threads: Numbers of threads, each measured with every backend.
        batch: Images per run.
        runs: Runs of each backend and number of threads.
        shape: (height, width) of the network input; None uses the model's.
        stages: Whether to measure the stages from file to result too.
        image: Picture to run on; None uses a generated one.
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
    """The files that the engines run, and the cost of the network in them."""

    checkpoint: Path | None  # for torch
    exported: Path | None  # for the other backends
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
    """Measurements of one worker."""

    entry: Timed
    rounds: list[list[Timing]] = field(default_factory=list)
    warm_up: int = 0  # runs before these
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
    """Measure, and return all numbers as plain data, times in milliseconds.

    Args:
        order: What to measure.
        folder: Folder for temporary files.
        advance: Called after each round with its number of runs per worker.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a file is damaged, its input size is unknown, an engine cannot run it or is not
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
            "backend": entry.job.backend,
            "threads": entry.job.threads,
            "batch": order.batch,
            "load_ms": entry.start.load_seconds * MS,
            "first_ms": entry.start.first_seconds * MS,
            "memory_mb": entry.start.memory_bytes / 1e6,
            **summary(record),
            **floor(record, order.batch, what.cost, best[entry.job.threads]),
        }
        for record, entry in zip(records, entries, strict=True)
    ]
    return {
        "machine": {**fingerprint(), "load": load_before},
        "config": order.config.name,
        "file": None if order.path is None else order.path.name,
        "random_weights": order.path is None,
        "precision": what.precision,
        "input": [order.batch, 3, *what.size],
        "macs": what.cost.macs,
        "weight_bytes": what.cost.weight_bytes,
        "survived": left._asdict(),
        "peaks": {str(threads): top._asdict() for threads, top in best.items()},
        "results": rows,
    }


def jobs(order: Order, what: Subject, image: Path) -> list[Job]:
    """One job for every backend and number of threads."""
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
    """Prepare the files to measure, from a checkpoint, an exported file or random weights.

    Args:
        cfg: Loaded config.
        order: What to measure.
        folder: Folder for temporary files.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: a file is damaged, its input size is unknown, or an engine cannot run it.
    """
    if order.path is not None and is_exported(order.path):
        return _exported_subject(cfg, order, order.path)
    source_path = order.path or _random_checkpoint(cfg, folder)
    plan = Plan(format="onnx", shape=order.shape, dynamic="batch" if order.batch > 1 else None)
    source = load(cfg, source_path, plan, order.options)
    assert source.size is not None  # `load` checked it
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
            raise ValueError(f"{path}: --backend {backend} cannot run it; use {' or '.join(able)}")
    content = read_content(cfg, path)
    batched = content["shape"][0] is None and not content["with_preprocess"]
    if order.batch > 1 and not batched:
        raise ValueError(
            f"{path}: takes one image per run; leave out --batch, or export with --dynamic batch"
        )
    model: Any = checkpoint.build_model(describe(cfg, content, path, order.options)).eval()
    size = order.shape or model.data_preprocessor.size
    if size is None and not content["with_preprocess"]:
        raise ValueError(f"{path}: has no fixed input size; give --shape HEIGHT WIDTH")
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
    """The image file to measure on: the given one, or a generated picture written as JPEG."""
    if path is not None:
        return path
    drawn = folder / "photo.jpg"
    drawn.write_bytes(encode_image(picture(*PHOTO), ".jpg"))
    return drawn


def bursts(runs: int) -> list[int]:
    """Number of runs in each turn."""
    whole, rest = divmod(runs, BURST)
    return [BURST] * whole + [rest] * bool(rest)


def race(
    entries: Sequence[Timed], runs: int, advance: Callable[[int], None] = lambda _: None
) -> list[RunTimes]:
    """Warm all up, then run them in turns, `runs` runs each; every turn starts with another one."""
    records = [RunTimes(entry, warm_up=_warm_up(entry)) for entry in entries]
    for turn, length in enumerate(bursts(runs)):
        first = turn % len(records)
        for record in records[first:] + records[:first]:
            record.rounds.append(record.entry.burst(length))
        advance(length)
    return records


def _warm_up(entry: Timed) -> int:
    """Run until the medians of two bursts agree within STABLE; the number of runs."""
    before, done, stable = 0.0, 0, False
    while not stable and done < MAX_WARM_UP:
        now = _median(entry.burst(BURST))
        before, done, stable = now, done + 1, abs(now - before) <= STABLE * now
    return done * BURST


def time_stages(records: Iterable[RunTimes], entries: Sequence[Worker], runs: int) -> None:
    """Measure the stages from file to result of all workers, in turns."""
    pairs = list(zip(records, entries, strict=True))
    for length in bursts(runs):
        for record, entry in pairs:
            record.stages += entry.stages(length)


def _median(burst: Sequence[Timing]) -> float:
    return float(np.median([run.wall for run in burst]))


def summary(record: RunTimes) -> dict[str, Any]:
    """Statistics of one worker as plain data, times in milliseconds."""
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
    """Lower bounds of the time, in ms: for the arithmetic alone, and for reading the weights.

    Compared with the fastest run, because the bounds are of the machine at its fastest.
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
    """Mean milliseconds by stage, over the middle half of the runs by total time.

    Unlike medians, means of the same runs add up to the total.
    """
    ordered = sorted(rows, key=lambda row: row["total"])
    quarter = len(ordered) // 4
    middle = ordered[quarter : len(ordered) - quarter]
    names = [name for name in (*STAGES, "total") if middle and name in middle[0]]
    return {name: float(np.mean([row[name] for row in middle])) * MS for name in names}


def peaks(threads: Sequence[int]) -> dict[int, Peak]:
    """Peak performance of the machine, by number of threads."""
    found = {}
    for count in threads:
        with pinned(count):
            found[count] = peak(count)
    return found
