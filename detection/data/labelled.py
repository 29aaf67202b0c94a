"""Writes labelled images of any source as COCO data, and checks them by its rules.

Boxes are xywh here, as in a COCO json.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from detection.data.checks import check_entries
from detection.data.split import link_folder
from engine.checks.image_checks import ImageFacts, image_findings, inspect
from engine.checks.parallel import Spread
from engine.data.image_files import IMAGE_SUFFIXES
from engine.data.safe_paths import stays_inside
from engine.fileio import write_binary
from engine.findings import Finding


class Object(NamedTuple):
    """One labelled object."""

    label: int  # 0..K-1
    box: tuple[float, float, float, float]  # in pixels, or as fractions of width and height
    is_crowd: bool = False


class Labelled(NamedTuple):
    """An image and its objects."""

    image: Path
    objects: list[Object]


class Split(NamedTuple):
    """The images of a split, all below one folder."""

    folder: Path
    images: list[Labelled]


def write_coco(
    out: Path,
    splits: Mapping[str, Split],
    classes: Sequence[str],
    spread: Spread,
    *,
    in_shares: bool,
    force: bool = False,
) -> list[Finding]:
    """Write `out/annotations/instances_<split>.json`, and `out/<split>` as a link to the images.

    Images that cannot be read are left out.

    Args:
        out: Folder to write to; may be the one that holds the data.
        splits: The images by split.
        classes: K names; category ids count from 1.
        spread: Inspects many files, as `engine.checks.parallel.spread` does.
        in_shares: Whether boxes are fractions of width and height instead of pixels.
        force: Replace existing jsons.

    Returns:
        What is wrong with images and annotations.

    Raises:
        ValueError: a json exists already, or a folder of the split's name with other images.
    """
    for name, split in splits.items():
        _check_free(out, name, split, force=force)
    categories = [{"id": i, "name": name} for i, name in enumerate(classes, 1)]
    findings: list[Finding] = []
    for name, split in splits.items():
        facts = list(spread(inspect, [one.image for one in split.images]))
        findings += [found for one in facts for found in image_findings(one)]
        content = _content(split, facts, out / name, in_shares=in_shares)
        path = out / "annotations" / f"instances_{name}.json"
        write_binary(path, json.dumps({**content, "categories": categories}).encode())
        link_folder(out / name, split.folder)
    return [*findings, *check_entries(out, list(splits)).findings]


def _check_free(out: Path, name: str, split: Split, *, force: bool) -> None:
    path = out / "annotations" / f"instances_{name}.json"
    if path.exists() and not force:
        raise ValueError(f"{path}: exists already; --force replaces it, or give --out")
    place = out / name
    if place.exists() and not split.folder.resolve().is_relative_to(place.resolve()):
        raise ValueError(f"{place}: holds other images; give --out another folder")


def _content(
    split: Split, facts: Sequence[ImageFacts], folder: Path, *, in_shares: bool
) -> dict[str, list[dict[str, Any]]]:
    """Images and annotations; file names are relative to `folder`, or to its future target."""
    root = folder.resolve() if folder.exists() else split.folder.resolve()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for one, look in zip(split.images, facts, strict=True):
        if look.problem:
            continue
        height, width = look.turned
        scale = (width, height, width, height) if in_shares else (1, 1, 1, 1)
        name = (one.image.parent.resolve() / one.image.name).relative_to(root).as_posix()
        number = len(images) + 1
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for thing in one.objects:
            box = [side * factor for side, factor in zip(thing.box, scale, strict=True)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": thing.label + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(thing.is_crowd),
                }
            )
    return {"images": images, "annotations": annotations}


def find_image(folder: Path, stem: str, where: str) -> Path | None:
    """The image called `stem` with any suffix; None if it does not exist.

    Raises ValueError if the name leads out of the folder; `where` is for the message.
    """
    if not stays_inside(stem):
        raise ValueError(f"{where}: {stem!r:.100} must be a name inside {folder}")
    suffixes = (case for suffix in sorted(IMAGE_SUFFIXES) for case in (suffix, suffix.upper()))
    candidates = (folder / f"{stem}{suffix}" for suffix in suffixes)
    return next((path for path in candidates if path.is_file()), None)
