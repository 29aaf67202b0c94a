"""Augmentation: what is drawn and how often, and draws that repeat."""

import inspect
import warnings

import numpy as np
import pytest
import torch

from classification.data import transforms
from classification.data.transforms import (
    AutoAugment,
    ColorJitter,
    HorizontalFlip,
    ImageAugment,
    RandAugment,
    RandomErasing,
    RandomResizedCrop,
)
from engine.config import parameters


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def crops(height: int, width: int, **options: object) -> np.ndarray:
    """xyxy of 3000 crops."""
    crop = RandomResizedCrop((8, 8), **options)
    crop.set_random_state(np.random.default_rng(1), __import__("random").Random(1))
    shape = {"shape": (height, width, 3)}
    drawn = [crop.get_params_dependent_on_data(shape, {})["crop_coords"] for _ in range(3000)]
    return np.array(drawn)


def test_aspect_and_area_of_crops_are_uniform() -> None:
    """A square lets every area up to 3/4 have every aspect of 3/4..4/3."""
    x, y, right, bottom = crops(1000, 1000, scale=(0.08, 0.7)).T
    aspect, share = (right - x) / (bottom - y), (right - x) * (bottom - y) / 1e6
    assert aspect.min() == pytest.approx(0.75, abs=0.01)
    assert aspect.max() == pytest.approx(4 / 3, abs=0.01)
    assert aspect.mean() == pytest.approx((3 / 4 + 4 / 3) / 2, abs=0.01)  # 1.042; in logs 1.014
    assert share.min() == pytest.approx(0.08, abs=0.005)
    assert share.mean() == pytest.approx(0.39, abs=0.012)
    assert x.min() == y.min() == 0
    assert right.max() == bottom.max() == 1000


def test_an_area_too_large_for_its_aspect_is_cut_to_what_fits() -> None:
    """Scale (1, 1) on 300 x 400: the largest box of each aspect, never the centre alone."""
    x, y, right, bottom = crops(300, 400, scale=(1.0, 1.0)).T
    touches = (right - x >= 399) | (bottom - y >= 299)
    assert touches.all()
    assert len(np.unique(x)) > 50
    assert ((right - x) / (bottom - y)).std() > 0.1


def test_a_tall_strip_and_a_single_pixel_are_cropped() -> None:
    assert (crops(1000, 3)[:, 2:] <= [3, 1000]).all()
    out = ImageAugment([RandomResizedCrop((6, 5))])(picture(1, 1), (0,))
    assert np.array_equal(out, np.broadcast_to(picture(1, 1), (6, 5, 3)))


def test_a_crop_is_resized_bilinearly() -> None:
    """0 and 100 side by side to 4 pixels: centres at 1/4, 3/4, ... of a pixel, edges repeated."""
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, 1] = 100
    whole = RandomResizedCrop((2, 4), scale=(1.0, 1.0), ratio=(1.0, 1.0))
    assert ImageAugment([whole])(image, (0,))[0, :, 0].tolist() == [0, 25, 75, 100]


@pytest.mark.parametrize(
    "transform",
    [AutoAugment(), RandAugment(), RandomErasing(p=1.0), ColorJitter(), HorizontalFlip(p=0.5)],
    ids=lambda made: type(made).__name__,
)
def test_equal_seeds_repeat_and_others_differ(transform) -> None:
    image = picture(24, 32)
    augment, before = ImageAugment([transform]), torch.get_rng_state()
    many = [augment(image, (0, seed)) for seed in range(20)]
    assert torch.equal(torch.get_rng_state(), before)
    again = [augment(image, (0, seed)) for seed in range(20)]
    assert all(np.array_equal(a, b) for a, b in zip(many, again, strict=True))
    assert len({out.tobytes() for out in many}) >= (2 if "Flip" in str(transform) else 8)
    assert all(out.shape == image.shape and out.dtype == np.uint8 for out in many)
    assert all(out.flags.writeable and out.flags.c_contiguous for out in many)
    assert np.array_equal(image, picture(24, 32))


def test_rand_augment_is_torchvisions_on_the_same_seed() -> None:
    from PIL import Image
    from torchvision.transforms import v2

    image = picture(40, 40)
    ours = RandAugment(operations=3, magnitude=20)
    for seed in range(5):
        torch.manual_seed(seed)
        theirs = v2.RandAugment(num_ops=3, magnitude=20, fill=128)(Image.fromarray(image))
        assert np.array_equal(ours.apply(image, seed=seed), np.asarray(theirs))


def test_erased_rectangles_have_the_published_areas_and_the_noise_of_normalised_pixels() -> None:
    erase = RandomErasing(p=1.0)
    image = np.full((100, 100, 3), 200, np.uint8)
    outs = [erase.apply(image, seed=seed) for seed in range(300)]
    changed = [(out != image).any(axis=2) for out in outs]
    shares = np.array([mask.mean() for mask in changed])
    assert 0.015 < shares.min() < 0.03
    assert 0.3 < shares.max() < 0.34
    sides = [np.flatnonzero(mask.any(axis=axis)) for mask in changed for axis in (1, 0)]
    spans = np.array([places[-1] - places[0] + 1 for places in sides]).reshape(-1, 2)
    ratios = np.log(spans[:, 0] / spans[:, 1])
    assert ratios.mean() == pytest.approx(0, abs=0.12)
    assert np.abs(ratios).max() == pytest.approx(np.log(1 / 0.3), abs=0.15)
    noise = np.concatenate([out[mask] for out, mask in zip(outs, changed, strict=True)])
    assert noise.mean(axis=0) == pytest.approx([0.485 * 255, 0.456 * 255, 0.406 * 255], abs=2)
    assert noise.std(axis=0) == pytest.approx([0.229 * 255, 0.224 * 255, 0.225 * 255], rel=0.05)


def test_a_rectangle_that_never_fits_leaves_the_image() -> None:
    image = picture(2, 90)
    erase = RandomErasing(scale=(0.9, 1.0), ratio=(1.0, 1.0), p=1.0)
    assert np.array_equal(erase.apply(image, seed=0), image)


def test_flips_and_erasing_happen_as_often_as_asked() -> None:
    image = picture(12, 16)
    erase, flip = ImageAugment([RandomErasing(p=0.1)]), ImageAugment([HorizontalFlip(p=0.5)])
    erased = sum(not np.array_equal(erase(image, (s,)), image) for s in range(600))
    flipped = sum(np.array_equal(flip(image, (s,)), image[:, ::-1]) for s in range(200))
    assert 35 <= erased <= 90
    assert 75 <= flipped <= 125


def test_no_transform_leaves_the_image_itself() -> None:
    image = picture(4, 4)
    assert ImageAugment([])(image, (0,)) is image


def test_transforms_are_built_by_name_and_their_options_are_known() -> None:
    from mmengine.registry import TRANSFORMS

    for name in transforms.__all__:
        assert inspect.isclass(TRANSFORMS.get(name)), name
    assert parameters(RandomResizedCrop) == {"size", "scale", "ratio"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TRANSFORMS.build({"type": "RandomResizedCrop", "size": [224, 224]})
