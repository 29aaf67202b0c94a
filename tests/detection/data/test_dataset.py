"""CocoDetection: samples, what training leaves out, repeatability over workers, bad images."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS
from PIL import Image
from torch.utils.data import DataLoader

from detection.data.dataset import CocoDetection
from detection.data.transforms import HorizontalFlip, RandomCropByIoU, RandomDistort

SIZE = (24, 32)  # height, width


def annotation(number: int, image: int, xywh: list[float], **more: object) -> dict[str, object]:
    return {"id": number, "image_id": image, "category_id": 1, "bbox": xywh, **more}


def write_data(root: Path, num_images: int = 6) -> Path:
    """Images 1..n with a box each; 3 has only a crowd, 4 only a box without area, 5 none."""
    (root / "annotations").mkdir()
    (root / "train").mkdir()
    random = np.random.default_rng(0)
    boxes = {number: [4.0, 4.0, 10.0 + number % 8, 12.0] for number in range(1, num_images + 1)}
    boxes[4] = [4.0, 4.0, 0.0, 12.0]
    crowd = {3: {"iscrowd": 1}}
    records = [annotation(10 + n, n, boxes[n], **crowd.get(n, {})) for n in boxes if n != 5]
    for number in boxes:
        pixels = random.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        cv2.imwrite(str(root / f"train/{number}.png"), pixels)
    images = [{"id": n, "file_name": f"{n}.png", "height": 24, "width": 32} for n in boxes]
    content = {
        "images": images,
        "annotations": records,
        "categories": [{"id": 1, "name": "cell"}],
    }
    (root / "annotations/instances_train.json").write_text(json.dumps(content))
    return root


def change_json(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = root / "annotations/instances_train.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_data(tmp_path)


def augmented(root: Path, seed: int = 0) -> CocoDetection:
    transforms = [RandomCropByIoU(), HorizontalFlip(), RandomDistort()]
    return CocoDetection(root, transforms=transforms, training=True, seed=seed)


def test_sample(root: Path) -> None:
    sample = CocoDetection(root, training=False)[1]
    image, targets = sample["images"], sample["targets"]
    assert image.dtype == torch.uint8
    stored = cv2.imread(str(root / "train/2.png"))[..., ::-1]
    np.testing.assert_array_equal(image.numpy(), stored)
    assert image.is_contiguous()
    assert targets["boxes"].tolist() == [[4, 4, 16, 16]]
    assert targets["boxes"].dtype == torch.float32
    assert targets["labels"].tolist() == [0]
    assert targets["labels"].dtype == torch.int64
    assert targets["image_id"] == 2


def test_training_leaves_out_images_without_boxes_and_evaluation_none(root: Path) -> None:
    """3 has only a crowd, 4 only a box without area, 5 nothing."""
    train, evaluate = CocoDetection(root, training=True), CocoDetection(root, training=False)
    assert [train[i]["targets"]["image_id"] for i in range(len(train))] == [1, 2, 6]
    assert [train[i]["targets"]["boxes"].tolist() for i in range(3)] == [
        [[4, 4, 15, 16]],
        [[4, 4, 16, 16]],
        [[4, 4, 20, 16]],
    ]
    assert [evaluate[i]["targets"]["image_id"] for i in range(6)] == [1, 2, 3, 4, 5, 6]
    for index in (2, 3, 4):
        assert evaluate[index]["targets"]["boxes"].shape == (0, 4)
        assert evaluate[index]["targets"]["labels"].shape == (0,)


def test_what_is_left_out_is_logged_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr("detection.data.dataset.print_log", lambda line, **_: logged.append(line))
    dataset = CocoDetection(root, training=True)
    dataset[0]
    assert [line.partition(".json: ")[2] for line in logged] == [
        "3 images with 3 boxes; left out: 3 images without a box, 1 crowds, "
        "1 boxes without area inside their image"
    ]


def test_metainfo_is_plain_data(root: Path) -> None:
    assert CocoDetection(root, training=False).metainfo == {
        "classes": ("cell",),
        "category_ids": (1,),
        "ann_file": str(root / "annotations/instances_train.json"),
    }


def test_more_than_300_objects_in_one_image(root: Path) -> None:
    many = [annotation(100 + n, 1, [n % 20, n // 20, 5, 5]) for n in range(350)]
    change_json(root, lambda content: content["annotations"].extend(many))
    assert CocoDetection(root, training=True)[0]["targets"]["boxes"].shape == (351, 4)
    assert len(augmented(root)[0]["targets"]["boxes"]) >= 1


def test_built_from_config_with_transforms_by_name(root: Path) -> None:
    config = {
        "type": "CocoDetection",
        "data_root": str(root),
        "split": "train",
        "transforms": [{"type": "HorizontalFlip", "p": 1.0}],
        "training": True,
    }
    assert DATASETS.build(config)[0]["targets"]["boxes"].tolist() == [[17, 4, 28, 16]]


def same(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> bool:
    """Whether two lists of samples are equal to the last bit."""
    return all(
        torch.equal(a["images"], b["images"])
        and torch.equal(a["targets"]["boxes"], b["targets"]["boxes"])
        and a["targets"]["image_id"] == b["targets"]["image_id"]
        for a, b in zip(left, right, strict=True)
    )


def loader(dataset: CocoDetection, workers: int) -> DataLoader[dict[str, Any]]:
    return DataLoader(
        dataset,
        batch_size=2,
        num_workers=workers,
        collate_fn=pseudo_collate,
        persistent_workers=workers > 0,
    )


def unpack(batches: DataLoader[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"images": image, "targets": {key: value[i] for key, value in batch["targets"].items()}}
        for batch in batches
        for i, image in enumerate(batch["images"])
    ]


def test_workers_do_not_change_the_data_and_follow_the_epoch(tmp_path: Path) -> None:
    """Two persistent workers, over two epochs, give what the main process gives."""
    root = write_data(tmp_path, num_images=12)
    alone, shared = augmented(root), augmented(root)
    batches = loader(shared, workers=2)
    epochs = []
    for epoch in (0, 1):
        alone.set_epoch(epoch)
        shared.set_epoch(epoch)
        epochs.append([alone[i] for i in range(len(alone))])
        assert same(epochs[epoch], unpack(batches))
    assert not any(same([a], [b]) for a, b in zip(*epochs, strict=True))


def test_a_repeated_run_is_equal_and_another_seed_is_not(root: Path) -> None:
    once = [augmented(root)[i] for i in range(3)]
    assert same(once, [augmented(root)[i] for i in reversed(range(3))][::-1])
    assert not same(once, [augmented(root, seed=1)[i] for i in range(3)])


def test_samples_can_be_changed_without_harm(root: Path) -> None:
    dataset = CocoDetection(root, training=True)
    dataset[0]["targets"]["boxes"].zero_()
    assert dataset[0]["targets"]["boxes"].tolist() == [[4, 4, 15, 16]]


def test_an_index_beyond_the_last_is_a_later_pass(root: Path) -> None:
    dataset = CocoDetection(root, training=True)
    assert [sample["targets"]["image_id"] for sample in dataset] == [1, 2, 6]
    assert dataset[5]["targets"]["image_id"] == 6
    with pytest.raises(IndexError, match="negative"):
        dataset[-1]


def test_corrupt_image_stops_and_is_named(root: Path) -> None:
    (root / "train/2.png").write_bytes(b"broken")
    dataset = CocoDetection(root, training=True)
    with pytest.raises(ValueError, match=r"train/2\.png: not an image"):
        dataset[1]


def test_corrupt_image_can_be_skipped(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next image takes its place; it is counted and logged once however often it is met."""
    (root / "train/2.png").write_bytes(b"broken")
    dataset = CocoDetection(root, training=True, on_bad_image="skip")
    logged: list[str] = []
    monkeypatch.setattr("engine.data.bad_images.warn", lambda line: logged.append(line))
    ids = [dataset[i]["targets"]["image_id"] for i in (0, 1, 2, 1)]
    assert ids == [1, 6, 6, 6]
    assert dataset.num_bad_images == 1
    assert len(logged) == 1
    assert "2.png: not an image" in logged[0]


