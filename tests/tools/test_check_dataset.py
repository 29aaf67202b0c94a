"""tools/check_dataset.py: exit codes, table, JSON, contact sheet, repaired copy."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

Run = Callable[..., Any]
OWN = Path(__file__).parents[2] / "configs/picodet_lcnet_own.py"


@pytest.fixture
def faulty(mini_coco: Path, tmp_path: Path) -> Path:
    """The drawn scenes with a box outside of its image and an empty file."""
    root = tmp_path / "data"
    shutil.copytree(mini_coco, root)
    path = root / "annotations/instances_train.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = [500, 500, 10, 10]
    path.write_text(json.dumps(content))
    (root / "val" / content_of(root, "val")["images"][0]["file_name"]).write_bytes(b"")
    return root


def content_of(root: Path, split: str) -> dict[str, Any]:
    return json.loads((root / f"annotations/instances_{split}.json").read_text())


def test_findings_are_shown_written_and_repaired(
    faulty: Path, tmp_path: Path, run_tool: Run
) -> None:
    out, found, sheet = tmp_path / "out", tmp_path / "found.json", tmp_path / "sheet.png"
    ran = run_tool(
        "check_dataset", faulty, "--task", "det", "--fix", out, "--json", found, "--sheet", sheet
    )
    assert (ran.code, ran.err) == (1, "")
    number = content_of(faulty, "train")["annotations"][0]["id"]
    assert f"instances_train.json: annotation {number}: bbox is [500, 500, 10, 10]" in ran.out
    assert f"{faulty}: 2 errors, 0 warnings," in ran.out
    content = json.loads(found.read_text())
    assert (content["task"], content["counts"]["error"]) == ("det", 2)
    first = next(row for row in content["findings"] if row["rule"] == "box-outside")
    assert (first["severity"], first["id"]) == ("error", f"annotation {number}")
    assert all(row["remedy"] for row in content["findings"])
    picture = cv2.imread(str(sheet))
    assert (picture.shape[1], picture.shape[0] % 240) == (4 * 280, 0)
    assert (np.abs(picture.astype(int) - (30, 30, 220)).sum(axis=-1) < 30).any()  # the box
    again = run_tool("check_dataset", out, "--task", "det")
    assert (again.code, again.err) == (0, "")
    assert len(content_of(out, "val")["images"]) == len(content_of(faulty, "val")["images"]) - 1
    assert len(list((out / "train").iterdir())) == 12


def test_errors_are_one_line(mini_coco: Path, tmp_path: Path, run_tool: Run) -> None:
    def line(*arguments: object) -> str:
        ran = run_tool("check_dataset", *arguments)
        assert ran.code == 1, ran
        assert ran.err.count("\n") == 1
        return str(ran.err)

    assert "none: no such folder" in line(tmp_path / "none", "--task", "det")
    assert "the layout is leftImg8bit" in line(mini_coco, "--task", "seg")
    assert "exists and is not empty" in line(mini_coco, "--task", "det", "--fix", mini_coco)
    assert run_tool("check_dataset", mini_coco).code == 2


@pytest.mark.slow
def test_training_stops_at_the_first_error(faulty: Path, tmp_path: Path, run_tool: Run) -> None:
    ran = run_tool("train", OWN, "--data", faulty, "--work-dir", tmp_path / "work")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "bbox is [500, 500, 10, 10]" in ran.err
    assert f"python tools/check_dataset.py {faulty} --task det lists all" in ran.err
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_a_real_set_is_clean_unless_notes_count(real_dir: Path, run_tool: Run) -> None:
    ran = run_tool("check_dataset", real_dir / "data/coco_mini", "--task", "det")
    assert (ran.code, ran.err) == (0, "")
    assert ": 0 errors, 0 warnings, " in ran.out
    strict = run_tool("check_dataset", real_dir / "data/coco_mini", "--task", "det", "--strict")
    assert (strict.code, strict.out) == (1, ran.out)


@pytest.mark.slow
def test_the_quick_part_takes_no_second(real_dir: Path) -> None:
    from detection.data.checks import check_entries

    start = time.process_time()
    assert check_entries(real_dir / "data/coco_mini", ["train", "val"]).findings
    assert time.process_time() - start < 1
