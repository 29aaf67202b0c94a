"""Time of the phases of a training step: python benchmarks/train_speed.py [--data DIR].

Every variant (precision / memory format) trains its own model with the loader, preprocessing, loss,
optimiser and weight average of tools/train.py, at one input size, with the targets of the last
epochs. Variants take turns, step by step, so that other work on the machine slows all of them down
equally. Then the loader is measured alone, to see whether it is as fast as the network.
"""

import argparse
import os
import platform
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Subset

from engine import cli, config
from engine.demo_data.writer import MiniData, make_mini_data
from engine.fileio import write_json
from engine.hooks.ema import WeightAverage
from engine.training import runner

MINI = Path("data/mini")
LAYOUTS = ("contiguous", "channels_last_input", "channels_last")  # the last: weights as well
VARIANTS = [f"{precision}/{layout}" for precision in ("fp32", "bf16") for layout in LAYOUTS]
PHASES = ("wait", "prepare", "forward", "backward", "optimiser", "average")
WORKERS = (1, 2)
LOADER_BATCHES = 24  # of one measurement of the loader, if the data has that many
WARM_UP = 2  # uncounted rounds, in which kernels are chosen and memory is allocated
LEARNING_RATE = 1e-3  # small, because there is no warm-up here
EMA_DECAY = 0.9998

Batches = Iterator[dict[str, Any]]


class Variant(NamedTuple):
    """The training of one variant."""

    model: Any
    optim: OptimWrapper
    average: WeightAverage
    contiguous: bool  # else images stay in channels-last memory, as Preprocess gives them


class Spread(NamedTuple):
    """Quartiles of measurements."""

    low: float
    median: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.4g} [{self.low:.4g} .. {self.high:.4g}]"


def spread(values: Sequence[float]) -> Spread:
    """Quartiles of at least one value."""
    return Spread(*np.percentile(values, (25, 50, 75)).tolist())


def machine() -> str:
    """The machine and its load, in one line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, "
        f"{torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f} at start"
    )


def prepare(arguments: argparse.Namespace) -> tuple[Config, Any]:
    """The config with the options filled in, and its data set.

    Raises:
        ValueError: fewer training images than one batch, or an input size that does not fit.
    """
    cfg = config.load(arguments.config)
    config.use_data(cfg, arguments.data or MINI / "detection")
    cfg.model.data_preprocessor.update(size=(arguments.size,) * 2, train_sizes=())
    config.check_sizes(cfg)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    if len(dataset) < arguments.batch:
        raise ValueError(
            f"{dataset.ann_file}: {len(dataset)} training images are fewer than one batch of "
            f"{arguments.batch}; pass --batch {len(dataset)} or less"
        )
    cfg.model.num_classes = len(dataset.metainfo["classes"])
    cfg.train_dataloader.batch_size = arguments.batch
    cfg.optim_wrapper.optimizer.lr = LEARNING_RATE
    return cfg, dataset


def build_loader(cfg: Config, dataset: Any, workers: int) -> DataLoader[dict[str, Any]]:
    """The config's training loader over `dataset`."""
    options = {**cfg.train_dataloader, "dataset": dataset, "num_workers": workers}
    return Runner.build_dataloader(options, seed=0)


def build_variant(cfg: Config, variant: str) -> Variant:
    """Model, optimiser and average of a variant; all variants have equal weights."""
    precision, layout = variant.split("/")
    cfg = cfg.copy()
    if precision == "bf16":
        runner.use_amp(cfg)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model).train()
    model.epoch = cfg.train_cfg.max_epochs - 1
    if layout == "channels_last":
        model.to(memory_format=torch.channels_last)
    optim = build_optim_wrapper(model, cfg.optim_wrapper)
    return Variant(model, optim, WeightAverage(model, EMA_DECAY), layout == "contiguous")


def step(variant: Variant, batches: Batches) -> list[float]:
    """Seconds by phase of one training step: the parts of BaseModel.train_step, in its order."""
    model, optim, average, contiguous = variant
    marks = [time.perf_counter()]
    batch = next(batches)
    marks.append(time.perf_counter())
    with optim.optim_context(model):
        batch = model.data_preprocessor(batch, True)
        if contiguous:
            batch["images"] = batch["images"].contiguous()  # (B, 3, H, W)
        marks.append(time.perf_counter())
        loss, _ = model.parse_losses(model(**batch, mode="loss"))
    marks.append(time.perf_counter())
    optim.backward(loss)
    marks.append(time.perf_counter())
    optim.step()
    optim.zero_grad()
    marks.append(time.perf_counter())
    average.update()
    marks.append(time.perf_counter())
    return [after - before for before, after in pairwise(marks)]