def test_skipping_wraps_around_counts_over_workers_and_ends(root: Path) -> None:
    (root / "train/6.png").write_bytes(b"broken")
    dataset = CocoDetection(root, training=True, on_bad_image="skip")
    ids = [sample["targets"]["image_id"] for sample in unpack(loader(dataset, workers=1))]
    assert ids == [1, 2, 1]
    assert dataset.num_bad_images == 1
    for number in (1, 2):
        (root / f"train/{number}.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match="none of 3 images can be read"):
        dataset[0]


def test_wrong_choices_are_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="use 'stop' or 'skip'"):
        CocoDetection(root, training=True, on_bad_image="ignore")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="evaluation needs every image"):
        CocoDetection(root, training=False, on_bad_image="skip")


def test_missing_images_are_found_at_start(root: Path) -> None:
    (root / "train/2.png").unlink()
    (root / "train/6.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"train/2\.png: no such image.*\(2 of 3 images"):
        CocoDetection(root, training=True)


def test_images_may_lie_in_subfolders(root: Path) -> None:
    (root / "train/deep/er").mkdir(parents=True)
    (root / "train/2.png").rename(root / "train/deep/er/2.png")

    def move(content: dict[str, Any]) -> None:
        content["images"][1]["file_name"] = "deep/er/2.png"

    change_json(root, move)
    assert CocoDetection(root, training=True)[1]["targets"]["image_id"] == 2


def test_nothing_to_train_on(root: Path) -> None:
    change_json(root, lambda content: content["annotations"].clear())
    with pytest.raises(ValueError, match=r"instances_train\.json: no image with a box to use"):
        CocoDetection(root, training=True)
    assert len(CocoDetection(root, training=False)) == 6


def save_turned(root: Path, stored: tuple[int, int]) -> None:
    """Image 1 becomes a JPEG of `stored` (height, width) that asks for a quarter turn."""
    image = Image.fromarray(np.zeros((*stored, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    (root / "train/1.png").unlink()
    image.save(root / "train/1.png", format="JPEG", exif=exif)


@pytest.mark.parametrize("stored", [SIZE, SIZE[::-1]])
def test_exif_turn_is_applied_when_the_json_agrees(root: Path, stored: tuple[int, int]) -> None:
    """The json's 24 x 32 says whether the boxes were drawn on the turned or the stored pixels."""
    save_turned(root, stored)
    assert CocoDetection(root, training=True)[0]["images"].shape == (*SIZE, 3)


def test_size_that_disagrees_with_the_json_is_an_error(root: Path) -> None:
    cv2.imwrite(str(root / "train/1.png"), np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(ValueError, match=r"1\.png: 30 x 20 pixels, but .* says 32 x 24"):
        CocoDetection(root, training=True)[0]


def test_real_coco(real_dir: Path) -> None:
    dataset = CocoDetection(real_dir / "data/coco_mini", split="val", training=False)
    sample = dataset[0]
    assert len(dataset) == 111
    assert sample["targets"]["image_id"] == 139
    assert sample["images"].shape == (426, 640, 3)
    assert sample["targets"]["labels"][0] == 58  # category 64, potted plant
