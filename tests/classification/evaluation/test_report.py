"""The report on a classifier: calibration bins by hand, mistakes, and the page as a whole."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from classification.evaluation.metric import (
    ClassificationMetric,
    calibration_bins,
    calibration_error,
)
from classification.evaluation.report import ClassificationReport
from engine.reports.html import document
from engine.reports.report import Evaluated

CLASSES = ("cat", "<script>alert(1)</script>", "$x$")


def test_bins_by_hand() -> None:
    """Bins of 1/15: 0.2 belongs to the third (0.1333, 0.2]; 0.9 and 0.92 to the 14th.

    ECE: |1 - 0.2| / 4 + |1 - (0.9 + 0.92)| / 4 + |0 - 1| / 4 = (0.8 + 0.82 + 1) / 4.
    """
    confidence = np.array([0.2, 0.9, 0.92, 1.0])
    right = np.array([True, True, False, False])
    bins = calibration_bins(confidence, right)
    assert bins.images.tolist() == [0, 0, 1] + [0] * 10 + [2, 1]
    assert bins.confidence[13] == pytest.approx(1.82)
    assert bins.gap[[2, 13, 14]].tolist() == pytest.approx([0.8, -0.82, -1])
    assert calibration_error(confidence, right) == pytest.approx(100 * 2.62 / 4)


@pytest.fixture
def report() -> ClassificationReport:
    result = ClassificationReport()
    result.begin({"classes": CLASSES})
    return result


def image(label: int, *scores: float) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"label": label, "image_id": f"<b>{scores[0]}.jpg"}, {"scores": torch.tensor(scores)}


def test_only_mistakes_are_bad(report: ClassificationReport) -> None:
    assert report.badness(report.record(*image(0, 0.75, 0.2, 0.05))) == 0
    assert report.badness(report.record(*image(1, 0.75, 0.2, 0.05))) == 0.75


def test_what_stands_below_a_mistake(report: ClassificationReport) -> None:
    shown = report.exhibit(np.zeros((512, 256, 3), np.uint8), *image(2, 0.75, 0.2, 0.05))
    assert shown.lines == ["cat 0.75", "truth: $x$ 0.05", "<b>0.75.jpg"]
    assert len(shown.pictures) == 1


@pytest.mark.slow
def test_the_page(report: ClassificationReport) -> None:
    """Accuracy and ECE are the metric's; hostile names are text."""
    rows = [
        image(0, 0.75, 0.2, 0.05), image(1, 0.9, 0.1, 0.0), image(1, 0.3, 0.6, 0.1),
        image(2, 0.5, 0.3, 0.2), image(1, 0.8, 0.1, 0.1),
    ]  # fmt: skip
    metric = ClassificationMetric(classwise=True)
    metric.dataset_meta = {"classes": CLASSES}
    for target, found in rows:
        metric.process({"targets": [target]}, [found])
    numbers = metric.evaluate(5)
    picture = np.zeros((40, 40, 3), np.uint8)
    content = report.content(
        [report.record(*row) for row in rows],
        [report.exhibit(picture, *rows[1])],
        Evaluated(metric.dataset_meta, numbers, metric.outcome),
    )
    classwise = {key: value for key, value in numbers.items() if key.startswith("Acc/")}
    assert content.numbers["by_class"] == classwise
    pairs = [(p["truth"], p["predicted"], p["images"]) for p in content.numbers["top_confusions"]]
    assert pairs == [(CLASSES[1], "cat", 2), ("$x$", "cat", 1)]
    gaps = np.abs(content.numbers["calibration"]["gap"]).sum()
    assert 100 * gaps / 5 == numbers["ece"]
    json.dumps(content.numbers, allow_nan=False)
    text = document(content.title, content.sections).decode()
    assert "<script" not in text
    assert f"<b>{numbers['ece']:.2f} %</b>" in text
    assert f"{numbers['ece']:.2f} % (15 bins)" in text
    assert "2 of 3 images of" in text
