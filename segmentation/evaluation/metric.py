"""Intersection over union by class, from one confusion matrix of all images.

Shapes: K classes.
"""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmengine.registry import METRICS
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from engine.data.images import encode_image
from engine.fileio import write_binary
from engine.types import Mask
from segmentation.data.masks import read_grey, read_mask, to_label_ids

Confusion = NDArray[np.int64]  # (K, K): pixels of class row predicted as class column


class Scores(NamedTuple):
    """The numbers of a confusion matrix, in percent; NaN where a class does not occur."""

    numbers: dict[str, float]  # mIoU, aAcc, mAcc
    iou: NDArray[np.float64]  # (K,) NaN where neither truth nor prediction has the class
    accuracy: NDArray[np.float64]  # (K,) NaN where the truth does not have the class


def confusion(truth: Mask, predicted: Mask, num_classes: int, ignore: int = 255) -> Confusion:
    """Confusion matrix of one image; pixels whose truth is `ignore` or not a class do not count."""
    joint = (truth.astype(np.uint16) << 8) | predicted
    counts = np.bincount(joint.ravel(), minlength=1 << 16).reshape(256, 256)
    if ignore < num_classes:
        counts[ignore] = 0
    return counts[:num_classes, :num_classes].astype(np.int64)


def score(matrix: Confusion) -> Scores:
    """IoU and accuracy by class, their means over the classes that occur, accuracy of all pixels.

    IoU is hits / (truth + predicted - hits), accuracy hits / truth. Ignored pixels never count.
    """
    hits, truth = np.diag(matrix).astype(np.float64), matrix.sum(axis=1).astype(np.float64)
    union = truth + matrix.sum(axis=0) - hits
    with np.errstate(invalid="ignore"):
        iou, accuracy = 100 * (hits / union), 100 * (hits / truth)
    total = matrix.sum()
    numbers = {
        "mIoU": _mean(iou),
        "aAcc": 100 * float(hits.sum() / total) if total else math.nan,
        "mAcc": _mean(accuracy),
    }
    return Scores(numbers, iou, accuracy)


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of the `values` that are not NaN; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def by_class(scores: Scores, classes: Sequence[str]) -> dict[str, float]:
    """`IoU/<class>` and `Acc/<class>`, without classes that do not occur."""
    named = {f"IoU/{name}": value for name, value in zip(classes, scores.iou, strict=True)}
    named |= {f"Acc/{name}": value for name, value in zip(classes, scores.accuracy, strict=True)}
    return {key: float(value) for key, value in named.items() if not np.isnan(value)}


def table(scores: Scores, classes: Sequence[str]) -> str:
    """IoU and accuracy by class in plain text, and the classes that the mean leaves out."""
    result = Table("class", "IoU", "Acc")
    for name, iou, accuracy in zip(classes, scores.iou, scores.accuracy, strict=True):
        result.add_row(name, *("-" if np.isnan(v) else f"{v:.2f}" for v in (iou, accuracy)))
    result.add_section()
    result.add_row("mean", f"{scores.numbers['mIoU']:.2f}", f"{scores.numbers['mAcc']:.2f}")
    stream = io.StringIO()
    Console(file=stream, width=80).print(result)
    absent = [name for name, iou in zip(classes, scores.iou, strict=True) if np.isnan(iou)]
    if absent:
        stream.write(
            f"left out of the mean, because neither truth nor prediction has them: "
            f"{', '.join(absent)}\n"
        )
    return stream.getvalue()


