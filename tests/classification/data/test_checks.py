"""Seeded faults in class folders and lists: each is found by its rule, none is invented."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from classification.data.checks import CheckedLists, check, check_entries, splits_of
from classification.data.fix import repair
from engine.checks.parallel import spread
from engine.findings import Finding, exit_code


def picture(number: int) -> np.ndarray:
    """A blotchy picture (H, W, 3), another for every number."""
    rough = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(rough, (32, 24), interpolation=cv2.INTER_CUBIC)


def write(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture(number))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """train/nut, train/bolt, val/nut, val/bolt with two images each."""
    root = tmp_path / "data"
    number = 0
    for split in ("train", "val"):
        for name in ("bolt", "nut"):
            for _ in range(2):
                number += 1
                write(root / split / name / f"{number}.png", number)
    return root


@pytest.fixture
def lists(folders: Path) -> Path:
    """The same with lists, bolt = 0 and nut = 1."""
    for split in ("train", "val"):
        paths = sorted((folders / split).rglob("*.png"))
        lines = [f"{p.relative_to(folders)} {int(p.parent.name == 'nut')}" for p in paths]
        (folders / f"{split}_list.txt").write_text("\n".join(lines) + "\n")
    (folders / "classes.txt").write_text("bolt\nnut\n")
    return folders


def look(root: Path) -> CheckedLists:
    return check(root, spread)


def broken(findings: list[Finding]) -> set[str]:
    """Names of the rules that errors and warnings break."""
    return {found.rule.name for found in findings if found.rule.severity != "note"}


def test_clean_folders_and_lists_have_no_finding(folders: Path) -> None:
    assert look(folders).findings == []
    assert splits_of(folders) == ["train", "val"]


def test_clean_lists_have_no_finding(lists: Path) -> None:
    assert look(lists).findings == []


def append(*lines: str) -> Callable[[Path], object]:
    """Writes lines after the four of the training list."""

    def write_lines(root: Path) -> None:
        with (root / "train_list.txt").open("a") as stream:
            stream.write("\n".join(lines) + "\n")

    return write_lines


LISTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("list-line", append("train/nut/3.png"), "line 5"),
    ("list-line", append("", "train/nut/3.png nut"), "line 6"),
    ("list-line", append("train/nut/9.png 99999999999"), "line 5"),
    ("class-out-of-range", append("val/nut/7.png 2"), "line 5"),
    ("image-missing", append("train/nut/none.png 1"), "line 5"),
    ("image-listed-twice", append("train/bolt/1.png 0"), "line 5"),
    ("image-in-two-classes", append("train/bolt/1.png 1"), "line 5"),
]


@pytest.mark.parametrize(("rule", "seed", "where"), LISTS)
def test_a_fault_of_a_list_is_found_without_images(
    rule: str, seed: Callable[[Path], object], where: str, lists: Path
) -> None:
    seed(lists)
    findings = check_entries(lists, ["train", "val"]).findings
    assert broken(findings) == {rule}
    assert [(one.file.name, one.id) for one in findings] == [("train_list.txt", where)]
    assert exit_code(findings) == 1


def test_what_only_the_reader_knows_is_said_in_its_words(lists: Path) -> None:
    (lists / "classes.txt").write_text("nut\nbolt\n")
    first, *_ = check_entries(lists, ["train", "val"]).findings
    assert (first.rule.name, first.id) == ("reader-refuses", "train")
    assert "images in bolt/ have class 0, but bolt is class 1" in first.text


def test_faults_of_folders(folders: Path) -> None:
    (folders / "train/cup").mkdir()
    (folders / "train/cup/readme.txt").write_text("none")
    (folders / "val/nut/Thumbs.db").write_text("none")
    findings = check_entries(folders, ["train", "val"]).findings
    assert [(one.rule.name, one.file.name) for one in findings] == [
        ("class-folder-empty", "cup"),
        ("file-no-image", "Thumbs.db"),
    ]
    with pytest.raises(FileNotFoundError, match="the layout is <split>/<class>/"):
        look(folders / "train")


IMAGES: list[tuple[set[str], Callable[[Path], object]]] = [
    ({"file-empty"}, lambda root: (root / "train/bolt/1.png").write_bytes(b"")),
    ({"identical-across-splits"}, lambda root: write(root / "train/bolt/1.png", 5)),
    ({"identical-in-split"}, lambda root: write(root / "train/bolt/1.png", 2)),
    (
        {"identical-in-split", "image-in-two-classes"},
        lambda root: write(root / "train/bolt/1.png", 3),
    ),
]


@pytest.mark.parametrize(("rules", "seed"), IMAGES)
def test_a_fault_of_an_image_is_found(
    rules: set[str], seed: Callable[[Path], object], folders: Path
) -> None:
    seed(folders)
    assert broken(look(folders).findings) == rules


def test_imbalance_is_a_note(folders: Path) -> None:
    for number in range(100, 139):
        write(folders / f"train/nut/{number}.png", number)
    findings = look(folders).findings
    assert [(one.rule.name, one.text) for one in findings] == [
        ("class-imbalance", "2 images, but 41 of nut: 1 to 20")
    ]


def test_what_leads_out_of_the_data_is_found_and_not_copied(lists: Path, tmp_path: Path) -> None:
    write(tmp_path / "outside/20.png", 20)
    append("../outside/20.png 1")(lists)
    checked = look(lists)
    assert broken(checked.findings) == {"file-outside"}
    repair(lists, tmp_path / "out", checked)
    assert "20.png" not in {path.name for path in (tmp_path / "out").rglob("*")}


def test_a_link_out_of_a_class_folder_is_found_and_not_copied(
    folders: Path, tmp_path: Path
) -> None:
    write(tmp_path / "private/20.png", 20)
    (folders / "train/nut/20.png").symlink_to(tmp_path / "private/20.png")
    checked = look(folders)
    assert broken(checked.findings) == {"file-outside"}
    repair(folders, tmp_path / "out", checked)
    assert "20.png" not in {path.name for path in (tmp_path / "out").rglob("*")}


def test_a_repaired_list(lists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LCNET_FOLLOW_LINKS", "1")
    write(tmp_path / "outside/20.png", 20)
    for _, seed, _ in LISTS:
        seed(lists)
    append("../outside/20.png 1")(lists)
    write(lists / "train/nut/4.png", 8)  # the same as val/nut/8.png
    before = {path: path.read_bytes() for path in lists.rglob("*") if path.is_file()}
    out = tmp_path / "out"
    repair(lists, out, look(lists))
    assert {path: path.read_bytes() for path in lists.rglob("*") if path.is_file()} == before
    assert (out / "train_list.txt").read_text().splitlines() == [
        "train/bolt/2.png 0",
        "train/nut/3.png 1",
        "train/1/000002_20.png 1",
    ]
    assert broken(look(out).findings) == set()


def test_repaired_folders(folders: Path, tmp_path: Path) -> None:
    (folders / "train/cup").mkdir()
    (folders / "train/bolt/1.png").write_bytes(b"")
    repair(folders, tmp_path / "out", look(folders))
    assert [p.name for p in sorted((tmp_path / "out/train").rglob("*.png"))] == [
        "2.png", "3.png", "4.png",
    ]  # fmt: skip
    assert look(tmp_path / "out").findings == []


@pytest.mark.slow
def test_the_real_set_is_clean(real_dir: Path) -> None:
    assert look(real_dir / "data/imagenette_224").findings == []
