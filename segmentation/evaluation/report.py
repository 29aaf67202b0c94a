"""The report on a segmenter: IoU by class, confusions, objects by size, the worst images.

Shapes: (H, W) the size of an image, K classes, S sizes of objects.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from engine.reports.report import Content, Evaluated, fitted
from engine.types import Mask, Picture, Target
from segmentation.evaluation import report_page
from segmentation.evaluation.metric import Confusion, by_class, confusion, score
from segmentation.evaluation.objects import ObjectRecalls, measure, size_names, total
from segmentation.evaluation.report_page import MaskExhibit

SIDE = 420  # pixels of each of the four pictures of an image


class MaskRecord(NamedTuple):
    """What the report keeps of an image."""

    miou: float  # percent, over the classes in its truth or prediction; NaN without counted pixels
    objects: ObjectRecalls


class SegmentationReport:
    """The segmenter's part of `engine.reports.report`."""

    exhibits = 12

    def __init__(self) -> None:
        self.classes: tuple[str, ...] = ()

    def begin(self, meta: Mapping[str, Any]) -> None:
        """Take the class names."""
        self.classes = tuple(meta["classes"])

    def record(self, target: Target, found: Mapping[str, Any]) -> MaskRecord:
        """Mean IoU and objects of one image."""
        truth, predicted = target["mask"].numpy(), found["mask"].cpu().numpy()
        scores = score(confusion(truth, predicted, len(self.classes)))
        return MaskRecord(scores.numbers["mIoU"], measure(truth, predicted, len(self.classes)))

    def badness(self, record: MaskRecord) -> float:
        """100 % minus its mean IoU."""
        return float(np.nan_to_num(100 - record.miou))

    def exhibit(self, image: Picture, target: Target, found: Mapping[str, Any]) -> MaskExhibit:
        """The image with both masks, small."""
        truth, predicted = target["mask"].numpy(), found["mask"].cpu().numpy()
        numbers = score(confusion(truth, predicted, len(self.classes))).numbers
        small = fitted(image, SIDE)
        return MaskExhibit(
            name=str(target["image_id"]),
            picture=small,
            truth=_fitted_mask(truth, small),
            predicted=_fitted_mask(predicted, small),
            miou=numbers["mIoU"],
            wrong=100 - numbers["aAcc"],
        )

    def content(
        self, records: Sequence[MaskRecord], worst: Sequence[MaskExhibit], evaluated: Evaluated
    ) -> Content:
        """The page; IoU is taken from the metric."""
        matrix: Confusion = evaluated.outcome
        scores = score(matrix)
        objects = total([record.objects for record in records], len(self.classes))
        sections = [
            report_page.summary(scores, objects, self.classes),
            report_page.by_class(scores, matrix, self.classes),
            report_page.taken_for(matrix, self.classes),
            report_page.by_size(objects, self.classes),
            report_page.worst(worst, self.classes),
        ]
        numbers = {
            "images": len(records),
            "by_class": by_class(scores, self.classes),
            "confusion": matrix.tolist(),
            "objects": {
                "classes": self.classes,
                "sides": size_names(),
                **{key: getattr(objects, key).tolist() for key in ("number", "recall", "found")},
            },
            "worst": [
                {"image": item.name, "mIoU": item.miou, "wrong": item.wrong} for item in worst
            ],
        }
        return Content("Segmenter: how good, and what goes wrong", sections, numbers)


def _fitted_mask(mask: Mask, picture: Picture) -> Mask:
    """The mask resized to the picture."""
    size = picture.shape[1::-1]
    return cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8)
