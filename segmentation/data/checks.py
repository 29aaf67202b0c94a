"""Checks of images and masks in Cityscapes' layout.

Masks are read by training's own reader (`segmentation.data.masks`), which says what is wrong.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.checks.class_balance import balance
from engine.checks.duplicates import duplicates
from engine.checks.image_checks import LEFT_OUT, OUTSIDE, ImageFacts, image_findings, inspect
from engine.checks.parallel import Spread
from engine.data.safe_paths import LEADS_OUT, outside_files
from engine.data.splits import SPLITS
from engine.findings import Finding, Rule
from engine.types import IGNORE, Size
from segmentation.data.masks import (
    IMAGE_END,
    LABEL_IDS_END,
    TRAIN_IDS_END,
    ImageAndMask,
    MaskError,
    pair_up,
    read_classes,
    read_mask,
)

CLASS_LIST = Rule("class-list", "error", "name each class once, one per line")
MASK_MISSING = Rule("mask-missing", "error", "draw the mask, or take the image out", LEFT_OUT)
NAME_TWICE = Rule("image-name-twice", "error", "rename one of the two, with its mask", LEFT_OUT)
ORPHAN = Rule("mask-without-image", "warning", "add the image, or remove the mask", LEFT_OUT)
MASK_SIZE = Rule("mask-size", "error", "check which image it belongs to", LEFT_OUT)
ALL_IGNORED = Rule("mask-all-ignored", "note", "check that it should have no class")
_TRUNCATED = Rule("mask-truncated", "error", "get the file again", LEFT_OUT)
_EXACT = "save class numbers as 8-bit grey PNG"
MASK_RULES = {  # by MaskError.fault
    rule.name: rule
    for rule in (
        Rule("mask-unreadable", "error", "get the file again", LEFT_OUT),
        Rule("mask-bits", "error", _EXACT, "saved with 8 bits"),
        Rule("mask-palette", "error", _EXACT, "its indices saved"),
        Rule("mask-channels", "error", _EXACT, "one channel saved"),
        Rule("mask-colours", "error", _EXACT, "Cityscapes' colours mapped, others left out"),
        Rule("mask-label-ids", "error", f"name it <name>{LABEL_IDS_END}", "mapped"),
        Rule("mask-off-by-one", "error", "count classes from 0", "minus 1 if no mask has a 0"),
        Rule("mask-values", "error", f"list the class, or write {IGNORE}", f"{IGNORE} instead"),
    )
}


class MaskFacts(NamedTuple):
    """The result of reading a mask."""

    path: Path
    fault: str  # key of MASK_RULES, or ""
    text: str
    counts: NDArray[np.int64]  # (256,) pixels of each value; zeros if there is a fault


class CheckedMasks(NamedTuple):
    """The findings about a data set, and what was checked."""

    findings: list[Finding]
    classes: tuple[str, ...]
    splits: dict[str, list[ImageAndMask]]  # without the images that have no mask
    facts: dict[Path, ImageFacts]  # of images and masks
    masks: dict[Path, MaskFacts]


def splits_of(data_root: Path) -> list[str]:
    """Splits that have images, train first.

    Raises FileNotFoundError if there is no split.
    """
    names = [path.name for path in (data_root / "leftImg8bit").glob("*") if path.is_dir()]
    if not names:
        next(pair_up(data_root, SPLITS[0]))  # raises: it says what is missing
    ranks = {split: rank for rank, split in enumerate(SPLITS)}
    return sorted(names, key=lambda name: (ranks.get(name, 9), name))


def inspect_mask(path: Path, classes: Sequence[str]) -> MaskFacts:
    """Read one mask as training does."""
    nothing = np.zeros(256, np.int64)
    try:
        mask = read_mask(path, classes)
    except MaskError as error:
        return MaskFacts(path, error.fault, str(error).removeprefix(f"{path}: "), nothing)
    except ValueError as error:  # more pixels than are decoded
        return MaskFacts(path, "mask-unreadable", str(error).removeprefix(f"{path}: "), nothing)
    return MaskFacts(path, "", "", np.bincount(mask.ravel(), minlength=256))


def check_entries(data_root: Path, splits: Sequence[str]) -> CheckedMasks:
    """Checks file names and the class list; no image is opened.

    Raises FileNotFoundError if a split has no folder of images.
    """
    findings: list[Finding] = []
    classes: tuple[str, ...] = ()
    try:
        classes = read_classes(data_root)
    except ValueError as error:
        findings.append(Finding(CLASS_LIST, data_root, str(error)))
    pairs: dict[str, list[ImageAndMask]] = {}
    for split in splits:
        pairs[split] = []
        found = list(pair_up(data_root, split))
        for image, pair in found:
            if isinstance(pair, ImageAndMask):
                pairs[split].append(pair)
                continue
            rule = MASK_MISSING if isinstance(pair, FileNotFoundError) else NAME_TWICE
            findings.append(Finding(rule, image, str(pair), picture=image))
        images = {image.stem.removesuffix(IMAGE_END) for image, _ in found}
        findings += _orphans(data_root / "gtFine" / split, images)
        outside = _outside(data_root, pairs[split])
        findings += outside
        gone = {one.file for one in outside}
        pairs[split] = [pair for pair in pairs[split] if not gone & {pair.image, pair.mask}]
    return CheckedMasks(findings, classes, pairs, {}, {})


def _outside(data_root: Path, pairs: Sequence[ImageAndMask]) -> list[Finding]:
    """Images and masks that are outside the data because of a link."""
    files = [path for pair in pairs for path in (pair.image, pair.mask)]
    places = outside_files(data_root, [path.relative_to(data_root).as_posix() for path in files])
    return [Finding(OUTSIDE, files[place], f"{LEADS_OUT} {data_root}") for place in places]


def _orphans(truth: Path, images: set[str]) -> Iterator[Finding]:
    """Masks without an image."""
    for end in (TRAIN_IDS_END, LABEL_IDS_END):
        for path in sorted(truth.rglob(f"*{end}")):
            if path.name.removesuffix(end) not in images:
                yield Finding(ORPHAN, path, f"no image of this name in split {truth.name}")


def check(data_root: Path, spread: Spread, size: Size | None = None) -> CheckedMasks:  # noqa: ARG001
    """All findings, of the layout, the images and the masks.

    Args:
        data_root: Folder that holds `leftImg8bit/` and `gtFine/`.
        spread: Inspects many files, as `engine.checks.parallel.spread` does.
        size: Not used.

    Raises FileNotFoundError if there are no images.
    """
    checked = check_entries(data_root, splits_of(data_root))
    if not checked.classes:
        return checked  # masks cannot be checked
    pairs = [pair for own in checked.splits.values() for pair in own]
    files = [path for pair in pairs for path in (pair.image, pair.mask)]
    facts = {one.path: one for one in spread(inspect, files)}
    reader = partial(inspect_mask, classes=checked.classes)
    masks = {one.path: one for one in spread(reader, [pair.mask for pair in pairs])}
    checked = checked._replace(facts=facts, masks=masks)
    findings = list(checked.findings)
    for pair in pairs:
        findings += image_findings(facts[pair.image])
        findings += _mask_findings(pair, checked)
    for split, own in checked.splits.items():
        counts = sum((masks[pair.mask].counts for pair in own), np.zeros(256, np.int64))
        count = len(checked.classes)
        truth = data_root / "gtFine" / split
        findings += balance(truth, checked.classes, counts[:count], "pixels")
    findings += duplicates({s: [facts[p.image] for p in own] for s, own in checked.splits.items()})
    return checked._replace(findings=findings)


def _mask_findings(pair: ImageAndMask, checked: CheckedMasks) -> Iterator[Finding]:
    """Findings about a mask: its file, its values, or its size beside the image."""
    image, file = checked.facts[pair.image], checked.facts[pair.mask]
    mask = checked.masks[pair.mask]
    if file.problem == "file-truncated":
        yield Finding(_TRUNCATED, pair.mask, file.detail, picture=pair.image)
        return
    if mask.fault:
        yield Finding(MASK_RULES[mask.fault], pair.mask, mask.text, picture=pair.mask)
    elif mask.counts[IGNORE] == mask.counts.sum():
        text = f"every pixel is {IGNORE} (ignore)"
        yield Finding(ALL_IGNORED, pair.mask, text, picture=pair.image)
    if not (image.problem or file.problem) and file.size != image.turned:
        text = (
            f"{file.size[1]} x {file.size[0]} pixels, but its image {pair.image.name} has "
            f"{image.turned[1]} x {image.turned[0]}"
        )
        yield Finding(MASK_SIZE, pair.mask, text, picture=pair.image)
