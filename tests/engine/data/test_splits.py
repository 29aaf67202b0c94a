"""Divisions into splits: exact counts by class, several classes per image, repeatable draws."""

from itertools import pairwise

import numpy as np
import pytest

from engine.data.splits import check_large_enough, shares_of, stratify


def groups(labels: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]


def test_shares() -> None:
    assert shares_of(0.2, 0.1) == pytest.approx({"train": 0.7, "val": 0.2, "test": 0.1})
    assert list(shares_of(0.2, 0)) == ["train", "val"]
    for val, test in ((0, 0), (0.5, 0.5), (-0.1, 0.2), (1, 0), (float("nan"), 0.1)):
        with pytest.raises(ValueError, match="leave some images for training"):
            shares_of(val, test)


@pytest.mark.parametrize("seed", range(3))
def test_each_class_is_divided_to_within_one_image(seed: int) -> None:
    sizes, shares = [10, 37, 3, 4, 13], [0.7, 0.2, 0.1]
    expected = [[7, 2, 1], [26, 7, 4], [1, 1, 1], [2, 1, 1], [9, 3, 1]]
    labels = np.repeat(range(5), sizes)
    place = stratify(groups(labels), 67, shares, seed)
    got = [np.bincount(place[labels == label], minlength=3).tolist() for label in range(5)]
    assert got == expected


def test_equal_seeds_repeat_others_differ_and_classes_do_not_disturb_each_other() -> None:
    labels = np.repeat([0, 1], [40, 40])
    one, again, other = (stratify(groups(labels), 80, [0.8, 0.2], seed) for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    longer = np.repeat([0, 1], [40, 90])
    assert np.array_equal(stratify(groups(longer), 130, [0.8, 0.2], 0)[:40], one[:40])


def test_images_of_several_classes_keep_the_shares_of_each() -> None:
    """Classes in 300, 100, 40 and 12 of 500 images, overlapping; 60 without any."""
    random = np.random.default_rng(0)
    images_of = [np.sort(random.choice(440, n, replace=False)) for n in (300, 100, 40, 12)]
    place = stratify(images_of, 500, [0.7, 0.2, 0.1], 0)
    assert np.bincount(place).tolist() == pytest.approx([350, 100, 50], abs=6)
    for images in images_of:
        got = np.bincount(place[images], minlength=3)
        ideal = len(images) * np.array([0.7, 0.2, 0.1])
        assert np.abs(got - ideal).max() <= max(1, 0.04 * len(images))


def test_a_class_in_as_many_images_as_splits_reaches_all_of_them() -> None:
    """Three images have the rare class, and all have the common one."""
    images_of = [np.arange(30), np.array([4, 9, 22])]
    for seed in range(5):
        place = stratify(images_of, 30, [0.7, 0.2, 0.1], seed)
        assert sorted(place[images_of[1]].tolist()) == [0, 1, 2]


def test_images_without_a_class_are_divided_too() -> None:
    place = stratify([np.arange(10)], 30, [0.8, 0.2], 0)
    assert np.bincount(place[10:]).tolist() == [16, 4]
    assert np.bincount(stratify([], 10, [0.8, 0.2], 0)).tolist() == [8, 2]


def test_a_seed_is_not_the_order_of_the_files() -> None:
    place = stratify([np.arange(50)], 50, [0.5, 0.5], 3)
    assert sum(a != b for a, b in pairwise(place.tolist())) > 10


def test_small_classes_are_named() -> None:
    check_large_enough(["a"], [3], 3, "here")
    with pytest.raises(
        ValueError, match=r"here: classes with fewer images than the 3 splits: b \(2\), c \(0\);"
    ):
        check_large_enough(["a", "b", "c"], [3, 2, 0], 3, "here")
