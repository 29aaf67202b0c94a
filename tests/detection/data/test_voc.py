"""PASCAL VOC's annotations as COCO boxes, and hostile XML refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detection.data.voc import read_splits, read_xml

Run = Callable[..., Any]
OBJECT = (
    "<object><name>{name}</name><difficult>{difficult}</difficult><part><name>head</name>"
    "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    "<bndbox><xmin>11</xmin><ymin>21</ymin><xmax>30</xmax><ymax>{bottom}</ymax></bndbox></object>"
)
LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))


def annotation(name: str = "nut", difficult: int = 0, bottom: object = 40) -> str:
    return (
        "<annotation><filename>a.jpg</filename>"
        f"{OBJECT.format(name=name, difficult=difficult, bottom=bottom)}</annotation>"
    )


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Two images of 64 x 48, one a split; the second has a difficult bolt."""
    root = tmp_path / "VOC"
    for number, stem in enumerate("ab"):
        rough = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        image = cv2.resize(rough, (64, 48), interpolation=cv2.INTER_CUBIC)
        (root / "JPEGImages").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / f"JPEGImages/{stem}.jpg"), image)
    write(root / "Annotations/a.xml", annotation())
    write(root / "Annotations/b.xml", annotation("bolt", 1))
    write(root / "ImageSets/Main/train.txt", "a  1\n")
    write(root / "ImageSets/Main/val.txt", "b -1\n\n")
    return root


def test_corners_become_left_top_and_sides(tmp_path: Path) -> None:
    """From 0: 30 - 11 = 19 wide, 40 - 21 = 19 high. From 1: the first pixel is 10, 20 of each."""
    path = write(tmp_path / "a.xml", annotation())
    assert read_xml(path) == (["nut"], [(11, 21, 19, 19)], [False])
    assert read_xml(path, one_based=True).boxes == [(10, 20, 20, 20)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"<!DOCTYPE a [<!ENTITY l0 'ha'>{LAUGHS}]><annotation>&l9;</annotation>", "has a DOCTYPE"),
        ("<!DOCTYPE a [<!ENTITY x SYSTEM 'a.txt'>]><annotation>&x;</annotation>", "has a DOCTYPE"),
        ("<!DOCTYPE a SYSTEM 'http://localhost/a.dtd'><annotation/>", "has a DOCTYPE"),
        ("<annotation>&x;</annotation>", "not XML (undefined entity"),
        ("<annotation>", "not XML ("),
        ("", "not XML ("),
        ("<html/>", "its first tag must be <annotation>"),
        ("<annotation><filename>../../x.jpg</filename></annotation>", "leads out of the image"),
        ("<annotation><filename>..\\x.jpg</filename></annotation>", "leads out of the image"),
        ("<annotation><object/></annotation>", "object 0: has no name"),
        (annotation(bottom="nan"), "object 0: bndbox is ['11', '21', '30', 'nan']"),
        (annotation(bottom="x"), "it needs numbers xmin, ymin, xmax, ymax"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", text)
    with pytest.raises(ValueError, match=r"a\.xml: ") as error:
        read_xml(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_doctype_is_refused_in_any_encoding(tmp_path: Path) -> None:
    text = "<?xml version='1.0' encoding='utf-16'?><!DOCTYPE a [<!ENTITY x 'y'>]><annotation/>"
    (tmp_path / "a.xml").write_bytes(text.encode("utf-16"))
    with pytest.raises(ValueError, match="has a DOCTYPE"):
        read_xml(tmp_path / "a.xml")


def test_a_tree_of_great_depth_does_no_harm(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", "<annotation>" + "<a>" * 20_000)
    with pytest.raises(ValueError, match="not XML"):
        read_xml(path)


def test_voc_becomes_coco(voc: Path, run_tool: Run) -> None:
    """Difficult objects are crowds: neither trained on nor counted."""
    ran = run_tool("convert_dataset", "voc", voc)
    assert (ran.code, ran.err) == (0, "")
    content = {
        split: json.loads((voc / f"annotations/instances_{split}.json").read_text())
        for split in ("train", "val")
    }
    assert content["train"]["categories"] == [{"id": 1, "name": "bolt"}, {"id": 2, "name": "nut"}]
    assert content["train"]["images"] == [
        {"id": 1, "file_name": "a.jpg", "height": 48, "width": 64}
    ]
    (first,), (second,) = content["train"]["annotations"], content["val"]["annotations"]
    assert (first["bbox"], first["area"], first["category_id"]) == ([11, 21, 19, 19], 361, 2)
    assert (first["iscrowd"], second["iscrowd"], second["category_id"]) == (0, 1, 1)
    assert (voc / "train/a.jpg").samefile(voc / "JPEGImages/a.jpg")
    assert run_tool("convert_dataset", "voc", voc, "--force", "--one-based").code == 0
    content = json.loads((voc / "annotations/instances_train.json").read_text())
    assert content["annotations"][0]["bbox"] == [10, 20, 20, 20]


def test_without_lists_there_is_one_split(voc: Path, tmp_path: Path, run_tool: Run) -> None:
    for path in (voc / "ImageSets/Main").iterdir():
        path.unlink()
    ran = run_tool("convert_dataset", "voc", voc, "--out", tmp_path / "out")
    assert (ran.code, ran.err) == (0, "")
    assert "instances_all.json: 2 images, 2 boxes, 2 classes" in ran.out
    assert f"divide it with python tools/split_dataset.py {tmp_path / 'out'}" in ran.out


def test_names_that_lead_out_or_to_nothing(voc: Path) -> None:
    train = voc / "ImageSets/Main/train.txt"
    train.write_text("../../x\n")
    with pytest.raises(ValueError, match=r"split train: '../../x' must be a name inside"):
        read_splits(voc, None, one_based=False)
    train.write_text("c\n")
    with pytest.raises(FileNotFoundError, match="c: no such image, but split train has it"):
        read_splits(voc, None, one_based=False)
    train.write_text("a\n")
    with pytest.raises(ValueError, match="class 'bolt': nearest known: bolts"):
        read_splits(voc, ["nut", "bolts"], one_based=False)
    (voc / "Annotations/a.xml").unlink()
    with pytest.raises(FileNotFoundError, match=r"a\.xml: no such annotation"):
        read_splits(voc, None, one_based=False)
    with pytest.raises(FileNotFoundError, match="needs Annotations/ beside JPEGImages or images/"):
        read_splits(voc / "Annotations", None, one_based=False)
