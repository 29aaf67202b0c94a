"""A report on an evaluation: one page that needs no other file, and its numbers as JSON.

While the evaluation runs, only a few numbers of each image are kept, and pictures of the worst.
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
    numbers: Mapping[str, float]  # of the metric, by its keys
    outcome: Any  # what the metric keeps of its last evaluation


class Content(NamedTuple):
    """The content of a report."""

    title: str
    sections: Sequence[Section]
    numbers: Mapping[str, Any]  # plain data without NaN


class TaskReport(Protocol[Record, Exhibit]):
    """A task's part of a report on an evaluation."""

    exhibits: int  # how many of the worst images it shows

    def begin(self, meta: Mapping[str, Any]) -> None:
        """Take the meta information of the data set."""
        ...

    def record(self, target: Target, found: Mapping[str, Any]) -> Record:
        """What to keep of every image: a few numbers."""
        ...

    def badness(self, record: Record) -> float:
        """How bad the result is; 0 or less for one that is not to be shown."""
        ...

    def exhibit(self, image: Picture, target: Target, found: Mapping[str, Any]) -> Exhibit:
        """What to keep of an image that may be shown."""
        ...

    def content(
        self, records: Sequence[Record], worst: Sequence[Exhibit], evaluated: Evaluated
    ) -> Content:
        """The page's content, from what was kept of all images and of the worst."""
        ...


class WriteReport(Hook):
    """Watches an evaluation; later `write` makes `index.html` and `report.json`, so that the
    numbers are not lost where the report fails.

    Args:
        folder: Where to.
        report: The task's part.
        facts: Names and values for the page's head: model, data, ...

    Raises:
        NotADirectoryError: `folder`, or what it should be in, is a file.
        OSError: nothing can be written there.
    """

    def __init__(
        self, folder: Path, report: TaskReport[Any, Any], facts: Mapping[str, str]
    ) -> None:
        found = [_hindrance(folder) if is_main_process() else None]
        broadcast_object_list(found)  # so that all processes stop
        if found[0] is not None:
            raise found[0]
        self.folder = folder
        self.report = report
        self.facts = facts
        self.records: list[Any] = []
        self.worst: Worst[Named] = Worst(report.exhibits)
        self.gathered: tuple[list[Any], list[Any], Evaluated] | None = None

    def before_test_epoch(self, runner: Any) -> None:
        """Tell the report which data are coming."""
        self.report.begin(runner.test_dataloader.dataset.metainfo)

    def after_test_iter(
        self,
        runner: Any,
        batch_idx: int,
        data_batch: Mapping[str, Any],
        outputs: Sequence[Mapping[str, Any]],
    ) -> None:
        """Keep what is needed of one batch."""
        for image, target, found in zip(
            data_batch["images"], data_batch["targets"], outputs, strict=True
        ):
            record = self.report.record(target, found)
            self.records.append(record)
            if self.worst.admits(badness := self.report.badness(record)):
                exhibit = self.report.exhibit(image.numpy(), target, found)
                self.worst.add(badness, (str(target["image_id"]), exhibit))

    def after_test_epoch(self, runner: Any, metrics: Mapping[str, float] | None = None) -> None:
        """Gather from all processes, on the main one."""
        dataset = runner.test_dataloader.dataset
        records = collect_results(self.records, len(dataset), "gpu")  # through the group
        worst = _merged(all_gather_object(self.worst.ranked()), self.report.exhibits)
        if not is_main_process() or records is None:
            return
        (metric,) = runner.test_evaluator.metrics
        numbers = {name: float(value) for name, value in (metrics or {}).items()}
        self.gathered = records, worst, Evaluated(dataset.metainfo, numbers, metric.outcome)

    def write(self) -> None:
        """Write the files, after the evaluation and on the main process; on others, nothing.

        Raises:
            OSError: the folder cannot be written to any more.
        """
        if self.gathered is None:
            return
        content = self.report.content(*self.gathered)
        metrics = self.gathered[-1].numbers
        page = document(content.title, content.sections, self.facts)
        write_json(self.folder / NUMBERS, {**self.facts, "metrics": metrics, **content.numbers})
        write_binary(self.folder / PAGE, page)


def _hindrance(folder: Path) -> OSError | None:
    """The error that making the folder and a file in it gives, if any; that file is removed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return None
    except (FileExistsError, NotADirectoryError):
        return NotADirectoryError(f"--report {folder}: is a file, or in one; give a folder")
    except OSError as error:
        return OSError(
            f"--report {folder}: cannot be written ({error.strerror}); give another folder"
        )


def _merged(parts: Sequence[Sequence[tuple[float, Named]]], count: int) -> list[Any]:
    """The worst exhibits of all processes, which may have the same images to fill their batches."""
    named = {
        image_id: (badness, exhibit) for part in parts for badness, (image_id, exhibit) in part
    }
    ranked = sorted(named.values(), key=lambda pair: -pair[0])
    return [exhibit for _, exhibit in ranked[:count]]


def encode(picture: Picture, suffix: str = ".jpg") -> bytes:
    """The file of an RGB picture (H, W, 3): JPEG of a photo, ".png" of flat colours."""
    return encode_image(picture, suffix, QUALITY)


def fitted(picture: Picture, side: int) -> Picture:
    """The picture with its longer side at most `side` pixels."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(picture.dtype, copy=False)
