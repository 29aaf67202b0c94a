"""The report on a segmenter: worst images, error maps, and the page as a whole."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from engine.data.images import pixels_of
from engine.reports.charts import VERMILION
from engine.reports.html import document
from engine.reports.report import Evaluated
from segmentation.evaluation.metric import MeanIoU
from segmentation.evaluation.report import SegmentationReport
from segmentation.evaluation.report_page import PALE, four_panels

CLASSES = ("road", "<script>alert(1)</script>", "never")


@pytest.fixture
def report() -> SegmentationReport:
    result = SegmentationReport()
    result.begin({"classes": CLASSES})
    return result


def image(columns: int, ignored: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """40 x 40 pixels: truth is half 0, half 1; n columns of 1 are predicted as 0."""
    truth = np.repeat(np.array([[0] * 20 + [1] * 20], np.uint8), 40, axis=0)
    predicted = truth.copy()
    predicted[:, 20 : 20 + columns] = 0
    truth[:ignored] = 255
    target = {"mask": torch.from_numpy(truth), "image_id": f"<b>{columns}"}
    return target, {"mask": torch.from_numpy(predicted)}


def test_badness_is_what_the_images_iou_lacks(report: SegmentationReport) -> None:
    """10 of 20 columns wrong: IoU 20/30 and 10/20."""
    assert report.badness(report.record(*image(10))) == pytest.approx(
        100 * (1 - (2 / 3 + 1 / 2) / 2)
    )
    assert report.badness(report.record(*image(0))) == 0
    assert report.badness(report.record(*image(3, ignored=40))) == 0


def test_error_map(report: SegmentationReport) -> None:
    """Wrong pixels are vermilion, ignored ones pale, right ones grey."""
    exhibit = report.exhibit(np.zeros((40, 40, 3), np.uint8), *image(10, ignored=8))
    assert (exhibit.miou, exhibit.wrong) == pytest.approx((100 * (2 / 3 + 1 / 2) / 2, 25))
    shown = four_panels(exhibit, np.zeros((256, 3), np.uint8))
    pixels = pixels_of("x", shown.pictures[3]).astype(int)
    assert np.abs(pixels[24, 25] - VERMILION).max() < 12
    assert np.abs(pixels[2, 2] - PALE).max() < 12
    assert np.abs(pixels[24, 5] - 64).max() < 12
    assert shown.lines == ["<b>10: mean IoU 58.3 %, 25.0 % of pixels wrong"]


@pytest.mark.slow
def test_the_page(report: SegmentationReport) -> None:
    """IoU and confusion are the metric's; hostile names are text."""
    metric = MeanIoU(classwise=True)
    metric.dataset_meta = {"classes": CLASSES}
    rows = [image(10), image(2), image(0)]
    for target, found in rows:
        metric.process({"targets": [target]}, [found])
    numbers = metric.evaluate(3)
    picture = np.zeros((40, 40, 3), np.uint8)
    content = report.content(
        [report.record(*row) for row in rows],
        [report.exhibit(picture, *row) for row in rows[:2]],
        Evaluated(metric.dataset_meta, numbers, metric.outcome),
    )
    iou = {key: value for key, value in numbers.items() if "/" in key}
    assert content.numbers["by_class"] == iou
    assert content.numbers["confusion"] == [[2400, 0, 0], [480, 1920, 0], [0, 0, 0]]
    assert content.numbers["objects"]["number"][1] == [0, 3, 0, 0, 0, 0]  # 800 pixels: side 28
    assert content.numbers["objects"]["recall"][1][1] == pytest.approx(0.5 + 0.9 + 1)
    json.dumps(content.numbers, allow_nan=False)
    text = document(content.title, content.sections).decode()
    assert "<script" not in text
    assert "<b>10" not in text
    assert f"<b>{numbers['mIoU']:.2f} %</b>" in text
    assert "In neither truth nor prediction: never." in text


@pytest.mark.slow
def test_a_page_without_any_counted_pixel(report: SegmentationReport) -> None:
    metric = MeanIoU()
    metric.dataset_meta = {"classes": CLASSES}
    target, found = image(3, ignored=40)
    metric.process({"targets": [target]}, [found])
    numbers = metric.evaluate(1)
    records = [report.record(target, found)]
    content = report.content(records, [], Evaluated(metric.dataset_meta, numbers, metric.outcome))
    assert content.numbers["by_class"] == {}
    json.dumps(content.numbers, allow_nan=False)