@METRICS.register_module()
class MeanIoU(BaseMetric):
    """`mIoU`, `aAcc` and `mAcc` in percent; memory does not grow with the number of images.

    Predictions are dicts of `mask` (H, W) and `image_id`; the truth is the `mask` in the targets of
    the batch.

    Args:
        results_path: Folder to write predictions to as `<image_id>.png`, or None.
        results_as: Values in those files: "train_ids" of the network, which `tools/eval_miou.py`
            reads, or "label_ids", which the Cityscapes server expects.
        classwise: Give `IoU/<class>` and `Acc/<class>` too.
    """

    keys = ("mIoU", "aAcc", "mAcc")
    default_prefix = ""  # not None: mmengine warns of that

    def __init__(
        self,
        *,
        results_path: str | Path | None = None,
        results_as: Literal["train_ids", "label_ids"] = "train_ids",
        classwise: bool = False,
    ) -> None:
        super().__init__()
        if results_as not in ("train_ids", "label_ids"):
            raise ValueError(f"results_as is {results_as!r}; use 'train_ids' or 'label_ids'")
        self.results_path = None if results_path is None else Path(results_path)
        self.results_as = results_as
        self.classwise = classwise
        self.matrix: Confusion | None = None
        self.outcome: Confusion | None = None  # of the last evaluation
        self.num_images = 0

    def process(self, data_batch: dict[str, Any], data_samples: Sequence[dict[str, Any]]) -> None:
        """Add one batch."""
        num_classes = len(self.dataset_meta["classes"])
        if self.matrix is None:
            self.matrix = np.zeros((num_classes, num_classes), np.int64)
        for target, found in zip(data_batch["targets"], data_samples, strict=True):
            mask = found["mask"].cpu().numpy()
            self.matrix += confusion(target["mask"].numpy(), mask, num_classes)
            self.num_images += 1
            if self.results_path is not None:
                self._write(self.results_path / f"{target['image_id']}.png", mask)

    def evaluate(self, size: int) -> dict[str, float]:
        """Metrics of the `size` images added since the last call, on all processes.

        Raises:
            ValueError: another number of images was added.
        """
        classes = self.dataset_meta["classes"]
        empty = np.zeros((len(classes), len(classes)), np.int64)
        count = torch.tensor([self.num_images])
        matrix = torch.from_numpy(empty if self.matrix is None else self.matrix)
        all_reduce(count)
        all_reduce(matrix)
        self.matrix, self.num_images = None, 0
        if int(count) != size:
            raise ValueError(
                f"{int(count)} images were evaluated instead of {size}, some of them twice; set "
                "round_up=False in the sampler of the data"
            )
        return self.compute_metrics([matrix.numpy()])

    def compute_metrics(self, results: list[Confusion]) -> dict[str, float]:
        """The numbers of the sum of confusion matrices; without those that are NaN."""
        classes = self.dataset_meta["classes"]
        self.outcome = sum(results[1:], results[0])
        scores = score(self.outcome)
        print_log("\n" + table(scores, classes).rstrip(), logger="current")
        numbers = {key: value for key, value in scores.numbers.items() if not math.isnan(value)}
        return {**numbers, **(by_class(scores, classes) if self.classwise else {})}

    def _write(self, path: Path, mask: Mask) -> None:
        values = mask if self.results_as == "train_ids" else to_label_ids(mask)
        write_binary(path, encode_image(values, ".png"))


def evaluate_files(
    pairs: Sequence[tuple[Path, Path]], classes: Sequence[str], ignore: int = 255
) -> Confusion:
    """Confusion matrix of pairs of mask files, truth and prediction.

    Raises:
        ValueError: a file is not a mask, sizes differ, or a prediction has a value that is not a
            class.
    """
    num_classes = len(classes)
    matrix = np.zeros((num_classes, num_classes), np.int64)
    for truth_path, predicted_path in pairs:
        truth, predicted = _read_truth(truth_path, classes, ignore), read_grey(predicted_path)
        if truth.shape != predicted.shape:
            raise ValueError(
                f"{predicted_path}: {predicted.shape[1]} x {predicted.shape[0]} pixels, but "
                f"{truth_path} has {truth.shape[1]} x {truth.shape[0]}"
            )
        counted = truth != ignore
        highest = int(predicted.max(where=counted, initial=0))
        if highest >= num_classes:
            raise ValueError(
                f"{predicted_path}: value {highest} is not a class (0..{num_classes - 1}); "
                "predictions hold train ids, a class for every pixel"
            )
        matrix += confusion(truth, predicted, num_classes, ignore)
    return matrix


def _read_truth(path: Path, classes: Sequence[str], ignore: int) -> Mask:
    """A ground-truth mask in which pixels to ignore have the value `ignore`."""
    if ignore == 255:
        return read_mask(path, classes)
    mask = read_grey(path)
    values = np.bincount(mask.ravel(), minlength=256)[len(classes) :]
    wrong = np.flatnonzero(values) + len(classes)
    if set(wrong.tolist()) - {ignore}:
        raise ValueError(f"{path}: value {wrong[0]} is neither a class nor {ignore} (ignore)")
    return mask
