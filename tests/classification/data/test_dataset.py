"""Samples: contents, errors, and what the augmentation depends on."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from classification.data.dataset import ImageFolder
from classification.data.transforms import AutoAugment, RandomErasing, RandomResizedCrop

FILES = ("train/cat/1.png", "train/cat/2.png", "train/dog/3.png")
CROP = [
    {"type": RandomResizedCrop, "size": (16, 20)},
    {"type": AutoAugment},
    {"type": RandomErasing, "p": 1.0},
]


def textured(root: Path) -> Path:
    """The images with noise in place of one grey."""
    for number, path in enumerate(FILES):
        noise = np.random.default_rng(number).integers(0, 256, (24, 30, 3), np.uint8)
        cv2.imwrite(str(root / path), noise)
    return root


def test_a_sample_is_image_label_and_path(write_images) -> None:
    data = ImageFolder(textured(write_images(*FILES)), split="train")
    image, targets = data[2]["images"], data[2]["targets"]
    file = cv2.imread(str(data.data_root / "train/dog/3.png"))
    assert np.array_equal(image.numpy(), file[..., ::-1])
    assert image.dtype == torch.uint8
    assert image.is_contiguous()
    assert targets == {"label": 1, "image_id": "train/dog/3.png"}
    assert len(data) == 3
    assert data.metainfo == {"classes": ("cat", "dog")}


def test_grey_and_rotated_pictures_come_as_rgb(write_images, real_dir: Path) -> None:
    root = write_images(*FILES)
    cv2.imwrite(str(root / FILES[0]), np.full((5, 7), 40, np.uint8))
    assert ImageFolder(root)[0]["images"].tolist() == [[[40] * 3] * 7] * 5


def test_samples_depend_on_seed_epoch_and_index_alone(write_images) -> None:
    root = textured(write_images(*FILES))
    data, other = (ImageFolder(root, transforms=CROP, seed=seed) for seed in (0, 1))
    before = torch.get_rng_state()
    first = data[0]["images"]
    assert first.shape == (16, 20, 3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(first, data[0]["images"])
    assert not torch.equal(first, other[0]["images"])
    second_pass = data[3]
    assert not torch.equal(first, second_pass["images"])
    assert second_pass["targets"]["image_id"] == FILES[0]
    data.set_epoch(1)
    assert torch.equal(data[0]["images"], second_pass["images"])


def test_workers_give_the_samples_of_this_process(write_images) -> None:
    data = ImageFolder(textured(write_images(*FILES)), transforms=CROP)
    loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=2)
    for index, sample in enumerate(loader):
        assert torch.equal(sample["images"], data[index]["images"])


def test_bad_images_are_skipped_and_counted_in_training_where_that_is_wanted(write_images) -> None:
    root = write_images(*FILES)
    (root / FILES[2]).write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"3\.png: not an image that can be read"):
        (stopping := ImageFolder(root, training=True))[2]
    data = ImageFolder(root, training=True, on_bad_image="skip")
    assert [data[i]["targets"]["image_id"] for i in range(3)] == [FILES[0], FILES[1], FILES[0]]
    assert data.num_bad_images == 1
    with pytest.raises(ValueError, match="evaluation needs every image"):
        ImageFolder(root, on_bad_image="skip")
    (root / FILES[2]).unlink()
    (root / FILES[2]).mkdir()
    assert data[2]["targets"]["image_id"] == FILES[0]
    with pytest.raises(OSError, match=r"3\.png"):
        stopping[2]
