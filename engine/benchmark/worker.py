"""What a benchmark times: a task in this process, or a model in an engine in a process of its own.

Of its own, because engines disturb each other in one: threads of one that wait by spinning take
processor time from the next, and cores, memory and time to load are nobody's in particular.
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
ERRORS = (ValueError, OSError, ImportError, KeyError)  # of the user, handed to the caller
COLD = 2  # uncounted runs of a burst: whoever ran before has the caches


class Timing(NamedTuple):
    """Seconds of one run."""

    wall: float
    processor: float  # over all threads of the process


class Timed(Protocol):
    """What takes turns in a race."""

    @property
    def name(self) -> str:
        """Engine and threads, or what else tells it from the others."""
        ...

    def burst(self, runs: int) -> list[Timing]:
        """So many runs in a row."""
        ...


@dataclass(frozen=True)
class Local:
    """A task that is timed in this process."""

    name: str
    task: Callable[[], object]

    def burst(self, runs: int) -> list[Timing]:
        return timed(self.task, runs)


def timed(task: Callable[[], object], runs: int) -> list[Timing]:
    """Times of so many runs in a row, after a few that do not count."""
    times = []
    for number in range(COLD + runs):
        wall, processor = time.perf_counter(), time.process_time()
        task()
        if number >= COLD:
            times.append(Timing(time.perf_counter() - wall, time.process_time() - processor))
    return times


@dataclass(frozen=True)
class Job:
    """What a process loads and runs.

    Args:
        config: Config file of the model.
        options: Overrides of it.
        path: Checkpoint for torch, else a file that the engine runs.
        backend: A key of `STARTERS`, or one of TORCH.
        threads: Threads to compute with, on as many cores.
        size: (height, width) of the network input.
        batch: Images at once.
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
    """What it took until an engine was ready."""

    load_seconds: float  # from the file to an engine that can run, its package imported before
    first_seconds: float  # of the first run
    memory_bytes: int  # of the model and of what its first run claimed


class Survivors(NamedTuple):
    """What the post-processing leaves of a picture."""

    number: int
    kind: str  # what they are, in the plural


class Loaded:
    """A model in an engine, in this process.

    Args:
        job: What to load.
        cfg: Its config.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not what it should be, or the engine is not installed.
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
        """A checkpoint in torch; returns the seconds it took."""
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
        """An exported file in its engine; returns the seconds that took."""
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
        """The engine's outputs, counted as a go of "forward"."""
        with self.watch.stage("forward"):
            return self.run(images)

    @property
    def whole(self) -> bool:
        """Whether the preprocessing is in the file."""
        return isinstance(self.model, ExportedNetwork) and self.model.with_preprocess

    def _inputs(self, image: Picture) -> NDArray[Any]:
        """The picture as the engine takes it: float32 (B, 3, H, W), or uint8 (h, w, 3)."""
        if self.whole:
            return image
        stacked = self.model.data_preprocessor.stacked([torch.from_numpy(image)])
        if stacked.shape[2:] != self.job.size:
            found = tuple(stacked.shape[2:])
            raise ValueError(f"{self.job.image}: makes an input of {found}, not {self.job.size}")
        return self._laid_out(stacked.expand(self.job.batch, -1, -1, -1)).numpy()

    def _laid_out(self, stacked: torch.Tensor) -> torch.Tensor:
        """Normalised images in the memory order that the engine wants."""
        network = self.model.data_preprocessor.normalise(stacked)
        if self.job.backend in TORCH:
            return network  # channels last, as `predict` hands them over
        return torch.from_numpy(contiguous(network))

    def burst(self, runs: int) -> list[Timing]:
        """Times of the network alone."""
        return timed(lambda: self.run(self.inputs), runs)

    def stages(self, runs: int) -> list[dict[str, float]]:
        """Seconds of every stage from file to result, and the `total`, measured apart, of each run.

        What the file holds itself is part of "forward" and missing here.
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
        """What the post-processing leaves of the picture."""
        image = read_image(self.job.image)
        batch: Any = [torch.from_numpy(image)]
        if not self.whole:
            batch = self._laid_out(self.model.data_preprocessor.stacked(batch))
        found = self._results(batch, image)[0]
        rows = self.task.use("describe")(found, self.model.classes, 0.0)
        return Survivors(len(rows), self.task.counted)


def check_threads(job: Job) -> None:
    """Raise ValueError where a job has more threads than this process has cores."""
    cores = len(usable_cores())
    if not 1 <= job.threads <= cores:
        raise ValueError(f"--threads {job.threads}: this process may use 1 to {cores} cores")


class Inside:
    """A job in this process, pinned while it runs: for engines of one number of threads."""

    def __init__(self, job: Job, cfg: Config) -> None:
        self.job = job
        check_threads(job)
        # Threads that start now inherit the cores.
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
    """Load and run as asked through the pipe until told None; the errors go there too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    try:
        pin(usable_cores()[: job.threads])  # threads that start from now on inherit it
        pipe.recv()
        loaded = Loaded(job, config.load(job.config, job.options))
        pipe.send(loaded.start)
        while (order := pipe.recv()) is not None:
            what, *numbers = order
            pipe.send(_answer(loaded, what, *numbers))
    except ERRORS as error:
        pipe.send(error)


def _answer(loaded: Loaded, what: str, runs: int = 0) -> Any:
    if what == "burst":
        return loaded.burst(runs)
    return loaded.stages(runs) if what == "stages" else loaded.survivors()


@dataclass
class Worker:
    """A job in a process of its own, seen from here."""

    job: Job
    process: BaseProcess
    pipe: Connection
    start: Start = field(default=Start(0.0, 0.0, 0))

    @property
    def name(self) -> str:
        return self.job.name

    def load(self) -> None:
        """Let it load the model.

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
                f"{self.name}: its process ended with code {self.process.exitcode}; try it alone"
            ) from error
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextmanager
def workers(jobs: Sequence[Job]) -> Iterator[list[Worker]]:
    """One loaded process a job, all ended afterwards; they load one after the other.

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
    context = multiprocessing.get_context("spawn")  # a fork would hang in threads of the parent's
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(job, there), daemon=True)
    process.start()
    there.close()  # so that the end of the process is the end of the pipe
    return Worker(job, process, here)
