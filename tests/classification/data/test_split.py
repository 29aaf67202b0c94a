"""Lists made of class folders: what they hold, and what is refused."""

import re
from pathlib import Path

import pytest

from classification.data.image_lists import find_images
from classification.data.split import split_folders
from engine.data.class_list import read_classes
from engine.data.splits import shares_of

SHARES = shares_of(0.2, 0.1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """20 cats and 10 dogs, empty files."""
    for name, count in (("cat", 20), ("dog", 10)):
        for number in range(count):
            path = tmp_path / "data" / name / f"{number:02}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    return tmp_path / "data"


def lines(root: Path, split: str) -> list[str]:
    return (root / f"{split}_list.txt").read_text().splitlines()


def test_every_image_is_in_one_list_and_each_class_has_its_share(root: Path) -> None:
    before = sorted(path for path in root.rglob("*.jpg"))
    done = split_folders(root, SHARES, 0)
    assert done.counts.tolist() == [[14, 7], [4, 2], [2, 1]]
    assert done.classes == ("cat", "dog")
    names = [root / f"{split}_list.txt" for split in SHARES] + [root / "classes.txt"]
    assert list(done.written) == names
    listed = [line for split in SHARES for line in lines(root, split)]
    expected = [f"{p.relative_to(root)} {int(p.parent.name == 'dog')}" for p in before]
    assert sorted(listed) == expected
    assert sorted(path for path in root.rglob("*.jpg")) == before


def test_the_data_set_reads_what_was_written(root: Path) -> None:
    split_folders(root, SHARES, 0)
    for split, count in (("train", 21), ("val", 6), ("test", 3)):
        found = find_images(root, split)
        assert len(found.paths) == count
        assert found.classes == ("cat", "dog")
        assert all((b"dog" in p) == bool(i) for p, i in zip(found.paths, found.labels, strict=True))


def test_a_second_call_changes_nothing_and_another_seed_is_refused(root: Path) -> None:
    split_folders(root, SHARES, 0)
    first = lines(root, "val")
    split_folders(root, SHARES, 0)
    assert lines(root, "val") == first
    with pytest.raises(ValueError, match=r"list\.txt: exists with other content, .*; --force"):
        split_folders(root, SHARES, 1)
    assert lines(root, "val") == first
    split_folders(root, SHARES, 1, force=True)
    assert lines(root, "val") != first


def test_a_list_too_many_is_refused_and_with_force_removed(root: Path) -> None:
    split_folders(root, SHARES, 0)
    with pytest.raises(ValueError, match=r"test_list\.txt|train_list\.txt"):
        split_folders(root, shares_of(0.2, 0), 0)
    split_folders(root, shares_of(0.2, 0), 0, force=True)
    assert not (root / "test_list.txt").exists()


def test_folders_that_look_like_lines_with_an_index(root: Path) -> None:
    (root / "cat").rename(root / "1 cat")
    (root / "dog").rename(root / "0 dog")
    split_folders(root, SHARES, 0)
    assert find_images(root, "val").classes == ("0 dog", "1 cat")


def test_an_own_label_file_is_kept_and_followed(root: Path) -> None:
    (root / "classes.txt").write_text("0\tdog\tHund\n1\tcat\tKatze\n")
    done = split_folders(root, SHARES, 0)
    assert done.classes == ("Hund", "Katze")
    assert read_classes(root / "classes.txt").folders == ("dog", "cat")
    assert lines(root, "val")[0].startswith("dog/")
    assert len(done.written) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: (r / "dog").rename(r / "train"), "data: split already, into train/; .* give"),
        (lambda r: [p.unlink() for p in sorted((r / "dog").iterdir())[2:]], r"3 splits: dog \(2\)"),
        (lambda r: [p.unlink() for p in (r / "dog").iterdir()], "dog: no image in this class"),
        (lambda r: (r / "dog").rename(r.parent / "x"), "data: one class only, cat"),
        (lambda r: (r / "classes.txt").write_text("cat\ncow"), r"dog: .*classes.txt has no such"),
    ],
)
def test_what_cannot_be_split(root: Path, change, message: str) -> None:
    change(root)
    with pytest.raises(ValueError, match=message) as error:
        split_folders(root, SHARES, 0)
    assert "\n" not in str(error.value)
    assert not (root / "train_list.txt").exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(f"{tmp_path / 'x'}: no such folder")):
        split_folders(tmp_path / "x", SHARES, 0)
