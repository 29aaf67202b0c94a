"""Times functions in this process, and models in engines in separate processes.

Separate, because engines in one process disturb each other: threads that wait by spinning take
processor time from the next engine, and memory and loading time cannot be told apart.
"""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import torch
from mmengine.config import Config
from numpy.typing import NDArray

from engine import config
from engine.checkpoint import checkpoint
from engine.checkpoint.restore import describe
from engine.data.images import decode, read_image
from engine.extras import require
from engine.hardware import pin, pinned, resident_bytes, torch_threads, usable_cores
from engine.inference.predictor import restore
from engine.inference.stopwatch import Stopwatch
from engine.runtime.content import read_content
from engine.runtime.exported import STARTERS, Exported, Run, contiguous
from engine.runtime.exported_network import ExportedNetwork
from engine.task import Task, task_of
from engine.types import Picture, Result, Size

STAGES = ("read", "decode", "resize", "normalise", "forward", "post-process")
TORCH = ("torch", "torch-compile")
ERRORS = (ValueError, OSError, ImportError, KeyError)  # user errors, passed to the caller
COLD = 2  # runs of a burst that do not count, because the caches are cold


class Timing(NamedTuple):
    """Seconds of one run."""

    wall: float
    processor: float  # over all threads of the process


class Timed(Protocol):
    """An object that `latency.race` measures."""

    @property
    def name(self) -> str:
        """A unique name, such as engine and threads."""
        ...

    def burst(self, runs: int) -> list[Timing]:
        """Measure `runs` runs in a row."""
        ...


@dataclass(frozen=True)
class Local:
    """A function that is timed in this process."""

    name: str
    task: Callable[[], object]

    def burst(self, runs: int) -> list[Timing]:
        return timed(self.task, runs)


def timed(task: Callable[[], object], runs: int) -> list[Timing]:
    """Times of `runs` runs in a row, after a few that do not count."""
    times = []
    for number in range(COLD + runs):
        wall, processor = time.perf_counter(), time.process_time()
        task()
        if number >= COLD:
            times.append(Timing(time.perf_counter() - wall, time.process_time() - processor))
    return times


@dataclass(frozen=True)
class Job:
    """Settings of a process that loads and runs a model.

    Args:
        config: Config file of the model.
        options: Overrides of the config.
        path: Checkpoint for torch, else the file that the engine runs.
        backend: A key of `STARTERS`, or one of TORCH.
        threads: Number of threads, and of cores to use.
        size: (height, width) of the network input.
        batch: Images per run.
        image: Picture to run on.
    """

    config: Path
    options: Mapping[str, Any]
    path: Path
    backend: str
    threads: int
    size: Size
    batch: int
    image: Path

    @property
    def name(self) -> str:
        return f"{self.backend}, {self.threads} thread{'s' * (self.threads > 1)}"


class Start(NamedTuple):
    """Cost of starting an engine."""

    load_seconds: float  # of loading the file, without import of the package
    first_seconds: float  # of the first run
    memory_bytes: int  # of the model and its first run


class Survivors(NamedTuple):
    """Results of a picture that remain after post-processing."""

    number: int
    kind: str  # name of the results, plural


