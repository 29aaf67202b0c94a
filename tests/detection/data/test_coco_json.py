"""Reading COCO's json: what is kept, and one line for whatever is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection.data.coco_json import _without_polygons, boxes_of, load_records, locate, read_coco

Coco = dict[str, Any]


def coco() -> Coco:
    """Three images (one empty), categories out of order, a crowd, a box without area."""
    return {
        "info": {"year": 2017},
        "images": [
            {"id": 30, "file_name": "c.png", "width": 20, "height": 10},
            {"id": 10, "file_name": "sub/a.png", "width": 8, "height": 9},
            {"id": 20, "file_name": "ü.png", "width": 8, "height": 9},
        ],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [
            box(1, 10, 7, [1, 2, 3, 4]),
            box(2, 30, 3, [15, 5, 10, 2.5]),
            box(3, 10, 3, [0, 0, 8, 9], iscrowd=1),
            box(4, 30, 7, [2, 2, 0, 4]),
            box(5, 10, 3, [-1, 0.5, 4, 4]),
        ],
    }


def box(number: int, image: int, category: int, xywh: list[float], **more: object) -> Coco:
    record = {"id": number, "image_id": image, "category_id": category, "bbox": xywh, **more}
    return {"segmentation": [[1, 2, 3, 4, 5, 6]], "area": 1, **record}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[object], Path]:
    """Writes a json and returns its path."""

    def write(content: object) -> Path:
        path = tmp_path / "instances_train.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_boxes_are_grouped_by_image_and_cut_at_the_edge(write: Callable[[object], Path]) -> None:
    """xywh (15, 5, 10, 2.5) ends at x = 25 of 20; (-1, .5, 4, 4) starts left of its image."""
    data = read_coco(write(coco()))
    assert data.image_ids.tolist() == [30, 10, 20]
    assert data.sizes.tolist() == [[10, 20], [9, 8], [9, 8]]
    assert data.starts.tolist() == [0, 1, 3, 3]
    assert data.boxes.tolist() == [[15, 5, 20, 7.5], [1, 2, 4, 6], [0, 0.5, 3, 4.5]]
    assert data.boxes.dtype == np.float32


def test_labels_follow_the_order_of_category_ids(write: Callable[[object], Path]) -> None:
    data = read_coco(write(coco()))
    assert data.category_ids == (3, 7)
    assert data.classes == ("cat", "dog")
    assert data.labels.tolist() == [0, 1, 0]


def test_left_out_boxes_are_counted(write: Callable[[object], Path]) -> None:
    data = read_coco(write(coco()))
    assert (data.num_crowds, data.num_flat) == (1, 1)


def test_official_ids_and_boxes(real_dir: Path) -> None:
    """Numbers of the README: 111 images, 1038 annotations of which 14 crowds, 80 categories."""
    path = real_dir / "data/coco_mini/annotations/instances_val2017.json"
    data = read_coco(path)
    raw = json.loads(path.read_text())
    assert (len(data.image_ids), len(data.boxes), len(data.classes)) == (111, 1038 - 14, 80)
    assert data.category_ids[0] == 1
    assert data.category_ids[-1] == 90
    index = data.image_ids.tolist().index(139)
    mine = slice(data.starts[index], data.starts[index + 1])
    records = [a for a in raw["annotations"] if a["image_id"] == 139 and not a["iscrowd"]]
    x, y, width, height = np.array([a["bbox"] for a in records]).T
    np.testing.assert_allclose(data.boxes[mine], np.stack([x, y, x + width, y + height], 1))
    ids = np.array(data.category_ids)[data.labels[mine]]
    assert ids.tolist() == [a["category_id"] for a in records]


def put(*keys: str | int, value: object) -> Callable[[Coco], None]:
    """A change of the json at a path of keys."""

    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


def cut(*keys: str | int) -> Callable[[Coco], None]:
    """Removal of an entry at a path of keys."""

    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


WRONG = [
    (cut("images"), "not a COCO json, it has no list 'images'"),
    (put("annotations", value={}), "it has no list 'annotations'"),
    (cut("categories"), "it has no list 'categories'"),
    (cut("images", 1, "id"), r"images\[1\] has no 'id'"),
    (cut("images", 1, "width"), r"images\[1\] has no 'width'"),
    (cut("images", 2, "file_name"), r"images\[2\] has no 'file_name'"),
    (cut("annotations", 3, "image_id"), r"annotations\[3\] has no 'image_id'"),
    (cut("annotations", 0, "bbox"), r"annotations\[0\] has no 'bbox'"),
    (put("annotations", 2, value="x"), r"annotations\[2\] has no 'id'"),
    (put("images", 0, "id", value="30"), r"images\[0\]: id is '30', not an integer"),
    (put("images", 0, "id", value=2**70), r"images\[0\]: id is \d+, not an integer"),
    (put("images", 0, "id", value=10), "images: id 10 occurs more than once"),
    (put("annotations", 0, "id", value=5), "annotations: id 5 occurs more than once"),
    (
        put("categories", 1, "name", value="dog"),
        "categories 3 and 7 are both named 'dog'; rename one",
    ),
    (put("categories", 0, "id", value=3), "categories: id 3 occurs more than once"),
    (
        put("annotations", 1, "category_id", value=99),
        r"annotation 2 has category_id 99, which is not among its categories \(1 such",
    ),
    (
        put("annotations", 4, "image_id", value=99),
        r"annotation 5 has image_id 99, which is not among its images \(1 such annotations\)",
    ),
    (put("annotations", 0, "bbox", value=[1, 2, 3]), r"annotation 1: bbox is \[1, 2, 3\]; it must"),
    (put("annotations", 0, "bbox", value=[1, 2, float("nan"), 4]), "annotation 1: bbox is .*nan"),
    (put("annotations", 0, "bbox", value=[1, 2, -3, 4]), r"annotation 1: bbox is \[1, 2, -3, 4\]"),
    (put("annotations", 0, "bbox", value=[1, 2, "3", 4]), "annotation 1: bbox is"),
    (put("annotations", 0, "bbox", value=None), "annotation 1: bbox is None"),
    (put("images", 0, "file_name", value="../c.png"), r"image 30: file_name '\.\./c\.png' must be"),
    (put("images", 0, "file_name", value="a\\..\\..\\c.png"), "image 30: file_name .* must be"),
    (put("images", 0, "file_name", value="/etc/c.png"), "image 30: file_name '/etc/c.png' must be"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message for _, message in WRONG])
def test_what_is_wrong_is_said_in_one_line(
    write: Callable[[object], Path], change: Callable[[Coco], None], message: str
) -> None:
    content = coco()
    change(content)
    with pytest.raises(ValueError, match=rf"instances_train\.json: .*{message}") as error:
        read_coco(write(content))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "not json", '{"images": [}'])
def test_no_json(write: Callable[[object], Path], text: str) -> None:
    with pytest.raises(ValueError, match=r"instances_train\.json: not valid JSON \(") as error:
        read_coco(write(text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["[]", "3", "null"])
def test_json_but_not_coco(write: Callable[[object], Path], text: str) -> None:
    with pytest.raises(ValueError, match="not a COCO json"):
        read_coco(write(text))


def test_no_annotation_at_all_is_fine(write: Callable[[object], Path]) -> None:
    data = read_coco(write({**coco(), "annotations": []}))
    assert data.boxes.shape == (0, 4)
    assert data.starts.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("asked", "found"), [("train", "train2017"), ("val", "val"), ("val2017", "val2017")]
)
def test_split_finds_its_files(tmp_path: Path, asked: str, found: str) -> None:
    """Of val and val2017, "val" is the one named so; "train" falls back to train2017."""
    (tmp_path / "annotations").mkdir()
    for name in ("train2017", "val", "val2017"):
        (tmp_path / name).mkdir()
        (tmp_path / f"annotations/instances_{name}.json").write_text("{}")
    expected = (tmp_path / f"annotations/instances_{found}.json", tmp_path / found)
    assert locate(tmp_path, asked) == expected


def test_missing_data_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"instances_train\.json or .*no such file"
    ) as error:
        locate(tmp_path, "train")
    for part in ("train2017.zip", "annotations_trainval2017.zip", "make_mini_data.py"):
        assert part in str(error.value)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/instances_other.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="other: no such folder of images"):
        locate(tmp_path, "other")


def test_annotations_packed_while_parsing_are_those_of_dicts(real_dir: Path) -> None:
    """What is read in a seventh of the memory is what `boxes_of` makes of plain records."""
    path = real_dir / "data/coco_mini/annotations/instances_val2017.json"
    packed, plain = read_coco(path), boxes_of(path, load_records(path))
    for name, wanted in plain._asdict().items():
        assert np.array_equal(getattr(packed, name), wanted), name
    assert len(packed.boxes) > 100
    assert packed.boxes.dtype == plain.boxes.dtype == np.float32


@pytest.mark.parametrize("chunk", [1, 3, 13, 14, 15, 40, 1000])
def test_polygons_are_cut_out_wherever_a_chunk_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("detection.data.coco_json._CHUNK", chunk)
    one = '{"id": 1, "segmentation": [[1.5, 2, 3], [4, 5.25, 6]], "iscrowd": 0}'
    crowd = '{"segmentation": {"counts": [1, 2], "size": [3, 4]}, "id": 2}'
    path = tmp_path / "a.json"
    path.write_text(f'{{"annotations": [{one}, {crowd}, {one}], "name": "segmentation"}}')
    short = one.replace('"segmentation": [[1.5, 2, 3], [4, 5.25, 6]]', '"segmentation":0')
    wanted = f'{{"annotations": [{short}, {crowd}, {short}], "name": "segmentation"}}'
    assert _without_polygons(path).decode() == wanted
