"""COCO's evaluation by hotcoco and by pycocotools: python benchmarks/eval_speed.py.

Random boxes of COCO's proportions (80 classes, 7.3 boxes per image, one in a hundred a crowd) and
detections: some are good, some are inaccurate and most match no box. Each library evaluates them in
its own process, one after the other, through `detection.evaluation.metric.CocoMetric`: from the
tensors of a model and the json of the truth to the twelve numbers. It prints the seconds, the
largest memory, and whether the numbers are equal to the last bit.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.logging import MMLogger
from numpy.typing import NDArray
from train_speed import machine

from detection.data.coco_json import load_records
from detection.evaluation.metric import CocoMetric, Library
from engine import cli
from engine.fileio import write_json

NUM_CLASSES = 80
BOXES_AN_IMAGE = 7.3  # COCO train2017: 860,001 boxes on 118,287 images
CROWDS = 0.01
LIBRARIES: tuple[Library, ...] = ("hotcoco", "pycocotools")
WIDTH, HEIGHT = 640, 480


class Cost(NamedTuple):
    """Cost and result of an evaluation."""

    seconds: float  # from tensors to numbers, the ground truth's json included
    core_seconds: float  # processor time of all threads, which does not depend on other work
    before_mb: float  # memory of the process at its start
    peak_mb: float  # the most it had
    numbers: dict[str, float]


def draw_boxes(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """`count` boxes (count, 4) xywh inside an image, with log-uniform sides."""
    sides = np.exp(random.uniform(np.log(6), np.log(400), (count, 2)))
    corners = random.random((count, 2)) * np.maximum((WIDTH, HEIGHT) - sides, 1)
    return np.concatenate([corners, np.minimum(sides, (WIDTH, HEIGHT) - corners)], axis=1)


def draw_truth(images: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """A COCO json of `images` images."""
    random = np.random.default_rng(seed)
    owners = np.repeat(np.arange(1, images + 1), random.poisson(BOXES_AN_IMAGE, images))
    labels = random.integers(1, NUM_CLASSES + 1, len(owners))
    boxes = draw_boxes(random, len(owners)).round(2)
    crowds = random.random(len(owners)) < CROWDS
    rows = zip(owners.tolist(), labels.tolist(), boxes.tolist(), crowds.tolist(), strict=True)
    return {
        "images": [
            {"id": i, "file_name": f"{i:012}.jpg", "height": HEIGHT, "width": WIDTH}
            for i in range(1, images + 1)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": owner,
                "category_id": label,
                "bbox": box,
                "area": box[2] * box[3] * 0.6,  # COCO's is that of the mask
                "iscrowd": int(crowd),
            }
            for number, (owner, label, box, crowd) in enumerate(rows, 1)
        ],
        "categories": [{"id": k, "name": f"class {k}"} for k in range(1, NUM_CLASSES + 1)],
    }


def draw_found(
    truth: dict[str, list[dict[str, Any]]], per_image: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Predictions of every image in the form of a detector's results."""
    random = np.random.default_rng(seed)
    mine: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in truth["images"]}
    for record in truth["annotations"]:
        mine[record["image_id"]].append(record)
    for image_id, records in mine.items():
        near = [record["bbox"] for record in records] * 3  # good, worse and bad ones
        near_labels = [record["category_id"] - 1 for record in records] * 3
        near, near_labels = near[:per_image], near_labels[:per_image]
        boxes = np.concatenate(
            [np.reshape(near, (-1, 4)), draw_boxes(random, per_image - len(near))]
        )
        spread = np.repeat([0.03, 0.1, 0.3], len(records))[: len(near), None]
        boxes[: len(near)] += (
            boxes[: len(near), [2, 3, 2, 3]] * spread * random.standard_normal((len(near), 4))
        )
        boxes[:, 2:] = np.maximum(boxes[:, 2:], 1) + boxes[:, :2]  # xyxy
        labels = np.append(near_labels, random.integers(0, NUM_CLASSES, per_image - len(near)))
        yield {
            "image_id": image_id,
            "boxes": torch.tensor(boxes, dtype=torch.float32),
            "scores": torch.tensor(random.random(per_image) ** 2, dtype=torch.float32),
            "labels": torch.tensor(labels, dtype=torch.int64),
        }


def peak_mb() -> float:
    """The most memory that this process ever had."""
    scale = 1024**2 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def evaluate(library: Library, ann_file: Path, per_image: int, seed: int) -> Cost:
    """One evaluation in this process."""
    MMLogger.get_current_instance().setLevel("WARNING")
    truth = load_records(ann_file)
    metric = CocoMetric(library=library)
    metric.dataset_meta = {
        "ann_file": str(ann_file),
        "category_ids": tuple(range(1, NUM_CLASSES + 1)),
    }
    for found in draw_found(truth, per_image, seed):
        metric.process(None, [found])
    before, start, start_cores = peak_mb(), time.perf_counter(), time.process_time()
    numbers = metric.compute_metrics(metric.results)
    seconds, core_seconds = time.perf_counter() - start, time.process_time() - start_cores
    return Cost(seconds, core_seconds, before, peak_mb(), numbers)


def main(arguments: argparse.Namespace) -> None:
    """Draw, let both evaluate, compare."""
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        ann_file = Path(folder, "instances.json")
        ann_file.write_text(json.dumps(draw_truth(arguments.images, arguments.seed)))
        print(
            f"{arguments.images} images x {arguments.per_image} detections, seed {arguments.seed}"
        )
        options = (ann_file, arguments.per_image, arguments.seed)
        costs = {}
        for library in LIBRARIES:
            with multiprocessing.get_context("spawn").Pool(1) as alone:
                costs[library] = cost = alone.apply(evaluate, (library, *options))
            print(
                f"{library:12} {cost.seconds:8.2f} s, of cores {cost.core_seconds:8.2f} s, memory "
                f"{cost.before_mb:.0f} -> at most {cost.peak_mb:.0f} MB, "
                f"AP {cost.numbers['bbox_mAP']!r}"
            )
    fast, slow = (costs[library] for library in LIBRARIES)
    equal = fast.numbers == slow.numbers
    print(f"all twelve numbers equal to the last bit: {equal}")
    print(
        f"hotcoco is {slow.seconds / fast.seconds:.1f} times as fast, by core seconds "
        f"{slow.core_seconds / fast.core_seconds:.1f}"
    )
    if arguments.out is not None:
        write_json(arguments.out, {name: cost._asdict() for name, cost in costs.items()})
    if not equal:
        raise ValueError(f"the numbers differ: {fast.numbers} and {slow.numbers}")


if __name__ == "__main__":
    command = cli.parser(__doc__ or "")
    command.add_argument("--images", type=int, default=5000)
    command.add_argument("--per-image", type=int, default=100, help="detections of each image")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--out", type=Path, metavar="JSON", help="write all numbers to this file")
    cli.run(main, command)
