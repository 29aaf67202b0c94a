"""The report on a detector: AP, curves, the cost of each error type, the worst images.

Shapes: N detections, G boxes of an image, K classes. Boxes are xyxy in pixels of the image.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detection.data.coco_json import load_records
from detection.evaluation import report_page
from detection.evaluation.error_images import NAMES, BoxExhibit, draw_mistakes
from detection.evaluation.metric import BoxScores
from detection.evaluation.thresholds import Curve, curve
from detection.evaluation.tide import MISTAKES, Floats, Judged, Kind, Labels, Truth, judge, split
from engine.reports.report import Content, Evaluated, fitted
from engine.types import Picture, Target

SIDE = 640  # pixels of a picture in the page
FALLBACK = 0.4  # threshold of the pictures if the best one cannot be computed


class DetectionReport:
    """The detector's part of `engine.reports.report`."""

    exhibits = 24

    def __init__(self) -> None:
        self.classes: tuple[str, ...] = ()
        self.truths: dict[int, Truth] = {}
        self.names: dict[int, str] = {}

    def begin(self, meta: Mapping[str, Any]) -> None:
        """Read the annotations, crowds included."""
        self.classes = tuple(meta["classes"])
        records = load_records(Path(meta["ann_file"]))
        self.names = {image["id"]: str(image["file_name"]) for image in records["images"]}
        self.truths = truths(records, meta["category_ids"])

    def record(self, target: Target, found: Mapping[str, Any]) -> tuple[int, Judged]:
        """Image id, and the kind of every detection."""
        image_id = int(target["image_id"])
        return image_id, judge(*_arrays(found), self.truths[image_id])

    def badness(self, record: tuple[int, Judged]) -> float:
        """Sum of the scores of wrong detections, and of 1 - score of the right one of each box."""
        _, judged = record
        right = judged.kinds == Kind.RIGHT
        wrong = ~right & (judged.kinds != Kind.IGNORED)
        lacking = len(judged.truth) - judged.scores[right].sum()
        return float(judged.scores[wrong].sum() + lacking)

    def exhibit(self, image: Picture, target: Target, found: Mapping[str, Any]) -> BoxExhibit:
        """The image, small, with its detections and boxes."""
        image_id = int(target["image_id"])
        small = fitted(image, SIDE)
        scale = np.array([*small.shape[1::-1]] * 2) / np.array([*image.shape[1::-1]] * 2)  # (4,)
        boxes, scores, labels = _arrays(found)
        truth = self.truths[image_id]
        truth = truth._replace(boxes=truth.boxes * scale)
        return BoxExhibit(self.names[image_id], small, boxes * scale, scores, labels, truth)

    def content(
        self,
        records: Sequence[tuple[int, Judged]],
        worst: Sequence[BoxExhibit],
        evaluated: Evaluated,
    ) -> Content:
        """The page; AP is taken from the metric."""
        scores: BoxScores = evaluated.outcome
        images = [judged for _, judged in sorted(records, key=lambda record: record[0])]
        mistakes, found = split(images, len(self.classes)), curve(images)
        threshold = float(found.thresholds[found.best]) if found else FALLBACK
        at_threshold = report_page.counts_at(images, threshold)
        labels = np.concatenate([image.truth for image in images])
        counts = np.bincount(labels, minlength=len(self.classes)).tolist()
        boxes = dict(zip(self.classes, counts, strict=True))
        shown = [draw_mistakes(exhibit, self.classes, threshold) for exhibit in worst]
        sections = [
            report_page.summary(scores, mistakes, found, (len(images), len(labels))),
            report_page.twelve(scores),
            report_page.by_class(scores.class_ap, boxes),
            report_page.curves(scores, images, found, self.classes, counts),
            report_page.kinds(mistakes, at_threshold, threshold),
            report_page.worst(shown, threshold),
        ]
        numbers = {
            "images": len(images),
            "class_ap": scores.class_ap,
            "boxes": boxes,
            "best_f1": _best_f1(found),
            "mistakes": {
                NAMES[kind]: {
                    "count": mistakes.counts[kind],
                    "count_at_best_f1": at_threshold[kind],
                    "ap50_gained_without": mistakes.cost[kind],
                }
                for kind in MISTAKES
            },
            "worst": [{"image": item.lines[0], "mistakes": item.lines[1]} for item in shown],
        }
        return Content("Detector: how good, and what goes wrong", sections, numbers)


def _best_f1(found: Curve | None) -> dict[str, float] | None:
    """The threshold of the best F1, and its precision, recall and F1, 0..1."""
    if found is None:
        return None
    rows = zip(("threshold", "precision", "recall", "f1"), found, strict=True)
    return {name: float(values[found.best]) for name, values in rows}


def _arrays(found: Mapping[str, Any]) -> tuple[Floats, Floats, Labels]:
    """Boxes (N, 4), scores (N,) and labels (N,) of one image."""
    boxes, scores, labels = (found[key].cpu().numpy() for key in ("boxes", "scores", "labels"))
    return boxes, scores, labels


def truths(
    records: Mapping[str, Sequence[Mapping[str, Any]]], category_ids: Sequence[int]
) -> dict[int, Truth]:
    """The boxes of every image, by its id, from a COCO json; labels are indices into the ids."""
    label_of = {category_id: label for label, category_id in enumerate(category_ids)}
    rows: dict[int, list[Mapping[str, Any]]] = {image["id"]: [] for image in records["images"]}
    for record in records["annotations"]:
        rows[record["image_id"]].append(record)
    return {image_id: _truth(mine, label_of) for image_id, mine in rows.items()}


def _truth(records: Sequence[Mapping[str, Any]], label_of: Mapping[int, int]) -> Truth:
    xywh = np.array([record["bbox"] for record in records], np.float64).reshape(-1, 4)
    return Truth(
        np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
        np.array([label_of[record["category_id"]] for record in records], np.int64),
        np.array([bool(record.get("iscrowd", 0)) for record in records], np.bool_),
    )
