"""COCO jsons divided: nothing lost, shares kept, sources safe, and readable by the data set."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from detection.data.coco_json import read_coco
from detection.data.dataset import CocoDetection
from detection.data.split import find_images, find_json, split_coco
from engine.data.splits import shares_of

SHARES = shares_of(0.2, 0.1)


@pytest.fixture
def source(mini_coco: Path, tmp_path: Path) -> Path:
    """The json of 12 drawn scenes, their images in images/; one scene is without boxes."""
    root = tmp_path / "data"
    shutil.copytree(mini_coco / "train", root / "images")
    path = root / "annotations" / "all.json"
    path.parent.mkdir()
    content = json.loads((mini_coco / "annotations/instances_train.json").read_text())
    last = content["images"][-1]["id"]
    content["annotations"] = [r for r in content["annotations"] if r["image_id"] != last]
    path.write_text(json.dumps({**content, "info": {"year": 2020}}))
    return path


@pytest.fixture
def split(source: Path) -> Callable[..., object]:
    root, images = source.parents[1], source.parents[1] / "images"

    def run(seed: int = 0, **options: object) -> object:
        options = {"out": root, "images": images, "allow_small": True, **options}
        return split_coco(source, SHARES, seed, **options)

    return run


def test_every_image_and_box_is_in_one_split(source: Path, split) -> None:
    whole = json.loads(source.read_text())
    done = split()
    parts = [json.loads(path.read_text()) for path in done.written[:3]]
    for section in ("images", "annotations"):
        together = sorted((r for part in parts for r in part[section]), key=lambda r: r["id"])
        assert together == sorted(whole[section], key=lambda r: r["id"])
    for part in parts:
        ids = {record["id"] for record in part["images"]}
        assert {record["image_id"] for record in part["annotations"]} <= ids
        assert part["categories"] == whole["categories"]
        assert part["info"] == {"year": 2020}
    assert done.num_images[0] > 6
    assert min(done.num_images) >= 1
    assert sum(done.num_images) == 12
    assert done.boxes.sum() == len(whole["annotations"])
    owners = {(r["image_id"], r["category_id"]) for r in whole["annotations"]}
    assert done.images.sum() == len(owners)


def test_the_detector_reads_what_was_written(source: Path, split) -> None:
    done = split()
    root = source.parents[1]
    sizes = [len(CocoDetection(root, split=name, training=False)) for name in SHARES]
    assert sizes == list(done.num_images)
    assert (root / "val").is_symlink()
    assert CocoDetection(root, split="val", training=False)[0]["images"].shape == (128, 128, 3)


def test_equal_seeds_repeat_and_files_are_not_replaced_unasked(source: Path, split) -> None:
    split()
    path = source.with_name("instances_val.json")
    first = path.read_bytes()
    with pytest.raises(ValueError, match=r"instances_train\.json: exists already; --force"):
        split()
    split(force=True)
    assert path.read_bytes() == first
    others = []
    for seed in range(1, 4):
        split(seed, force=True)
        others.append(path.read_bytes())
    assert any(other != first for other in others)


def test_the_source_is_never_replaced(source: Path, split) -> None:
    source.rename(source.with_name("instances_train.json"))
    with pytest.raises(ValueError, match="is the json to divide; give --out another folder"):
        split_coco(
            source.with_name("instances_train.json"),
            SHARES,
            0,
            out=source.parents[1],
            images=source.parents[1] / "images",
            allow_small=True,
            force=True,
        )


def test_another_folder_to_write_to_links_back(source: Path, split, tmp_path: Path) -> None:
    done = split(out=tmp_path / "elsewhere")
    data = CocoDetection(tmp_path / "elsewhere", split="train", training=False)
    assert len(data) == done.num_images[0]


def test_folders_of_other_images_are_left_alone(source: Path, split) -> None:
    (source.parents[1] / "val").mkdir()
    with pytest.raises(ValueError, match="val: holds other images; give --out another folder"):
        split()
    assert not source.with_name("instances_train.json").exists()


def test_classes_in_too_few_images_are_refused(source: Path, split) -> None:
    coco = read_coco(source)
    label = coco.classes[0]
    content = json.loads(source.read_text())
    first = next(r for r in content["annotations"] if r["category_id"] == coco.category_ids[0])
    content["annotations"] = [
        r
        for r in content["annotations"]
        if r["category_id"] != first["category_id"] or r["image_id"] == first["image_id"]
    ]
    source.write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=rf"--allow-small goes on\): classes with .* {label} \(1\)"
    ):
        split(allow_small=False)
    assert split().images[:, 0].tolist().count(0) == 2


def test_where_json_and_images_are_found(source: Path, tmp_path: Path) -> None:
    root = source.parents[1]
    assert find_json(root) == find_json(source) == source
    assert find_images(source) == (root, root / "images")
    (root / "images").rename(root / "all")
    assert find_images(source) == (root, root / "all")
    (root / "all").rename(root / "pictures")
    with pytest.raises(FileNotFoundError, match="say where with --images"):
        find_images(source)
    shutil.copy(source, source.with_name("b.json"))
    with pytest.raises(ValueError, match=r"several jsons in annotations/ \(all.json, b.json\)"):
        find_json(root)
    with pytest.raises(FileNotFoundError, match="not a COCO json"):
        find_json(tmp_path)


def test_real_annotations_keep_their_shares(real_dir: Path, tmp_path: Path) -> None:
    root = real_dir / "data/coco_mini"
    path = root / "annotations/instances_val2017.json"
    done = split_coco(
        path, {"train": 0.8, "val": 0.2}, 0, out=tmp_path, images=root / "val2017", allow_small=True
    )
    assert sum(done.num_images) == 111
    assert done.num_images[1] == pytest.approx(22, abs=8)
    total = done.images.sum(axis=0)
    shares = done.images[1, total >= 10] / total[total >= 10]
    assert shares.mean() == pytest.approx(0.2, abs=0.1)
    assert (done.images[1, total >= 2] > 0).mean() > 0.95
