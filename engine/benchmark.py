"""How long a model takes, measured so that the numbers can be trusted.

Contestants (an engine with a number of threads) take turns, a run each, so that whatever else the
machine does hits all of them alike. Threads are pinned; nothing counts before times are stable.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from numpy.typing import NDArray

from . import checkpoint, config
from .export import picture, write
from .exported import STARTERS, Run, contiguous, is_exported
from .images import decode
from .interface import Picture, Size
from .machine import Cost, Peak, cost, peak, pin, resident_bytes, usable_cores
from .predict import restore
from .prepared import Plan, load, prepare

BACKENDS = ("torch", "torch-compile", "onnxruntime", "openvino")
FILE_BACKENDS = {
    ".onnx": ("onnxruntime", "openvino"),
    ".xml": ("openvino",),
    ".pt": ("torch",),
    ".ts": ("torch",),
}
PERCENTILES = (50, 90, 95, 99)
WINDOW = 10  # runs whose medians are compared until they agree
STABLE = 0.05
MAX_WARM_UP = 100
REPEATABLE = 0.10  # by which the medians of both halves may differ
PHOTO = (480, 640)  # of the picture drawn where none is given
MS = 1e3
STAGES = ("read", "decode", "resize", "normalise", "forward", "post-process")


@dataclass(frozen=True)
class Subject:
    """The model that is measured, whatever the engine."""

    model: Any  # of the task with its weights, or a Deployed
    exported: Path | None  # an exported file, measured as it is
    graph: Path | None  # its ONNX file for the engines that need one
    size: Size  # of the network input
    random: bool  # weights


@dataclass
class Contestant:
    """One engine with a number of threads, and its times in seconds."""

    backend: str
    threads: int
    run: Run
    load_seconds: float
    memory_bytes: int
    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.backend}, {self.threads} thread{'s' * (self.threads > 1)}"


def subject(
    cfg: Config,
    path: Path | None,
    folder: Path,
    *,
    backends: Sequence[str],
    shape: Size | None,
    batch: int,
) -> Subject:
    """The model of a checkpoint, of an exported file, or with random weights.

    Args:
        cfg: Loaded config.
        path: Checkpoint, exported file, or None for random weights.
        folder: Where files may be written that the engines need.
        backends: Which engines will run it.
        shape: (height, width) of the network input, None for the model's own.
        batch: Images at once.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, its size is not known, or an engine does not run it.
    """
    if path is not None and is_exported(path):
        return _exported_subject(cfg, path, backends, shape, batch)
    source_path = path or _random_checkpoint(cfg, folder)
    plan = Plan(format="onnx", shape=shape, dynamic="batch" if batch > 1 else None)
    source = load(cfg, source_path, plan)
    assert source.size is not None  # `load` asked for one
    graph = None
    if set(backends) & {"onnxruntime", "openvino"}:
        graph = folder / "graph.onnx"
        write(prepare(source, plan), graph)
    return Subject(source.model, None, graph, source.size, path is None)


def _exported_subject(
    cfg: Config, path: Path, backends: Sequence[str], shape: Size | None, batch: int
) -> Subject:
    able = FILE_BACKENDS[path.suffix.lower()]
    for backend in backends:
        if backend not in able:
            raise ValueError(
                f"{path}: --backend {backend} does not run it; use {' or '.join(able)}"
            )
    model = restore(cfg, path)
    if batch > 1 and not model.exported.batched:
        raise ValueError(f"{path}: takes one image; leave out --batch or export --dynamic batch")
    size = shape or model.task.data_preprocessor.size
    if size is None and not model.with_preprocess:
        raise ValueError(f"{path}: takes any size; give --shape HEIGHT WIDTH")
    return Subject(model, path, None, size or PHOTO, False)


def _random_checkpoint(cfg: Config, folder: Path) -> Path:
    plain = config.plain(cfg.model)
    names = [str(label) for label in range(plain["num_classes"])]
    path = folder / "random.pth"
    model = checkpoint.build_model(plain)
    checkpoint.save(path, checkpoint.describe(model, plain, names, {}))
    return path


def contestant(what: Subject, backend: str, threads: int) -> Contestant:
    """An engine with the model loaded, on as many cores as it has threads.

    Raises:
        ValueError: the engine is not installed, or there are fewer cores than threads.
    """
    cores = usable_cores()
    if threads > len(cores):
        raise ValueError(f"--threads {threads}: this process may use {len(cores)} cores")
    pin(cores[:threads])  # threads that start now inherit it
    memory, start = resident_bytes(), time.perf_counter()
    try:
        run = _start(what, backend, threads)
    finally:
        seconds = time.perf_counter() - start
        pin(cores)
    return Contestant(backend, threads, run, seconds, max(0, resident_bytes() - memory))


def _start(what: Subject, backend: str, threads: int) -> Run:
    if what.exported is not None:
        return STARTERS[backend](what.exported, threads)
    if what.graph is not None and backend in STARTERS and backend != "torch":
        return STARTERS[backend](what.graph, threads)
    model = torch.compile(what.model) if backend == "torch-compile" else what.model

    @torch.inference_mode()
    def run(images: NDArray[Any]) -> list[NDArray[Any]]:
        outputs = model(torch.from_numpy(images), mode="tensor")
        return [output.numpy() for output in (outputs if isinstance(outputs, tuple) else [outputs])]

    return run


def race(
    contestants: Sequence[Contestant],
    images: NDArray[Any],
    runs: int,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Let all warm up, then run in turns, so many times each."""
    for entry in contestants:
        _warm_up(entry, images)
    for _ in range(runs):
        for entry in contestants:
            wall, processor = timed(entry, images)
            entry.wall.append(wall)
            entry.processor.append(processor)
        advance()


