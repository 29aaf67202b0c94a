"""Seeded faults in COCO data: each is found by its rule, none is invented, and --fix repairs."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from detection.data.checks import CheckedCoco, check, check_entries, splits_of
from detection.data.dataset import CocoDetection
from detection.data.fix import cut, repair
from engine.checks.parallel import spread
from engine.findings import Finding, exit_code

Json = dict[str, list[dict[str, Any]]]
Change = Callable[[Json], object]
SIZE = (320, 320)


def picture(number: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A blotchy picture (H, W, 3), another for every number."""
    rough = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)


def write(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Four training and two validation images of 64 x 48, two boxes each, nothing wrong."""
    root = tmp_path / "data"
    for split, numbers in (("train", range(1, 5)), ("val", range(5, 7))):
        images, annotations = [], []
        for number in numbers:
            write(root / split / f"{number}.jpg", picture(number))
            images.append({"id": number, "file_name": f"{number}.jpg", "height": 48, "width": 64})
            for place in range(2):
                x, y, w, h = 4 + number + 20 * place, 6 + number, 18.5, 16
                annotations.append(
                    {"id": 2 * number + place, "image_id": number, "category_id": 1 + place,
                     "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
                )  # fmt: skip
        content = {
            "info": {"kept": "yes"},
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "nut"}, {"id": 2, "name": "bolt"}],
        }
        (root / "annotations").mkdir(exist_ok=True)
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))
    return root


def change(root: Path, edit: Change, split: str = "train") -> None:
    """Rewrite a json after `edit`."""
    path = root / f"annotations/instances_{split}.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def look(root: Path) -> CheckedCoco:
    return check(root, spread, SIZE)


def broken(findings: list[Finding]) -> set[str]:
    """Names of the rules that errors and warnings break."""
    return {found.rule.name for found in findings if found.rule.severity != "note"}


def notes(findings: list[Finding]) -> set[str]:
    return {found.rule.name for found in findings if found.rule.severity == "note"}


def test_clean_data_has_no_finding(coco: Path) -> None:
    assert look(coco).findings == []


def bbox(*numbers: object) -> Change:
    return lambda content: content["annotations"][0].update(bbox=list(numbers))


def annotation(**changes: object) -> Change:
    return lambda content: content["annotations"][0].update(changes)


def image(**changes: object) -> Change:
    return lambda content: content["images"][0].update(changes)


def add(section: str, **changes: object) -> Change:
    """A copy of the first entry of a list, with changes."""
    return lambda content: content[section].append({**content[section][0], **changes})


ENTRIES: list[tuple[str, Change, str]] = [
    ("box-malformed", bbox(1, 2, 3), "annotation 2"),
    ("box-malformed", bbox(1, 2, "3", 4), "annotation 2"),
    ("box-malformed", annotation(bbox=None), "annotation 2"),
    ("box-not-finite", bbox(1, math.nan, 3, 4), "annotation 2"),
    ("box-not-finite", bbox(1, 2, math.inf, 4), "annotation 2"),
    ("box-not-finite", bbox(1, 2, 10**400, 4), "annotation 2"),
    ("box-inverted", bbox(30, 30, -10, -5), "annotation 2"),
    ("box-without-area", bbox(5, 5, 0, 9), "annotation 2"),
    ("box-as-fraction", bbox(0.1, 0.2, 0.5, 0.25), "annotation 2"),
    ("box-as-corners", bbox(40, 30, 60, 45), "annotation 2"),
    ("box-outside", bbox(70, 5, 9, 9), "annotation 2"),
    ("box-outside", bbox(-20, 5, 9, 9), "annotation 2"),
    ("box-beyond-border", bbox(50, 5, 16, 9), "annotation 2"),
    ("box-beyond-border", bbox(-3, 5, 16, 9), "annotation 2"),
    ("box-twice", add("annotations", id=99), "annotation 99"),
    ("annotation-without-image", annotation(image_id=77), "annotation 2"),
    ("category-unknown", annotation(category_id=9), "annotation 2"),
    ("crowd-invalid", annotation(iscrowd=2), "annotation 2"),
    ("record-incomplete", lambda c: c["annotations"][0].pop("bbox"), "annotations[0]"),
    ("record-incomplete", annotation(image_id="1"), "annotations[0]"),
    ("record-incomplete", lambda c: c["images"].append({"id": 50}), "images[4]"),
    ("id-twice", annotation(id=5), "annotations id 5"),
    ("id-twice", add("categories", name="cup"), "categories id 1"),
    ("id-twice", add("images"), "images id 1"),
    ("image-listed-twice", add("images", id=50), "image 50"),
    ("path-outside", add("images", id=50, file_name="../../x"), "image 50"),
    ("path-outside", add("images", id=50, file_name=3), "image 50"),
    ("image-missing", add("images", id=50, file_name="x.jpg"), "image 50"),
    ("image-size-invalid", image(height=0), "image 1"),
    ("category-name-twice", add("categories", id=3), "category 3"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "edit", "where"), ENTRIES)
def test_a_fault_of_an_entry_is_found_without_images(
    rule: str, edit: Change, where: str, coco: Path
) -> None:
    change(coco, edit)
    if where.startswith("category "):
        change(coco, edit, "val")
    findings = check_entries(coco, ["train"]).findings
    assert broken(findings) == {rule}
    (found,) = (one for one in findings if one.rule.name == rule)
    assert found.id == where
    assert found.file.name in ("instances_train.json", "x.jpg")
    assert found.rule.remedy
    assert exit_code(findings) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "not valid JSON"), ("[]", "it has no list 'images'"), ("[" * 100000, "")],
    ids=["empty", "list", "deep"],
)
def test_a_json_that_is_none(text: str, said: str, coco: Path) -> None:
    (coco / "annotations/instances_train.json").write_text(text)
    (found,) = check_entries(coco, ["train"]).findings
    assert found.rule.name == "json-unreadable"
    assert said in found.text


def test_splits_of_other_categories(coco: Path) -> None:
    change(coco, lambda c: c["categories"][1].update(name="screw"), "val")
    (found,) = check_entries(coco, ["train", "val"]).findings
    assert (found.rule.name, found.file.name) == ("categories-differ", "instances_val.json")
    assert "bolt, screw" in found.text


def test_notes_are_facts(coco: Path) -> None:
    def edit(content: Json) -> None:
        content["annotations"][0]["iscrowd"] = 1
        content["annotations"] = content["annotations"][:6]
        content["categories"] = [{"id": 1, "name": "nut"}, {"id": 90, "name": "cup"},
                                 {"id": 2, "name": "bolt"}]  # fmt: skip

    change(coco, edit)
    change(coco, lambda c: c["categories"].insert(1, {"id": 90, "name": "cup"}), "val")
    write(coco / "train/extra.png", picture(20))
    findings = look(coco).findings
    assert broken(findings) == set()
    assert notes(findings) == {
        "crowd", "image-without-annotation", "category-ids-sparse", "class-unused",
        "image-not-listed",
    }  # fmt: skip
    assert exit_code(findings) == 0
    assert exit_code(findings, strict=True) == 1


def test_tiny_objects_at_the_training_size(coco: Path) -> None:
    """18.5 pixels of 64 are 5.8 of 20 across, and 16 of 48 are 3.3 of 10 down: below 4."""
    findings = check(coco, spread, (10, 20)).findings
    assert [found.rule.name for found in findings] == ["tiny-objects"] * 4
    assert "4 of 4 boxes have a side below 4 pixels at 20 x 10" in findings[0].text


def test_imbalance_names_both_ends(coco: Path) -> None:
    def edit(content: Json) -> None:
        first = content["annotations"][0]
        more = [{**first, "id": 100 + n, "bbox": [n % 9, n // 9, 9, 9]} for n in range(80)]
        content["annotations"] += more

    change(coco, edit)
    (found,) = look(coco).findings
    assert (found.rule.name, found.id) == ("class-imbalance", "class bolt")
    assert found.text == "4 annotations, but 84 of nut: 1 to 21"


def test_a_file_of_corners_is_converted_whole(coco: Path, tmp_path: Path) -> None:
    """Far boxes stick out; near ones do not, but where all fit as corners all of them are."""

    def edit(content: Json) -> None:
        first = content["annotations"][0]
        content["annotations"] = [
            {**first, "id": n, "bbox": [n, n, n + 20, n + 15]} for n in range(1, 31)
        ]

    change(coco, edit)
    checked = look(coco)
    assert [one.rule.name for one in checked.findings if one.rule.severity != "note"] == [
        "box-as-corners"
    ] * 30
    repair(coco, tmp_path / "out", checked)
    content = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    assert [record["bbox"] for record in content["annotations"]] == [
        [n, n, 20, 15] for n in range(1, 31)
    ]


# Faults of images.


def save(root: Path, content: bytes) -> None:
    (root / "train/1.jpg").write_bytes(content)


def encoded(kind: str, mode: str = "RGB", number: int = 1, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture(number)[..., ::-1]).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded("JPEG", exif=exif)


def deep() -> bytes:
    return cv2.imencode(".png", picture(1).astype(np.uint16) * 257)[1].tobytes()


def huge() -> bytes:
    png = bytearray(encoded("PNG"))
    png[16:24] = (65500).to_bytes(4, "big") * 2
    return bytes(png)


IMAGES: list[tuple[set[str], Callable[[], bytes]]] = [
    ({"file-empty"}, lambda: b""),
    ({"file-unreadable"}, lambda: b"<html>404 not found</html>" * 20),
    ({"file-truncated"}, lambda: encoded("JPEG")[:700]),
    ({"file-truncated", "wrong-suffix"}, lambda: encoded("PNG")[:900]),
    ({"image-huge"}, huge),
    ({"wrong-suffix"}, lambda: encoded("PNG")),
    ({"exif-rotated"}, rotated),
    ({"cmyk"}, lambda: encoded("JPEG", "CMYK")),
    ({"bits-16", "wrong-suffix"}, deep),
    ({"size-unlike-json"}, lambda: encoded_at(96, 128)),
    ({"size-unlike-json"}, lambda: encoded_at(50, 50)),
    ({"identical-across-splits"}, lambda: cv2.imencode(".jpg", picture(5))[1].tobytes()),
    ({"identical-across-splits"}, lambda: encoded("JPEG", number=5, quality=80)),
    ({"identical-in-split"}, lambda: cv2.imencode(".jpg", picture(2))[1].tobytes()),
]  # fmt: skip


def encoded_at(height: int, width: int) -> bytes:
    return cv2.imencode(".jpg", picture(1, height, width))[1].tobytes()


@pytest.mark.parametrize(("rules", "content"), IMAGES)
def test_a_fault_of_an_image_is_found(
    rules: set[str], content: Callable[[], bytes], coco: Path
) -> None:
    save(coco, content())
    findings = look(coco).findings
    assert broken(findings) == rules
    assert {one.file.name for one in findings if one.rule.severity != "note"} <= {"1.jpg", "2.jpg"}


def test_a_picture_that_looks_alike_is_a_note(coco: Path) -> None:
    brighter = np.clip(picture(5).astype(int) + 5, 0, 255).astype(np.uint8)
    save(coco, cv2.imencode(".jpg", brighter)[1].tobytes())
    (found,) = look(coco).findings
    assert (found.rule.name, found.file.name) == ("near-across-splits", "1.jpg")
    assert "val/5.jpg" in found.text


def test_a_file_in_the_json_of_two_splits(coco: Path) -> None:
    """Two jsons may share a folder, but not an image."""
    (coco / "train").rename(coco / "all")
    for path in (coco / "val").iterdir():
        path.rename(coco / "all" / path.name)
    (coco / "val").rmdir()
    for split in ("train", "val"):
        (coco / split).symlink_to(coco / "all", target_is_directory=True)
    assert look(coco).findings == []
    change(coco, image(file_name="5.jpg"))
    assert broken(look(coco).findings) == {"identical-across-splits"}


def test_a_missing_folder(coco: Path) -> None:
    (coco / "val").rename(coco / "other")
    (found,) = look(coco).findings
    assert (found.rule.name, found.file.name) == ("image-folder-missing", "val")
    assert splits_of(coco) == ["train", "val"]


def test_a_folder_called_as_an_image_and_data_beyond_repair(coco: Path, tmp_path: Path) -> None:
    (coco / "train/1.jpg").unlink()
    (coco / "train/1.jpg").mkdir()
    (found,) = look(coco).findings
    assert (found.rule.name, found.file.name) == ("image-missing", "1.jpg")
    for split in ("train", "val"):
        (coco / f"annotations/instances_{split}.json").write_text("")
    with pytest.raises(ValueError, match="no json can be read"):
        repair(coco, tmp_path / "out", look(coco))


def test_a_folder_of_other_things(coco: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"instances_train\.json"):
        look(coco / "annotations")


# Repairs.


@pytest.mark.parametrize(
    ("box", "wanted"),
    [
        ([-4, 40, 10, 20], [0, 40, 6, 8]),
        ([60, 10, 10, 5], [60, 10, 4, 5]),
        ([64, 10, 10, 5], None),
        ([3, 4, 0, 5], None),
    ],
)
def test_cut(box: list[float], wanted: list[float] | None) -> None:
    assert cut(box, (48, 64)) == wanted


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([30, 30, -10, -5], [20, 25, 10, 5]),
        ([0.25, 0.5, 0.5, 0.25], [16, 24, 32, 12]),
        ([40, 30, 60, 45], [40, 30, 20, 15]),
        ([50, 5, 16, 9], [50, 5, 14, 9]),
        ([1, math.nan, 3, 4], None),
    ],
)
def test_repaired_boxes(
    old: list[float], new: list[float] | None, coco: Path, tmp_path: Path
) -> None:
    change(coco, annotation(bbox=old, segmentation=[[1, 2, 3, 4, 5, 6]]))
    repair(coco, tmp_path / "out", look(coco))
    content = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    found = {record["id"]: record for record in content["annotations"]}
    if new is None:
        assert 2 not in found
    else:
        assert found[2]["bbox"] == new
        assert found[2]["area"] == new[2] * new[3]
        assert "segmentation" not in found[2]
    assert content["info"] == {"kept": "yes"}
    assert len(content["annotations"]) == 8 - (new is None)


def test_boxes_follow_an_image_that_was_scaled(coco: Path, tmp_path: Path) -> None:
    """The file is twice as large as the json says: so are the boxes, 5 11 18.5 16 doubled."""
    save(coco, encoded_at(96, 128))
    repair(coco, tmp_path / "out", look(coco))
    content = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    assert (content["images"][0]["height"], content["images"][0]["width"]) == (96, 128)
    assert content["annotations"][0]["bbox"] == [10, 14, 37, 32]


def test_a_copy_of_many_faults_is_clean_and_the_source_untouched(
    coco: Path, tmp_path: Path
) -> None:
    def edit(content: Json) -> None:
        records = content["annotations"]
        first = content["images"][0]
        content["images"] += [
            {**first, "id": 50},
            {**first, "id": 51, "file_name": "../x.jpg"},
            {**first, "id": 52, "file_name": "none.jpg"},
            {"id": 53},
        ]
        records += [
            {**records[0], "id": 60, "image_id": 50, "bbox": [1, 1, 5, 5]},
            {**records[0], "id": 61, "image_id": 51},
            {**records[0], "id": 3},
            {**records[0], "id": 62, "category_id": 12},
            {**records[0], "id": 63, "bbox": [-5, -5, 20, 20], "iscrowd": True},
            {**records[0], "id": 64, "bbox": [900, 900, 3, 3]},
        ]

    change(coco, edit)
    (coco / "train/2.jpg").write_bytes(rotated())
    (coco / "train/3.jpg").write_bytes(b"")
    (coco / "train/4.jpg").write_bytes((coco / "val/5.jpg").read_bytes())
    before = {path: path.read_bytes() for path in coco.rglob("*") if path.is_file()}
    repair(coco, tmp_path / "out", look(coco))
    assert {path: path.read_bytes() for path in coco.rglob("*") if path.is_file()} == before
    assert broken(look(tmp_path / "out").findings) == set()
    content = json.loads((tmp_path / "out/annotations/instances_train.json").read_text())
    assert [record["id"] for record in content["images"]] == [1, 2]
    assert {r["id"]: r["image_id"] for r in content["annotations"]} == {
        2: 1, 3: 1, 4: 2, 5: 2, 60: 1, 63: 1,
    }  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out/train").iterdir()) == ["1.jpg", "2.jpg"]
    with pytest.raises(ValueError, match="exists and is not empty"):
        repair(coco, tmp_path / "out", look(coco))
    with pytest.raises(ValueError, match=r"is inside the data"):
        repair(coco, coco / "out", look(coco))
    assert not list(tmp_path.glob(".*.part"))


def test_a_rotated_image_is_saved_as_the_boxes_see_it(coco: Path, tmp_path: Path) -> None:
    """Orientation 6 turns 64 x 48 into 48 x 64; the json decides which of them is meant."""
    save(coco, rotated())
    repair(coco, tmp_path / "stored", look(coco))
    assert cv2.imread(str(tmp_path / "stored/train/1.jpg")).shape == (48, 64, 3)
    change(coco, image(height=64, width=48))
    repair(coco, tmp_path / "turned", look(coco))
    assert cv2.imread(str(tmp_path / "turned/train/1.jpg")).shape == (64, 48, 3)
    assert broken(look(tmp_path / "turned").findings) == set()


@pytest.mark.slow
def test_the_real_sets_are_clean(real_dir: Path) -> None:
    for name in ("coco_mini", "bccd_coco", "coco_person"):
        checked = check_entries(real_dir / "data" / name, splits_of(real_dir / "data" / name))
        assert broken(checked.findings) == set(), name
    mini = check_entries(real_dir / "data/coco_mini", ["train", "val"]).findings
    assert sum(found.rule.name == "crowd" for found in mini) == 8 + 14


@pytest.mark.slow
@pytest.mark.parametrize("name", ["coco_mini", "bccd_coco", "coco_person"])
def test_images_of_the_real_sets_are_clean(name: str, real_dir: Path) -> None:
    findings = look(real_dir / "data" / name).findings
    assert broken(findings) == set()
    near = [found.file.name for found in findings if found.rule.name == "near-across-splits"]
    assert near == (["BloodImage_00038.jpg"] if name == "bccd_coco" else [])


def test_a_link_out_of_the_data_is_found_and_not_copied(coco: Path, tmp_path: Path) -> None:
    linked = coco / "train/2.jpg"
    linked.rename(tmp_path / "private.jpg")
    linked.symlink_to(tmp_path / "private.jpg")
    checked = look(coco)
    assert broken(checked.findings) == {"file-outside"}
    repair(coco, tmp_path / "out", checked)
    assert {path.name for path in (tmp_path / "out/train").iterdir()} == {"1.jpg", "3.jpg", "4.jpg"}
    with pytest.raises(ValueError, match=r"train/2\.jpg: leads out of the data folder"):
        CocoDetection(coco, training=True)
