"""Finds and reads mask files, checks their values, and says what is probably wrong with them.

Layout of Cityscapes: `leftImg8bit/<split>/<city>/X_leftImg8bit.png` (or .jpg) beside
`gtFine/<split>/<city>/X_gtFine_labelTrainIds.png`, or `X_gtFine_labelIds.png` mapped on reading.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.data.image_size import PNG_SIGNATURE
from engine.data.images import decode
from engine.data.safe_paths import check_inside
from engine.fileio import read_text
from engine.types import IGNORE, Mask
from segmentation.classes import CLASSES, MAX_LABEL_ID, label_id_table, train_id_table

IMAGE_END = "_leftImg8bit"
TRAIN_IDS_END = "_gtFine_labelTrainIds.png"
LABEL_IDS_END = "_gtFine_labelIds.png"
POLYGONS_END = "_gtFine_polygons.json"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
CLASSES_FILE = "classes.txt"
_BITS = "bits a value; masks have 8, one class each"


class ImageAndMask(NamedTuple):
    """An image and its mask."""

    name: str  # of both files without their suffixes, such as aachen_000000_000019
    image: Path
    mask: Path


class MaskError(ValueError):
    """A mask that cannot be used, and the kind of fault."""

    def __init__(self, message: str, fault: str) -> None:
        super().__init__(message)
        self.fault = fault


def read_classes(data_root: Path) -> tuple[str, ...]:
    """Class names in the order of the train ids: the lines of `classes.txt`, else Cityscapes' 19.

    Raises:
        ValueError: as `read_names`.
    """
    path = data_root / CLASSES_FILE
    return read_names(path) if path.is_file() else CLASSES


def read_names(path: Path) -> tuple[str, ...]:
    """The lines of a file of class names.

    Raises:
        ValueError: there are fewer than two, one occurs twice, a line between is empty, or the file
            is not UTF-8.
    """
    names = tuple(map(str.strip, read_text(path).strip().splitlines()))
    if len(names) < 2 or len(set(names)) != len(names) or not all(names):
        raise ValueError(
            f"{path}: line i must name the class of value i in the masks, two classes or more, "
            f"each once; it has {len(names)} names, {len(set(names))} of them different"
        )
    return names


def find_pairs(data_root: Path, split: str) -> list[ImageAndMask]:
    """Every image of the split with its mask, sorted by name.

    Raises:
        FileNotFoundError: a folder or a mask is missing, or the split has no image.
        ValueError: two images share one name, or a link leads out of the data.
    """
    pairs = []
    for _, pair in pair_up(data_root, split):
        if isinstance(pair, Exception):
            raise pair
        pairs.append(pair)
    files = [path for pair in pairs for path in (pair.image, pair.mask)]
    check_inside(data_root, [path.relative_to(data_root).as_posix() for path in files])
    return sorted(pairs)


def pair_up(data_root: Path, split: str) -> Iterator[tuple[Path, ImageAndMask | Exception]]:
    """Every image of the split, sorted, with its pair, or with an error if it has no mask.

    Raises:
        FileNotFoundError: a folder is missing, or the split has no image.
    """
    folder = data_root / "leftImg8bit" / split
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder; the layout is leftImg8bit/<split>/<city>/ beside "
            f"gtFine/<split>/<city>/{_others(data_root)}"
        )
    images = sorted(
        path for path in folder.rglob(f"*{IMAGE_END}.*") if path.suffix.lower() in IMAGE_SUFFIXES
    )
    if not images:
        raise FileNotFoundError(
            f"{folder}: no image there; files must be named <name>{IMAGE_END}.png (or .jpg)"
        )
    truth = data_root / "gtFine" / split
    present = {path.relative_to(truth) for path in truth.rglob("*") if path.suffix != ".txt"}
    named: dict[str, Path] = {}
    for image in images:
        name = image.stem.removesuffix(IMAGE_END)
        if named.setdefault(name, image) is not image:
            yield (
                image,
                ValueError(
                    f"{image}: another image has the name {name} too ({named[name]}); names must "
                    "differ, because predictions are stored under them"
                ),
            )
            continue
        try:
            mask = _mask_of(image.relative_to(folder).with_name(name), present, truth)
        except FileNotFoundError as error:
            yield image, error
        else:
            yield image, ImageAndMask(name, image, truth / mask)


def _others(data_root: Path) -> str:
    splits = sorted(path.name for path in (data_root / "leftImg8bit").glob("*") if path.is_dir())
    return f"; splits here: {', '.join(splits)}" if splits else ""


def _mask_of(stem: Path, present: set[Path], truth: Path) -> Path:
    for end in (TRAIN_IDS_END, LABEL_IDS_END):
        mask = stem.with_name(stem.name + end)
        if mask in present:
            return mask
    if stem.with_name(stem.name + POLYGONS_END) in present:
        raise FileNotFoundError(
            f"{truth / stem}{TRAIN_IDS_END}: no such mask, but there are polygons; draw them with "
            "tools/convert_dataset.py cityscapes DIR"
        )
    raise FileNotFoundError(
        f"{truth / stem}{TRAIN_IDS_END}: no such mask, nor one ending in {LABEL_IDS_END}; every "
        "image needs one"
    )


def read_mask(path: Path, classes: Sequence[str]) -> Mask:
    """Train ids (H, W) of a mask file; label ids are mapped if the name says it holds them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not an 8-bit grey picture, or has values that are neither class nor
            IGNORE.
    """
    mask = read_grey(path)
    if path.name.endswith(LABEL_IDS_END):
        if tuple(classes) != CLASSES:
            raise MaskError(
                f"{path}: label ids are those of Cityscapes, but the data has {len(classes)} other "
                f"classes; give masks of class numbers, named <name>{TRAIN_IDS_END}",
                "mask-label-ids",
            )
        check_values(path, mask, MAX_LABEL_ID + 1)
        return np.asarray(cv2.LUT(mask, train_id_table()), np.uint8)
    check_values(path, mask, len(classes))
    return mask


def read_grey(path: Path) -> Mask:
    """Values (H, W) of an 8-bit grey picture; raises the errors of `read_mask`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such mask") from None
    is_png = data.startswith(PNG_SIGNATURE) and len(data) > 25
    if is_png and data[24] != 8:  # OpenCV would scale fewer bits; more would double the memory
        raise MaskError(f"{path}: {data[24]} {_BITS}", "mask-bits")
    array = decode(path, data, cv2.IMREAD_UNCHANGED) if is_png else None
    if array is None:
        words = f"{path}: not a PNG that can be read ({len(data)} bytes; damaged?)"
        raise MaskError(words, "mask-unreadable")
    values = np.asarray(array, np.uint8)
    if values.ndim == 3:
        fault, why = _why_colour(data, values)
        raise MaskError(f"{path}: {why}", fault)
    return values


