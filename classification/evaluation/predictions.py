"""Writes and reads predictions: the scores of every image in one .npz, without pickle.

Shapes: N images, K classes.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from backbone.npz import read_npz
from classification.data.image_lists import check_range, find_images, read_list
from engine.data.class_list import find_label_file, read_classes
from engine.fileio import write_binary

_ARRAYS = ("scores", "image_ids", "classes")


class ImageScores(NamedTuple):
    """Scores of images."""

    scores: NDArray[np.float32]  # (N, K) probabilities
    image_ids: Sequence[str]  # N paths relative to the data's root
    classes: tuple[str, ...]  # K names

    def checked(self, source: Path | str) -> "ImageScores":
        """Self, after checks of the shape and for finite scores.

        Raises:
            ValueError: a check fails; the message names `source`.
        """
        expected = (len(self.image_ids), len(self.classes))
        if self.scores.shape != expected:
            raise ValueError(
                f"{source}: scores of shape {self.scores.shape} for {expected[0]} images and "
                f"{expected[1]} classes; expected {expected}"
            )
        bad = np.flatnonzero(~np.isfinite(self.scores).all(axis=1))
        if len(bad):
            raise ValueError(f"{source}: scores of image {self.image_ids[bad[0]]} are not finite")
        return self


def write_predictions(path: Path, found: ImageScores) -> None:
    """Write predictions as .npz (under any name), atomically."""
    ids, classes = np.array(found.image_ids, np.str_), np.array(found.classes, np.str_)
    write_binary(
        path,
        lambda stream: np.savez(stream, scores=found.scores, image_ids=ids, classes=classes),
    )


def read_predictions(path: Path) -> ImageScores:
    """Read a file that `write_predictions` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is something else, or contradicts itself.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of predictions")
    try:
        arrays = read_npz(path, _ARRAYS)
        scores = arrays["scores"].astype(np.float32)
        image_ids, classes = (_texts(arrays[name]) for name in _ARRAYS[1:])
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path}: not a file of predictions as test.py --dump-predictions writes it, a .npz of "
            f"{', '.join(_ARRAYS)} ({error})"
        ) from None
    return ImageScores(scores, image_ids, tuple(classes)).checked(path)


def _texts(array: NDArray[Any]) -> list[str]:
    if array.ndim != 1 or array.dtype.kind != "U":
        raise ValueError(f"{array.dtype} of shape {array.shape} instead of a list of texts")
    return [str(text) for text in array]


def read_truth(path: Path, classes: tuple[str, ...]) -> tuple[list[str], NDArray[np.int64]]:
    """Image ids and labels (N,) of a list file, or of the folder of a split.

    The images of a list need not exist.

    Args:
        path: List with lines `path index`, or a folder of class folders.
        classes: Class names of the predictions.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: it is not a list, has a class that `classes` lacks, or names other classes.
    """
    if path.is_dir():
        split = path.absolute()  # a link has its own name
        listing = find_images(split.parent, split.name)
        _check_names(path, listing.classes, classes)
        ids = [os.fsdecode(image) for image in listing.paths.tolist()]
        return ids, listing.labels.astype(np.int64)
    listed = read_list(path)
    check_range(listed, len(classes), "the file of predictions")
    label_file = find_label_file(path.parent)
    if label_file is not None:
        _check_names(label_file, read_classes(label_file).names, classes)
    return listed.paths, listed.labels


def _check_names(source: Path, names: tuple[str, ...], classes: tuple[str, ...]) -> None:
    if names != classes:
        raise ValueError(
            f"{source}: its classes are {list(names)}, those of the predictions {list(classes)}; "
            "evaluate on data with the same class list"
        )


def align(found: ImageScores, image_ids: Sequence[str], source: Path) -> NDArray[np.float32]:
    """Scores (N, K) in the order of `image_ids`, the images of `source`.

    Raises:
        ValueError: the images are not the same.
    """
    if list(found.image_ids) == list(image_ids):
        return found.scores
    places = {image_id: place for place, image_id in enumerate(found.image_ids)}
    missing = [image_id for image_id in image_ids if image_id not in places]
    if missing:
        raise ValueError(
            f"{source}: no prediction for {missing[0]} ({len(missing)} of {len(image_ids)} "
            "images); predict on exactly these images"
        )
    unknown = set(places) - set(image_ids)
    if unknown or len(places) != len(found.image_ids):
        what = f"{min(unknown)}, which is not listed" if unknown else "an image twice"
        raise ValueError(f"{source}: there are predictions for {what}; predict on these images")
    return found.scores[[places[image_id] for image_id in image_ids]]