class Loaded:
    """A model in an engine, in this process.

    Args:
        job: What to load.
        cfg: Config of the job.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged or of another kind, or the engine is not installed.
    """

    def __init__(self, job: Job, cfg: Config) -> None:
        self.job = job
        self.watch = Stopwatch()
        torch.set_num_threads(job.threads)
        self.model: Any  # a task's network, or an ExportedNetwork
        self.task: Task
        load = self._load_torch if job.backend in TORCH else self._load_engine
        self.run: Run
        memory = resident_bytes()
        seconds = load(cfg)
        self.inputs = self._inputs(read_image(job.image))
        start = time.perf_counter()
        self.run(self.inputs)
        self.start = Start(seconds, time.perf_counter() - start, resident_bytes() - memory)

    def _load_torch(self, cfg: Config) -> float:
        """Load a checkpoint in torch; returns the seconds it took."""
        start = time.perf_counter()
        predictor = restore(cfg, self.job.path, self.job.options)
        self.model, self.task = predictor.network, predictor.task
        self.model.data_preprocessor.size = self.job.size
        network = torch.compile(self.model) if self.job.backend == "torch-compile" else self.model

        @torch.inference_mode()
        def run(images: NDArray[Any]) -> list[NDArray[Any]]:
            outputs = network(torch.from_numpy(images), mode="tensor")
            return [part.numpy() for part in (outputs if isinstance(outputs, tuple) else [outputs])]

        self.run = run
        return time.perf_counter() - start

    def _load_engine(self, cfg: Config) -> float:
        """Load an exported file in its engine; returns the seconds it took."""
        path = self.job.path
        content = read_content(cfg, path)
        described: Any = checkpoint.build_model(describe(cfg, content, path, self.job.options))
        described.data_preprocessor.size = self.job.size
        self.task = task_of(described)
        require(self.job.backend if self.job.backend in STARTERS else "torch")
        start = time.perf_counter()
        self.run = STARTERS[self.job.backend](path, self.job.threads)
        seconds = time.perf_counter() - start
        self.model = ExportedNetwork(described, Exported(path, content, self._watched)).eval()
        return seconds

    def _watched(self, images: NDArray[Any]) -> list[NDArray[Any]]:
        """The engine's outputs; measured as stage "forward"."""
        with self.watch.stage("forward"):
            return self.run(images)

    @property
    def whole(self) -> bool:
        """Whether the file contains the preprocessing."""
        return isinstance(self.model, ExportedNetwork) and self.model.with_preprocess

    def _inputs(self, image: Picture) -> NDArray[Any]:
        """The engine's input from the picture: float32 (B, 3, H, W), or uint8 (h, w, 3)."""
        if self.whole:
            return image
        stacked = self.model.data_preprocessor.stacked([torch.from_numpy(image)])
        if stacked.shape[2:] != self.job.size:
            found = tuple(stacked.shape[2:])
            raise ValueError(
                f"{self.job.image}: gives an input of {found}, expected {self.job.size}"
            )
        return self._laid_out(stacked.expand(self.job.batch, -1, -1, -1)).numpy()

    def _laid_out(self, stacked: torch.Tensor) -> torch.Tensor:
        """Normalised images in the engine's memory layout."""
        network = self.model.data_preprocessor.normalise(stacked)
        if self.job.backend in TORCH:
            return network  # channels last, as in `predict`
        return torch.from_numpy(contiguous(network))

    def burst(self, runs: int) -> list[Timing]:
        """Times of the network alone."""
        return timed(lambda: self.run(self.inputs), runs)

    def stages(self, runs: int) -> list[dict[str, float]]:
        """Seconds of every stage from file to result, and their separate `total`, of each run.

        Stages inside an exported file are part of "forward" and not listed.
        """
        return [self._one_file() for _ in range(COLD + runs)][COLD:]

    @torch.inference_mode()
    def _one_file(self) -> dict[str, float]:
        self.watch = watch = Stopwatch()
        start = time.perf_counter()
        with watch.stage("read"):
            data = self.job.image.read_bytes()
        with watch.stage("decode"):
            image = decode(self.job.image, data, cv2.IMREAD_COLOR_RGB)
        assert image is not None  # it was read before
        given = torch.from_numpy(image)
        batch: Any = [given]
        if not self.whole:
            with watch.stage("resize"):
                stacked = self.model.data_preprocessor.stacked([given])
            with watch.stage("normalise"):
                batch = self._laid_out(stacked)
        with watch.stage("post-process", without="forward"):
            self._results(batch, image)
        total = time.perf_counter() - start
        return {
            **{k: sum(watch.taken[k]) / 1e3 for k in STAGES if k in watch.taken},
            "total": total,
        }

    def _results(self, batch: Any, image: Picture) -> list[Result]:
        targets = [{"size": (image.shape[0], image.shape[1])}]
        if isinstance(self.model, ExportedNetwork):
            return self.model(batch, targets)
        make: Callable[..., list[Result]] = self.task.use("results")
        return make(self.model, self._network, batch, targets)

    def _network(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [torch.from_numpy(part) for part in self._watched(images.numpy())]

    @torch.inference_mode()
    def survivors(self) -> Survivors:
        """Count the results of the picture after post-processing."""
        image = read_image(self.job.image)
        batch: Any = [torch.from_numpy(image)]
        if not self.whole:
            batch = self._laid_out(self.model.data_preprocessor.stacked(batch))
        found = self._results(batch, image)[0]
        rows = self.task.use("describe")(found, self.model.classes, 0.0)
        return Survivors(len(rows), self.task.counted)


def check_threads(job: Job) -> None:
    """Raise ValueError if a job has more threads than this process has cores."""
    cores = len(usable_cores())
    if not 1 <= job.threads <= cores:
        raise ValueError(f"--threads {job.threads}: expected 1 to {cores}, the cores there are")


class Inside:
    """A job in this process, pinned to cores while it runs."""

    def __init__(self, job: Job, cfg: Config) -> None:
        self.job = job
        check_threads(job)
        # Threads that start here inherit the cores.
        with pinned(job.threads), torch_threads(torch.get_num_threads()):
            self.loaded = Loaded(job, cfg)

    @property
    def name(self) -> str:
        return self.job.name

    def burst(self, runs: int) -> list[Timing]:
        """As `Loaded.burst`."""
        with pinned(self.job.threads), torch_threads(self.job.threads):
            return self.loaded.burst(runs)


def serve(job: Job, pipe: Connection) -> None:
    """Load the job, then answer requests from the pipe until None; errors are sent back too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    try:
        pin(usable_cores()[: job.threads])  # threads that start later inherit it
        pipe.recv()
        loaded = Loaded(job, config.load(job.config, job.options))
        pipe.send(loaded.start)
        while (order := pipe.recv()) is not None:
            pipe.send(_answer(loaded, *order))
    except ERRORS as error:
        pipe.send(error)


def _answer(loaded: Loaded, what: str, runs: int = 0) -> Any:
    if what == "burst":
        return loaded.burst(runs)
    return loaded.stages(runs) if what == "stages" else loaded.survivors()


@dataclass
class Worker:
    """Controls a job in a separate process."""

    job: Job
    process: BaseProcess
    pipe: Connection
    start: Start = field(default=Start(0.0, 0.0, 0))

    @property
    def name(self) -> str:
        return self.job.name

    def load(self) -> None:
        """Load the model in the process.

        Raises:
            As `Loaded`.
        """
        self.start = self._ask("load")

    def burst(self, runs: int) -> list[Timing]:
        """As `Loaded.burst`."""
        times: list[Timing] = self._ask("burst", runs)
        return times

    def stages(self, runs: int) -> list[dict[str, float]]:
        """As `Loaded.stages`."""
        rows: list[dict[str, float]] = self._ask("stages", runs)
        return rows

    def survivors(self) -> Survivors:
        """As `Loaded.survivors`."""
        left: Survivors = self._ask("survivors")
        return left

    def _ask(self, *order: str | int) -> Any:
        try:
            self.pipe.send(order)
            answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            self.process.join(1)
            raise ValueError(
                f"{self.name}: its process ended with code {self.process.exitcode}; "
                "benchmark it alone"
            ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextmanager
def workers(jobs: Sequence[Job]) -> Iterator[list[Worker]]:
    """Start one process per job, load one after the other, and end all afterwards.

    Raises:
        ValueError: there are fewer cores than a job has threads.
        As `Loaded`.
    """
    for job in jobs:
        check_threads(job)
    started: list[Worker] = []
    try:
        for job in jobs:
            started.append(_started(job))
        for entry in started:
            entry.load()
        yield started
    finally:
        for entry in started:
            entry.process.terminate()
        for entry in started:
            entry.process.join()


def _started(job: Job) -> Worker:
    context = multiprocessing.get_context("spawn")  # a fork could deadlock on the parent's threads
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(job, there), daemon=True)
    process.start()
    there.close()  # the pipe closes when the process ends
    return Worker(job, process, here)
