"""Dividing images into splits so that every class has its share in each of them.

Shapes: N images, K classes, S splits.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "val", "test")


class SplitOptions(NamedTuple):
    """How data are divided.

    Args:
        seed: Another seed, other splits.
        force: Replace what an earlier call wrote.
        out: Where to write; None is beside the data.
        images: Where the images are, for formats that do not say.
        allow_small: Go on where a class is in fewer images than there are splits.
    """

    seed: int = 0
    force: bool = False
    out: Path | None = None
    images: Path | None = None
    allow_small: bool = False


class Division(NamedTuple):
    """What was divided and written."""

    counted: str  # what the cells say
    rows: Mapping[str, Sequence[str]]  # a cell a split, by class
    total: Sequence[str]  # the same of all classes
    lacking: Sequence[str]  # lines: which split lacks which class
    written: Sequence[Path]
    data: Path  # what --data gets
    images: str  # where they lie, in words


def shares_of(val: float, test: float) -> dict[str, float]:
    """Share of the images by split, train first; without splits that get nothing.

    Raises:
        ValueError: the shares leave nothing to train on, or are none.
    """
    if not (0 <= val < 1 and 0 <= test < 1 and 0 < val + test < 1):
        raise ValueError(
            f"--val {val} --test {test}: shares of all images, from 0 to below 1, that leave some "
            "to train on; not both 0"
        )
    shares = dict(zip(SPLITS, (1 - val - test, val, test), strict=True))
    return {split: share for split, share in shares.items() if share > 0}


def stratify(
    images_of: Sequence[NDArray[np.int64]], num_images: int, shares: Sequence[float], seed: int
) -> NDArray[np.int64]:
    """Split 0..S-1 of each image (N,).

    The class with the fewest images left goes first, each of its images to the split that lacks
    most of that class, of several to the one that lacks most images (iterative stratification,
    Sechidis et al. 2011); the last of its images go to splits that have none of it yet. Where an
    image has one class, each class is so divided to within one image; where it may have several,
    as nearly as they allow. Images of no class come last.

    Equal input and seed, equal result; the order within a class is drawn from (seed, class) alone.

    Args:
        images_of: The images of each of K classes.
        num_images: Number of images N.
        shares: Share of each of S splits; they sum to 1.
        seed: Seed of the order in which the images of a class are dealt out.
    """
    left_out = np.setdiff1d(np.arange(num_images), np.concatenate([*images_of, []]))
    groups = [*images_of, left_out.astype(np.int64)]  # the last: images of no class
    owners = _classes_of(groups, num_images)
    lacking = np.outer([len(images) for images in groups], shares)  # (K + 1, S)
    total = num_images * np.asarray(shares)  # (S,)
    has = np.zeros(lacking.shape, bool)
    place = np.full(num_images, -1, np.int64)
    left = np.array([len(images) for images in groups])  # (K + 1,) not dealt out yet
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
    """Split for the next of `left` images of a class, by what each split (S,) lacks of it."""
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
    """Raise ValueError where a class has fewer images than there are splits."""
    small = [f"{n} ({size})" for n, size in zip(names, sizes, strict=True) if size < num_splits]
    if small:
        raise ValueError(
            f"{source}: too few images to have one in each of {num_splits} splits: "
            f"{', '.join(small[:5])}{f' and {len(small) - 5} more' if len(small) > 5 else ''}; add "
            "images, take the class out, or ask for fewer splits"
        )
