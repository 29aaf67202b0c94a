"""Samples: contents, errors, and what the augmentation depends on."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from segmentation.classes import CLASSES
from segmentation.data.dataset import Cityscapes
from segmentation.data.transforms import RandomPaddedCrop, RandomStepScale

CROP = [{"type": RandomStepScale}, {"type": RandomPaddedCrop, "height": 16, "width": 20}]


def masks(*values: int) -> dict[str, np.ndarray]:
    return {f"c/{i}": np.full((24, 30), value, np.uint8) for i, value in enumerate(values)}


def test_a_sample_is_image_mask_and_name(write_split) -> None:
    root = write_split(masks(3, 255))
    data = Cityscapes(root)
    image, targets = data[1]["images"], data[1]["targets"]
    file = cv2.imread(str(root / "leftImg8bit/train/c/1_leftImg8bit.png"))
    assert np.array_equal(image.numpy(), file[..., ::-1])
    assert image.dtype == torch.uint8
    assert image.is_contiguous()
    assert targets["mask"].unique().tolist() == [255]
    assert targets["image_id"] == "1"
    assert len(data) == 2
    assert data.metainfo == {"classes": CLASSES}


def test_samples_depend_on_seed_epoch_and_index_alone(write_split) -> None:
    root = write_split(masks(1, 2))
    data, other = (Cityscapes(root, transforms=CROP, seed=seed) for seed in (0, 1))
    first = data[0]["images"]
    assert first.shape == (16, 20, 3)
    assert torch.equal(first, data[0]["images"])
    assert not torch.equal(first, other[0]["images"])
    second_pass = data[2]
    assert not torch.equal(first, second_pass["images"])
    assert second_pass["targets"]["image_id"] == "0"
    data.set_epoch(1)
    assert torch.equal(data[0]["images"], second_pass["images"])


def test_workers_give_the_samples_of_this_process(write_split) -> None:
    data = Cityscapes(write_split(masks(1, 2, 3)), transforms=CROP)
    loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=2)
    for index, sample in enumerate(loader):
        assert torch.equal(sample["images"], data[index]["images"])


def test_a_mask_of_another_size_is_named(write_split) -> None:
    root = write_split(masks(1))
    path = root / "gtFine/train/c/0_gtFine_labelTrainIds.png"
    cv2.imwrite(str(path), np.zeros((24, 31), np.uint8))
    with pytest.raises(ValueError, match=r"0_gtFine_labelTrainIds.png: 31 x 24 .* has 30 x 24"):
        Cityscapes(root)[0]


def test_real_street_scenes_have_eleven_of_the_nineteen_classes(real_dir: Path) -> None:
    root = real_dir / "data/camvid_cityscapes"
    train, val = Cityscapes(root), Cityscapes(root, split="val")
    assert (len(train), len(val)) == (367, 101)
    counts = sum(np.bincount(val[i]["targets"]["mask"].ravel(), minlength=256) for i in range(101))
    present = np.flatnonzero(counts[:255])
    assert present.tolist() == [0, 1, 2, 4, 5, 7, 8, 10, 11, 12, 13]


def test_bad_masks_are_skipped_and_counted_in_training_where_that_is_wanted(write_split) -> None:
    root = write_split(masks(1, 2, 30))
    with pytest.raises(ValueError, match="values 30"):
        Cityscapes(root, training=True)[2]
    data = Cityscapes(root, training=True, on_bad_image="skip")
    assert [data[index]["targets"]["image_id"] for index in range(6)] == ["0", "1", "0"] * 2
    assert data.num_bad_images == 1
    with pytest.raises(ValueError, match="evaluation needs every image"):
        Cityscapes(root, on_bad_image="skip")
