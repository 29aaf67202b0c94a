"""Images of a classifier from files and from tar shards: python benchmarks/shard_speed.py DATA.

DATA is a folder as for training; its training split is packed into shards in a temporary folder.
Both sources make the same training batches (random crop to 224, flip) without workers, batch by
batch in turns. Both are on the same disk, and in memory after the first read. So this measures the
processor time of reading and unpacking, not the speed of a disk or a network.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import torch
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader, Dataset, RandomSampler
from train_speed import machine, spread

from classification.data.dataset import ImageFolder
from classification.data.shard_writer import write_shards
from classification.data.shards import ImageShards
from classification.data.transforms import HorizontalFlip, RandomResizedCrop
from engine import cli
from engine.data.preprocess import collate
from engine.fileio import write_json

WARM_UP = 2  # uncounted batches of each
Rates = dict[str, list[float]]


def transforms(size: int) -> list[Any]:
    """The transforms of the published recipe."""
    return [RandomResizedCrop((size, size)), HorizontalFlip(p=0.5)]


def batches(data: Dataset[Any], batch: int) -> Iterator[Any]:
    """Batches without end, files in random order."""
    if isinstance(data, ImageShards):
        return iter(DataLoader(data, batch_size=batch, collate_fn=collate))
    sampler = RandomSampler(data, replacement=True, num_samples=10**9)  # type: ignore[arg-type]
    return iter(DataLoader(data, batch_size=batch, sampler=sampler, collate_fn=collate))


def measure(streams: dict[str, Iterator[Any]], batch: int, rounds: int) -> tuple[Rates, Rates]:
    """Images per second and per core second, of every stream in every round."""
    walls: Rates = {name: [] for name in streams}
    cores: Rates = {name: [] for name in streams}
    for turn in range(WARM_UP + rounds):
        for name, stream in streams.items():
            start, start_core = time.perf_counter(), time.process_time()
            next(stream)
            if turn >= WARM_UP:
                walls[name].append(batch / (time.perf_counter() - start))
                cores[name].append(batch / (time.process_time() - start_core))
    return walls, cores


def main(arguments: argparse.Namespace) -> None:
    """Pack, measure, print."""
    MMLogger.get_current_instance().setLevel("WARNING")
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        counts = write_shards(arguments.data, "train", Path(folder), per_shard=500, seed=0)
        total = sum(path.stat().st_size for path in Path(folder, "train").iterdir()) / 1e6
        print(
            f"{sum(counts.values())} images, {len(counts)} shards, {total:.0f} MB, packed in "
            f"{time.process_time() - start:.1f} s of a core"
        )
        steps, size = transforms(arguments.size), arguments.batch
        streams = {
            "files": batches(ImageFolder(arguments.data, transforms=steps, training=True), size),
            "shards": batches(ImageShards(folder, transforms=steps, training=True), size),
        }
        walls, cores = measure(streams, size, arguments.rounds)
    print("images per core second [quartiles], and per second of wall time")
    for name in streams:
        print(f"{name:8} {spread(cores[name])!s:32} {spread(walls[name])!s}")
    if arguments.out is not None:
        rows = {name: {"core": cores[name], "wall": walls[name]} for name in streams}
        write_json(arguments.out, {"machine": machine(), "rates": rows})


if __name__ == "__main__":
    command = cli.parser(__doc__ or "")
    command.add_argument("data", type=Path, metavar="DATA", help="class folders or list files")
    command.add_argument("--size", type=int, default=224, help="pixels of the input's side")
    command.add_argument("--batch", type=int, default=64, help="images per batch")
    command.add_argument("--rounds", type=int, default=15, help="batches of each source")
    command.add_argument("--out", type=Path, metavar="JSON", help="write all numbers to this file")
    cli.run(main, command)
