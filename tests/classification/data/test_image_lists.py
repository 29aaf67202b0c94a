"""Both layouts, which of them counts, and one line for every contradiction."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from classification.data import image_lists
from classification.data.image_lists import Listing, find_images, read_list

FOLDERS = (
    "train/cat/1.png",
    "train/cat/2.png",
    "train/dog/3.png",
    "val/cat/4.png",
    "val/dog/5.png",
)
Refusal = Callable[..., str]


@pytest.fixture
def refusal(tmp_path: Path) -> Refusal:
    """The one line that a split of the data is refused with."""

    def refuse(split: str = "train", kind: type[Exception] = ValueError) -> str:
        with pytest.raises(kind) as error:
            find_images(tmp_path, split)
        line = str(error.value)
        assert "\n" not in line
        return line

    return refuse


def as_pairs(listing: Listing) -> list[tuple[bytes, int]]:
    return list(zip(listing.paths.tolist(), listing.labels.tolist(), strict=True))


def test_class_folders(write_images) -> None:
    found = find_images(write_images(*FOLDERS, "train/.cache/x.png"), "train")
    assert as_pairs(found) == [
        (b"train/cat/1.png", 0),
        (b"train/cat/2.png", 0),
        (b"train/dog/3.png", 1),
    ]
    assert found.classes == ("cat", "dog")


def test_folders_within_a_class_folder_belong_to_it(write_images) -> None:
    root = write_images("train/a/images/1.JPEG", "train/a/0.png", "train/b/2.png")
    assert as_pairs(find_images(root, "train"))[:2] == [
        (b"train/a/0.png", 0),
        (b"train/a/images/1.JPEG", 0),
    ]


def test_circles_of_links_and_hidden_folders_are_left_out(write_images) -> None:
    root = write_images("train/a/0.png", "train/a/.trash/1.png", "train/b/2.png", "more/3.png")
    (root / "train/a/up").symlink_to(root)
    (root / "train/a/self").symlink_to(root / "train/a")
    (root / "train/b/more").symlink_to(root / "more")
    (root / "train/b/again").symlink_to(root / "more")
    assert as_pairs(find_images(root, "train")) == [
        (b"train/a/0.png", 0),
        (b"train/b/2.png", 1),
        (b"train/b/again/3.png", 1),
    ]


def test_a_label_file_orders_folders_by_their_name_or_by_the_class(
    write_images, write_lines
) -> None:
    root = write_images("train/n00000002/1.png", "train/n00000001/2.png", "train/cow/3.png")
    write_lines("classes.txt", "0 n00000002 cat", "1 n00000001 dog", "2 n00000003 cow")
    found = find_images(root, "train")
    assert found.classes == ("cat", "dog", "cow")
    assert [path.split(b"/")[1] for path, _ in as_pairs(found)] == [
        b"n00000002",
        b"n00000001",
        b"cow",
    ]


def test_lists_may_name_any_file_and_win_over_folders(write_images, write_lines, caplog) -> None:
    root = write_images(*FOLDERS, "other place/x 1.png")
    write_lines(
        "train_list.txt", "train/dog/3.png 0", "", "other place/x 1.png\t1", "./val/cat/4.png 0"
    )
    found = find_images(root, "train")
    assert as_pairs(found) == [
        (b"train/dog/3.png", 0),
        (b"other place/x 1.png", 1),
        (b"./val/cat/4.png", 0),
    ]
    assert found.classes == ("0", "1")


def test_lists_of_class_folders_take_their_names(write_images, write_lines) -> None:
    root = write_images(*FOLDERS)
    write_lines("train_list.txt", "train/dog/3.png 0", "train/cat/1.png 1")
    write_lines("val_list.txt", "val/cat/4.png 1")
    assert find_images(root, "train").classes == ("dog", "cat")
    assert as_pairs(find_images(root, "val")) == [(b"val/cat/4.png", 1)]
    assert find_images(root, "val").classes == ("dog", "cat")


def test_lists_reach_outside_only_where_that_is_wanted(
    tmp_path: Path, write_images, monkeypatch
) -> None:
    write_images("pictures/1.png", "pictures/2.png")
    root = tmp_path / "lists"
    root.mkdir()
    lines = ["../pictures/1.png 0", f"{tmp_path}/pictures/2.png 1"]
    (root / "train_list.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"pictures/1\.png: leads out of .* \(2 of 2 do\)"):
        find_images(root, "train")
    monkeypatch.setenv("LCNET_FOLLOW_LINKS", "1")
    assert len(find_images(root, "train").paths) == 2


def test_the_real_one(real_dir: Path) -> None:
    root = real_dir / "data/imagenette_224"
    train, val = find_images(root, "train"), find_images(root, "val")
    assert (len(train.paths), len(val.paths)) == (2500, 600)
    assert np.bincount(train.labels).tolist() == [250] * 10
    assert train.classes[:2] == ("tench", "English springer")
    assert train.classes == val.classes


def test_long_lists_are_read_quickly(write_lines) -> None:
    """A list as long as ImageNet's then takes a few seconds."""
    lines = [f"train/n{i % 1000:08}/n{i:08}_{i}.JPEG {i % 1000}" for i in range(100_000)]
    path = write_lines("train_list.txt", *lines)
    start = time.process_time()
    listed = read_list(path)
    assert time.process_time() - start < 1
    assert listed.paths[-1] == "train/n00000999/n00099999_99999.JPEG"


