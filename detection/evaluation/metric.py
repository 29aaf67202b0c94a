"""Average precision of boxes as COCO defines it, computed by hotcoco or pycocotools.

Both give the same twelve numbers to the last bit; hotcoco takes a fiftieth of the time. Boxes are
xyxy at the input, and xywh from `_coco_results` on, as in COCO's result files.
"""

import importlib.util
import io
import json
import math
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmengine.registry import METRICS
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from detection.data.coco_json import is_xywh, load_records
from engine.extras import require
from engine.fileio import read_json, write_binary

_PRECISIONS = ("bbox_mAP", "bbox_mAP_50", "bbox_mAP_75", "bbox_mAP_s", "bbox_mAP_m", "bbox_mAP_l")
_RECALLS = ("bbox_AR_1", "bbox_AR_10", "bbox_AR_100", "bbox_AR_s", "bbox_AR_m", "bbox_AR_l")
NUMBERS = (*_PRECISIONS, *_RECALLS)  # in the order of pycocotools' `stats`

Records = dict[str, list[dict[str, Any]]]
Library = Literal["hotcoco", "pycocotools"]


class BoxScores(NamedTuple):
    """The result of an evaluation: fractions 0..1, or -1 where there is no object."""

    numbers: dict[str, float]  # the twelve of `NUMBERS`
    class_ap: dict[str, float]  # AP at IoU 0.50:0.95 by category name
    precision: NDArray[np.float64]  # (10, 101, K) by IoU, recall 0..1 and class in order of ids


@METRICS.register_module()
class CocoMetric(BaseMetric):
    """COCO AP and AR of predicted boxes: `coco/bbox_mAP` and the other eleven `NUMBERS`.

    Predictions are dicts of `boxes` (N, 4) xyxy pixels, `scores` (N,), `labels` (N,) and
    `image_id`. Ground truth, crowds included, is read from the json that the data set names in
    `dataset_meta["ann_file"]`; labels become COCO ids by `dataset_meta["category_ids"]`.

    Args:
        results_path: Where to write the predictions as COCO results, in full precision, so that
            `tools/eval_map.py` on the file prints the same numbers.
        classwise: Log a table of AP by class.
        library: Which one computes; None is hotcoco if it is installed, else pycocotools.
    """

    default_prefix = "coco"
    keys = tuple(f"coco/{name}" for name in NUMBERS)  # a config may choose the best file by these

    def __init__(
        self,
        *,
        results_path: str | Path | None = None,
        classwise: bool = False,
        library: Library | None = None,
    ) -> None:
        super().__init__(collect_device="gpu")  # by process group; "cpu" writes files to the cwd
        self.results_path = None if results_path is None else Path(results_path)
        self.classwise = classwise
        self.library = library
        self.outcome: BoxScores | None = None  # of the last evaluation

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:  # noqa: ARG002
        """Keep the predictions of one batch."""
        self.results.extend(_as_arrays(sample) for sample in data_samples)

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """The twelve numbers over all images of the ground truth."""
        found = _coco_results(results, self.dataset_meta["category_ids"])
        if self.results_path is not None:
            write_results(self.results_path, found)
        records = load_records(Path(self.dataset_meta["ann_file"]))
        scores = evaluate_boxes(records, found, library=self.library)
        if self.classwise:
            print_log("AP by class\n" + class_table(scores.class_ap), logger="current")
        self.outcome = scores
        return scores.numbers


def evaluate_boxes(
    truth: Records, results: Sequence[dict[str, Any]], *, library: Library | None = None
) -> BoxScores:
    """COCO's evaluation of `results` (COCO's results format) on all images of `truth`.

    `truth` is as `load_records` returns it. Annotations without `iscrowd` are not crowds; those
    without `area` get the area of their box. Without any result the numbers are 0.
    """
    if library is None:
        library = "hotcoco" if importlib.util.find_spec("hotcoco") else "pycocotools"
    with redirect_stdout(io.StringIO()):  # both print tables
        evaluation = _evaluator(library, truth, results)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    names = {
        category["id"]: str(category.get("name", category["id"]))
        for category in truth["categories"]
    }
    precision = np.asarray(evaluation.eval["precision"])[..., 0, -1]  # (10 IoUs, 101 recalls, K)
    return BoxScores(
        numbers=dict(zip(NUMBERS, map(float, evaluation.stats), strict=True)),
        class_ap={names[id_]: _mean(precision[..., k]) for k, id_ in enumerate(sorted(names))},
        precision=precision,
    )


