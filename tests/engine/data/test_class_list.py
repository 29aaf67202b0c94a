"""Label files in all known formats, and errors in others."""

from pathlib import Path

import pytest

from engine.data.class_list import find_label_file, read_classes


def test_plain_lines_name_class_and_folder(write_lines) -> None:
    classes = read_classes(write_lines("classes.txt", "tabby cat", "", " dog "))
    assert classes.names == classes.folders == ("tabby cat", "dog")


def test_lines_with_an_index_count_by_it(write_lines) -> None:
    classes = read_classes(write_lines("classes.txt", "1 dog", "0 tabby cat", "2\tcow"))
    assert classes.names == ("tabby cat", "dog", "cow")


def test_digits_may_be_names(write_lines) -> None:
    assert read_classes(write_lines("classes.txt", "7", "3", "5")).names == ("7", "3", "5")


@pytest.mark.parametrize("line", ["{}\tn0144000{}\ttench, Tinca", "{} n0144000{} tench, Tinca"])
def test_folders_stand_before_names(write_lines, line: str) -> None:
    lines = [line.format(i, i) for i in range(2)]
    classes = read_classes(write_lines("classes.txt", *lines))
    assert classes.folders == ("n01440000", "n01440001")
    assert classes.names == ("tench, Tinca (n01440000)", "tench, Tinca (n01440001)")


def test_a_name_of_several_classes_gets_the_index(write_lines) -> None:
    path = write_lines("imagenet1k_label_list.txt", "0 crane", "1 crane, bird", "2 crane")
    assert read_classes(path).names == ("crane (0)", "crane, bird", "crane (2)")


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    path.write_bytes("\ufeff0 cat\r\n1 dog\r\n".encode())
    assert read_classes(path).names == ("cat", "dog")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["cat"], "classes.txt: has 1 class; a classifier needs at least two"),
        ([""], "classes.txt: has 0 classes"),
        (["0 cat", "dog"], "line 2: 'dog' has no index, but other lines have one"),
        (["0 cat", "", "0 dog"], "line 3: index 0 occurs twice"),
        (["1 cat", "2 dog"], "line 2: index 2 is not below the 2 classes"),
    ],
)
def test_errors(write_lines, lines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_classes(write_lines("classes.txt", *lines))
    assert "\n" not in str(error.value)


def test_two_label_files_must_agree(write_lines, tmp_path: Path) -> None:
    assert find_label_file(tmp_path) is None
    write_lines("flowers_label_list.txt", "0 rose", "1 tulip")
    assert find_label_file(tmp_path) == tmp_path / "flowers_label_list.txt"
    first = write_lines("classes.txt", "rose", "tulip")
    assert find_label_file(tmp_path) == first
    write_lines("labels.txt", "tulip", "rose")
    with pytest.raises(
        ValueError, match=r"labels\.txt: does not name the same classes as .*classes\.txt"
    ):
        find_label_file(tmp_path)
