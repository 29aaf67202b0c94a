"""YOLO's labels as COCO boxes, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detection.data.coco_json import read_coco
from detection.data.yolo import find_names, find_splits, read_labels, read_names, read_split

Run = Callable[..., Any]


def write_image(path: Path, number: int = 0) -> None:
    """A blotchy picture of 64 x 48 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rough = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(rough, (64, 48), interpolation=cv2.INTER_CUBIC))


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_centre_and_sides_become_left_top_and_sides(tmp_path: Path) -> None:
    """0.5 - 0.25 / 2 = 0.375 across, 0.5 - 0.5 / 2 = 0.25 down; the outline spans its points."""
    path = write_text(tmp_path / "a.txt", "1 0.5 0.5 0.25 0.5\n\n0 0.1 0.2 0.5 0.2 0.3 0.7\n")
    first, second = read_labels(path, 2)
    assert (first.label, first.box) == (1, (0.375, 0.25, 0.25, 0.5))
    assert second.label == 0
    assert second.box == pytest.approx((0.1, 0.2, 0.4, 0.5))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.5 0.5 0.25", "is not `class cx cy w h`"),
        ("0 0.5 0.5 0.25 0.1 0.1", "is not `class cx cy w h`"),
        ("nut 0.5 0.5 0.25 0.5", "is not `class cx cy w h`"),
        ("2 0.5 0.5 0.25 0.5", "class 2 is not in 0..1"),
        ("-1 0.5 0.5 0.25 0.5", "class -1 is not in 0..1"),
        ("0.5 0.5 0.5 0.25 0.5", "class 0.5 is not in 0..1"),
        ("0 32 24 16 24", "must be fractions of width and height, 0 to 1"),
        ("0 0.5 nan 0.2 0.2", "must be fractions of width and height, 0 to 1"),
    ],
)
def test_a_line_that_is_none(line: str, said: str, tmp_path: Path) -> None:
    path = write_text(tmp_path / "a.txt", f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(ValueError, match=r"a\.txt, line 2: ") as error:
        read_labels(path, 2)
    assert said in str(error.value)


def test_names(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="give --classes FILE"):
        find_names(tmp_path)
    path = write_text(tmp_path / "data.yaml", "nc: 2\nnames: [nut, bolt]\n")
    assert find_names(tmp_path) == path
    assert read_names(path) == ("nut", "bolt")
    path.write_text("names:\n  1: bolt\n  0: nut\n")
    assert read_names(path) == ("nut", "bolt")
    assert read_names(write_text(tmp_path / "x.txt", "nut\n\nbolt \n")) == ("nut", "bolt")
    for bad in ("names: {0: nut, 2: bolt}", "nc: 2", "names: []", "[1, 2]", "names: {0: a, b: c}"):
        path.write_text(bad)
        with pytest.raises(ValueError, match="has no class names"):
            read_names(path)
    lists = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    path.write_text(f"a0: &a0 [x]\n{lists}names: [*a9]\n")
    with pytest.raises(ValueError, match="has no class names"):
        read_names(path)
    path.write_text("names: [")
    with pytest.raises(ValueError, match=r"data\.yaml: not YAML"):
        read_names(path)
    path.write_text("names: !!python/object/apply:os.getcwd []")
    with pytest.raises(ValueError, match=r"data\.yaml: not YAML"):
        read_names(path)


def test_labels_without_an_image(tmp_path: Path) -> None:
    write_image(tmp_path / "images/train/a.jpg")
    write_text(tmp_path / "labels/train/b.txt", "")
    images, labels = find_splits(tmp_path)["train"]
    with pytest.raises(ValueError, match=r"b\.txt: no image of this name in .*\(1 such files\)"):
        read_split(images, labels, 2)
    with pytest.raises(FileNotFoundError, match="the layout is images/<split>/"):
        find_splits(tmp_path / "images")


@pytest.mark.parametrize("layout", ["{kind}/{split}", "{split}/{kind}"])
def test_both_layouts_become_coco(layout: str, tmp_path: Path, run_tool: Run) -> None:
    """16 x 24 pixels about the centre of 64 x 48: left 24, top 12."""
    for number, (split, name) in enumerate([("train", "a"), ("train", "b"), ("valid", "c")]):
        write_image(tmp_path / layout.format(kind="images", split=split) / f"{name}.jpg", number)
        labels = tmp_path / layout.format(kind="labels", split=split)
        if name != "b":
            write_text(labels / f"{name}.txt", "1 0.5 0.5 0.25 0.5\n0 0.25 0.25 0.125 0.25\n")
    write_text(tmp_path / "data.yaml", "names: [nut, bolt]\n")
    ran = run_tool("convert_dataset", "yolo", tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert "instances_train.json: 2 images, 2 boxes, 2 classes" in ran.out
    coco = read_coco(tmp_path / "annotations/instances_train.json")
    assert coco.boxes.tolist() == [[24, 12, 40, 36], [12, 6, 20, 18]]
    assert (coco.labels.tolist(), coco.classes) == ([1, 0], ("nut", "bolt"))
    assert coco.sizes.tolist() == [[48, 64]] * 2
    assert all((tmp_path / "train" / name.decode()).is_file() for name in coco.files)
    assert len(read_coco(tmp_path / "annotations/instances_val.json").boxes) == 2
    again = run_tool("convert_dataset", "yolo", tmp_path)
    assert again.code == 1
    assert "exists already; --force replaces it" in again.err
    assert run_tool("convert_dataset", "yolo", tmp_path, "--force").code == 0


def test_the_rules_are_applied(tmp_path: Path, run_tool: Run) -> None:
    """A box that ends at 1.05 of the width leaves the image; an empty file is not an image."""
    for number, name in enumerate("ab"):
        write_image(tmp_path / f"images/train/{name}.jpg", number)
        write_text(tmp_path / f"labels/train/{name}.txt", "0 0.95 0.5 0.2 0.5\n")
    (tmp_path / "images/train/b.jpg").write_bytes(b"")
    names = write_text(tmp_path / "names.txt", "nut\nbolt\n")
    out = tmp_path / "out"
    ran = run_tool("convert_dataset", "yolo", tmp_path, "--out", out, "--classes", names)
    assert (ran.code, ran.err) == (1, "")
    assert "error file-empty: " in ran.out
    assert "instances_train.json: 1 images, 1 boxes, 2 classes" in ran.out
    assert "warning box-beyond-border: " in ran.out
    content = json.loads((out / "annotations/instances_train.json").read_text())
    assert [record["file_name"] for record in content["images"]] == ["a.jpg"]
    assert content["annotations"][0]["bbox"] == pytest.approx([54.4, 12, 12.8, 24])
