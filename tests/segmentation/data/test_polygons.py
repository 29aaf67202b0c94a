"""Masks from polygons, by Cityscapes' own code."""

import json
import sys
from pathlib import Path

import pytest

from segmentation.classes import CLASSES
from segmentation.data.masks import read_mask
from segmentation.data.polygons import draw_masks

SQUARE = [[1, 1], [3, 1], [3, 2], [1, 2]]  # corners belong to it


def write(root: Path, objects: list[dict[str, object]]) -> Path:
    path = root / "gtFine/train/a/a_1_gtFine_polygons.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"imgWidth": 6, "imgHeight": 4, "objects": objects}))
    return path


def test_polygons_become_train_ids_once(tmp_path: Path) -> None:
    pytest.importorskip("cityscapesscripts")
    write(
        tmp_path,
        [
            {"label": "car", "polygon": SQUARE},
            {"label": "ego vehicle", "polygon": [[5, 0], [5, 3]]},
            {"label": "license plate", "polygon": SQUARE},
        ],
    )
    ((mask, drawn),) = draw_masks(tmp_path)
    assert drawn
    expected = [[255] * 6, [255, 13, 13, 13, 255, 255], [255, 13, 13, 13, 255, 255], [255] * 6]
    assert read_mask(mask, CLASSES).tolist() == expected
    assert list(draw_masks(tmp_path)) == [(mask, False)]
    assert list(draw_masks(tmp_path, force=True)) == [(mask, True)]


HUGE = '{"imgWidth": 100000, "imgHeight": 100000, "objects": []}'


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"objects": []}', "needs imgHeight"),
        ("[]", "needs imgHeight"),
        (HUGE, "100000 x 100000 pixels are more"),
        ('{"imgWidth": 6, "imgHeight": 4, "objects": [1]}', "polygons that cannot"),
    ],
)
def test_damaged_polygons_are_named_and_leave_no_mask(
    tmp_path: Path, content: str, why: str
) -> None:
    pytest.importorskip("cityscapesscripts")
    path = write(tmp_path, [])
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"a_1_gtFine_polygons\.json: {why}"):
        list(draw_masks(tmp_path))
    assert list(path.parent.iterdir()) == [path]


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="give the folder that holds gtFine/"):
        list(draw_masks(tmp_path))
    write(tmp_path, [])
    monkeypatch.setitem(sys.modules, "cityscapesscripts.preparation.json2labelImg", None)
    with pytest.raises(ValueError, match=r"cityscapesscripts is not .*lcnet-vision\[cityscapes\]"):
        list(draw_masks(tmp_path))
