"""Augmentation of an image with its mask: sizes, padding, alignment, and draws that repeat."""

from collections import Counter

import numpy as np
import pytest

from segmentation.data.transforms import (
    HorizontalFlip,
    MaskAugment,
    RandomColour,
    RandomPaddedCrop,
    RandomStepScale,
)


def pair(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A mask of three classes in patches of 8 pixels, and the image that shows it."""
    random = np.random.default_rng(0)
    patches = random.integers(0, 3, (-(-height // 8), -(-width // 8)), dtype=np.uint8)
    mask = patches.repeat(8, 0).repeat(8, 1)[:height, :width]
    return (mask[..., None] * 100).repeat(3, 2), np.ascontiguousarray(mask)


def published() -> MaskAugment:
    return MaskAugment(
        [RandomStepScale(), RandomPaddedCrop(40, 64), HorizontalFlip(p=0.5), RandomColour()]
    )


def test_scales_are_the_seven_published_ones_equally_often() -> None:
    scale = MaskAugment([RandomStepScale()])
    image, mask = pair(40, 80)
    sides = [scale(image, mask, (0, seed))[0].shape[:2] for seed in range(700)]
    assert {(h / 40, w / 80) for h, w in sides} == {(f, f) for f in np.arange(0.5, 2.1, 0.25)}
    assert all(60 < count < 145 for count in Counter(sides).values())


@pytest.mark.parametrize("seed", range(12))
def test_image_and_mask_stay_on_each_other(seed: int) -> None:
    image, mask = pair(48, 72)
    augment = MaskAugment([RandomStepScale(), RandomPaddedCrop(40, 64), HorizontalFlip(p=0.5)])
    new_image, new_mask = augment(image, mask, (0, seed))
    assert new_image.shape == (40, 64, 3)
    assert new_mask.shape == (40, 64)
    shown = np.where(new_mask == 255, 127, new_mask.astype(int) * 100)
    equal = np.abs(shown - new_image[..., 0]) <= 50  # bilinear edges differ, but by half at most
    assert equal.mean() > 0.99


def test_a_crop_larger_than_the_image_is_padded_below_and_right() -> None:
    image, mask = pair(16, 24)
    new_image, new_mask = MaskAugment([RandomPaddedCrop(20, 32)])(image, mask, (0,))
    assert np.array_equal(new_image[:16, :24], image)
    assert np.array_equal(new_mask[:16, :24], mask)
    assert (new_mask[16:] == 255).all()
    assert (new_mask[:, 24:] == 255).all()
    assert (new_image[16:] == 127).all()
    assert (new_image[:, 24:] == 127).all()


def test_crops_reach_every_corner() -> None:
    image, mask = pair(6, 7)
    image[..., 0] = np.arange(42).reshape(6, 7)
    crop = MaskAugment([RandomPaddedCrop(5, 5)])
    corners = {int(crop(image, mask, (seed,))[0][0, 0, 0]) for seed in range(100)}
    assert corners == {0, 1, 2, 7, 8, 9}


def test_colours_change_the_image_only() -> None:
    image, mask = pair(16, 24)
    image[...] = np.random.default_rng(1).integers(0, 256, image.shape)
    found = [MaskAugment([RandomColour()])(image, mask, (seed,)) for seed in range(8)]
    assert all(np.array_equal(new_mask, mask) for _, new_mask in found)
    assert sum(not np.array_equal(new_image, image) for new_image, _ in found) >= 6


def test_equal_seeds_repeat_and_others_differ() -> None:
    image, mask = pair(48, 72)
    first, again, other = (published()(image, mask, seed) for seed in [(0, 1), (0, 1), (0, 2)])
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def test_flips_half_of_the_time() -> None:
    image, mask = pair(24, 48)
    flip = MaskAugment([HorizontalFlip(p=0.5)])
    flipped = sum(np.array_equal(flip(image, mask, (s,))[1], mask[:, ::-1]) for s in range(200))
    assert 75 <= flipped <= 125
