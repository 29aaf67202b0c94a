"""A report on an evaluation: one self-contained web page, and its numbers as JSON.

During the evaluation, only a few numbers of each image and the pictures of the worst are kept.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple, Protocol, TypeVar

import cv2
from mmengine.dist import all_gather_object, broadcast_object_list, collect_results, is_main_process
from mmengine.hooks import Hook

from engine.data.images import encode_image
from engine.fileio import write_binary, write_json
from engine.reports.html import Section, document
from engine.reports.worst import Worst
from engine.types import Picture, Target

PAGE, NUMBERS = "index.html", "report.json"
QUALITY = 80  # of JPEG, 0..100

Record = TypeVar("Record")
Exhibit = TypeVar("Exhibit")
Named = tuple[str, Any]  # image id and exhibit


class Evaluated(NamedTuple):
    """The results of a whole evaluation."""

    meta: Mapping[str, Any]  # of the data set
    numbers: Mapping[str, float]  # of the metric, by key
    outcome: Any  # details that the metric keeps of its last evaluation


class Content(NamedTuple):
    """The content of a report."""

    title: str
    sections: Sequence[Section]
    numbers: Mapping[str, Any]  # plain data without NaN


class TaskReport(Protocol[Record, Exhibit]):
    """A task's part of a report on an evaluation."""

    exhibits: int  # number of the worst images that it shows

    def begin(self, meta: Mapping[str, Any]) -> None:
        """Receive the meta information of the data set."""
        ...

    def record(self, target: Target, found: Mapping[str, Any]) -> Record:
        """The few numbers to keep of every image."""
        ...

    def badness(self, record: Record) -> float:
        """The badness of a result; results with 0 or less are not shown."""
        ...

    def exhibit(self, image: Picture, target: Target, found: Mapping[str, Any]) -> Exhibit:
        """The data to keep of an image that may be shown."""
        ...

    def content(
        self, records: Sequence[Record], worst: Sequence[Exhibit], evaluated: Evaluated
    ) -> Content:
        """Make the page's content from the records of all images and the worst exhibits."""
        ...


class WriteReport(Hook):
    """Collects the results of an evaluation; afterwards `write` makes the report's files.

    `write` is separate, so that the metrics are not lost if the report fails.

    Args:
        folder: Folder for index.html and report.json.
        report: The task's part.
        facts: Names and values for the page's head: model, data, ...

    Raises:
        NotADirectoryError: `folder` or one of its parents is a file.
        OSError: the folder is not writable.
    """

    def __init__(
        self, folder: Path, report: TaskReport[Any, Any], facts: Mapping[str, str]
    ) -> None:
        found = [_hindrance(folder) if is_main_process() else None]
        broadcast_object_list(found)  # so that all processes raise
        if found[0] is not None:
            raise found[0]
        self.folder = folder
        self.report = report
        self.facts = facts
        self.records: list[Any] = []
        self.worst: Worst[Named] = Worst(report.exhibits)
        self.gathered: tuple[list[Any], list[Any], Evaluated] | None = None

    def before_test_epoch(self, runner: Any) -> None:
        """Give the report the meta information of the data.

        Raises:
            ValueError: the metric keeps no outcome for a report.
        """
        (metric,) = runner.test_evaluator.metrics
        if not hasattr(metric, "outcome"):
            raise ValueError(
                f"--report: none for the metric {type(metric).__name__}, which keeps no outcome; "
                "give the task's own metric, or one with this attribute"
            )
        self.report.begin(runner.test_dataloader.dataset.metainfo)

    def after_test_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Mapping[str, Any],
        outputs: Sequence[Mapping[str, Any]],
    ) -> None:
        """Keep the records and the worst exhibits of one batch."""
        for image, target, found in zip(
            data_batch["images"], data_batch["targets"], outputs, strict=True
        ):
            record = self.report.record(target, found)
            self.records.append(record)
            if self.worst.admits(badness := self.report.badness(record)):
                exhibit = self.report.exhibit(image.numpy(), target, found)
                self.worst.add(badness, (str(target["image_id"]), exhibit))

    def after_test_epoch(self, runner: Any, metrics: Mapping[str, float] | None = None) -> None:
        """Gather records and exhibits of all processes on the main one."""
        dataset = runner.test_dataloader.dataset
        records = collect_results(
            self.records, len(dataset), "gpu"
        )  # "gpu": gathered by the process group, not by files
        worst = _merged(all_gather_object(self.worst.ranked()), self.report.exhibits)
        if not is_main_process() or records is None:
            return
        (metric,) = runner.test_evaluator.metrics
        numbers = {name: float(value) for name, value in (metrics or {}).items()}
        self.gathered = records, worst, Evaluated(dataset.metainfo, numbers, metric.outcome)

    def write(self) -> None:
        """Write the files after the evaluation, on the main process only.

        Raises:
            OSError: the folder is no longer writable.
        """
        if self.gathered is None:
            return
        content = self.report.content(*self.gathered)
        metrics = self.gathered[-1].numbers
        page = document(content.title, content.sections, self.facts)
        write_json(self.folder / NUMBERS, {**self.facts, "metrics": metrics, **content.numbers})
        write_binary(self.folder / PAGE, page)


def _hindrance(folder: Path) -> OSError | None:
    """The error of creating the folder and a temporary file in it, or None."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return None
    except (FileExistsError, NotADirectoryError):
        return NotADirectoryError(f"--report {folder}: is a file or inside one; give a folder")
    except OSError as error:
        return OSError(f"--report {folder}: not writable ({error.strerror}); give another folder")


def _merged(parts: Sequence[Sequence[tuple[float, Named]]], count: int) -> list[Any]:
    """The worst exhibits of all processes, without images that pad the last batches."""
    named = {
        image_id: (badness, exhibit) for part in parts for badness, (image_id, exhibit) in part
    }
    ranked = sorted(named.values(), key=lambda pair: -pair[0])
    return [exhibit for _, exhibit in ranked[:count]]


def encode(picture: Picture, suffix: str = ".jpg") -> bytes:
    """An RGB picture (H, W, 3) as a file: JPEG for photos, ".png" for flat colours."""
    return encode_image(picture, suffix, QUALITY)


def fitted(picture: Picture, side: int) -> Picture:
    """The picture with its longer side at most `side` pixels."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(picture.dtype, copy=False)
