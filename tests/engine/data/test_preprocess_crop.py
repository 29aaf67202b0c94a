"""engine/data/preprocess.py: the classifier's rule, short side first, then the centre."""

import cv2
import numpy as np
import pytest
import torch

from engine.data.preprocess import Preprocess


def image(height: int, width: int) -> torch.Tensor:
    random = np.random.default_rng(height * 1000 + width)
    return torch.from_numpy(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def plain(**options: object) -> Preprocess:
    options = {"size": (224, 224), "resize_shortest": 256, "interpolation": "linear", **options}
    return Preprocess(mean=(0, 0, 0), std=(1, 1, 1), **options)


def pixels(out: torch.Tensor) -> np.ndarray:
    return (out * 255).round().byte().permute(1, 2, 0).numpy()


@pytest.mark.parametrize(("height", "width"), [(300, 500), (500, 300), (100, 131), (256, 256)])
def test_short_side_256_then_the_centre_224(height: int, width: int) -> None:
    """300 x 500: factor 256 / 300, long side round(426.67) = 427, from column 101 and row 16."""
    sample = image(height, width)
    short = min(height, width)
    new = (round(width * 256 / short), round(height * 256 / short))
    resized = cv2.resize(sample.numpy(), new, interpolation=cv2.INTER_LINEAR)
    top, left = (new[1] - 224) // 2, (new[0] - 224) // 2
    expected = resized[top : top + 224, left : left + 224]
    out = plain()({"images": [sample, image(64, 64)], "targets": [{"label": 1}, {"label": 0}]})
    assert out["images"].shape == (2, 3, 224, 224)
    assert out["images"].is_contiguous(memory_format=torch.channels_last)
    assert np.array_equal(pixels(out["images"][0]), expected)
    assert out["targets"][0] == {"label": 1, "size": (height, width)}


def test_hand_numbers_of_a_small_case() -> None:
    """4 x 8 with short side 4: nothing is resized, columns 2..5 and rows 0..3 stay."""
    sample = image(4, 8)
    out = plain(size=(4, 4), resize_shortest=4)({"images": [sample]})["images"][0]
    assert np.array_equal(pixels(out), sample.numpy()[:, 2:6])


def test_a_stripe_does_not_become_gigabytes() -> None:
    stripe = image(1, 60_000)
    out = plain()({"images": [stripe]})["images"]
    middle = stripe.numpy()[:, 29_996:30_004]
    resized = cv2.resize(middle, (2048, 256), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(pixels(out[0]), resized[16:240, 912:1136])


def test_training_takes_crops_as_they_come() -> None:
    samples = [image(160, 160), image(160, 160)]
    out = plain()({"images": samples}, training=True)["images"]
    assert out.shape == (2, 3, 160, 160)
    assert np.array_equal(pixels(out[1]), samples[1].numpy())


def test_training_images_of_two_sizes_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"sizes \(160, 160\) and \(200, 160\).* RandomResizedCrop"
    ):
        plain()({"images": [image(160, 160), image(200, 160)]}, training=True)


def test_training_sizes_are_drawn_all_the_same() -> None:
    out = plain(train_sizes=(64,))({"images": [image(160, 160)]}, training=True)["images"]
    assert out.shape == (1, 3, 64, 64)


@pytest.mark.parametrize("size", [(257, 100), None])
def test_a_cut_larger_than_the_image_is_refused(size: tuple[int, int] | None) -> None:
    with pytest.raises(ValueError, match="resize_shortest 256 must be at least the larger side"):
        plain(size=size)
