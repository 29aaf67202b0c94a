"""Writes a repaired copy of Cityscapes' layout: applies the fix of each rule to masks and images.

Shapes: (H, W) the size of a mask.
"""

import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.checks.duplicates import ACROSS
from engine.checks.fix import copy_image, fresh_folder, is_usable
from engine.checks.image_checks import LEFT_OUT
from engine.data.images import encode_image
from engine.types import IGNORE, Mask
from segmentation.classes import CLASSES, LABELS, train_id_table
from segmentation.data.checks import CheckedMasks
from segmentation.data.masks import CLASSES_FILE, ImageAndMask


def repair(data_root: Path, out: Path, checked: CheckedMasks) -> None:
    """Write a repaired copy of all splits to the new folder `out`; the source is only read.

    Raises:
        ValueError: `out` is not empty or is inside the source, or the class list cannot be read.
    """
    if not checked.classes:
        raise ValueError(f"{data_root / CLASSES_FILE}: correct it before masks can be repaired")
    dropped = {
        found.file
        for found in checked.findings
        if found.rule.fix == LEFT_OUT or found.rule is ACROSS
    }
    from_one = _counted_from_one(checked)
    with fresh_folder(out, data_root) as folder:
        if (data_root / CLASSES_FILE).is_file():
            shutil.copyfile(data_root / CLASSES_FILE, folder / CLASSES_FILE)
        for pair in (pair for own in checked.splits.values() for pair in own):
            usable = all(is_usable(checked.facts[file]) for file in (pair.image, pair.mask))
            if not usable or {pair.image, pair.mask} & dropped:
                continue
            content = _mask_content(pair, checked, from_one=from_one)
            if content is None:
                continue
            target = folder / pair.mask.relative_to(data_root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            image = checked.facts[pair.image]
            copy_image(image, folder / pair.image.relative_to(data_root))


def _counted_from_one(checked: CheckedMasks) -> bool:
    """Whether no mask has the value 0, but some have the value K, the number of classes."""
    faults = {facts.fault for facts in checked.masks.values()}
    if "mask-off-by-one" not in faults:
        return False
    read = (facts for facts in checked.masks.values() if not facts.fault)
    if any(facts.counts[0] for facts in read):
        return False
    wrong = (f for f in checked.masks.values() if f.fault == "mask-off-by-one")
    return all(values_of(facts.path).min() > 0 for facts in wrong)


def _mask_content(pair: ImageAndMask, checked: CheckedMasks, *, from_one: bool) -> bytes | None:
    """The content of the mask's file, with repaired values; None if they cannot be repaired."""
    fault = checked.masks[pair.mask].fault
    if not fault and not from_one:
        return pair.mask.read_bytes()
    values = values_of(pair.mask)
    if fault == "mask-colours" and values.ndim == 3:
        return _encoded(from_colours(values), checked.classes)
    if values.ndim == 3:
        values = values[..., 0]
    if fault == "mask-label-ids" and values.max() < 256:
        if checked.classes != CLASSES:
            return None
        values = np.asarray(cv2.LUT(values.astype(np.uint8), train_id_table()))
    elif fault == "mask-colours":
        return None  # a grey copy has lost the colours
    elif from_one:
        values = np.where(values == IGNORE, IGNORE, values - 1)
    return _encoded(values, checked.classes)


def _encoded(values: NDArray[np.integer] | None, classes: Sequence[str]) -> bytes | None:
    """PNG file of train ids; other values become IGNORE."""
    if values is None:
        return None
    return encode_image(np.where(values < len(classes), values, IGNORE).astype(np.uint8), ".png")


def values_of(path: Path) -> NDArray[np.integer]:
    """Values (H, W), of a palette its indices, or RGB (H, W, 3), as stored in the file.

    They are integers of 32 bits, so that nothing overflows.

    Raises ValueError if the file has more pixels than Pillow decodes.
    """
    data = path.read_bytes()
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            values = np.asarray(picture).astype(np.int32)
            is_scaled = picture.mode == "L"  # Pillow scales 2 or 4 bits to 0..255
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {error}; scale the mask down") from error
    bits = data[24]  # of a PNG's header
    if bits < 8 and is_scaled:
        values = values // (255 // (2**bits - 1))
    return values[..., :3] if values.ndim == 3 else values


def from_colours(picture: NDArray[np.integer]) -> Mask | None:
    """Train ids (H, W) of a picture (H, W, 3) of Cityscapes' colours; black is IGNORE.

    None if it has other colours.
    """
    result = np.full(picture.shape[:2], -1, np.int64)
    result[(picture == 0).all(axis=-1)] = IGNORE
    for train_id, label in enumerate(LABELS):
        result[(picture == np.array(label.colour)).all(axis=-1)] = train_id
    return None if (result < 0).any() else result.astype(np.uint8)
