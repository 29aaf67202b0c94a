"""Shared parts of the latency benchmarks: models in an engine, turns, and ratios with targets."""

import argparse
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from mmengine.logging import MMLogger

from engine import cli, config, load_model
from engine.benchmark import latency
from engine.benchmark.latency import Order, RunTimes, Subject
from engine.benchmark.statistics import ratio
from engine.benchmark.worker import Local, Timed
from engine.data.images import decode
from engine.export.exporter import write
from engine.export.plan import Plan, load, prepare
from engine.fileio import write_json
from engine.hardware import fingerprint, peak, pin, usable_cores
from engine.runtime.exported import STARTERS
from engine.types import Picture, Size

CONFIGS = Path(__file__).parents[1] / "configs"
ENGINE = "openvino"
NICENESS = -9  # if the system allows it


class Target(NamedTuple):
    """The largest accepted ratio of the times of two workers."""

    what: str
    against: str
    reach: float


def calm(threads: int = 1) -> None:
    """Run this process quietly, on n cores, with high priority if the system allows it."""
    MMLogger.get_current_instance().setLevel("WARNING")
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)
    pin(usable_cores()[:threads])
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def subject(
    name: str,
    folder: Path,
    *,
    options: Mapping[str, Any] | None = None,
    path: Path | None = None,
    shape: Size | None = None,
) -> Subject:
    """The model of a config as a checkpoint, random unless `path` is given, and as ONNX."""
    order = Order(CONFIGS / name, [ENGINE], options or {}, path=path, shape=shape)
    own = folder / str(len(list(folder.iterdir())))
    own.mkdir()
    return latency.subject(config.load(order.config, order.options), order, own)


def in_engine(name: str, path: Path, size: Size, engine: str = ENGINE) -> Local:
    """A file in an engine with 1 thread, fed noise (1, 3, *size)."""
    images = np.random.default_rng(0).standard_normal((1, 3, *size)).astype(np.float32)
    run = STARTERS[engine](path, 1)
    return Local(name, lambda: run(images))


def predictor(
    name: str, what: Subject, folder: Path, options: Mapping[str, Any] | None = None
) -> Any:
    """The model of a subject behind `model.predict`, in OpenVINO."""
    plan = Plan(format="openvino", shape=what.size)
    assert what.checkpoint is not None
    path = folder / f"{len(list(folder.iterdir()))}.xml"
    cfg = config.load(CONFIGS / name, options)
    write(prepare(load(cfg, what.checkpoint, plan), plan), path)
    return load_model(CONFIGS / name, path, options)


def pixels(path: Path, data: bytes) -> Picture:
    """The picture in a file's bytes."""
    image = decode(path, data, cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError(f"{path}: not an image that can be read")
    return image.astype(np.uint8, copy=False)


def settle(
    entries: Sequence[Timed], targets: Sequence[Target], runs: int, notes: Mapping[str, Any]
) -> dict[str, Any]:
    """Run all in turns; print their times and the ratios; return everything as plain data."""
    load_before, top = os.getloadavg()[0], peak(1)
    found = {record.entry.name: record for record in latency.race(entries, runs)}
    top = top.or_better(peak(1))
    print(f"{'ms, 1 thread':46}{'fastest':>9}{'p50':>9}{'p90':>9}")
    for name, record in found.items():
        row = latency.summary(record)
        print(f"{name:46}{row['fastest']:9.2f}{row['p50']:9.2f}{row['p90']:9.2f}")
    ratios = [_ratio(target, found) for target in targets]
    for name, value in notes.items():
        print(f"{name}: {value}")
    machine = fingerprint()
    print(
        f"machine {machine['id']}, {top.gflops:.0f} GFLOP/s and {top.gigabytes:.0f} GB/s with 1 "
        f"thread; load average {load_before:.1f} before, {machine['load']:.1f} after"
    )
    return {
        "machine": {**machine, "load": load_before},
        "peak": top._asdict(),
        "times": {name: latency.summary(record) for name, record in found.items()},
        "ratios": ratios,
        "notes": dict(notes),
    }


def _ratio(target: Target, found: Mapping[str, RunTimes]) -> dict[str, Any]:
    """Print one ratio: of pairs of rounds, and of the fastest runs."""
    ours, theirs = found[target.what], found[target.against]
    got = ratio(ours.medians, theirs.medians)
    fastest = min(ours.wall) / min(theirs.wall)
    met = "met" if got.median <= target.reach else "missed"
    print(
        f"{target.what} / {target.against}: {got.median:.3f} (fastest runs: {fastest:.3f}), "
        f"target {target.reach:.2f}: {met}"
    )
    return {**target._asdict(), **got._asdict(), "fastest": fastest}


def floor_note(what: Subject) -> str:
    """Size of a network."""
    return f"{what.cost.macs / 1e6:.1f} M multiply-adds, {what.cost.weight_bytes / 1e6:.1f} MB"


def options(description: str) -> argparse.ArgumentParser:
    """Options of all latency benchmarks."""
    result = cli.parser(description)
    result.add_argument("--runs", type=int, default=300, help="runs of each worker")
    result.add_argument("--out", type=Path, metavar="JSON", help="write all numbers to this file")
    return result


def save(arguments: argparse.Namespace, report: Mapping[str, Any]) -> None:
    """Write the numbers to the file given by --out."""
    if arguments.out is not None:
        write_json(arguments.out, dict(report))
