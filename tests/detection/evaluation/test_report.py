"""The report on a detector: what counts as bad, what is drawn, and the page as a whole."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from detection.evaluation import plots
from detection.evaluation.error_images import COLOURS, draw_mistakes
from detection.evaluation.metric import CocoMetric
from detection.evaluation.report import DetectionReport, truths
from detection.evaluation.report_page import _lost, counts_at
from detection.evaluation.tide import MISTAKES, Kind, MistakeSplit
from engine.data.images import pixels_of
from engine.reports.html import document
from engine.reports.report import Evaluated

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def meta(tmp_path: Path) -> dict[str, Any]:
    """Two images, three boxes, one crowd; the second class has a hostile name."""
    records = {
        "images": [
            {"id": 7, "width": 100, "height": 80, "file_name": "a.jpg"},
            {"id": 9, "width": 1280, "height": 960, "file_name": f"{HOSTILE}.jpg"},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 2, "bbox": [10, 10, 20, 20]},
            {"id": 2, "image_id": 7, "category_id": 4, "bbox": [50, 10, 20, 20]},
            {"id": 3, "image_id": 9, "category_id": 4, "bbox": [100, 100, 200, 200]},
            {"id": 4, "image_id": 9, "category_id": 2, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        ],
        "categories": [{"id": 2, "name": "cat"}, {"id": 4, "name": HOSTILE}],
    }
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(records))
    return {"classes": ("cat", HOSTILE), "category_ids": (2, 4), "ann_file": str(path)}


def found(*rows: tuple[list[float], float, int]) -> dict[str, torch.Tensor]:
    boxes, scores, labels = zip(*rows, strict=True)
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "scores": torch.tensor(scores),
        "labels": torch.tensor(labels),
    }


@pytest.fixture
def report(meta: dict[str, Any]) -> DetectionReport:
    result = DetectionReport()
    result.begin(meta)
    return result


RIGHT, LOW = ([10.0, 10, 30, 30], 0.75, 0), ([50.0, 10, 70, 30], 0.25, 1)
WRONG = ([60.0, 60, 80, 79], 0.5, 0)


def test_truths_are_corners_with_labels(meta: dict[str, Any]) -> None:
    records = json.loads(Path(meta["ann_file"]).read_text())
    of = truths(records, (2, 4))
    assert of[7].boxes.tolist() == [[10, 10, 30, 30], [50, 10, 70, 30]]
    assert of[7].labels.tolist() == [0, 1]
    assert of[9].crowd.tolist() == [False, True]


def test_badness_by_hand(report: DetectionReport) -> None:
    """Score of the wrong one, 0.5, and what 0.75 and 0.25 lack to 1."""
    record = report.record({"image_id": 7}, found(RIGHT, LOW, WRONG))
    assert report.badness(record) == 0.5 + 0.25 + 0.75
    nothing = {key: value[:0] for key, value in found(RIGHT).items()}
    assert report.badness(report.record({"image_id": 7}, nothing)) == 2


def test_counts_at_a_threshold(report: DetectionReport) -> None:
    image = report.record({"image_id": 7}, found(RIGHT, LOW, WRONG))[1]
    assert counts_at([image], 0.5)[Kind.BACKGROUND] == 1
    assert [counts_at([image], at)[Kind.MISSED] for at in (0.2, 0.5, 0.8)] == [0, 1, 2]


def test_drawing_shows_the_kinds(report: DetectionReport) -> None:
    """Right, wrong and missed boxes in their colours; an image larger than the page is shrunk."""
    black = np.zeros((80, 100, 3), np.uint8)
    exhibit = report.exhibit(black, {"image_id": 7}, found(RIGHT, LOW, WRONG))
    shown = draw_mistakes(exhibit, ("cat", "dog"), 0.5)
    assert shown.lines == ["a.jpg", "1 background, 1 missed, 1 right"]
    pixels = pixels_of("x", shown.pictures[0]).astype(int)

    def has(kind: Kind, where: tuple[slice, slice]) -> bool:
        return bool((np.abs(pixels[where] - COLOURS[kind]).sum(axis=-1) < 120).any())

    left, right = (slice(8, 33), slice(8, 33)), (slice(27, 33), slice(48, 73))
    assert has(Kind.RIGHT, left)
    assert has(Kind.MISSED, right)
    assert has(Kind.BACKGROUND, (slice(76, 80), slice(60, 80)))
    large = report.exhibit(np.zeros((960, 1280, 3), np.uint8), {"image_id": 9}, found(RIGHT))
    assert large.picture.shape == (480, 640, 3)
    assert large.truth.boxes[0].tolist() == [50, 50, 150, 150]
    assert large.boxes[0].tolist() == [5, 5, 15, 15]


def test_a_class_whose_name_begins_with_an_underscore_is_in_the_legend() -> None:
    """Precision 1 up to recall 0.5 is AP 51 / 101."""
    precision = np.repeat((np.linspace(0, 1, 101) <= 0.5)[:, None], 2, axis=1).astype(float)
    drawn = plots.class_curves(precision, ("_dog", "cat"), (3, 2))
    assert ">_dog: AP 0.505<" in drawn
    assert ">cat: AP 0.505<" in drawn


@pytest.mark.slow
def test_the_page(report: DetectionReport, meta: dict[str, Any]) -> None:
    """Numbers are the metric's own to the last bit; hostile names are text."""
    metric = CocoMetric()
    metric.dataset_meta = meta
    outputs = {7: found(RIGHT, LOW, WRONG), 9: found(([100.0, 100, 300, 290], 0.9, 1))}
    for image_id, output in outputs.items():
        metric.process({}, [{"image_id": image_id, **output}])
    numbers = metric.evaluate(2)
    image = np.zeros((90, 120, 3), np.uint8)
    targets = [{"image_id": image_id} for image_id in outputs]
    rows = list(zip(targets, outputs.values(), strict=True))
    records = [report.record(*row) for row in rows]
    exhibits = [report.exhibit(image, *row) for row in rows]
    content = report.content(records, exhibits, Evaluated(meta, numbers, metric.outcome))
    assert metric.outcome is not None
    assert content.numbers["class_ap"] == metric.outcome.class_ap
    assert content.numbers["boxes"] == {"cat": 1, HOSTILE: 2}
    assert content.numbers["best_f1"]["recall"] == 1
    assert content.numbers["mistakes"]["background"]["count"] == 1
    json.dumps(content.numbers, allow_nan=False)
    text = document(content.title, content.sections).decode()
    assert "<script" not in text
    assert f"<b>{numbers['coco/bbox_mAP']:.3f}</b>" in text
    assert text.count("<svg") == 4