def _why_colour(data: bytes, array: NDArray[np.uint8]) -> tuple[str, str]:
    """(fault, words) about a mask of several channels."""
    kind = f"{array.shape[2]} channels instead of one"
    if data[25] == 3:
        words = "a palette PNG, whose colours hide the values; save the indices as 8-bit grey"
        return "mask-palette", words
    if (array[..., 0] == array[..., 1]).all() and (array[..., 1] == array[..., 2]).all():
        words = f"{kind}, all the same: an RGB PNG of a grey mask; save one channel as 8-bit grey"
        return "mask-channels", words
    words = f"{kind}: a mask of colours; save the class of each pixel as 8-bit grey"
    return "mask-colours", words


def check_values(path: Path, mask: Mask, num_classes: int) -> None:
    """Raise ValueError, with the likely cause, if a value is not 0..num_classes - 1 or IGNORE."""
    counts = np.bincount(mask.ravel(), minlength=256)
    if not counts[num_classes:IGNORE].any():
        return
    wrong = np.flatnonzero(counts[num_classes:IGNORE]) + num_classes
    shown = ", ".join(map(str, wrong[:8])) + (", ..." if len(wrong) > 8 else "")
    fault, why = _why_values(counts, num_classes)
    raise MaskError(
        f"{path}: values {shown} are neither a class (0..{num_classes - 1}) nor {IGNORE} "
        f"(ignore); {why}",
        fault,
    )


def _why_values(counts: NDArray[np.intp], num_classes: int) -> tuple[str, str]:
    """(fault, words) about values that are not a class."""
    values = np.flatnonzero(counts[:IGNORE])
    if values[-1] == num_classes:
        words = "counted from 1 instead of 0, or the list of classes lacks one"
        return "mask-off-by-one", words
    if num_classes == len(CLASSES) and values[-1] <= MAX_LABEL_ID:
        words = f"label ids taken for train ids? Name the file <name>{LABEL_IDS_END} to map them"
        return "mask-label-ids", words
    if values[-1] > 2 * num_classes and len(values) <= num_classes + 1:
        words = "a grey copy of a mask of colours? Save the class of each pixel instead"
        return "mask-colours", words
    words = f"give {CLASSES_FILE} a line for each class, or change the others to {IGNORE}"
    return "mask-values", words


def to_label_ids(mask: Mask) -> Mask:
    """Label ids (H, W) of train ids: the Cityscapes server and its scripts expect these."""
    return np.asarray(cv2.LUT(mask, label_id_table()), np.uint8)


def match_predictions(truth: Path, predictions: Path) -> Iterator[tuple[Path, Path]]:
    """Every mask below `truth` with the prediction below `predictions` of the same image name.

    Raises:
        FileNotFoundError: there is no mask, or a mask has no prediction.
        ValueError: a mask has several predictions.
    """
    masks = _truth_masks(truth)
    found = sorted(path for path in predictions.rglob("*.png") if path.is_file())
    by_name: dict[str, list[Path]] = {}
    for path in found:
        by_name.setdefault(path.stem, []).append(path)
    for name, mask in masks.items():
        own = by_name.get(name) or [path for path in found if path.stem.startswith(f"{name}_")]
        if not own:
            raise FileNotFoundError(
                f"{predictions / name}.png: no prediction for {mask} ({len(found)} PNG files there)"
            )
        if len(own) > 1:
            raise ValueError(f"{mask}: several predictions, {own[0]} and {own[1]}; keep one")
        yield mask, own[0]


def _by_name(folder: Path, end: str) -> dict[str, Path]:
    """Files below `folder` by their names without `end`."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob(f"*{end}")):
        name = path.name.removesuffix(end)
        if name in found:
            raise ValueError(f"{path}: another mask has this name too, {found[name]}; keep one")
        found[name] = path
    return found


def _truth_masks(truth: Path) -> dict[str, Path]:
    """Masks by image name: train ids, else label ids; if there are none, all PNG files."""
    masks = _by_name(truth, TRAIN_IDS_END)
    masks = {**_by_name(truth, LABEL_IDS_END), **masks} or _by_name(truth, ".png")
    if masks:
        return dict(sorted(masks.items()))
    raise FileNotFoundError(f"{truth}: no mask there; give the folder of one split, gtFine/val")
