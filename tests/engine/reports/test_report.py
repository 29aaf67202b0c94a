"""The report hook: what it keeps, what it writes, and that files are complete."""

import errno
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from engine.reports import report
from engine.reports.html import Paragraph, Section
from engine.reports.report import Content, Evaluated, WriteReport


class Counting:
    """A report that keeps ids, and shows the largest ones."""

    exhibits = 2

    def __init__(self) -> None:
        self.drawn: list[int] = []

    def begin(self, meta: Mapping[str, Any]) -> None:
        self.classes = meta["classes"]

    def record(self, target: Mapping[str, Any], found: Mapping[str, Any]) -> int:
        assert found["of"] == target["image_id"]
        return int(target["image_id"])

    def badness(self, record: int) -> float:
        return record

    def exhibit(self, image: np.ndarray, target: Mapping[str, Any], found: Any) -> str:
        assert found["of"] == target["image_id"]
        self.drawn.append(target["image_id"])
        return f"picture {image[0, 0, 0]}"

    def content(
        self, records: Sequence[int], worst: Sequence[str], evaluated: Evaluated
    ) -> Content:
        words = [Paragraph(text) for text in (*worst, f"outcome {evaluated.outcome}")]
        return Content("<b>", [Section("s", words)], {"records": list(records)})


def run(folder: Path, ids: Sequence[int], kind: Any = Counting) -> Counting:
    counting = kind()
    hook = WriteReport(folder, counting, {"model": "a<b.pth"})
    runner = SimpleNamespace(
        test_dataloader=SimpleNamespace(dataset=_Data(ids)),
        test_evaluator=SimpleNamespace(metrics=[SimpleNamespace(outcome="all")]),
    )
    hook.before_test_epoch(runner)
    for at in range(0, len(ids), 2):
        part = ids[at : at + 2]
        images = [torch.full((2, 2, 3), value, dtype=torch.uint8) for value in part]
        batch = {"images": images, "targets": [{"image_id": value} for value in part]}
        hook.after_test_iter(runner, at, batch, [{"of": value} for value in part])
    hook.after_test_epoch(runner, {"top": 0.1 + 0.2})
    hook.write()
    return counting


class _Data(list[int]):
    metainfo: ClassVar = {"classes": ("a",)}


def test_page_and_numbers(tmp_path: Path) -> None:
    counting = run(tmp_path / "deep/report", [3, 1, 4, 1, 5])
    assert counting.drawn == [3, 1, 4, 5]  # only those among the worst so far
    assert {path.name for path in (tmp_path / "deep/report").iterdir()} == {
        "index.html",
        "report.json",
    }
    page = (tmp_path / "deep/report/index.html").read_text()
    shown = [page.index(text) for text in ("a&lt;b.pth", "picture 5", "picture 4", "outcome all")]
    assert shown == sorted(shown)
    assert "picture 3" not in page
    numbers = json.loads((tmp_path / "deep/report/report.json").read_text())
    assert numbers == {
        "model": "a<b.pth", "metrics": {"top": 0.1 + 0.2}, "records": [3, 1, 4, 1, 5]
    }  # fmt: skip


def test_a_page_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    class Failing(Counting):
        def content(self, *_: Any) -> Content:
            raise ValueError("no numbers")

    run(tmp_path, [1, 2])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="no numbers"):
        run(tmp_path, [3, 4], Failing)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_in_the_folders_place_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "report").touch()
    for folder in (tmp_path / "report", tmp_path / "report/sub/sub"):
        with pytest.raises(NotADirectoryError, match=r"report.*: is a file or inside one; give"):
            WriteReport(folder, Counting(), {})


def test_a_disk_that_takes_nothing_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "x")

    monkeypatch.setattr(report, "TemporaryFile", refuse)
    with pytest.raises(OSError, match=r"not writable \(Read-only file system\); give") as error:
        WriteReport(tmp_path, Counting(), {})
    assert error.value.strerror is None  # the command prints the message only
    monkeypatch.setattr(report, "is_main_process", lambda: False)
    assert WriteReport(tmp_path, Counting(), {}).write() is None  # other processes write nothing


def test_looking_for_a_place_leaves_nothing(tmp_path: Path) -> None:
    WriteReport(tmp_path / "a/b", Counting(), {})
    assert list((tmp_path / "a/b").iterdir()) == []


def test_an_image_of_two_processes_is_shown_once() -> None:
    """Processes repeat images to fill their last batch."""
    parts = [[(9.0, ("a", "A")), (2.0, ("b", "B"))], [(9.0, ("a", "A")), (5.0, ("c", "C"))]]
    assert report._merged(parts, 2) == ["A", "C"]


@pytest.mark.parametrize(
    ("shape", "fitted"), [((50, 200), (25, 100)), ((40, 90), (40, 90)), ((900, 3), (100, 1))]
)
def test_fitted_sizes(shape: tuple[int, int], fitted: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 9, np.uint8)
    small = report.fitted(picture, 100)
    assert (small.shape, small.dtype, int(small.max())) == ((*fitted, 3), np.uint8, 9)