def time_steps(
    variants: dict[str, Variant], batches: Batches, rounds: int
) -> dict[str, list[list[float]]]:
    """Seconds by phase of `rounds` steps of every variant; each round starts with another one."""
    names = list(variants)
    taken: dict[str, list[list[float]]] = {name: [] for name in names}
    for turn in range(WARM_UP + rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            taken[name].append(step(variants[name], batches))
    return {name: steps[WARM_UP:] for name, steps in taken.items()}


def endless(loader: DataLoader[dict[str, Any]]) -> Batches:
    """Batches, epoch after epoch."""
    while True:
        yield from loader


def time_loaders(cfg: Config, dataset: Any, rounds: int) -> dict[int, Spread]:
    """Images per second of the loader alone, by number of workers, which run already."""
    count = min(cfg.train_dataloader.batch_size * LOADER_BATCHES, len(dataset))
    some = Subset(dataset, range(count))
    loaders = {workers: build_loader(cfg, some, workers) for workers in WORKERS}
    rates: dict[int, list[float]] = {workers: [] for workers in WORKERS}
    for _ in range(1 + rounds):
        for workers, loader in loaders.items():
            start = time.perf_counter()
            images = sum(len(batch["images"]) for batch in loader)
            rates[workers].append(images / (time.perf_counter() - start))
    return {workers: spread(values[1:]) for workers, values in rates.items()}


def summarise(batch: int, steps: list[list[float]]) -> dict[str, Spread]:
    """Images per second, and milliseconds of a step and of each of its phases."""
    totals = [sum(seconds) for seconds in steps]
    rows = zip(("step", *PHASES), (totals, *zip(*steps, strict=True)), strict=True)
    milliseconds = {name: spread([1000 * x for x in seconds]) for name, seconds in rows}
    return {"images_per_second": spread([batch / total for total in totals]), **milliseconds}


def report(variants: dict[str, dict[str, Spread]], loaders: dict[int, Spread]) -> Iterator[str]:
    """The lines to print: a table of variants, then the loader beside the fastest of them."""
    yield f"{'median ms':26}" + "".join(f"{x:>10}" for x in ("step", *PHASES)) + "  images/s"
    for name, row in variants.items():
        cells = "".join(f"{row[x].median:10.1f}" for x in ("step", *PHASES))
        yield f"{name:26}{cells}  {row['images_per_second']}"
    fastest = max(variants, key=lambda name: variants[name]["images_per_second"].median)
    taken = variants[fastest]["images_per_second"].median
    for workers, rate in loaders.items():
        much = f"{rate.median / taken:.1f} times what {fastest} takes"
        yield f"loader alone, {workers} worker(s): {rate} images/s, {much}"


def main(arguments: argparse.Namespace) -> None:
    """Measure, print, write."""
    MMLogger.get_current_instance().setLevel("WARNING")
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)  # as engine.training.runner.start does
    about = machine()
    if arguments.data is None:
        make_mini_data(MINI, MiniData())
    cfg, dataset = prepare(arguments)
    workers = cfg.train_dataloader.num_workers
    print(about)
    print(
        f"{arguments.config.stem}, batch {arguments.batch}, {arguments.size} px, {len(dataset)} "
        f"images, {workers} loader workers; median [quartiles] of {arguments.rounds} rounds"
    )
    built = {name: build_variant(cfg, name) for name in arguments.variants}
    steps = time_steps(built, endless(build_loader(cfg, dataset, workers)), arguments.rounds)
    variants = {name: summarise(arguments.batch, taken) for name, taken in steps.items()}
    loaders = time_loaders(cfg, dataset, max(1, arguments.rounds // 4))
    print(*report(variants, loaders), sep="\n")
    if arguments.out is not None:
        found = {name: {k: v._asdict() for k, v in row.items()} for name, row in variants.items()}
        options = {name: str(value) for name, value in vars(arguments).items()}
        rates = {count: rate._asdict() for count, rate in loaders.items()}
        content = {"machine": about, "options": options, "variants": found, "loader": rates}
        write_json(arguments.out, content)


def arguments_of_command() -> argparse.ArgumentParser:
    """The command line."""
    result = cli.parser(__doc__ or "")
    result.add_argument("--config", type=Path, default=Path("configs/picodet_lcnet_own.py"))
    result.add_argument("--data", type=Path, help=f"COCO-format folder (default: drawn in {MINI})")
    result.add_argument("--batch", type=int, default=16, help="images per step")
    result.add_argument("--size", type=int, default=320, help="pixels of the input's side")
    result.add_argument("--threads", type=int, default=torch.get_num_threads())
    result.add_argument("--rounds", type=int, default=20, help="steps of each variant")
    result.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    result.add_argument("--out", type=Path, metavar="JSON", help="write all numbers to this file")
    return result


if __name__ == "__main__":
    cli.run(main, arguments_of_command())