# --- what is wrong with folders


def test_neither_list_nor_folder(refusal: Refusal) -> None:
    assert re.search(
        "train: no such folder, nor train_list.txt beside it", refusal(kind=FileNotFoundError)
    )


def test_an_empty_class_folder(write_images, refusal: Refusal, write_lines) -> None:
    root = write_images("train/cat/1.png")
    (root / "train/dog").mkdir()
    assert re.search(r"train/dog: no image in this class folder \(0 other files\)", refusal())
    write_lines("train/dog/readme.md", "hello")
    assert re.search(r"train/dog: no image in this class folder \(1 other files\)", refusal())


def test_one_class_only(write_images, refusal: Refusal) -> None:
    write_images("train/cat/1.png")
    assert re.search(
        "train: one class only, cat; it needs a folder of images for each of two", refusal()
    )


def test_images_without_class_folders(write_images, refusal: Refusal) -> None:
    write_images("train/1.png")
    assert re.search("train: no class folder; it needs a folder", refusal())


def test_a_val_folder_without_class_folders(write_images, refusal: Refusal) -> None:
    root = write_images(*FOLDERS[:3], "val/4.png")
    words = "val: no class folder; put its images into a folder for each class, .*train: cat, dog"
    assert re.search(words, refusal("val"))
    (root / "val/4.png").unlink()
    assert re.search(words, refusal("val"))


def test_another_order_of_classes_in_val(write_images, refusal: Refusal) -> None:
    """Sorted alone, val's ant would be class 0 and its cat class 1, which train calls dog."""
    write_images(*FOLDERS, "val/ant/6.png")
    assert re.search(
        "val/ant: .*train has no such class; it has cat, dog, .*val has ant, cat, dog",
        refusal("val"),
    )


def test_a_class_that_val_lacks_keeps_the_numbers_of_train(write_images) -> None:
    root = write_images("train/ant/0.png", "train/cat/1.png", "val/cat/2.png")
    assert as_pairs(find_images(root, "val")) == [(b"val/cat/2.png", 1)]


def test_a_label_file_that_folders_disagree_with(
    write_images, write_lines, refusal: Refusal
) -> None:
    write_images(*FOLDERS)
    write_lines("classes.txt", "cat", "cow")
    assert re.search(
        r"train/dog: .*classes\.txt has no such class; it has cat, cow, .*train has cat, dog",
        refusal(),
    )
    write_lines("classes.txt", "cat", "dog", "emu")
    assert re.search("train: no folder for emu, which the label file names", refusal())
    write_lines("classes.txt", "cat", "cat")
    assert re.search("two classes have one name, so they would share a folder", refusal())


