"""Divides images into splits so that every class has its share in each of them.

Shapes: N images, K classes, S splits.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")


class SplitOptions(NamedTuple):
    """Options of a division into splits.

    Args:
        seed: Another seed gives other splits.
        force: Replace the files of an earlier call.
        out: Where to write; None: beside the data.
        images: Folder of the images, for formats that do not store it.
        allow_small: Continue if a class has fewer images than there are splits.
    """

    seed: int = 0
    force: bool = False
    out: Path | None = None
    images: Path | None = None
    allow_small: bool = False


class Division(NamedTuple):
    """Result of a division, and the written files."""

    counted: str  # meaning of the cells
    rows: Mapping[str, Sequence[str]]  # by class: a cell for each split
    total: Sequence[str]  # the cells for all classes
    lacking: Sequence[str]  # lines: classes that are missing in a split
    written: Sequence[Path]
    data: Path  # value for --data
    images: str  # text: where the images are


def shares_of(val: float, test: float) -> dict[str, float]:
    """Share of the images for each split, train first; empty splits are left out.

    Raises:
        ValueError: the shares are not valid, or leave no images for training.
    """
    if not (0 <= val < 1 and 0 <= test < 1 and 0 < val + test < 1):
        raise ValueError(
            f"--val {val} --test {test}: give shares from 0 to below 1, not both 0, that leave "
            "some images for training"
        )
    shares = dict(zip(SPLITS, (1 - val - test, val, test), strict=True))
    return {split: share for split, share in shares.items() if share > 0}


def stratify(
    images_of: Sequence[NDArray[np.int64]], num_images: int, shares: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """Split 0..S-1 of each image (N,).

    Iterative stratification (Sechidis et al. 2011): the class with the fewest remaining images is
    next. Each of its images goes to the split that lacks most of that class; among several, to the
    one that lacks most images. The last images of a class go to splits that have none of it yet.
    If every image has one class, each class is divided to within one image; with several classes,
    as closely as possible. Images without a class come last.

    The result depends only on input and seed; the order within a class is drawn from (seed, class).

    Args:
        images_of: The images of each of K classes.
        num_images: Number of images N.
        shares: Share of each of S splits; they sum to 1.
        seed: Seed of the order in which the images of a class are assigned.
    """
    left_out = np.setdiff1d(np.arange(num_images), np.concatenate([*images_of, []]))
    groups = [*images_of, left_out.astype(np.int64)]  # the last group: images without a class
    owners = _classes_of(groups, num_images)
    lacking = np.outer([len(images) for images in groups], shares)  # (K + 1, S)
    total = num_images * np.asarray(shares)  # (S,)
    has = np.zeros(lacking.shape, bool)
    place = np.full(num_images, -1, np.int64)
    left = np.array([len(images) for images in groups])  # (K + 1,) not assigned yet
    while left.any():
        number = int(np.where(left > 0, left, num_images + 1).argmin())
        mine = groups[number][place[groups[number]] < 0]
        for image in np.random.default_rng((seed, number)).permutation(mine).tolist():
            split = _most_lacking(lacking[number], total, has[number], left[number])
            place[image] = split
            total[split] -= 1
            its_classes = owners[image]
            lacking[its_classes, split] -= 1
            has[its_classes, split] = True
            left[its_classes] -= 1
    return place


def _most_lacking(
    lacking: NDArray[np.float64], total: NDArray[np.float64], has: NDArray[np.bool_], left: int
) -> int:
    """Split for the next of `left` images of a class; `lacking` (S,) is what each split lacks."""
    empty = np.flatnonzero(~has).tolist()
    choice = empty if len(empty) >= left else range(len(total))
    return max(choice, key=lambda split: (lacking[split], total[split]))


def _classes_of(groups: Sequence[NDArray[np.int64]], num_images: int) -> list[list[int]]:
    """The classes of each image."""
    result: list[list[int]] = [[] for _ in range(num_images)]
    for number, images in enumerate(groups):
        for image in images.tolist():
            result[image].append(number)
    return result


def check_large_enough(
    names: Sequence[str], sizes: Sequence[int], num_splits: int, source: object
) -> None:
    """Raise ValueError if a class has fewer images than there are splits."""
    small = [f"{n} ({size})" for n, size in zip(names, sizes, strict=True) if size < num_splits]
    if small:
        raise ValueError(
            f"{source}: classes with fewer images than the {num_splits} splits: "
            f"{', '.join(small[:5])}{f' and {len(small) - 5} more' if len(small) > 5 else ''}; add "
            "images, remove the class, or use fewer splits"
        )
