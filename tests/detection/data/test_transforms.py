"""The augmentations: what they do to pixels and boxes, and that they repeat."""

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS

from detection.data.transforms import BoxAugment, HorizontalFlip, RandomCropByIoU, RandomDistort

Sample = tuple[np.ndarray, np.ndarray, np.ndarray]


def scene(seed: int, height: int = 60, width: int = 80, count: int = 5) -> Sample:
    """Random image (height, width, 3) with `count` random boxes of at least a pixel inside it."""
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    limits = np.array([width, height])
    low = random.uniform(0, limits - 1, (count, 2))
    high = random.uniform(low + 1, limits)
    boxes = np.concatenate([low, high], axis=1).astype(np.float32)
    return image, boxes, np.arange(count, dtype=np.int64)


def published() -> BoxAugment:
    return BoxAugment([RandomCropByIoU(), HorizontalFlip(), RandomDistort()])


def test_boxes_stay_inside_the_image_with_positive_sides() -> None:
    augment = published()
    for seed in range(150):
        image, boxes, labels = augment(*scene(seed, count=seed % 7), seed=(seed,))
        height, width = image.shape[:2]
        assert image.dtype == np.uint8
        assert image.flags.c_contiguous
        assert boxes.dtype == np.float32
        assert labels.dtype == np.int64
        assert len(boxes) == len(labels)
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        assert (boxes >= 0).all()
        assert (boxes <= [width, height, width, height]).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3)])
def test_tiny_images_survive(size: tuple[int, int]) -> None:
    augment = published()
    for seed in range(20):
        boxes = np.array([[0, 0, size[1], size[0]]], np.float32)
        image, kept, labels = augment(
            np.zeros((*size, 3), np.uint8), boxes, np.array([4]), seed=(seed,)
        )
        assert min(image.shape[:2]) >= 1
        assert labels.tolist() == [4]
        assert (kept[:, :2] < kept[:, 2:]).all()


def test_image_without_boxes_is_not_cropped() -> None:
    for seed in range(10):
        image, boxes, labels = published()(*scene(seed, count=0), seed=(seed,))
        assert image.shape == (60, 80, 3)
        assert boxes.shape == (0, 4)
        assert labels.shape == (0,)


def test_boxes_outside_or_empty_do_not_raise() -> None:
    """albumentations refuses both by default: the first is cut, the second dropped."""
    image = np.zeros((10, 10, 3), np.uint8)
    boxes = np.array([[-0.01, 2, 10.01, 8], [5, 5, 5, 9]], np.float32)
    _, kept, labels = BoxAugment([HorizontalFlip(p=1)])(image, boxes, np.array([0, 1]), seed=(0,))
    np.testing.assert_allclose(kept, [[0, 2, 10, 8]], atol=1e-5)
    assert labels.tolist() == [0]


def test_same_seed_same_sample_and_other_seed_other_sample() -> None:
    first, second = published(), published()
    once = first(*scene(0), seed=(3, 1, 4))
    first(*scene(1), seed=(9,))
    for left, right in zip(once, second(*scene(0), seed=(3, 1, 4)), strict=True):
        np.testing.assert_array_equal(left, right)
    other = first(*scene(0), seed=(3, 1, 5))
    assert once[0].shape != other[0].shape or (once[0] != other[0]).any()


def test_nothing_to_do_returns_the_sample() -> None:
    image, boxes, labels = scene(0)
    out = BoxAugment([])(image, boxes, labels, seed=(0,))
    assert out[0] is image
    assert out[1] is boxes


def test_flip_mirrors_pixels_and_boxes() -> None:
    """In a picture 80 wide, x from 10 to 30 becomes x from 50 to 70."""
    image, _, _ = scene(0)
    boxes = np.array([[10, 5, 30, 25]], np.float32)
    flipped, moved, _ = BoxAugment([HorizontalFlip(p=1)])(image, boxes, np.array([0]), seed=(0,))
    np.testing.assert_array_equal(flipped, image[:, ::-1])
    np.testing.assert_allclose(moved, [[50, 5, 70, 25]], atol=1e-4)


def test_flips_happen_half_of_the_time_and_apart_from_the_distortion() -> None:
    """Independent halves: all four combinations within 4 deviations (0.068) of a quarter."""
    grey = np.tile(np.array([[[90, 90, 90], [110, 110, 110]]], np.uint8), (4, 1, 1))
    augment = BoxAugment([HorizontalFlip(), RandomDistort((1.4, 1.4), (1, 1), (1, 1), (0, 0))])
    counts = np.zeros((2, 2))
    for index in range(650):
        image, _, _ = augment(grey, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), (index,))
        flipped = image[0, 0, 0] > image[0, 1, 0]
        counts[int(flipped), int(image[0, 0, 0] not in (90, 110))] += 1
    np.testing.assert_allclose(counts / 650, 0.25, atol=0.068)