@pytest.mark.filterwarnings("error")
def test_data_without_any_object(meta: dict[str, Any]) -> None:
    """One wrong detection, and nothing that AP could be of: no curve, no word on what is lost."""
    path = Path(meta["ann_file"])
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": []}))
    report, metric = DetectionReport(), CocoMetric()
    report.begin(meta)
    metric.dataset_meta = meta
    nothing = {key: value[:0] for key, value in found(WRONG).items()}
    outputs = {7: found(WRONG), 9: nothing}
    for image_id, output in outputs.items():
        metric.process({}, [{"image_id": image_id, **output}])
    numbers = metric.evaluate(2)
    records = [
        report.record({"image_id": image_id}, output) for image_id, output in outputs.items()
    ]
    content = report.content(records, [], Evaluated(meta, numbers, metric.outcome))
    assert content.numbers["boxes"] == {"cat": 0, HOSTILE: 0}
    assert content.numbers["mistakes"]["background"]["count"] == 1
    text = document(content.title, content.sections).decode()
    assert text.count("These data have no object, so there is no AP.") == 2
    assert "Most AP is lost" not in text
    assert "<svg" not in text


def test_only_kinds_that_cost_something_are_named() -> None:
    cost = dict.fromkeys(MISTAKES, 0.0)
    assert _lost(MistakeSplit(0.5, dict.fromkeys(MISTAKES, 1), cost)) == []
    (line,) = _lost(MistakeSplit(0.5, dict.fromkeys(MISTAKES, 1), cost | {Kind.MISSED: 0.25}))
    assert "the kind “missed” (+0.250): without them" in line


@pytest.mark.slow
def test_a_page_without_any_detection(report: DetectionReport, meta: dict[str, Any]) -> None:
    metric = CocoMetric()
    metric.dataset_meta = meta
    nothing = {key: value[:0] for key, value in found(RIGHT).items()}
    for image_id in (7, 9):
        metric.process({}, [{"image_id": image_id, **nothing}])
    numbers = metric.evaluate(2)
    records = [report.record({"image_id": image_id}, nothing) for image_id in (7, 9)]
    content = report.content(records, [], Evaluated(meta, numbers, metric.outcome))
    assert content.numbers["best_f1"] is None
    assert content.numbers["mistakes"]["missed"]["count"] == 3
