"""The report on a classifier: confusions, calibration, the most confident mistakes.

Shapes: (H, W) the size of an image, K classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from classification.evaluation import report_page
from classification.evaluation.confusion import worst_pairs
from classification.evaluation.metric import Summary, by_class, calibration_bins
from engine.reports.html import Shown
from engine.reports.report import Content, Evaluated, encode, fitted
from engine.types import Picture, Target

SIDE = 256  # pixels of a picture in the page
SHOWN_PAIRS = 15


class LabelRecord(NamedTuple):
    """What the report keeps of an image."""

    label: int
    predicted: int
    confidence: float  # score of the prediction, 0..1


class ClassificationReport:
    """The classifier's part of `engine.reports.report`."""

    exhibits = 30

    def __init__(self) -> None:
        self.classes: tuple[str, ...] = ()

    def begin(self, meta: Mapping[str, Any]) -> None:
        """Take the class names."""
        self.classes = tuple(meta["classes"])

    def record(self, target: Target, found: Mapping[str, Any]) -> LabelRecord:
        """The prediction of one image."""
        scores = found["scores"].float().cpu().numpy()  # (K,)
        predicted = int(scores.argmax())
        return LabelRecord(int(target["label"]), predicted, float(scores[predicted]))

    def badness(self, record: LabelRecord) -> float:
        """Confidence of a wrong prediction."""
        return 0.0 if record.label == record.predicted else record.confidence

    def exhibit(self, image: Picture, target: Target, found: Mapping[str, Any]) -> Shown:
        """The image, small, and its predicted class."""
        record = self.record(target, found)
        truth, predicted = self.classes[record.label], self.classes[record.predicted]
        own = float(found["scores"][record.label])
        lines = [
            f"{predicted} {record.confidence:.2f}",
            f"truth: {truth} {own:.2f}",
            str(target["image_id"]),
        ]
        return Shown([encode(fitted(image, SIDE))], f"{truth} taken for {predicted}", lines)

    def content(
        self, records: Sequence[LabelRecord], worst: Sequence[Shown], evaluated: Evaluated
    ) -> Content:
        """The page; accuracies and calibration error are taken from the metric."""
        found: Summary = evaluated.outcome
        labels, predicted, confidence = map(np.array, zip(*records, strict=True))
        bins = calibration_bins(confidence.astype(np.float32), labels == predicted)
        pairs = worst_pairs(found.matrix, SHOWN_PAIRS)
        sections = [
            report_page.summary(found, bins, pairs, self.classes),
            report_page.taken_for(found.matrix, pairs, self.classes),
            report_page.calibration(bins, confidence, labels == predicted, found.numbers["ece"]),
            report_page.mistakes(worst),
            report_page.by_class(found, self.classes),
        ]
        numbers = {
            "images": len(records),
            "by_class": by_class(found, self.classes),
            "top_confusions": [
                {"truth": self.classes[a], "predicted": self.classes[b], "images": count}
                for a, b, count in pairs
            ],
            "calibration": {name: values.tolist() for name, values in bins._asdict().items()},
            "most_confident_mistakes": [item.lines[2] for item in worst],
        }
        return Content("Classifier: how good, and what goes wrong", sections, numbers)
