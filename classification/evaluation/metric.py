"""Accuracy, calibration and confusion of a classifier, from scores of all images.

Shapes: N images, K classes.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmengine.registry import METRICS
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from classification.evaluation.confusion import Confusion, confusion, draw_confusion, worst_pairs
from classification.evaluation.predictions import ImageScores, write_predictions
from engine.fileio import write_binary

BINS = 15  # of the calibration error (Guo et al. 2017, arXiv 1706.04599)
STEPS = 10_000  # thresholds of the two-class metric are i / STEPS
MAX_FPR = 1e-3
SHOWN_CLASSES = 20  # a confusion matrix of more classes is not printed

Scores = NDArray[np.float32]  # (N, K) probabilities
Labels = NDArray[np.int64]  # (N,) 0..K-1


class Operating(NamedTuple):
    """A threshold on the score of class 1, and its rates, fractions 0..1."""

    threshold: float
    tpr: float  # share of class 1 that scores above the threshold
    fpr: float  # share of class 0 that does


class Summary(NamedTuple):
    """The numbers of an evaluation."""

    numbers: dict[str, float]  # by the names of `ClassificationMetric.keys` and more
    accuracy: NDArray[np.float64]  # (K,) percent of each class; NaN for a class without images
    matrix: Confusion  # (K, K)


def ranks(scores: Scores, labels: Labels) -> NDArray[np.int64]:
    """Rank (N,) of the true class among the scores of its image, from 0.

    Of equal scores the lower class number comes first, as with argmax.
    """
    own = np.take_along_axis(scores, labels[:, None], axis=1)  # (N, 1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]  # (N, K)
    return ((scores > own) | ((scores == own) & earlier)).sum(axis=1)


def macro_f1(matrix: Confusion) -> float:
    """Mean over classes of 2 hits / (truth + predicted), in percent.

    Classes that occur neither in truth nor in prediction are left out.
    """
    both = (matrix.sum(axis=0) + matrix.sum(axis=1)).astype(np.float64)
    return 100 * float((2 * np.diag(matrix)[both > 0] / both[both > 0]).mean())


class Bins(NamedTuple):
    """Images by the confidence of their prediction, in 15 bins (low, high] of equal width."""

    images: NDArray[np.int64]  # (15,)
    confidence: NDArray[np.float64]  # (15,) sum
    gap: NDArray[np.float64]  # (15,) number of right predictions minus sum of confidence


def calibration_bins(confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> Bins:
    """The bins of predictions (N,) with a confidence of 0..1."""
    confidence = confidence.astype(np.float64)
    edges = np.linspace(0, 1, BINS + 1)
    places = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BINS - 1)
    return Bins(
        np.bincount(places, minlength=BINS).astype(np.int64),
        np.bincount(places, weights=confidence, minlength=BINS).astype(np.float64),
        np.bincount(places, weights=right - confidence, minlength=BINS).astype(np.float64),
    )


def calibration_error(confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_]) -> float:
    """Expected calibration error in percent.

    The mean over images of |accuracy - mean confidence| of their bin (Guo et al. 2017, eq. 3).
    """
    gap = calibration_bins(confidence, right).gap
    return 100 * float(np.abs(gap).sum() / len(confidence))


def best_operating(
    scores: NDArray[np.float32], labels: Labels, max_fpr: float = MAX_FPR
) -> Operating | None:
    """PULC's metric (PaddleClas' TprAtFpr): the best TPR at an FPR of at most `max_fpr`.

    Thresholds are i / 10000; scores above count as class 1. Of equally good thresholds the lowest
    is taken. Scores are compared as float32, as in PaddleClas.

    Args:
        scores: (N,) score of class 1.
        labels: (N,) 0 or 1.
        max_fpr: Largest false positive rate, 0..1.

    Returns:
        The threshold and its rates, or None if no threshold has a TPR above 0 at such an FPR.

    Raises:
        ValueError: one of the classes has no image.
    """
    found, alarms = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    if not len(found) or not len(alarms):
        raise ValueError(f"no image of class {int(bool(len(alarms)))}; rates need both classes")
    thresholds = (np.arange(STEPS) / STEPS).astype(np.float32)
    fpr, tpr = (
        (len(own) - np.searchsorted(own, thresholds, side="right")) / len(own)
        for own in (alarms, found)
    )
    tpr = np.where(fpr <= max_fpr, tpr, 0)
    best = int(tpr.argmax())  # the first of equals
    return Operating(best / STEPS, float(tpr[best]), float(fpr[best])) if tpr[best] > 0 else None


def check_budget(max_fpr: float) -> None:
    """Raise ValueError unless `max_fpr` is a fraction."""
    if not 0 <= max_fpr <= 1:
        raise ValueError(f"the largest false positive rate, {max_fpr}, must be in 0..1")


def evaluate(scores: Scores, labels: Labels, max_fpr: float = MAX_FPR) -> Summary:
    """All numbers of N images, in percent, except the threshold.

    With two classes, and images of both, also `tpr_at_fpr`, `fpr` and `threshold` of
    `best_operating`; if it returns None, `tpr_at_fpr` is 0 and the others are left out.

    Raises:
        ValueError: there are no images.
    """
    if not len(labels):
        raise ValueError("no image to evaluate")
    num_classes = scores.shape[1]
    place = ranks(scores, labels)
    matrix = confusion(labels, scores.argmax(axis=1), num_classes)
    with np.errstate(invalid="ignore"):
        accuracy = 100 * np.diag(matrix) / matrix.sum(axis=1)
    numbers = {
        "accuracy/top1": 100 * float((place < 1).mean()),
        "accuracy/top5": 100 * float((place < 5).mean()),
        "macro_f1": macro_f1(matrix),
        "ece": calibration_error(scores.max(axis=1), place < 1),
    }
    if num_classes == 2 and len(np.unique(labels)) == 2:
        point = best_operating(scores[:, 1], labels, max_fpr)
        numbers["tpr_at_fpr"] = 100 * point.tpr if point else 0.0
        if point:
            numbers |= {"fpr": 100 * point.fpr, "threshold": point.threshold}
    return Summary(numbers, accuracy, matrix)


def by_class(summary: Summary, classes: Sequence[str]) -> dict[str, float]:
    """`Acc/<class>` in percent, without classes that have no images."""
    pairs = zip(classes, summary.accuracy.tolist(), strict=True)
    return {f"Acc/{name}": value for name, value in pairs if not np.isnan(value)}


def report(summary: Summary, classes: Sequence[str]) -> str:
    """Accuracy by class as text, with the confusion matrix, or its largest errors if K > 20."""
    stream = io.StringIO()
    matrix, few = summary.matrix, len(classes) <= SHOWN_CLASSES
    table = Table("truth", "images", "Acc", *(map(str, range(len(classes))) if few else ()))
    for label, name in enumerate(classes):
        accuracy = "-" if np.isnan(summary.accuracy[label]) else f"{summary.accuracy[label]:.2f}"
        row = [str(count) if count else "." for count in matrix[label]] if few else []
        shown = f"{label} {name}" if few else name
        table.add_row(shown, str(matrix[label].sum()), accuracy, *row)
    width = 60 + (8 * len(classes) if few else 0)
    Console(file=stream, width=width).print(table)
    if few:
        stream.write("columns: predicted class\n")
    for truth, predicted, count in worst_pairs(matrix) if not few else ():
        stream.write(f"{count} of {classes[truth]} taken for {classes[predicted]}\n")
    return stream.getvalue()


@METRICS.register_module()
class ClassificationMetric(BaseMetric):
    """Top-1 and top-5 accuracy, macro F1 and calibration error in percent.

    With two classes also the best TPR at an FPR of at most `max_fpr`. Predictions are dicts of
    `scores` (K,), probabilities; the truth is `label` and `image_id` in the targets of the batch.

    Args:
        results_path: Where to write scores and image ids (.npz), so that `tools/eval_cls.py` on
            the file gives the same numbers; or None.
        classwise: Give `Acc/<class>` too, and log a table with the confusion matrix.
        confusion_path: Picture of the confusion matrix to write (.png), or None.
        max_fpr: Largest false positive rate for two classes, 0..1.
    """

    keys = ("accuracy/top1", "accuracy/top5", "macro_f1", "tpr_at_fpr")  # higher is better
    default_prefix = ""  # not None: mmengine warns of that

    def __init__(
        self,
        *,
        results_path: str | Path | None = None,
        classwise: bool = False,
        confusion_path: str | Path | None = None,
        max_fpr: float = MAX_FPR,
    ) -> None:
        super().__init__(collect_device="gpu")  # by process group; "cpu" writes files to the cwd
        check_budget(max_fpr)
        self.results_path = None if results_path is None else Path(results_path)
        self.confusion_path = None if confusion_path is None else Path(confusion_path)
        self.classwise = classwise
        self.max_fpr = max_fpr
        self.outcome: Summary | None = None  # of the last evaluation

    def process(self, data_batch: dict[str, Any], data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the scores of one batch."""
        for target, found in zip(data_batch["targets"], data_samples, strict=True):
            scores = found["scores"].detach().float().cpu().numpy()  # (K,)
            self.results.append((str(target["image_id"]), int(target["label"]), scores))

    def compute_metrics(self, results: list[tuple[str, int, Scores]]) -> dict[str, float]:
        """The numbers of all images.

        Raises:
            ValueError: scores are not finite or not one per class.
        """
        classes = tuple(self.dataset_meta["classes"])
        ids, labels, rows = zip(*results, strict=True)
        found = ImageScores(np.stack(rows), ids, classes).checked("predictions")
        if self.results_path is not None:
            write_predictions(self.results_path, found)
        self.outcome = summary = evaluate(found.scores, np.array(labels, np.int64), self.max_fpr)
        if self.confusion_path is not None:
            write_binary(self.confusion_path, draw_confusion(summary.matrix, classes))
        if self.classwise:
            print_log("\n" + report(summary, classes).rstrip(), logger="current")
        return {**summary.numbers, **(by_class(summary, classes) if self.classwise else {})}