def write_results(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """Write COCO results as JSON, atomically; numbers keep all their digits."""
    write_binary(path, json.dumps(results).encode())


def class_table(class_ap: dict[str, float]) -> str:
    """AP by class as a table in plain text, highest first; classes without a box last."""
    table = Table("class", "AP")
    for name, value in sorted(class_ap.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{value:.3f}" if value >= 0 else "-")
    stream = io.StringIO()
    Console(file=stream, width=80).print(table)
    return stream.getvalue()


def read_results(path: Path, truth: Records) -> list[dict[str, Any]]:
    """COCO results from a JSON file, checked against their ground truth.

    Raises ValueError, one line, for the first error.
    """
    results = read_json(path)
    if not isinstance(results, list):
        raise ValueError(f"{path}: COCO results are a list, this is a {type(results).__name__}")
    known = {
        "image_id": {image["id"] for image in truth["images"]},
        "category_id": {category["id"] for category in truth["categories"]},
    }
    for number, result in enumerate(results):
        problem = _problem(result, known)
        if problem:
            raise ValueError(f"{path}: result {number} {problem}")
    return results


def _problem(result: object, known: dict[str, set[int]]) -> str | None:
    """What is wrong with one record of a results file."""
    if not isinstance(result, dict):
        return f"is {result!r}, not a record"
    missing = [key for key in ("image_id", "category_id", "bbox", "score") if key not in result]
    if missing:
        return f"has no {missing[0]!r}"
    for key, ids in known.items():
        if type(result[key]) is not int or result[key] not in ids:
            return f"has {key} {result[key]!r}, which the ground truth does not have"
    if not is_xywh(result["bbox"]):
        return f"has bbox {result['bbox']!r}; it must be 4 finite numbers x, y, width, height"
    if type(result["score"]) not in (int, float) or not math.isfinite(result["score"]):
        return f"has score {result['score']!r}, not a finite number"
    return None


def _as_arrays(sample: dict[str, Any]) -> dict[str, Any]:
    """A prediction as numpy arrays, which can be sent between processes."""
    keys = ("boxes", "scores", "labels")
    arrays = {key: sample[key].detach().cpu().numpy() for key in keys}
    return {"image_id": int(sample["image_id"]), **arrays}


def _coco_results(
    predictions: Sequence[dict[str, Any]], category_ids: Sequence[int]
) -> list[dict[str, Any]]:
    """Predictions as COCO results: one record per box, xywh, COCO's category ids."""
    return [
        {
            "image_id": sample["image_id"],
            "category_id": category_ids[label],
            "bbox": box,
            "score": s,
        }
        for sample in predictions
        for box, s, label in zip(
            _xyxy_to_xywh(sample["boxes"]).tolist(),
            sample["scores"].astype(np.float64).tolist(),
            sample["labels"].tolist(),
            strict=True,
        )
    ]


def _xyxy_to_xywh(boxes: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(N, 4) corners -> (N, 4) corner and sides, in double precision."""
    corners = boxes.astype(np.float64)
    return np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)


def _evaluator(library: Library, truth: Records, results: Sequence[dict[str, Any]]) -> Any:
    """A COCOeval of the given library; both have the same interface."""
    hot = library == "hotcoco"
    data = require("hotcoco" if hot else "pycocotools.coco")
    evaluation = require("hotcoco" if hot else "pycocotools.cocoeval")
    sides = []
    for annotations in (truth["annotations"], results):
        side = data.COCO()
        side.dataset = {**truth, "annotations": _completed(annotations)}
        side.createIndex()
        sides.append(side)
    return evaluation.COCOeval(*sides, "bbox")


def _completed(annotations: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Annotations or results with the keys that COCOeval needs."""
    return [
        {
            "id": number,
            "image_id": record["image_id"],
            "category_id": record["category_id"],
            "bbox": record["bbox"],
            "area": record.get("area", record["bbox"][2] * record["bbox"][3]),
            "iscrowd": int(record.get("iscrowd", 0)),
            "score": record.get("score", 0.0),
        }
        for number, record in enumerate(annotations, start=1)
    ]


def _mean(precision: NDArray[np.float64]) -> float:
    """Mean over IoUs and recalls; -1 for a class without a box, which COCO marks by -1."""
    return float(precision.mean()) if precision.min() > -1 else -1.0
