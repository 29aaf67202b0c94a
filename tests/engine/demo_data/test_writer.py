"""The mini data set: scenes, the files of the three tasks, and their folder."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from engine.demo_data.grounds import GROUNDS, draw_ground
from engine.demo_data.scenes import CLASSES, LEAST_SIDE, LEAST_VISIBLE, Scene
from engine.demo_data.shapes import SHAPES, posed
from engine.demo_data.writer import (
    Drawn,
    MiniData,
    annotate,
    around,
    draw_split,
    make_mini_data,
    run_lengths,
    train_ids,
)
from engine.types import IGNORE

pytestmark = pytest.mark.slow

SMALL = MiniData(seed=3, train=9, val=8, side=192)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small mini data set."""
    out = tmp_path_factory.mktemp("mini") / "set"
    assert make_mini_data(out, SMALL)
    return out


@pytest.fixture
def two_squares() -> Scene:
    """A 2 x 3 pixel block of class 4, and a 4 x 2 block of class 0 whose corner hides part."""
    owners = np.zeros((8, 10), np.uint8)
    owners[1:3, 2:5] = 1
    owners[2:6, 4:6] = 2
    image = np.zeros((8, 10, 3), np.uint8)
    return Scene("wood", image, owners, labels=(4, 0), visible=(5 / 6, 1.0))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def coco(folder: Path, split: str) -> COCO:
    """The detector's ground truth as pycocotools reads it."""
    return COCO(str(folder / "detection" / "annotations" / f"instances_{split}.json"))


# --- one scene, by hand -------------------------------------------------------------------------


def test_annotation_is_the_tight_box_and_area_of_what_is_visible(two_squares: Scene) -> None:
    lower, upper = annotate(Drawn(two_squares, "train", image_id=7), first_id=3)
    assert lower["bbox"] == [2, 1, 3, 2]
    assert lower["area"] == 5  # 6 without the hidden corner
    assert upper["bbox"] == [4, 2, 2, 4]
    assert upper["area"] == 8
    assert (lower["id"], upper["id"], lower["image_id"]) == (3, 4, 7)
    assert (lower["category_id"], upper["category_id"]) == (5, 1)


def test_run_lengths_go_down_the_columns_and_begin_with_zeros() -> None:
    mask = np.array([[True, False, True], [False, False, True]])
    # Down the columns: 1 0 | 0 0 | 1 1, so no zeros, one 1, three 0, two 1.
    assert run_lengths(mask) == {"size": [2, 3], "counts": [0, 1, 3, 2]}
    assert run_lengths(~mask) == {"size": [2, 3], "counts": [1, 3, 2]}
    assert run_lengths(np.zeros((2, 3), bool))["counts"] == [6]


def test_train_ids_ignore_one_pixel_on_either_side_of_an_outline() -> None:
    owners = np.zeros((9, 9), np.uint8)
    owners[2:7, 2:7] = 1
    ids = train_ids(Scene("wood", np.zeros((9, 9, 3), np.uint8), owners, (6,), (1.0,)))
    assert ids[0].tolist() == [0] * 9
    assert ids[4].tolist() == [0, 255, 255, 7, 7, 7, 255, 255, 0]
    assert np.count_nonzero(ids == 255) == 7 * 7 - 3 * 3


def test_crop_is_a_square_a_quarter_larger_kept_inside() -> None:
    mask = np.zeros((100, 100), bool)
    mask[40:60, 30:70] = True  # 40 wide, so 50 x 50 around (50, 50)
    assert around(mask) == (slice(25, 75), slice(25, 75))
    corner = np.zeros((100, 100), bool)
    corner[90:, 92:] = True
    assert around(corner) == (slice(88, 100), slice(88, 100))
    assert around(np.ones((60, 100), bool)) == (slice(0, 60), slice(20, 80))


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_differs_from_draw_to_draw_and_fits_its_size(name: str) -> None:
    rng = np.random.default_rng(0)
    first, second = (posed(SHAPES[name](rng), 100.0, rng) for _ in range(2))
    for shape in (first, second):
        points = np.concatenate([polygon for polygon, _ in shape.solids])
        assert points.min(axis=0) == pytest.approx([0, 0])
        distances = np.linalg.norm(points[:, None] - points, axis=-1)
        assert 79 < distances.max() < 142  # shortened by a fifth at most; the diagonal of a square
    assert not np.array_equal(first.solids[0][0], second.solids[0][0])