def test_other_files_in_class_folders_are_left_out_and_logged(
    write_images, write_lines, monkeypatch
) -> None:
    root = write_images(*FOLDERS)
    write_lines("train/cat/Thumbs.db", "")
    lines: list[str] = []
    monkeypatch.setattr(image_lists, "print_log", lambda line, **_: lines.append(line))
    assert len(find_images(root, "train").paths) == 3
    assert lines == [
        f"{root}/train: 1 files in class folders are not images: train/cat/Thumbs.db",
        f"{root}/train: 3 images, 2 classes of 1 to 2 images",
    ]


# --- what is wrong with lists


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("train/cat/1.png", "is not `path index`"),
        ("train/cat/1.png zero", "is not `path index`"),
        ("train/cat/1.png -1", "is not `path index`"),
        ("train/cat/1.png\t0,1,0", "is not `path index`"),
        ("3", "is not `path index`"),
    ],
)
def test_a_malformed_line(
    write_images, write_lines, refusal: Refusal, line: str, words: str
) -> None:
    write_images(*FOLDERS)
    write_lines("train_list.txt", "train/dog/3.png 1", "", line)
    assert re.search(f"train_list.txt, line 3: {re.escape(repr(line))} {words}", refusal())


def test_a_missing_path(write_images, write_lines, refusal: Refusal) -> None:
    write_images(*FOLDERS)
    lines = ["train/dog/3.png 1", "train/cat/9.png 0", "nowhere/9.png 0"]
    write_lines("train_list.txt", *lines)
    words = r"train_list.txt, line 2: no file train/cat/9.png in .* \(2 of 3 are missing\)"
    assert re.search(words, refusal(kind=FileNotFoundError))


def test_listed_folders_and_dangling_links_are_no_files(write_images, write_lines, refusal) -> None:
    root = write_images(*FOLDERS, "train/cat/real.png")
    (root / "train/cat/sub.png").mkdir()
    (root / "train/cat/gone.png").symlink_to("nowhere")
    (root / "train/cat/link.png").symlink_to("real.png")
    good = ["train/cat/link.png 0", "train/dog/3.png 1"]
    write_lines("train_list.txt", *good)
    assert len(find_images(root, "train").paths) == 2
    for name in ("sub", "gone"):
        write_lines("train_list.txt", *good, f"train/cat/{name}.png 0")
        assert re.search(
            f"line 3: no file train/cat/{name}.png .*1 of 3", refusal(kind=FileNotFoundError)
        )


def test_an_index_out_of_range(write_images, write_lines, refusal: Refusal) -> None:
    write_images(*FOLDERS)
    write_lines("classes.txt", "cat", "dog")
    write_lines("train_list.txt", "train/dog/3.png 1", "train/cat/1.png 2")
    assert re.search(
        r"train_list.txt, line 2: class 2 is not one of the 2 classes 0\.\.1 that .*classes.txt",
        refusal(),
    )
    (write_lines("classes.txt", "")).unlink()
    write_lines("train_list.txt", "train/dog/3.png 1", "train/cat/1.png 0")
    write_lines("val_list.txt", "val/dog/5.png 1", "val/cat/4.png 2")
    assert re.search(
        "val_list.txt, line 2: class 2 is not one of the 2 classes .*train_list.txt", refusal("val")
    )


def test_a_list_without_images_of_one_class_or_with_gaps(
    write_images, write_lines, refusal
) -> None:
    write_images(*FOLDERS)
    write_lines("train_list.txt", "")
    assert re.search("train_list.txt: names no image", refusal())
    write_lines("train_list.txt", "train/cat/1.png 0")
    assert re.search("train_list.txt: one class only", refusal())
    write_lines("train_list.txt", "train/cat/1.png 0", "train/dog/3.png 2")
    assert re.search("no image has class 1, but some have 2", refusal())


