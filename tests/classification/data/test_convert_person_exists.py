"""The published rule, image by image, and the lists made by it."""

import json
from pathlib import Path

import numpy as np
import pytest

from classification.data.convert_person_exists import CocoSplit, label_images, write_lists
from classification.data.image_lists import find_images
from engine import config

PERSON, DOG = 7, 3


def records(*images: list[tuple[int, float, float, int]]) -> dict:
    """Images of 100 x 50 pixels; each with annotations (category, width, height, iscrowd)."""
    return {
        "images": [
            {"id": 10 + i, "file_name": f"{i}.jpg", "width": 100, "height": 50}
            for i in range(len(images))
        ],
        "annotations": [
            {
                "image_id": 10 + i,
                "category_id": c,
                "bbox": [0, 0, w, h],
                "area": 1,
                "iscrowd": crowd,
            }
            for i, boxes in enumerate(images)
            for c, w, h, crowd in boxes
        ],
        "categories": [{"id": DOG, "name": "dog"}, {"id": PERSON, "name": "person"}],
    }


def test_each_case_of_the_rule() -> None:
    """10 % of 100 x 50 is 500 square pixels."""
    cases = [
        ([], 0),
        ([(DOG, 90, 50, 0)], 0),
        ([(PERSON, 25, 20.1, 0)], 1),
        ([(PERSON, 25, 20, 0)], -1),  # 10 % exactly is not over 10 %
        ([(PERSON, 5, 5, 0)], -1),
        ([(PERSON, 5, 5, 0), (PERSON, 50, 50, 0)], 1),
        ([(PERSON, 50, 50, 0), (PERSON, 5, 5, 0)], 1),
        ([(PERSON, 90, 50, 1)], -1),  # a crowd alone
        ([(PERSON, 90, 50, 1), (PERSON, 50, 50, 0)], 1),
        ([(PERSON, 20, 20, 0), (PERSON, 20, 20, 0)], -1),  # together 16 %, none over 10 %
    ]
    labels = label_images(Path("x.json"), records(*[boxes for boxes, _ in cases]))
    assert labels.tolist() == [label for _, label in cases]


def test_another_share() -> None:
    some = records([(PERSON, 25, 20, 0)], [(PERSON, 30, 50, 0)])
    assert label_images(Path("x"), some, 0.05).tolist() == [1, 1]
    assert label_images(Path("x"), some, 0.2).tolist() == [-1, 1]


def test_without_a_person_category() -> None:
    some = records([])
    some["categories"] = [{"id": 1, "name": "cup"}]
    with pytest.raises(ValueError, match=r"a\.json: no category is named person; it has cup"):
        label_images(Path("a.json"), some)


def test_lists_point_at_the_images_where_they_are(tmp_path: Path, write_images) -> None:
    root = write_images(*[f"coco/val/{i}.jpg" for i in range(3)])
    some = records([], [(PERSON, 50, 50, 0)], [(PERSON, 2, 2, 0)])
    source = CocoSplit(root / "coco/a.json", root / "coco/val", some)
    out = tmp_path / "lists/person"
    assert write_lists({"val": [source], "train": [source, source]}, out) == {
        "val": (1, 1, 1),
        "train": (2, 2, 2),
    }
    lines = "val_images_1/0.jpg 0\nval_images_1/1.jpg 1\n"
    assert (out / "val_list.txt").read_text() == lines
    assert (out / "val_images_1").samefile(root / "coco/val")
    found = find_images(out, "val")
    assert found.classes == ("nobody", "someone")
    assert found.labels.tolist() == [0, 1]
    write_lists({"val": [source]}, out)  # a second time: links are made again
    (out / "train_images_1").unlink()
    (out / "train_images_1").mkdir()
    with pytest.raises(ValueError, match=r"train_images_1: exists already"):
        write_lists({"train": [source]}, out)


def test_one_class_only_writes_nothing(tmp_path: Path) -> None:
    source = CocoSplit(tmp_path / "a.json", tmp_path, records([(PERSON, 50, 50, 0)]))
    with pytest.raises(ValueError, match=r"a\.json: 0 images of nobody, 1 of someone; both are"):
        write_lists({"train": [source]}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_real_annotations(real_dir: Path) -> None:
    """Counted again from the json by hand-written numpy."""
    path = real_dir / "data/coco_mini/annotations/instances_val2017.json"
    content = json.loads(path.read_text())
    labels = label_images(path, content)
    for image, label in zip(content["images"], labels.tolist(), strict=True):
        own = [
            (a["bbox"][2] * a["bbox"][3] / image["width"] / image["height"], a["iscrowd"])
            for a in content["annotations"]
            if a["image_id"] == image["id"] and a["category_id"] == 1
        ]
        large = any(share > 0.1 and not crowd for share, crowd in own)
        assert label == (1 if large else -1 if own else 0)
    assert np.bincount(labels + 1).tolist() == [28, 46, 37]


def test_the_published_recipe() -> None:
    cfg = config.load(Path(__file__).parents[3] / "configs/classifier_lcnet_person.py")
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.momentum, optimizer.weight_decay) == (0.01, 0.9, 4e-5)
    assert (cfg.train_cfg.max_epochs, cfg.train_cfg.val_begin) == (20, 10)
    assert (cfg.param_scheduler[0].epochs, cfg.param_scheduler[0].warmup_epochs) == (None, 5)
    assert cfg.auto_scale_lr.base_batch_size == 4 * cfg.train_dataloader.batch_size == 256
    assert cfg.model.loss.label_smoothing == 0
    crop, flip, erase = cfg.train_dataloader.dataset.transforms
    assert tuple(crop["size"]) == (192, 192)
    assert (flip["p"], erase["p"]) == (0.5, 0.1)
    assert tuple(cfg.model.data_preprocessor["size"]) == (224, 224)
    assert cfg.default_hooks.checkpoint.save_best == "tpr_at_fpr"