def test_crop_moves_pixels_and_boxes_together() -> None:
    """The top left pixel of a whole-pixel box stays the same pixel as long as it is not cut off."""
    image, _, _ = scene(3)
    boxes = np.array([[20, 10, 60, 50]], np.float32)
    cropped = 0
    for seed in range(60):
        out, moved, _ = BoxAugment([RandomCropByIoU()])(image, boxes, np.array([0]), seed=(seed,))
        x1, y1, x2, _ = moved[0]
        cropped += out.shape != image.shape
        if x1 > 0 and y1 > 0:
            np.testing.assert_array_equal(out[round(float(y1)), round(float(x1))], image[10, 20])
        if x2 < out.shape[1] - 0.5 and x1 > 0:
            assert x2 - x1 == pytest.approx(40, abs=1e-3)
    assert cropped > 30


@pytest.mark.parametrize("threshold", [0.5, 0.9])
def test_crop_reaches_its_threshold(threshold: float) -> None:
    """With one threshold, a crop (7 of 8 orders try it or "no crop") has IoU >= it with the box.

    The IoU of crop and box, both in the crop's pixels: overlap / (crop + 40 * 40 - overlap).
    """
    image, _, _ = scene(3)
    boxes = np.array([[20, 10, 60, 50]], np.float32)
    crops = 0
    for seed in range(60):
        augment = BoxAugment([RandomCropByIoU(thresholds=(threshold,))])
        out, moved, _ = augment(image, boxes, np.array([0]), seed=(seed,))
        if out.shape == image.shape:
            continue
        crops += 1
        overlap = float((moved[0, 2:] - moved[0, :2]).prod())
        area = out.shape[0] * out.shape[1]
        assert overlap / (area + 1600 - overlap) >= threshold - 1e-3
    assert crops > 0


def test_crop_keeps_boxes_by_their_centre() -> None:
    """The kept are those with the centre in the crop; the crop is found from a coordinate ramp."""
    y, x = np.mgrid[:60, :80]
    image = np.stack([x, y, x], axis=-1).astype(np.uint8)
    for seed in range(80):
        _, boxes, labels = scene(seed, count=8)
        out, moved, kept = BoxAugment([RandomCropByIoU()])(image, boxes, labels, seed=(seed,))
        low = out[0, 0, :2].astype(float)
        high = low + np.array(out.shape[1::-1])
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = ((centres >= low) & (centres < high)).all(axis=1)
        assert kept.tolist() == np.flatnonzero(inside).tolist()
        cut = np.concatenate([np.maximum(boxes[:, :2], low), np.minimum(boxes[:, 2:], high)], 1)
        np.testing.assert_allclose(moved, (cut - np.tile(low, 2))[inside], atol=1e-4)


def test_no_crop_is_one_of_the_choices() -> None:
    """With six reachable thresholds about one in seven images stays whole."""
    image, _, _ = scene(0)
    boxes = np.array([[0, 0, 80, 60], [10, 10, 20, 20]], np.float32)
    augment = BoxAugment([RandomCropByIoU()])
    whole = [
        augment(image, boxes, np.array([0, 1]), (i,))[0].shape == image.shape for i in range(300)
    ]
    assert np.mean(whole) == pytest.approx(1 / 7, abs=0.08)


def only(index: int, low: float, high: float) -> BoxAugment:
    """RandomDistort in which one of the four always happens and the others do nothing."""
    ranges = [(1.0, 1.0), (1.0, 1.0), (1.0, 1.0), (0.0, 0.0)]
    ranges[index] = (low, high)
    return BoxAugment([HorizontalFlip(p=0), RandomDistort(*ranges, p=1)])


@pytest.mark.parametrize(
    ("index", "amount", "expected"),
    [
        (0, 0.5, [[100, 50, 25], [50, 50, 50]]),  # brightness: half of everything
        # contrast: mean grey 112.5 of (0.299, 0.587, 0.114) greys 124.2 -> 124 and 100, mean 112
        (1, 0.5, [[156, 106, 81], [106, 106, 106]]),
        (2, 0.0, [[124, 124, 124], [100, 100, 100]]),  # saturation 0: the pixel's own grey
        (3, 85.0, [[50, 200, 100], [100, 100, 100]]),  # hue: a third of a turn, red to green
    ],
)
def test_distortions_by_hand(index: int, amount: float, expected: list[list[int]]) -> None:
    image = np.array([[[200, 100, 50], [100, 100, 100]]], np.uint8)
    out, _, _ = only(index, amount, amount)(
        image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), (0,)
    )
    np.testing.assert_allclose(out[0].astype(int), expected, atol=2)


def test_registered_by_name_for_the_command_line() -> None:
    crop = TRANSFORMS.build({"type": "RandomCropByIoU", "attempts": 3})
    assert crop.attempts == 3
    assert TRANSFORMS.build({"type": "RandomDistort"}).n == 4
    assert TRANSFORMS.build({"type": "HorizontalFlip", "p": 0.25}).p == 0.25
