"""Finding and reading masks, and the errors that say what is wrong with them."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from segmentation.classes import CLASSES
from segmentation.data.masks import (
    find_pairs,
    match_predictions,
    read_classes,
    read_mask,
    to_label_ids,
)


def save(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), array)
    return path


def grid(*values: int, dtype: type = np.uint8) -> np.ndarray:
    return np.array([values], dtype)


def test_train_ids_are_taken_as_they_are(tmp_path: Path) -> None:
    path = save(tmp_path / "a_gtFine_labelTrainIds.png", grid(0, 18, 255))
    assert read_mask(path, CLASSES).tolist() == [[0, 18, 255]]


def test_label_ids_are_mapped(tmp_path: Path) -> None:
    path = save(tmp_path / "a_gtFine_labelIds.png", grid(7, 33, 0, 26, 15))
    mask = read_mask(path, CLASSES)
    assert mask.tolist() == [[0, 18, 255, 13, 255]]
    assert to_label_ids(mask).tolist() == [[7, 33, 0, 26, 0]]


@pytest.mark.parametrize(
    ("array", "num_classes", "message"),
    [
        (grid(7, 26, 33, 0), 19, "values 26, 33 .* label ids taken for train ids"),
        (grid(1, 2, 3), 3, "value.* 3 .*counted from 1"),
        (grid(0, 76, 150), 3, "a grey copy of a mask of colours"),
        (grid(0, 1, 2, 3, 4), 3, "give classes.txt a line for each class"),
        (grid(0, 300, dtype=np.uint16), 3, "16 bits a value; masks have 8"),
        (np.zeros((2, 2, 3), np.uint8), 3, "3 channels .* all the same: an RGB PNG"),
        (np.arange(12, dtype=np.uint8).reshape(2, 2, 3), 3, "a mask of colours"),
        (np.zeros((2, 2, 4), np.uint8), 3, "4 channels"),
    ],
)
def test_a_mask_that_is_none_is_named_with_the_likely_cause(
    tmp_path: Path, array: np.ndarray, num_classes: int, message: str
) -> None:
    path = save(tmp_path / "a_gtFine_labelTrainIds.png", array)
    with pytest.raises(ValueError, match=message) as error:
        read_mask(path, CLASSES[:num_classes])
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_label_ids_need_the_classes_of_cityscapes(tmp_path: Path) -> None:
    path = save(tmp_path / "a_gtFine_labelIds.png", grid(0))
    with pytest.raises(ValueError, match="the data has 3 other classes"):
        read_mask(path, "abc")
    with pytest.raises(ValueError, match="values 34, 200"):
        read_mask(save(path, grid(200, 34)), CLASSES)


def test_damaged_and_missing_masks_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    with pytest.raises(FileNotFoundError, match=r"a\.png: no such mask"):
        read_mask(path, "abc")
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ValueError, match=r"not a PNG .*8 bytes"):
        read_mask(path, "abc")
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"not a PNG .*0 bytes"):
        read_mask(path, "abc")


def test_pairs_are_found_in_cities_and_sorted(write_split) -> None:
    root = write_split({"b/b_1": grid(0), "a/a_2": grid(0)})
    write_split({"a/a_1": grid(0)}, kind="labelIds")
    pairs = find_pairs(root, "train")
    assert [pair.name for pair in pairs] == ["a_1", "a_2", "b_1"]
    assert [pair.mask.name for pair in pairs] == [
        "a_1_gtFine_labelIds.png",
        "a_2_gtFine_labelTrainIds.png",
        "b_1_gtFine_labelTrainIds.png",
    ]


def test_what_is_missing_is_named(write_split, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"leftImg8bit/train: no such folder"):
        find_pairs(tmp_path, "train")
    root = write_split({"a/a_1": grid(0)})
    with pytest.raises(FileNotFoundError, match=r"leftImg8bit/val: .* splits here: train"):
        find_pairs(root, "val")
    mask = next((root / "gtFine").rglob("*.png"))
    mask.unlink()
    with pytest.raises(FileNotFoundError, match=r"a_1_gtFine_labelTrainIds\.png: no such mask"):
        find_pairs(root, "train")
    mask.with_name("a_1_gtFine_polygons.json").touch()
    with pytest.raises(FileNotFoundError, match=r"convert_dataset\.py cityscapes"):
        find_pairs(root, "train")
    next((root / "leftImg8bit").rglob("*.png")).unlink()
    with pytest.raises(FileNotFoundError, match="no image there"):
        find_pairs(root, "train")


def test_one_name_twice_is_refused(write_split) -> None:
    root = write_split({"a/x": grid(0), "b/x": grid(0)})
    with pytest.raises(ValueError, match="another image has the name x too"):
        find_pairs(root, "train")


def test_classes_come_from_the_file_or_are_those_of_cityscapes(tmp_path: Path) -> None:
    assert read_classes(tmp_path) == CLASSES
    file = tmp_path / "classes.txt"
    file.write_text("ground\n dog \n\n")
    assert read_classes(tmp_path) == ("ground", "dog")
    file.write_text("dog\ndog\n")
    with pytest.raises(ValueError, match="2 names, 1 of them different"):
        read_classes(tmp_path)


def test_predictions_are_matched_by_name(tmp_path: Path) -> None:
    truth, found = tmp_path / "gt", tmp_path / "pred"
    first = save(truth / "a/a_1_gtFine_labelTrainIds.png", grid(0))
    second = save(truth / "a/a_10_gtFine_labelTrainIds.png", grid(0))
    save(truth / "a/a_1_gtFine_labelIds.png", grid(0))
    own = [save(found / "a_1.png", grid(0)), save(found / "deep/a_10_leftImg8bit.png", grid(0))]
    assert set(match_predictions(truth, found)) == {(first, own[0]), (second, own[1])}
    own[0].unlink()
    with pytest.raises(FileNotFoundError, match=r"a_1\.png: no prediction"):
        list(match_predictions(truth, found))
    save(found / "a_1_x.png", grid(0))
    save(found / "a_1_y.png", grid(0))
    with pytest.raises(ValueError, match="several predictions"):
        list(match_predictions(truth, found))
    with pytest.raises(FileNotFoundError, match="no mask there"):
        list(match_predictions(tmp_path / "none", found))


@pytest.mark.parametrize("mode", ["1", "L;4", "L;2"])
def test_masks_of_fewer_bits_are_refused_because_opencv_scales_them(
    tmp_path: Path, mode: str
) -> None:
    depth = {"1": 1, "L;4": 4, "L;2": 2}[mode]
    row = 0b01100000 if depth == 1 else 0b01010000
    header = struct.pack(">IIBBBBB", 2, 1, depth, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes([0, row]))), (b"IEND", b"")]
    path = tmp_path / "a_gtFine_labelTrainIds.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )
    with pytest.raises(ValueError, match=f"{depth} bits a value; masks have 8"):
        read_mask(path, "abc")


def test_a_mask_that_claims_to_be_huge_is_not_decoded(tmp_path: Path) -> None:
    path = save(tmp_path / "a_gtFine_labelTrainIds.png", grid(0, 1))
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="60000 x 60000 pixels are more than the limit"):
        read_mask(path, "ab")


def test_names_may_begin_with_a_byte_order_mark_but_not_skip_a_line(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_text("road\nsky\n", encoding="utf-8-sig")
    assert read_classes(tmp_path) == ("road", "sky")
    path.write_text("road\n\nsky\n")
    with pytest.raises(ValueError, match="line i must name"):
        read_classes(tmp_path)
    path.write_bytes("straße\nsky".encode("latin-1"))
    with pytest.raises(ValueError, match=r"classes.txt: is not UTF-8"):
        read_classes(tmp_path)


def test_truth_may_mix_train_ids_and_label_ids(tmp_path: Path) -> None:
    truth, found = tmp_path / "truth", tmp_path / "found"
    for name in ("a_gtFine_labelTrainIds", "b_gtFine_labelIds", "a_gtFine_labelIds"):
        save(truth / f"{name}.png", grid(0))
    for name in "ab":
        save(found / f"{name}.png", grid(0))
    names = [mask.name for mask, _ in match_predictions(truth, found)]
    assert names == ["a_gtFine_labelTrainIds.png", "b_gtFine_labelIds.png"]
    save(truth / "city" / "a_gtFine_labelTrainIds.png", grid(0))
    with pytest.raises(ValueError, match="another mask has this name too"):
        list(match_predictions(truth, found))
