"""Seeded faults in masks and their layout: each is found by its rule, none is invented."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from engine.checks.parallel import spread
from engine.findings import Finding, exit_code
from segmentation.classes import LABELS
from segmentation.data.checks import CheckedMasks, check, check_entries, splits_of
from segmentation.data.fix import from_colours, repair, values_of
from segmentation.data.masks import find_pairs, read_mask

SHAPE = (24, 32)
MASK, IMAGE = "1_gtFine_labelTrainIds.png", "1_leftImg8bit.png"


def picture(number: int) -> np.ndarray:
    """A blotchy picture (H, W, 3), another for every number."""
    rough = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(rough, SHAPE[::-1], interpolation=cv2.INTER_CUBIC)


def mask(number: int = 0) -> np.ndarray:
    """Stripes of the classes 0 to 2 and of 255."""
    values = np.array([0, 1, 2, 255], np.uint8)[np.arange(SHAPE[1]) // 8]
    return np.roll(np.tile(values, (SHAPE[0], 1)), number, axis=1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three training and one validation pair of three classes, nothing wrong."""
    root = tmp_path / "data"
    for split, numbers in (("train", (1, 2, 3)), ("val", (4,))):
        for number in numbers:
            image, truth = image_of(root, number, split), mask_of(root, number, split)
            image.parent.mkdir(parents=True, exist_ok=True)
            truth.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(image), picture(number))
            cv2.imwrite(str(truth), mask(number))
    (root / "classes.txt").write_text("ground\nnut\nbolt\n")
    return root


def image_of(root: Path, number: int = 1, split: str = "train") -> Path:
    return root / f"leftImg8bit/{split}/hall/{number}_leftImg8bit.png"


def mask_of(root: Path, number: int = 1, split: str = "train") -> Path:
    return root / f"gtFine/{split}/hall/{number}_gtFine_labelTrainIds.png"


def look(root: Path) -> CheckedMasks:
    return check(root, spread)


def broken(findings: list[Finding]) -> set[str]:
    """Names of the rules that errors and warnings break."""
    return {found.rule.name for found in findings if found.rule.severity != "note"}


def test_clean_data_has_no_finding(data: Path) -> None:
    assert look(data).findings == []
    assert splits_of(data) == ["train", "val"]