def test_a_list_for_training_with_images_of_one_class(write_images, write_lines, refusal) -> None:
    root = write_images(*FOLDERS)
    write_lines("classes.txt", "cat", "dog")
    for split in ("train", "val"):
        write_lines(f"{split}_list.txt", "train/dog/3.png 1")
    assert re.search(
        r"train_list.txt: all images have class 1 \(dog\); training needs images of two", refusal()
    )
    assert len(find_images(root, "val").paths) == 1


@pytest.mark.parametrize("number", ["2147483648", "99999999999999999999", "9" * 5000])
def test_class_numbers_that_no_label_can_be(write_lines, refusal: Refusal, number: str) -> None:
    write_lines("train_list.txt", "a.png 0", f"b.png {number}")
    assert re.search(
        "train_list.txt, line 2: class number [0-9]{10,30} is too large; count from 0 to K - 1",
        refusal(),
    )


def test_a_gap_of_two_milliards_is_found(write_lines, refusal: Refusal) -> None:
    write_lines("train_list.txt", "a.png 00", "b.png 1", "c.png 2147483647")
    assert re.search(
        "no image has class 2, but some have 2147483647; name all classes in classes.txt", refusal()
    )


def test_another_order_of_classes_in_the_list_of_val(write_images, write_lines, refusal) -> None:
    write_images(*FOLDERS)
    write_lines("train_list.txt", "train/cat/1.png 0", "train/dog/3.png 1")
    write_lines("val_list.txt", "val/cat/4.png 1", "val/dog/5.png 0")
    assert re.search(
        r"val_list.txt: images in (cat|dog)/ have class ., but .* by .*train_list.txt",
        refusal("val"),
    )
    write_lines("val_list.txt", "val/dog/5.png 0")
    assert re.search(
        r"val_list.txt: images in dog/ have class 0, but dog is class 1 by .*train_list",
        refusal("val"),
    )


def test_one_stray_line_does_not_hide_another_order(write_images, write_lines, refusal) -> None:
    root = write_images(*FOLDERS, "val/cat/6.png", "val/cat/7.png", "val/dog/8.png")
    write_lines("train_list.txt", "train/cat/1.png 0", "train/dog/3.png 1")
    right = ["val/cat/4.png 0", "val/cat/6.png 0", "val/cat/7.png 1", "val/dog/8.png 1"]
    write_lines("val_list.txt", *right)
    assert len(find_images(root, "val").paths) == 4
    swapped = [f"{line[:-1]}{1 - int(line[-1])}" for line in right]
    write_lines("val_list.txt", *swapped)
    assert re.search(
        "val_list.txt: images in cat/ have class 1, but cat is class 0 by .*train_list",
        refusal("val"),
    )


def test_a_label_file_that_a_list_disagrees_with(
    write_images, write_lines, refusal: Refusal
) -> None:
    write_images(*FOLDERS)
    write_lines("classes.txt", "dog", "cat")
    write_lines("train_list.txt", "train/cat/1.png 0", "train/dog/3.png 1")
    assert re.search(r"but (cat is class 1|dog is class 0) by .*classes.txt", refusal())


def test_a_list_of_val_beside_the_folders_of_train(write_images, write_lines, refusal) -> None:
    root = write_images(*FOLDERS)
    write_lines("val_list.txt", "val/dog/5.png 1")
    assert find_images(root, "val").classes == ("cat", "dog")
    write_lines("val_list.txt", "val/dog/5.png 0")
    assert re.search("dog is class 1 by .*train", refusal("val"))


def test_folders_of_val_beside_the_list_of_train(write_images, write_lines) -> None:
    root = write_images(*FOLDERS)
    write_lines("train_list.txt", "train/dog/3.png 0", "train/cat/1.png 1")
    found = find_images(root, "val")
    assert as_pairs(found) == [(b"val/dog/5.png", 0), (b"val/cat/4.png", 1)]
