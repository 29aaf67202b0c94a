"""tools/split_dataset.py: its output for class folders and for COCO."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ("panda", "tiger"):
        for number in range(10):
            path = tmp_path / "data" / name / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    return tmp_path / "data"


def test_class_folders(folders: Path, run_tool: Run) -> None:
    ran = run_tool("split_dataset", folders, "--val", "0.2", "--test", "0.1", "--seed", "7")
    assert (ran.code, ran.err) == (0, "")
    assert "panda" in ran.out
    assert "seed 7" in ran.out
    for name, count in (("train", 14), ("val", 4), ("test", 2)):
        path = folders / f"{name}_list.txt"
        assert str(path) in ran.out
        assert len(path.read_text().splitlines()) == count
    assert f"--data {folders}" in ran.out
    again = run_tool("split_dataset", folders, "--val", "0.2", "--test", "0.1", "--seed", "7")
    assert (again.code, "val_list.txt" in again.out) == (0, True)


def test_a_coco_json(mini_coco: Path, tmp_path: Path, run_tool: Run) -> None:
    root = tmp_path / "coco"
    shutil.copytree(mini_coco / "train", root / "images")
    (root / "annotations").mkdir()
    shutil.copy(mini_coco / "annotations/instances_train.json", root / "annotations/all.json")
    ran = run_tool("split_dataset", root, "--val", "0.25", "--allow-small")
    assert (ran.code, ran.err) == (0, "")
    assert str(root / "annotations/instances_val.json") in ran.out
    assert str(root / "val") in ran.out
    content = json.loads((root / "annotations/instances_val.json").read_text())
    assert len(content["images"]) in (2, 3, 4)
    assert not (root / "annotations/instances_test.json").exists()


def test_errors_are_one_line(folders: Path, tmp_path: Path, run_tool: Run) -> None:
    def line(*arguments: object) -> str:
        ran = run_tool("split_dataset", *arguments)
        assert ran.code == 1, ran
        assert ran.err.count("\n") == 1
        return str(ran.err)

    assert "none: no such folder" in line(tmp_path / "none")
    assert "leave some images for training" in line(folders, "--val", "1.5")
    assert "--out and --images are for a COCO json" in line(folders, "--out", tmp_path)
    (tmp_path / "x.json").write_text("[]")
    assert "x.json: not a COCO json" in line(tmp_path / "x.json")
    for path in sorted((folders / "tiger").iterdir())[1:]:
        path.unlink()
    assert "classes with fewer images than the 2 splits: tiger (1)" in line(folders)