def stored(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    """Writes the first mask changed."""
    return lambda root: cv2.imwrite(str(mask_of(root)), change(mask(1)))


def as_palette(root: Path) -> None:
    grey = Image.fromarray(mask(1))
    grey.putpalette([50, 60, 70, 200, 0, 0, 0, 200, 0] + [7] * 759)
    grey.save(mask_of(root))


def with_bits(root: Path) -> None:
    """Grey of 2 bits, four pixels a byte; not every Pillow writes that."""
    values = np.minimum(mask(1), 3)
    height, width = values.shape
    fours = np.pad(values, ((0, 0), (0, -width % 4))).reshape(height, -1, 4)
    rows = (fours << [6, 4, 2, 0]).sum(-1).astype(np.uint8)  # (H, W / 4)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", width, height, 2, 0, 0, 0, 0)
    chunks = [b"IHDR" + header, b"IDAT" + pixels, b"IEND"]
    parts = (struct.pack(">I", len(x) - 4) + x + struct.pack(">I", zlib.crc32(x)) for x in chunks)
    mask_of(root).write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def cut_short(path: Callable[..., Path]) -> Callable[[Path], object]:
    def cut(root: Path) -> None:
        content = path(root).read_bytes()
        path(root).write_bytes(content[: len(content) * 2 // 3])

    return cut


def label_ids(root: Path) -> None:
    (root / "classes.txt").unlink()
    cv2.imwrite(str(mask_of(root)), np.where(mask(1) == 255, 0, mask(1) + 24).astype(np.uint8))


def orphan(root: Path) -> None:
    cv2.imwrite(str(mask_of(root, 9)), mask(9))


def same_name(root: Path) -> None:
    cv2.imwrite(str(image_of(root).with_suffix(".jpg")), picture(8))


FAULTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("mask-off-by-one", stored(lambda m: np.where(m < 3, m + 1, m)), MASK),
    ("mask-values", stored(lambda m: np.where(m == 2, 5, m)), MASK),
    ("mask-colours", stored(lambda m: np.where(m < 3, m * 70 + 30, m)), MASK),
    ("mask-colours", stored(lambda m: np.dstack([m, m // 2, m])), MASK),
    ("mask-channels", stored(lambda m: np.dstack([m] * 3)), MASK),
    ("mask-bits", stored(lambda m: m.astype(np.uint16)), MASK),
    ("mask-bits", with_bits, MASK),
    ("mask-palette", as_palette, MASK),
    ("mask-label-ids", label_ids, MASK),
    ("mask-size", stored(lambda m: m[:20]), MASK),
    ("mask-unreadable", lambda root: mask_of(root).write_bytes(b"none"), MASK),
    ("mask-unreadable", lambda root: mask_of(root).write_bytes(b""), MASK),
    ("mask-truncated", cut_short(mask_of), MASK),
    ("mask-missing", lambda root: mask_of(root).unlink(), IMAGE),
    ("mask-without-image", orphan, "9_gtFine_labelTrainIds.png"),
    ("image-name-twice", same_name, IMAGE),
    ("file-truncated", cut_short(image_of), IMAGE),
    ("class-list", lambda root: (root / "classes.txt").write_text("a\na\n"), "data"),
    ("identical-across-splits", lambda root: cv2.imwrite(str(image_of(root)), picture(4)), IMAGE),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "seed", "file"), FAULTS)
def test_a_fault_is_found(rule: str, seed: Callable[[Path], object], file: str, data: Path) -> None:
    seed(data)
    findings = look(data).findings
    assert broken(findings) == {rule}
    assert [one.file.name for one in findings if one.rule.name == rule] == [file]
    assert exit_code(findings) == 1


@pytest.mark.parametrize("rule", ["mask-missing", "mask-without-image", "image-name-twice"])
def test_the_layout_is_checked_without_opening_an_image(rule: str, data: Path) -> None:
    next(seed for name, seed, _ in FAULTS if name == rule)(data)
    for path in data.rglob("*.png"):
        path.write_bytes(b"")
    assert broken(check_entries(data, ["train", "val"]).findings) == {rule}


def test_facts_are_notes(data: Path) -> None:
    cv2.imwrite(str(mask_of(data)), np.full(SHAPE, 255, np.uint8))
    (data / "classes.txt").write_text("ground\nnut\nbolt\ncup\n")
    findings = look(data).findings
    assert [(one.rule.name, one.id) for one in findings] == [
        ("mask-all-ignored", ""),
        ("class-unused", "class cup"),
        ("class-unused", "class cup"),
    ]
    assert exit_code(findings) == 0


def test_without_images_the_layout_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="the layout is leftImg8bit"):
        look(tmp_path)


# Repairs.

REPAIRED = [
    ("mask-values", lambda m: np.where(m == 2, 255, m)),
    ("mask-channels", lambda m: m),
    ("mask-bits", lambda m: m),
    ("mask-palette", lambda m: m),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "wanted"), REPAIRED)
def test_masks_are_repaired(
    rule: str, wanted: Callable[[np.ndarray], np.ndarray], data: Path, tmp_path: Path
) -> None:
    next(seed for name, seed, _ in FAULTS if name == rule)(data)
    out = tmp_path / "out"
    repair(data, out, look(data))
    assert (read_mask(mask_of(out), "abc") == wanted(mask(1))).all()
    assert broken(look(out).findings) == set()
    assert (out / "classes.txt").read_text() == "ground\nnut\nbolt\n"


def test_few_bits_are_not_scaled(data: Path) -> None:
    with_bits(data)
    assert (values_of(mask_of(data)) == np.minimum(mask(1), 3)).all()


def test_counting_from_one_is_undone_where_all_masks_do(data: Path, tmp_path: Path) -> None:
    """With a 0 anywhere the 3 is another class, so that it is ignored instead."""
    for number in (1, 2, 3):
        up = np.where(mask(number) < 3, mask(number) + 1, mask(number)).astype(np.uint8)
        cv2.imwrite(str(mask_of(data, number)), up)
    repair(data, tmp_path / "one", look(data))
    one = read_mask(mask_of(tmp_path / "one"), "abc")
    assert (one == np.where(mask(1) == 2, 255, np.where(mask(1) < 2, mask(1) + 1, 255))).all()
    val = np.where(mask(4) < 3, mask(4) + 1, mask(4)).astype(np.uint8)
    cv2.imwrite(str(mask_of(data, 4, "val")), val)
    repair(data, tmp_path / "all", look(data))
    for number in (1, 2, 3):
        assert (read_mask(mask_of(tmp_path / "all", number), "abc") == mask(number)).all()


def test_label_ids_are_mapped(data: Path, tmp_path: Path) -> None:
    """24, 25 and 26 are person, rider and car: train ids 11 to 13; 0 is not counted."""
    label_ids(data)
    repair(data, tmp_path / "out", look(data))
    found = cv2.imread(str(mask_of(tmp_path / "out")), cv2.IMREAD_UNCHANGED)
    assert (found == np.where(mask(1) == 255, 255, mask(1) + 11)).all()


def test_colours_of_cityscapes_are_mapped() -> None:
    colours = np.array([LABELS[0].colour, LABELS[13].colour, (0, 0, 0)])
    assert from_colours(colours[None]).tolist() == [[0, 13, 255]]
    assert from_colours(np.array([[[1, 2, 3]]])) is None


def test_what_cannot_be_repaired_is_left_out(data: Path, tmp_path: Path) -> None:
    mask_of(data, 1).write_bytes(b"none")
    cv2.imwrite(str(mask_of(data, 2)), mask(2)[:20])
    orphan(data)
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    repair(data, tmp_path / "out", look(data))
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.png")) == [
        "3_gtFine_labelTrainIds.png", "3_leftImg8bit.png",
        "4_gtFine_labelTrainIds.png", "4_leftImg8bit.png",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_real_set_is_clean(real_dir: Path) -> None:
    findings = look(real_dir / "data/camvid_cityscapes").findings
    assert broken(findings) == set()
    assert {found.rule.name for found in findings} == {"class-unused", "class-imbalance"}
    unused = [found.id for found in findings if found.rule.name == "class-unused"]
    assert len(unused) == 2 * (19 - 11)


def test_a_link_out_of_the_data_is_found_and_not_copied(data: Path, tmp_path: Path) -> None:
    for linked in (image_of(data, 1), mask_of(data, 2)):
        linked.rename(tmp_path / linked.name)
        linked.symlink_to(tmp_path / linked.name)
    checked = look(data)
    assert broken(checked.findings) == {"file-outside"}
    repair(data, tmp_path / "out", checked)
    assert [path.name[0] for path in (tmp_path / "out").rglob("*_leftImg8bit.png")] == ["3", "4"]
    with pytest.raises(ValueError, match=r"1_leftImg8bit\.png: leads out of .* \(2 of 6 do\)"):
        find_pairs(data, "train")