def _warm_up(entry: Contestant, images: NDArray[Any]) -> None:
    """Run until the median of ten runs is that of the ten before, within 5 %."""
    before = 0.0
    for _ in range(MAX_WARM_UP // WINDOW):
        now = float(np.median([timed(entry, images)[0] for _ in range(WINDOW)]))
        if abs(now - before) <= STABLE * now:
            return
        before = now


def timed(entry: Contestant, images: NDArray[Any]) -> tuple[float, float]:
    """Seconds of one run: by the clock, and of the processor over all threads."""
    cores = usable_cores()
    torch.set_num_threads(entry.threads)
    pin(cores[: entry.threads])
    wall, processor = time.perf_counter(), time.process_time()
    entry.run(images)
    result = time.perf_counter() - wall, time.process_time() - processor
    pin(cores)
    return result


def inputs(what: Subject, image: Picture, batch: int) -> NDArray[Any]:
    """The picture as the engines take it: float32 (batch, 3, H, W), or uint8 (h, w, 3)."""
    if what.exported is not None and what.model.with_preprocess:
        return image
    preprocess = preprocess_of(what)
    network = preprocess({"images": [torch.from_numpy(image)]})["images"]
    if network.shape[2:] != what.size:
        network = torch.nn.functional.interpolate(network, what.size)
    return contiguous(network.expand(batch, -1, -1, -1))


def preprocess_of(what: Subject) -> Any:
    """What makes network inputs of images."""
    return (what.model if what.exported is None else what.model.task).data_preprocessor


def stages(what: Subject, entry: Contestant, path: Path, runs: int) -> dict[str, list[float]]:
    """Seconds of every stage from a file to its results, a list over the runs, and their `total`.

    A stage that the graph holds is part of "forward" and missing here.
    """
    found: dict[str, list[float]] = {name: [] for name in (*STAGES, "total")}
    cores = usable_cores()
    torch.set_num_threads(entry.threads)
    pin(cores[: entry.threads])
    for _ in range(WINDOW + runs):
        start = time.perf_counter()
        for name, seconds in _one_file(what, entry, path).items():
            found[name].append(seconds)
        found["total"].append(time.perf_counter() - start)
    pin(cores)
    return {name: times[WINDOW:] for name, times in found.items() if times}


def _one_file(what: Subject, entry: Contestant, path: Path) -> dict[str, float]:
    """Seconds of each stage of one image file."""
    marks = [("", time.perf_counter())]

    def mark(name: str) -> None:
        marks.append((name, time.perf_counter()))

    data = path.read_bytes()
    mark("read")
    image = decode(path, data, cv2.IMREAD_COLOR_RGB)
    assert image is not None
    mark("decode")
    target = {"size": (image.shape[0], image.shape[1])}
    whole = what.exported is not None and what.model.with_preprocess
    array: NDArray[Any] = image
    if not whole:
        preprocess = preprocess_of(what)
        stacked = preprocess.stacked([torch.from_numpy(image)])
        mark("resize")
        array = contiguous(preprocess.normalise(stacked))
        mark("normalise")
    outputs = [torch.from_numpy(np.asarray(output)) for output in entry.run(array)]
    mark("forward")
    _finish(what, outputs, image, target)
    mark("post-process")
    return {name: now - before for (_, before), (name, now) in pairwise(marks)}


def _finish(
    what: Subject, outputs: list[Any], image: Picture, target: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Results of what an engine gave for one image."""
    task = what.model if what.exported is None else what.model.task
    size = (image.shape[0], image.shape[1])
    whole = what.exported is not None and what.model.with_preprocess
    if what.exported is not None and what.model.end2end:
        named = dict(zip(what.model.exported.content["outputs"], outputs, strict=True))
        found: list[dict[str, Any]] = task.finished(named, size if whole else what.size, [target])
        return found
    stand_in = torch.empty((1, 3, *what.size))  # only its size is looked at
    results: list[dict[str, Any]] = task.results(lambda _: outputs, stand_in, [target])
    return results


def survivors(what: Subject, entry: Contestant, image: Picture) -> tuple[int, str]:
    """How many results the post-processing leaves of a picture, and of what kind."""
    outputs = [torch.from_numpy(np.asarray(o)) for o in entry.run(inputs(what, image, 1))]
    target = {"size": (image.shape[0], image.shape[1])}
    found = _finish(what, outputs, image, target)[0]
    if "boxes" in found:
        return len(found["boxes"]), "boxes"
    return len(what.model.describe(found, 0.0)), "classes"


def summary(
    entry: Contestant, batch: int, size: Cost, best: Peak, parts: Mapping[str, Sequence[float]]
) -> dict[str, Any]:
    """The numbers of one contestant as plain data, times in milliseconds."""
    times = np.asarray(entry.wall) * MS
    half = len(times) // 2
    halves = [float(np.median(part)) for part in (times[:half], times[half:])] if half else []
    arithmetic = batch * 2 * size.macs / best.gflops / 1e9 * MS
    memory = size.weight_bytes / best.gigabytes / 1e9 * MS
    p50 = float(np.median(times))
    return {
        "backend": entry.backend,
        "threads": entry.threads,
        "batch": batch,
        "runs": len(times),
        **{f"p{q}": float(np.percentile(times, q)) for q in PERCENTILES},
        "min": float(times.min()),
        "processor_p50": float(np.median(entry.processor)) * MS,
        "images_per_second": batch / p50 * MS,
        "halves_p50": halves,
        "repeatable": bool(halves) and abs(halves[0] - halves[1]) <= REPEATABLE * min(halves),
        "load_ms": entry.load_seconds * MS,
        "memory_mb": entry.memory_bytes / 1e6,
        "floor_arithmetic": arithmetic,
        "floor_weights": memory,
        "over_floor": p50 / max(arithmetic, memory),
        "stages": {name: float(np.median(part)) * MS for name, part in parts.items()},
    }


def photo(path: Path | None, folder: Path) -> Path:
    """The image file to measure on: the one given, or a picture drawn and written as JPEG."""
    if path is not None:
        return path
    drawn = folder / "photo.jpg"
    encoded = cv2.imencode(".jpg", cv2.cvtColor(picture(*PHOTO), cv2.COLOR_RGB2BGR))[1]
    drawn.write_bytes(encoded.tobytes())
    return drawn


def sizes(what: Subject) -> Cost:
    """Multiply-adds and weights of the network for one image."""
    model = what.model if what.exported is None else _rebuilt(what)
    return cost(model, torch.zeros(1, 3, *what.size))


def _rebuilt(what: Subject) -> Any:
    """The model that an exported file describes, with weights of any value."""
    return checkpoint.build_model(what.model.exported.content["model"]).eval()


def peaks(threads: Sequence[int]) -> dict[int, Peak]:
    """What the machine reaches at best, by number of threads."""
    cores, found = usable_cores(), {}
    for count in threads:
        pin(cores[:count])
        found[count] = peak(count)
        pin(cores)
    return found
