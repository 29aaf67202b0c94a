"""Paths that lead out of a data folder, and similar paths that do not."""

from pathlib import Path

import pytest

from engine.data.safe_paths import check_inside, outside_files, stays_inside


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """`data/train/{1.png,cat/2.png}`, and beside it `disk/{cat/5.png,3.png}` and a secret."""
    for name in ("data/train/1.png", "data/train/cat/2.png", "disk/3.png", "disk/cat/5.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "secret").touch()
    return tmp_path / "data"


def test_names_that_lead_out(data: Path) -> None:
    """Also to a folder whose name starts with that of the data."""
    (data.parent / "data2").mkdir()
    paths = ["train/1.png", "../secret", f"{data.parent}/secret", "train/../../disk/3.png"]
    paths += ["train/../train/cat/2.png", f"{data}/train/1.png", "../data2/x", "gone/4.png"]
    assert outside_files(data, paths) == [1, 2, 3, 6]


def test_links_that_lead_out(data: Path) -> None:
    (data / "train/4.png").symlink_to(data.parent / "secret")
    (data / "train/dog").symlink_to(data.parent / "disk")
    (data / "train/5.png").symlink_to("1.png")
    (data / "6.png").symlink_to(data.parent / "secret")
    paths = ["train/4.png", "train/dog/3.png", "train/5.png", "6.png", "train/1.png"]
    assert outside_files(data, paths) == [0, 1, 3]
    with pytest.raises(ValueError, match=r"4\.png: leads out .* \(3 of 5 do\); copy the file"):
        check_inside(data, paths)


def test_a_linked_data_set_and_linked_splits_are_the_data(data: Path) -> None:
    (data / "val").symlink_to(data.parent / "disk")
    (data.parent / "link").symlink_to(data)
    paths = ["train/1.png", "train/cat/2.png", "val/3.png", "val/cat/5.png"]
    assert outside_files(data.parent / "link", paths) == []
    (data / "val/7.png").symlink_to(data.parent / "secret")
    assert outside_files(data.parent / "link", [*paths, "val/7.png"]) == [4]


def test_who_trusts_the_data_says_so(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outside_files(data, ["../secret"]) == [0]
    monkeypatch.setenv("LCNET_FOLLOW_LINKS", "1")
    assert outside_files(data, ["../secret"]) == []


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("a/b.png", True), ("a..b/..c.png", True), ("../a.png", False), ("a/../b.png", False),
        ("a\\..\\b.png", False), ("/a.png", False), (7, False),
    ],
)  # fmt: skip
def test_a_name_that_stays_inside(name: object, inside: bool) -> None:
    assert stays_inside(name) is inside
