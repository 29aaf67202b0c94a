"""Annotations of COCO's and ImageNet's size: python benchmarks/annotation_load.py.

Writes a json of COCO train2017's size (118,287 images, 860,001 boxes with polygons) and a list of
ImageNet's (1,281,167 lines, 1,000 folders) to a temporary folder, with empty files for images, and
loads each in its own process: seconds, largest memory and memory afterwards. Then each of two
forked workers makes half of the samples (of one small picture) and measures its own memory; memory
shared with the process that loaded the data costs nothing.
"""

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.logging import MMLogger
from train_speed import machine

from classification.data.dataset import ImageFolder
from detection.data.dataset import CocoDetection
from engine import cli
from engine.fileio import write_json

IMAGES, BOXES, CLASSES = 118_287, 860_001, 80  # COCO train2017
LINES, FOLDERS = 1_281_167, 1_000  # ImageNet-1k
POLYGON_POINTS = 22  # average of COCO's objects; polygons are 9 / 10 of its json
WORKERS = 2
SIDE = 8  # pixels of the picture


class Cost(NamedTuple):
    """Time and memory of loading; memory in MB."""

    seconds: float
    core_seconds: float
    before: float
    peak: float
    after: float
    workers: list[tuple[float, float, float]]  # own memory at the fork, at the end; PSS at the end


def write_coco(root: Path, seed: int, images: int, boxes: int) -> Path:
    """COCO's layout with `images` empty files; written piece by piece."""
    random = np.random.default_rng(seed)
    (root / "annotations").mkdir(parents=True)
    (root / "train2017").mkdir()
    for number in range(1, images + 1):
        (root / f"train2017/{number:012}.jpg").touch()
    path = root / "annotations/instances_train2017.json"
    with path.open("w") as stream:
        stream.write('{"categories": ')
        json.dump([{"id": k, "name": f"class {k}"} for k in range(1, CLASSES + 1)], stream)
        stream.write(', "images": ')
        json.dump(
            [
                {"id": i, "file_name": f"{i:012}.jpg", "height": 480, "width": 640, "license": 3}
                for i in range(1, images + 1)
            ],
            stream,
        )
        stream.write(', "annotations": [')
        owners = random.integers(1, images + 1, boxes)
        corners = random.uniform(0, 300, (boxes, 2)).round(2)
        sides = random.uniform(5, 170, (boxes, 2)).round(2)
        polygons = random.uniform(0, 400, (1000, 2 * POLYGON_POINTS)).round(2).tolist()
        rows = zip(owners.tolist(), corners.tolist(), sides.tolist(), strict=True)
        for number, (owner, (x, y), (width, height)) in enumerate(rows):
            stream.write(
                f'{", " if number else ""}{{"segmentation": [{polygons[number % 1000]}], '
                f'"area": {round(width * height / 2, 4)}, "iscrowd": 0, "image_id": {owner}, '
                f'"bbox": [{x}, {y}, {width}, {height}], "category_id": {1 + number % CLASSES}, '
                f'"id": {number + 1}}}'
            )
        stream.write("]}")
    return path


def write_list(root: Path, lines: int, folders: int) -> Path:
    """A list of ImageNet's size; all class folders are links to one folder of empty files."""
    each = -(-lines // folders)
    (root / "pool").mkdir(parents=True)
    names = [f"n{number:08}_{number}.JPEG" for number in range(each)]
    for name in names:
        (root / "pool" / name).touch()
    (root / "train").mkdir()
    for folder in range(folders):
        (root / f"train/n{folder:08}").symlink_to("../pool")
    path = root / "train_list.txt"
    rows = (
        f"train/n{folder:08}/{name} {folder}\n"
        for folder in range(folders)
        for name in names[: min(each, max(0, lines - folder * each))]
    )
    path.write_text("".join(rows))
    return path


def own_memory() -> tuple[float, float]:
    """(pages that only this process has written, proportional share of all pages) in MB."""
    rows = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {row.split(":")[0]: int(row.split()[1]) for row in rows}
    return kilobytes["Private_Dirty"] / 1024, kilobytes["Pss"] / 1024


def resident() -> float:
    """Memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def load(make: Callable[[], Any]) -> Cost:
    """Load in this process, then fork."""
    MMLogger.get_current_instance().setLevel("WARNING")
    before, start, start_core = resident(), time.perf_counter(), time.process_time()
    data = make()
    seconds, core = time.perf_counter() - start, time.process_time() - start_core
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    fork = multiprocessing.get_context("fork")
    ready, answers = fork.Barrier(WORKERS), fork.SimpleQueue()
    workers = [
        fork.Process(target=work, args=(data, number, ready, answers)) for number in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    found = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    return Cost(seconds, core, before, peak, resident(), found)


def work(data: Any, number: int, ready: Any, answers: Any) -> None:
    """Does the work of a loader worker, without decoding."""
    at_start, _ = own_memory()
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    for index in range(number, len(data), WORKERS):
        data._sample(index, picture, (0, 0, index))
    ready.wait()  # all workers must exist while shares are measured
    answers.put((at_start, *own_memory()))
    ready.wait()


def alone(make: Callable[[], Any]) -> Cost:
    """The cost in a new process."""
    with multiprocessing.get_context("spawn").Pool(1, initializer=may_have_children) as process:
        return process.apply(load, (make,))


def may_have_children() -> None:
    """Let a process of a pool have children."""
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]


def main(arguments: argparse.Namespace) -> None:
    """Write, load, print."""
    print(machine())
    share = arguments.share
    images, boxes, lines = (round(share * count) for count in (IMAGES, BOXES, LINES))
    costs = {}
    with tempfile.TemporaryDirectory() as folder:
        path = write_coco(Path(folder, "coco"), arguments.seed, images, boxes)
        print(f"{images} images, {boxes} boxes, {path.stat().st_size / 1e6:.0f} MB of json")
        make: Callable[[], Any] = partial(
            CocoDetection, str(path.parents[1]), split="train", training=True
        )
        costs["coco"] = alone(make)
        show(costs["coco"])
        path = write_list(Path(folder, "list"), lines, max(2, round(share * FOLDERS)))
        print(f"{lines} lines, {path.stat().st_size / 1e6:.0f} MB of list")
        costs["list"] = alone(partial(ImageFolder, str(path.parent), split="train", training=True))
        show(costs["list"])
    if arguments.out is not None:
        write_json(arguments.out, {name: cost._asdict() for name, cost in costs.items()})


def show(cost: Cost) -> None:
    """Print a cost."""
    print(
        f"  loaded in {cost.seconds:.1f} s ({cost.core_seconds:.1f} s of a core); memory "
        f"{cost.before:.0f} MB before, {cost.peak:.0f} at most, {cost.after:.0f} after"
    )
    for start, end, pss in cost.workers:
        print(f"  worker: {start:.0f} MB of its own at the fork, {end:.0f} after; PSS {pss:.0f} MB")


if __name__ == "__main__":
    command = cli.parser(__doc__ or "")
    command.add_argument(
        "--share", type=float, default=1.0, help="fraction of the sizes, for a try"
    )
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", type=Path, metavar="JSON", help="write all numbers to this file")
    cli.run(main, command)
