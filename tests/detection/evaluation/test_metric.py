"""COCO AP: hand-made cases, pycocotools run on its own, and hotcoco equal to the last bit."""

import importlib.util
import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.registry import METRICS
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from detection.data.coco_json import load_records
from detection.evaluation.metric import (
    NUMBERS,
    CocoMetric,
    class_table,
    evaluate_boxes,
    read_results,
)

Records = dict[str, list[dict[str, Any]]]


def truth(*boxes: tuple[int, int, list[float]], crowd: tuple[int, ...] = ()) -> Records:
    """Two images, categories 5 "cat" and 9 "dog", boxes of (image, category, xywh)."""
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": category,
            "bbox": xywh,
            "area": xywh[2] * xywh[3],
            "iscrowd": int(number in crowd),
        }
        for number, (image, category, xywh) in enumerate(boxes, start=1)
    ]
    images = [{"id": i, "file_name": f"{i}.png", "width": 200, "height": 200} for i in (1, 2)]
    categories = [{"id": 9, "name": "dog"}, {"id": 5, "name": "cat"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def found(image: int, category: int, xywh: list[float], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": xywh, "score": score}


HAS_HOTCOCO = importlib.util.find_spec("hotcoco") is not None
NEEDS_HOTCOCO = pytest.mark.skipif(not HAS_HOTCOCO, reason="hotcoco is not installed")
LIBRARIES = pytest.mark.parametrize(
    "library", ["pycocotools", pytest.param("hotcoco", marks=NEEDS_HOTCOCO)]
)


@LIBRARIES
def test_perfect_detection(library: Any) -> None:
    """50 x 50 = 2500 px^2 is medium (32^2 to 96^2): small and large have nothing to find."""
    records = truth((1, 5, [10, 10, 50, 50]))
    scores = evaluate_boxes(records, [found(1, 5, [10, 10, 50, 50], 0.3)], library=library)
    ones = dict.fromkeys(NUMBERS, 1.0)
    nothing = dict.fromkeys(("bbox_mAP_s", "bbox_mAP_l", "bbox_AR_s", "bbox_AR_l"), -1.0)
    assert scores.numbers == pytest.approx({**ones, **nothing}, abs=1e-12)
    assert scores.class_ap == pytest.approx({"cat": 1.0, "dog": -1.0}, abs=1e-12)


@LIBRARIES
def test_iou_of_two_thirds(library: Any) -> None:
    """IoU 2/3 = 50 x 40 of 50 x 60: found at the thresholds .50 .55 .60 .65, four of ten."""
    records = truth((1, 5, [10, 10, 50, 60]))
    numbers = evaluate_boxes(records, [found(1, 5, [10, 10, 50, 40], 0.9)], library=library).numbers
    assert numbers["bbox_mAP"] == pytest.approx(0.4)
    assert numbers["bbox_mAP_50"] == pytest.approx(1)
    assert numbers["bbox_mAP_75"] == 0


@LIBRARIES
def test_false_alarm_before_the_hit(library: Any) -> None:
    """Precision of the hit is 1/2 at every recall; after the hit it would be 1."""
    box = [10.0, 10.0, 50.0, 50.0]
    alarm = [120.0, 120.0, 50.0, 50.0]
    results = [found(1, 5, box, 0.5), found(1, 5, alarm, 0.9)]
    assert evaluate_boxes(truth((1, 5, box)), results, library=library).numbers[
        "bbox_mAP"
    ] == pytest.approx(0.5)


@LIBRARIES
def test_half_of_the_boxes_found(library: Any) -> None:
    """Recall 1/2 covers 51 of the 101 recall points with precision 1."""
    box = [10.0, 10.0, 50.0, 50.0]
    records = truth((1, 5, box), (2, 5, box))
    numbers = evaluate_boxes(records, [found(1, 5, box, 0.5)], library=library).numbers
    assert numbers["bbox_mAP"] == pytest.approx(51 / 101)
    assert numbers["bbox_AR_100"] == pytest.approx(0.5)


@LIBRARIES
def test_detections_on_a_crowd_are_no_false_alarms(library: Any) -> None:
    """Two confident boxes inside a crowd region do not count against the one true hit."""
    box = [10.0, 10.0, 50.0, 50.0]
    records = truth((1, 5, box), (1, 5, [100, 100, 100, 100]), crowd=(2,))
    inside = [found(1, 5, [100, 100, 30, 30], 0.9), found(1, 5, [150, 150, 40, 40], 0.8)]
    results = [*inside, found(1, 5, box, 0.5)]
    assert evaluate_boxes(records, results, library=library).numbers["bbox_mAP"] == pytest.approx(1)
    no_crowd = truth((1, 5, box))
    assert evaluate_boxes(no_crowd, results, library=library).numbers["bbox_mAP"] == pytest.approx(
        1 / 3
    )


@LIBRARIES
def test_nothing_predicted_is_zero(library: Any) -> None:
    numbers = evaluate_boxes(truth((1, 5, [10, 10, 50, 50])), [], library=library).numbers
    assert numbers["bbox_mAP"] == 0
    assert numbers["bbox_AR_100"] == 0
    assert numbers["bbox_mAP_s"] == -1


@LIBRARIES
def test_nothing_to_find_is_minus_one(library: Any) -> None:
    for results in ([], [found(1, 5, [1, 1, 9, 9], 0.5)]):
        assert set(evaluate_boxes(truth(), results, library=library).numbers.values()) == {-1.0}


@LIBRARIES
def test_annotations_without_area_and_iscrowd(library: Any) -> None:
    records = truth((1, 5, [10, 10, 50, 50]))
    for key in ("area", "iscrowd"):
        del records["annotations"][0][key]
    numbers = evaluate_boxes(records, [found(1, 5, [10, 10, 50, 50], 0.3)], library=library).numbers
    assert numbers["bbox_mAP_m"] == pytest.approx(1)
    assert numbers["bbox_mAP_s"] == -1


def noisy_results(records: Records, seed: int) -> list[dict[str, Any]]:
    """Three shifted copies of each box with float32 scores, one in ten with a wrong class."""
    random = np.random.default_rng(seed)
    ids = sorted(category["id"] for category in records["categories"])
    results = []
    for record in [*records["annotations"]] * 3:
        x, y, width, height = record["bbox"]
        dx, dy, dw, dh = random.normal(0, 0.1, 4)
        box = [x + dx * width, y + dy * height, width * np.exp(dw), height * np.exp(dh)]
        category = random.choice(ids) if random.random() < 0.1 else record["category_id"]
        score = float(np.float32(random.random()))
        results.append(found(record["image_id"], int(category), [float(v) for v in box], score))
    return results


@pytest.mark.slow
@NEEDS_HOTCOCO
def test_equal_to_pycocotools_run_on_its_own(real_dir: Path) -> None:
    """Official annotations with crowds: all 12 numbers and class APs, to the last bit."""
    path = real_dir / "data/coco_mini/annotations/instances_val2017.json"
    records = load_records(path)
    results = noisy_results(records, seed=0)
    with redirect_stdout(io.StringIO()):
        reference = COCO(str(path))
        evaluation = COCOeval(reference, reference.loadRes([dict(r) for r in results]), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ours = evaluate_boxes(records, results, library="pycocotools")
    assert list(ours.numbers.values()) == evaluation.stats.tolist()
    assert 0.1 < ours.numbers["bbox_mAP"] < 0.9
    hot = evaluate_boxes(records, results, library="hotcoco")
    assert hot[:2] == ours[:2]
    assert np.array_equal(hot.precision, ours.precision)
    assert evaluate_boxes(records, results)[:2] == ours[:2]
    used = [value for value in ours.class_ap.values() if value > -1]
    assert np.mean(used) == pytest.approx(ours.numbers["bbox_mAP"])


def prediction(image: int, boxes: list[list[float]], scores: list[float], labels: list[int]) -> Any:
    return {
        "boxes": torch.tensor(boxes).reshape(-1, 4),
        "scores": torch.tensor(scores),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "image_id": image,
    }


def metric_on(folder: Path, records: Records, **options: Any) -> CocoMetric:
    (folder / "gt.json").write_text(json.dumps(records))
    metric = CocoMetric(**options)
    metric.dataset_meta = {
        "classes": ("cat", "dog"),
        "category_ids": (5, 9),
        "ann_file": str(folder / "gt.json"),
    }
    return metric


def test_metric_from_predictions(tmp_path: Path) -> None:
    """Label 1 is COCO id 9; one of its two boxes is found: 51 of 101; the cat is not: 0."""
    records = truth((1, 9, [10, 10, 50, 50]), (2, 9, [10, 10, 50, 50]), (2, 5, [90, 90, 40, 40]))
    metric = metric_on(tmp_path, records)
    metric.process({}, [prediction(1, [[10, 10, 60, 60]], [0.5], [1])])
    metric.process({}, [prediction(2, [], [], [])])
    values = metric.evaluate(size=2)
    assert values["coco/bbox_mAP"] == pytest.approx((51 / 101 + 0) / 2)
    assert list(values) == [f"coco/{name}" for name in NUMBERS]


def test_metric_without_any_prediction(tmp_path: Path) -> None:
    metric = metric_on(tmp_path, truth((1, 9, [10, 10, 50, 50])))
    metric.process({}, [prediction(1, [], [], []), prediction(2, [], [], [])])
    assert metric.evaluate(size=2)["coco/bbox_mAP"] == 0


def test_dump_evaluates_to_the_same_digits(tmp_path: Path) -> None:
    """Float32 boxes and scores survive the JSON: eval_map on the dump gives equal numbers."""
    random = np.random.default_rng(1)
    low = random.uniform(0, 100, (30, 2))
    boxes = np.concatenate([low, low + random.uniform(20, 90, (30, 2))], 1).astype(np.float32)
    records = truth(
        *(
            (1 + i % 2, (5, 9)[i % 2], [float(v) for v in (*b[:2], *(b[2:] - b[:2]))])
            for i, b in enumerate(boxes)
        )
    )
    noisy = boxes + random.normal(0, 4, boxes.shape).astype(np.float32)
    metric = metric_on(tmp_path, records, results_path=tmp_path / "out/results.json")
    scores = random.random(30).astype(np.float32)
    for image in (1, 2):
        mine = slice(image - 1, None, 2)
        labels = [image - 1] * 15
        metric.process({}, [prediction(image, noisy[mine].tolist(), scores[mine].tolist(), labels)])
    values = metric.evaluate(size=2)
    dumped = read_results(tmp_path / "out/results.json", records)
    again = evaluate_boxes(load_records(tmp_path / "gt.json"), dumped).numbers
    assert [values[f"coco/{name}"] for name in NUMBERS] == list(again.values())
    assert dumped[0]["score"] == float(scores[0])
    assert 0 < values["coco/bbox_mAP"] < 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["results.json"]


def test_classwise_logs_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(
        "detection.evaluation.metric.print_log", lambda line, **_: logged.append(line)
    )
    metric = metric_on(tmp_path, truth((1, 9, [10, 10, 50, 50])), classwise=True)
    metric.process({}, [prediction(1, [[10, 10, 60, 60]], [0.5], [1])])
    metric.evaluate(size=1)
    rows = [line.split() for line in logged[0].splitlines()]
    assert ["│", "dog", "│", "1.000", "│"] in rows
    assert ["│", "cat", "│", "-", "│"] in rows


def test_class_table_puts_the_best_first() -> None:
    table = class_table({"a": 0.25, "b": -1.0, "c": 0.75})
    assert table.index("0.750") < table.index("0.250") < table.index("b")


def test_built_by_name() -> None:
    assert METRICS.build({"type": "CocoMetric"}).prefix == "coco"
