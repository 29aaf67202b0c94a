"""tools/eval_map.py: the twelve numbers, and errors in one line."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from detection.data.coco_json import load_records
from detection.evaluation.metric import NUMBERS, read_results

TOOL = Path(__file__).parents[2] / "tools/eval_map.py"
TRUTH = {
    "images": [{"id": 1, "file_name": "1.png", "width": 100, "height": 100}],
    "categories": [{"id": 3, "name": "cat"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [10, 10, 50, 60]}],
}
RESULT = {"image_id": 1, "category_id": 3, "bbox": [10, 10, 50, 40], "score": 0.5}


class Tool:
    """The command, run inside this process."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.folder, self.monkeypatch, self.capsys = folder, monkeypatch, capsys

    def __call__(self, results: object, *options: str) -> tuple[int, str, str]:
        """Exit code, output and error output on `TRUTH` and on `results`."""
        files = [self.folder / "gt.json", self.folder / "results.json"]
        for file, content in zip(files, (TRUTH, results), strict=True):
            file.write_text(json.dumps(content))
        self.monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, files), *options])
        with pytest.raises(SystemExit) as done:
            runpy.run_path(str(TOOL), run_name="__main__")
        return int(done.value.code or 0), *self.capsys.readouterr()


@pytest.fixture
def tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Tool:
    return Tool(tmp_path, monkeypatch, capsys)


def test_prints_and_writes_the_numbers(tool: Tool, tmp_path: Path) -> None:
    """IoU 2/3 is found at four of ten thresholds: AP 0.4."""
    code, out, err = tool([RESULT], "--out", str(tmp_path / "out.json"), "--classwise")
    assert (code, err) == (0, "")
    printed = dict(line.split() for line in out.splitlines()[:12])
    written = json.loads((tmp_path / "out.json").read_text())
    assert {name: float(value) for name, value in printed.items()} == {
        name: written[name] for name in NUMBERS
    }
    assert written["bbox_mAP"] == pytest.approx(0.4)
    assert written["class_AP"] == pytest.approx({"cat": 0.4})
    assert "cat" in out


def test_errors_are_one_line_and_exit_code_1(tool: Tool, tmp_path: Path) -> None:
    code, out, err = tool({"annotations": [RESULT]}, "--out", str(tmp_path / "out.json"))
    assert (code, out) == (1, "")
    assert len(err.splitlines()) == 1
    assert "results.json: COCO results are a list, this is a dict" in err
    assert not (tmp_path / "out.json").exists()


WRONG = [
    ("{", "not valid JSON"),
    ("3", "COCO results are a list, this is a int"),
    ([3], "result 0 is 3, not a record"),
    ([RESULT, {**RESULT, "image_id": 7}], "result 1 has image_id 7, which the ground truth does"),
    ([{**RESULT, "category_id": 1}], "result 0 has category_id 1, which the ground truth does"),
    ([{**RESULT, "bbox": [1, 2, 3]}], "result 0 has bbox .*; it must be 4 finite numbers"),
    ([{**RESULT, "bbox": [1, 2, -3, 4]}], "result 0 has bbox"),
    ([{**RESULT, "score": "high"}], "result 0 has score 'high', not a finite number"),
    ([{**RESULT, "score": float("nan")}], "result 0 has score nan, not a finite number"),
    ([{k: v for k, v in RESULT.items() if k != "score"}], "result 0 has no 'score'"),
    ([{**RESULT, "image_id": [1]}], r"result 0 has image_id \[1\], which the ground truth does"),
]


@pytest.mark.parametrize(("results", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_wrong_with_results(tmp_path: Path, results: Any, message: str) -> None:
    (tmp_path / "gt.json").write_text(json.dumps(TRUTH))
    path = tmp_path / "results.json"
    path.write_text(results if isinstance(results, str) else json.dumps(results))
    with pytest.raises(ValueError, match=rf"results\.json: {message}") as error:
        read_results(path, load_records(tmp_path / "gt.json"))
    assert "\n" not in str(error.value)
