"""Writes a repaired copy of COCO data: applies the fix of each rule to its json and its images.

Boxes are xywh here, as in the json.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from detection.data.box_checks import (
    ANNOTATION_RULES,
    BOX_RULES,
    Annotations,
    Record,
    by_id,
    incomplete,
)
from detection.data.checks import CheckedCoco
from engine.checks.duplicates import ACROSS
from engine.checks.fix import copy_image, fresh_folder, is_usable
from engine.checks.image_checks import LEFT_OUT, ImageFacts
from engine.data.safe_paths import stays_inside
from engine.fileio import read_json, write_binary
from engine.types import Size

Box = list[float]
SHAPE = 0.02  # largest difference of the aspect ratios of two sizes that count as one shape


def _turn_round(box: Box, _size: Size) -> Box:
    x, y, width, height = box
    return [x + min(width, 0), y + min(height, 0), abs(width), abs(height)]


def _multiply(box: Box, size: Size) -> Box:
    return [box[0] * size[1], box[1] * size[0], box[2] * size[1], box[3] * size[0]]


def _from_corners(box: Box, _size: Size) -> Box:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


CHANGES: dict[str, Callable[[Box, Size], Box]] = {  # by rule; every box is clipped to its image
    "box-inverted": _turn_round,
    "box-as-fraction": _multiply,
    "box-as-corners": _from_corners,
}
DROPPED = {
    rule.name
    for rule in [*(rule for rule, _ in BOX_RULES), *(rule for rule, _, _ in ANNOTATION_RULES)]
    if rule.fix == LEFT_OUT
}


class Owner(NamedTuple):
    """The repaired entry of the image that an annotation belongs to."""

    record: Record
    size: Size  # of the original entry, which boxes refer to
    scale: tuple[float, float]  # of x and y, from `size` to the file's size


def cut(box: Box, size: Size) -> Box | None:
    """The part of a box inside an image of `size`; None if it has no area."""
    left, top = max(box[0], 0), max(box[1], 0)
    right, bottom = min(box[0] + box[2], size[1]), min(box[1] + box[3], size[0])
    return [left, top, right - left, bottom - top] if right > left and bottom > top else None


def repair(data_root: Path, out: Path, checked: CheckedCoco) -> None:
    """Write a repaired copy of all splits to the new folder `out`; the source is only read.

    Raises:
        ValueError: `out` is not empty or is inside the source, or no json can be read.
    """
    if not checked.splits:
        raise ValueError(f"{data_root}: no json can be read, so nothing can be repaired")
    with fresh_folder(out, data_root) as folder:
        for data in checked.splits.values():
            usable = _usable(data, checked)
            content = _repair_json(data, _broken(data, checked), usable)
            ann_file = folder / "annotations" / data.ann_file.name
            write_binary(ann_file, json.dumps(content).encode())
            (folder / data.folder.name).mkdir(exist_ok=True)
            for record in content["images"]:
                facts = usable[record["file_name"]]
                upright = (record["height"], record["width"]) == facts.turned
                target = folder / data.folder.name / record["file_name"]
                copy_image(facts, target, turn=upright)


def _usable(data: Annotations, checked: CheckedCoco) -> dict[str, ImageFacts]:
    """Facts of the images that stay, by file name."""
    leaking = {found.file for found in checked.findings if found.rule is ACROSS}
    found: dict[str, ImageFacts] = {}
    for record in data.images.values():
        name = record["file_name"]
        facts = checked.facts.get(data.folder / name) if stays_inside(name) else None
        if facts is not None and is_usable(facts) and facts.path not in leaking:
            found[name] = facts
    return found


def _broken(data: Annotations, checked: CheckedCoco) -> dict[int, set[str]]:
    """Names of the rules that annotations break, by the index of the annotation in the json."""
    found: dict[int, set[str]] = {}
    for one in checked.findings:
        if one.file == data.ann_file and one.record is not None:
            found.setdefault(one.record, set()).add(one.rule.name)
    return found


def _repair_json(
    data: Annotations, broken: Mapping[int, set[str]], usable: Mapping[str, ImageFacts]
) -> dict[str, Any]:
    """The json's whole content, repaired; entries keep their other keys."""
    content: dict[str, Any] = read_json(data.ann_file)
    owners = _owners(content["images"], usable)
    images = {owner.record["id"]: owner.record for owner in owners.values()}
    kept: dict[object, Record] = {}
    for place, record in enumerate(content["annotations"]):
        rules = broken.get(place, set())
        if incomplete("annotations", record) is not None or rules & DROPPED:
            continue
        owner = owners.get(record["image_id"])
        changed = None if owner is None else _repair_annotation(record, rules, owner)
        if changed is not None:
            is_crowd = place if changed["iscrowd"] else -1
            key = (changed["image_id"], changed["category_id"], *changed["bbox"], is_crowd)
            kept.setdefault(key, changed)
    return {
        **content,
        "images": list(images.values()),
        "annotations": _numbered(list(kept.values())),
        "categories": list(by_id(content["categories"], data.lacking["categories"]).values()),
    }


def _owners(records: list[Any], usable: Mapping[str, ImageFacts]) -> dict[int, Owner]:
    """The image that is kept for every id: the first entry of each file and of each id."""
    found: dict[int, Owner] = {}
    by_name: dict[str, Owner] = {}
    for record in records:
        if incomplete("images", record) is not None or record["id"] in found:
            continue
        name = record["file_name"]
        if name not in by_name:
            owner = _sized(record, usable[name]) if name in usable else None
            if owner is None:
                continue
            by_name[name] = owner
        found[record["id"]] = by_name[name]
    return found


def _sized(record: Record, facts: ImageFacts) -> Owner | None:
    """The image with the size of its file; None if boxes cannot be scaled to that size."""
    size, real = (record["height"], record["width"]), facts.turned
    if size in (facts.turned, facts.size):
        return Owner(record, size, (1, 1))
    fixed = {**record, "height": real[0], "width": real[1]}
    if min(size) < 1 or size[::-1] == real:
        return Owner(fixed, real, (1, 1))
    scale = (real[1] / size[1], real[0] / size[0])
    return Owner(fixed, size, scale) if abs(scale[0] / scale[1] - 1) <= SHAPE else None


def _repair_annotation(record: Record, rules: set[str], owner: Owner) -> Record | None:
    """The repaired annotation; None if its box has no area in the image."""
    box: Box | None = record["bbox"]
    for rule in rules & CHANGES.keys():
        box = CHANGES[rule](record["bbox"], owner.size)
    assert box is not None
    x, y = owner.scale
    if (x, y) != (1, 1):
        box = [box[0] * x, box[1] * y, box[2] * x, box[3] * y]
    box = cut(box, (owner.record["height"], owner.record["width"]))
    if box is None:
        return None
    is_crowd = int(bool(record.get("iscrowd", 0)))
    changed = {**record, "image_id": owner.record["id"], "iscrowd": is_crowd}
    # Cutting may change the last digit: 1.1 + 2.2 - 1.1 is not 2.2.
    if max(abs(a - b) for a, b in zip(box, record["bbox"], strict=True)) > 1e-6:
        changed |= {"bbox": box, "area": box[2] * box[3]}
        changed.pop("segmentation", None)  # it would no longer fit the box
    return changed


def _numbered(records: list[Record]) -> list[Record]:
    """The records, with a new id for each that has the id of an earlier one."""
    free = max((record["id"] for record in records), default=0) + 1
    seen: set[int] = set()
    for place, record in enumerate(records):
        if record["id"] in seen:
            records[place] = {**record, "id": free}
            free += 1
        seen.add(record["id"])
    return records