@pytest.mark.parametrize("kind", sorted(GROUNDS))
def test_every_ground_is_textured_and_within_range(kind: str) -> None:
    ground = draw_ground(kind, np.random.default_rng(1), 96)
    assert ground.shape == (96, 96, 3)
    assert ground.min() >= 0
    assert ground.max() <= 1
    assert ground.std(axis=(0, 1)).max() > 0.015


# --- many scenes --------------------------------------------------------------------------------


def test_every_object_shows_enough_of_itself() -> None:
    for drawn in draw_split(SMALL, "train"):
        scene = drawn.scene
        assert 1 <= len(scene.labels) == len(scene.visible) <= 8
        assert scene.owners.max() == len(scene.labels)
        assert min(scene.visible) >= LEAST_VISIBLE
        assert scene.visible[0] >= 0.8
        for annotation in annotate(drawn, 1):
            assert min(annotation["bbox"][2:]) >= LEAST_SIDE


def test_no_scene_of_one_split_comes_back_in_the_other() -> None:
    train = [drawn.scene for drawn in draw_split(SMALL, "train")]
    val = [drawn.scene for drawn in draw_split(SMALL, "val")]
    thumbs = [cv2.resize(scene.image, (16, 16)).astype(float) for scene in train + val]
    for i, thumb in enumerate(thumbs):
        differences = [np.abs(thumb - other).mean() for other in thumbs[:i]]
        assert min(differences, default=99.0) > 4.0
        same = [np.array_equal(scene.owners, (train + val)[i].owners) for scene in train + val]
        assert sum(same) == 1


def test_a_longer_set_begins_with_the_shorter_one() -> None:
    short, long = MiniData(seed=1, train=2, val=1, side=128), MiniData(seed=1, train=3, side=128)
    for one, other in zip(draw_split(short, "train"), draw_split(long, "train"), strict=False):
        np.testing.assert_array_equal(one.scene.image, other.scene.image)


def test_first_objects_take_the_classes_in_turn() -> None:
    firsts = [drawn.scene.labels[0] for drawn in draw_split(SMALL, "val")]
    assert firsts == list(range(8))


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("split", "count"), [("train", 9), ("val", 8)])
def test_coco_boxes_are_the_extents_of_their_masks(folder: Path, split: str, count: int) -> None:
    truth = coco(folder, split)
    assert len(truth.imgs) == count
    assert [truth.cats[i]["name"] for i in range(1, 9)] == list(CLASSES)
    for annotation in truth.anns.values():
        mask = truth.annToMask(annotation)
        assert list(cv2.boundingRect(mask)) == annotation["bbox"]
        assert mask.sum() == annotation["area"]
        assert annotation["iscrowd"] == 0


def test_coco_images_exist_in_the_stated_size_with_ids_of_their_own(folder: Path) -> None:
    ids: list[int] = []
    for split in ("train", "val"):
        for entry in coco(folder, split).imgs.values():
            image = cv2.imread(str(folder / "detection" / split / entry["file_name"]))
            assert image.shape == (entry["height"], entry["width"], 3) == (192, 192, 3)
            ids.append(entry["id"])
    assert ids == list(range(1, 18))


def test_masks_agree_with_the_detector_s_annotations(folder: Path) -> None:
    truth = coco(folder, "val")
    paths = sorted((folder / "segmentation/gtFine/val").glob("*/*_gtFine_labelTrainIds.png"))
    assert len(paths) == 8
    for path in paths:
        ids = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        expected = np.zeros_like(ids)
        for annotation in truth.imgToAnns[int(path.name.split("_")[2])]:
            expected[truth.annToMask(annotation) > 0] = annotation["category_id"]
        certain = ids != IGNORE
        np.testing.assert_array_equal(ids[certain], expected[certain])
        assert 0.5 < certain.mean() < 1
        assert set(np.unique(ids)) <= {*range(9), IGNORE}


def test_segmenter_and_detector_read_the_same_picture(folder: Path) -> None:
    for split, count in (("train", 9), ("val", 8)):
        paths = sorted((folder / f"segmentation/leftImg8bit/{split}").glob("*/*_leftImg8bit.jpg"))
        assert len(paths) == count
        for path in paths:
            twin = folder / "detection" / split / f"{path.name.split('_')[2]}.jpg"
            assert path.read_bytes() == twin.read_bytes()
            assert path.name.startswith(f"{path.parent.name}_000000_")


def test_class_lists_and_folders(folder: Path) -> None:
    names = (folder / "classification/classes.txt").read_text().splitlines()
    assert names == list(CLASSES)
    with_ground = (folder / "segmentation/classes.txt").read_text().splitlines()
    assert with_ground == ["background", *CLASSES]
    for split in ("train", "val"):
        folders = sorted((folder / "classification" / split).iterdir())
        assert [path.name for path in folders] == names
        for path in folders:
            crops = [cv2.imread(str(crop)) for crop in path.glob("*.jpg")]
            assert crops  # eight scenes have every class at least once
            assert all(crop.shape[0] == crop.shape[1] for crop in crops)


def test_classes_are_balanced() -> None:
    data = MiniData(seed=0, train=40, val=1, side=160)
    labels = [label for drawn in draw_split(data, "train") for label in drawn.scene.labels]
    counts = np.bincount(labels, minlength=8)
    assert counts.min() > 0.5 * counts.mean()


# --- the folder ---------------------------------------------------------------------------------

TINY = MiniData(seed=5, train=2, val=1, side=128)


def test_same_seed_same_bytes_other_seed_other_pictures(tmp_path: Path) -> None:
    for name, data in (("a", TINY), ("b", TINY), ("c", MiniData(6, 2, 1, 128))):
        make_mini_data(tmp_path / name, data)
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    for split, image_id in (("train", 1), ("train", 2), ("val", 3)):
        name = f"detection/{split}/{image_id:06d}.jpg"
        assert a[name] != c[name]


def test_second_call_finds_the_set_and_draws_nothing(tmp_path: Path) -> None:
    drawn: list[int] = []
    for expected in (True, False):
        made = make_mini_data(tmp_path / "set", TINY, on_scene=lambda: drawn.append(1))
        assert made is expected
        assert len(drawn) == 3
    description = json.loads((tmp_path / "set" / "mini_data.json").read_text())
    assert (description["seed"], description["train"], description["val"]) == (5, 2, 1)


def test_other_content_is_refused_and_left_alone_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="has other content; give another --out, or --force"):
        make_mini_data(tmp_path, TINY)
    assert contents(tmp_path) == {"notes.txt": b"mine"}
    make_mini_data(tmp_path, TINY, force=True)
    assert not (tmp_path / "notes.txt").exists()
    with pytest.raises(FileExistsError, match="has a mini data set of other settings"):
        make_mini_data(tmp_path, MiniData(6, 2, 1, 128))


def test_the_current_folder_is_never_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="current folder"):
        make_mini_data(Path(".."), TINY, force=True)


def test_an_interrupted_drawing_leaves_what_was_there(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old.txt").write_text("old")
    for out in (tmp_path / "set", tmp_path / "new"):
        with pytest.raises(KeyboardInterrupt):
            make_mini_data(out, TINY, force=True, on_scene=interrupt)
    assert contents(tmp_path) == {"set/old.txt": b"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize(
    ("name", "value", "least"), [("seed", -1, 0), ("train", 0, 1), ("val", 0, 1), ("side", 64, 128)]
)
def test_numbers_out_of_range_are_named(name: str, value: int, least: int) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}, expected {least} or more"):
        MiniData(**{name: value})
