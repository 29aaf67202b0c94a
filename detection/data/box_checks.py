"""Checks of the annotations of a COCO json: rules for boxes and for their entries.

The reader's own functions (`detection.data.coco_json`) decide what training refuses.

Shapes: M annotations that have all their keys. Boxes are xywh here, as in the json.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detection.data.coco_json import is_integer, is_xywh, load_records
from engine.checks.image_checks import LEFT_OUT
from engine.findings import Finding, Rule

Record = dict[str, Any]
Flags = NDArray[np.bool_]  # (M,)

BORDER = 1.0  # pixels that a box may extend beyond the image because of rounding
FAR = 0.05  # of the image's side: a box that extends further was not drawn inaccurately
WHOLE_FILE = (10, 0.1)  # number of boxes, and share beyond FAR, from which all are corners
REQUIRED = {  # keys, and which of them are integers
    "images": (("id", "file_name", "height", "width"), ("id", "height", "width")),
    "annotations": (("id", "image_id", "category_id", "bbox"), ("id", "image_id", "category_id")),
    "categories": (("id",), ("id",)),
}


class Annotations(NamedTuple):
    """The content of a json as arrays, and its image folder."""

    ann_file: Path
    folder: Path
    records: dict[str, list[Record]]  # all of them, as in the file
    lacking: dict[str, dict[int, str]]  # what incomplete entries lack, by section and index
    images: dict[int, Record]  # complete, by id; the first where an id occurs twice
    categories: dict[int, Record]  # likewise
    places: NDArray[np.int64]  # (M,) index of complete annotations in the file's list
    annotations: list[Record]  # M
    image_ids: NDArray[np.int64]  # (M,)
    category_ids: NDArray[np.int64]  # (M,)
    xywh: NDArray[np.float64]  # (M, 4), 0 where the bbox is not a box
    is_box: Flags
    sizes: NDArray[np.float64]  # (M, 2) width, height of the image; infinite where unknown
    has_image: Flags
    crowd: Flags

    def image_path(self, record: Record) -> Path:
        """Path of the image of an entry."""
        return self.folder / str(record["file_name"])


def read_annotations(ann_file: Path, folder: Path) -> Annotations:
    """The json's entries as arrays; incomplete ones are left out.

    Raises ValueError if the file is not a COCO json.
    """
    records = load_records(ann_file)
    lacking = {section: _lacking(section, own) for section, own in records.items()}
    images = by_id(records["images"], lacking["images"])
    missing = lacking["annotations"]
    places = np.array([p for p in range(len(records["annotations"])) if p not in missing], int)
    annotations = [r for p, r in enumerate(records["annotations"]) if p not in missing]
    is_box = np.array([is_xywh(record["bbox"]) for record in annotations], bool)
    rows = (r["bbox"] if ok else (0,) * 4 for r, ok in zip(annotations, is_box, strict=True))
    row_of = {number: row for row, number in enumerate(images)}
    owners = np.array([row_of.get(record["image_id"], -1) for record in annotations], int)
    sizes = [*(_size(image) for image in images.values()), (np.inf, np.inf)]  # the last: unknown
    return Annotations(
        ann_file=ann_file,
        folder=folder,
        records=records,
        lacking=lacking,
        images=images,
        categories=by_id(records["categories"], lacking["categories"]),
        places=places,
        annotations=annotations,
        image_ids=np.array([record["image_id"] for record in annotations], np.int64),
        category_ids=np.array([record["category_id"] for record in annotations], np.int64),
        xywh=np.array(list(rows), np.float64).reshape(-1, 4),
        is_box=is_box,
        sizes=np.array(sizes, float)[owners].reshape(-1, 2),
        has_image=owners >= 0,
        crowd=np.array([bool(record.get("iscrowd", 0)) for record in annotations], bool),
    )


def _size(image: Record) -> tuple[float, float]:
    """(width, height); infinite where the entry has no positive sides."""
    width, height = image["width"], image["height"]
    return (width, height) if min(width, height) > 0 else (np.inf, np.inf)


def _lacking(section: str, records: list[Record]) -> dict[int, str]:
    """What incomplete entries lack, by their index."""
    found = ((place, incomplete(section, record)) for place, record in enumerate(records))
    return {place: text for place, text in found if text is not None}


def by_id(records: list[Any], lacking: dict[int, str]) -> dict[int, Record]:
    """Records by id, the first of each id; without those at the indices in `lacking`."""
    found: dict[int, Record] = {}
    for place, record in enumerate(records):
        if place not in lacking:
            found.setdefault(record["id"], record)
    return found


def incomplete(section: str, record: Any) -> str | None:
    """What an entry of the json lacks; None where it is complete."""
    keys, integers = REQUIRED[section]
    if not isinstance(record, dict):
        return f"is {record!r:.40}, not an object with keys {', '.join(keys)}"
    missing = [key for key in keys if key not in record]
    if missing:
        return f"has no {', '.join(missing)}"
    wrong = [f"{key} {record[key]!r:.40}" for key in integers if not is_integer(record[key])]
    return f"{', '.join(wrong)} must be an integer" if wrong else None


# Boxes: each box breaks at most one of these rules, the first that fits.


def no_numbers(data: Annotations) -> Flags:
    """The bbox is not a list of four numbers."""
    return _among_bad(data, lambda value: not _numbers(value))


def inverted(data: Annotations) -> Flags:
    """A side is negative."""
    return _among_bad(data, lambda v: _numbers(v) and is_xywh([*v[:2], *map(abs, v[2:])]))


def not_finite(data: Annotations) -> Flags:
    """A number is NaN, infinite or larger than any float: every bbox that is not a box."""
    return ~data.is_box


def _among_bad(data: Annotations, broken: Callable[[Any], bool]) -> Flags:
    """Which annotations the reader refuses because of their bbox, and break the rule."""
    result = np.zeros(len(data.annotations), bool)
    for row in np.flatnonzero(~data.is_box).tolist():
        result[row] = broken(data.annotations[row]["bbox"])
    return result


def _numbers(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) == 4 and all(type(v) in (int, float) for v in value)
    )


def without_area(data: Annotations) -> Flags:
    """A side is zero."""
    return data.is_box & (data.xywh[:, 2:] == 0).any(axis=1)


def fractions(data: Annotations) -> Flags:
    """All numbers lie within 0 and 1, in an image of more than two pixels."""
    small = (data.xywh >= 0).all(axis=1) & (data.xywh <= 1).all(axis=1)
    return data.is_box & data.has_image & small & (data.sizes > 2).all(axis=1)


def corners(data: Annotations) -> Flags:
    """Extends far beyond the image as x, y, width, height, but fits as left, top, right, bottom.

    If many boxes do, and all boxes of the file fit as corners, all of them are flagged.
    """
    start, end = data.xywh[:, :2], data.xywh[:, 2:]
    inside = np.hstack([end > start, start >= 0, end <= data.sizes + BORDER])  # (M, 6)
    fits = np.asarray(inside.all(axis=1))
    far = (start + end > data.sizes * (1 + FAR) + BORDER).any(axis=1)
    boxes = data.is_box & data.has_image & ~data.crowd
    found = boxes & fits & far
    number, share = WHOLE_FILE
    if boxes.sum() >= number and fits[boxes].all() and found.sum() >= share * boxes.sum():
        return boxes
    return found


def outside(data: Annotations) -> Flags:
    """No part of the box is in its image."""
    start, end = data.xywh[:, :2], data.xywh[:, :2] + data.xywh[:, 2:]
    return data.is_box & ((start >= data.sizes) | (end <= 0)).any(axis=1)


def beyond_border(data: Annotations) -> Flags:
    """Part of the box is not in its image."""
    start, end = data.xywh[:, :2], data.xywh[:, :2] + data.xywh[:, 2:]
    return data.is_box & ((start < -BORDER) | (end > data.sizes + BORDER)).any(axis=1)


BOX_RULES: tuple[tuple[Rule, Callable[[Annotations], Flags]], ...] = (
    (Rule("box-malformed", "error", "write x, y, width, height", LEFT_OUT), no_numbers),
    (Rule("box-inverted", "error", "write positive sides", "turned round"), inverted),
    (Rule("box-not-finite", "error", "draw the box again", LEFT_OUT), not_finite),
    (Rule("box-without-area", "warning", "draw the box again", LEFT_OUT), without_area),
    (Rule("box-as-fraction", "error", "write pixels of the image", "multiplied"), fractions),
    (Rule("box-as-corners", "error", "write x, y, width, height", "converted"), corners),
    (Rule("box-outside", "error", "check which image it belongs to", LEFT_OUT), outside),
    (Rule("box-beyond-border", "warning", "cut it at the border", "cut"), beyond_border),
)


# Annotations: any number of these.


def without_image(data: Annotations) -> Flags:
    """No image has the image_id."""
    return ~data.has_image


def of_unknown_category(data: Annotations) -> Flags:
    """No category has the category_id."""
    return ~np.isin(data.category_ids, list(data.categories))


def odd_crowd(data: Annotations) -> Flags:
    """The value of iscrowd is neither 0 nor 1."""
    return np.array([r.get("iscrowd", 0) not in (0, 1) for r in data.annotations], bool)


def crowds(data: Annotations) -> Flags:
    """The box is a crowd."""
    return np.array([r.get("iscrowd", 0) == 1 for r in data.annotations], bool)


def repeated(data: Annotations) -> Flags:
    """An earlier annotation has the same image, category and box."""
    rows = np.column_stack([data.image_ids, data.category_ids, data.xywh])  # (M, 6)
    order = np.lexsort(rows.T)  # stable, so the first of equal rows stays first
    ordered = rows[order]
    equal = np.all(ordered[1:] == ordered[:-1], axis=1)
    result = np.zeros(len(rows), bool)
    result[order[1:]] = equal
    return result & data.is_box & ~data.crowd


_ADD_IMAGE = Rule("annotation-without-image", "error", "add the image, or remove it", LEFT_OUT)
_ADD_CATEGORY = Rule("category-unknown", "error", "correct the id, or add the category", LEFT_OUT)
ANNOTATION_RULES: tuple[tuple[Rule, Callable[[Annotations], Flags], str], ...] = (
    (_ADD_IMAGE, without_image, "image_id"),
    (_ADD_CATEGORY, of_unknown_category, "category_id"),
    (Rule("crowd-invalid", "error", "write 0 or 1", "0 or 1"), odd_crowd, "iscrowd"),
    (Rule("crowd", "note", "nothing: never trained on, nor counted"), crowds, "iscrowd"),
    (Rule("box-twice", "warning", "keep one of them", LEFT_OUT), repeated, "bbox"),
)


def check_boxes(data: Annotations) -> Iterator[Finding]:
    """Findings of BOX_RULES and ANNOTATION_RULES."""
    left = np.ones(len(data.annotations), bool)
    for rule, broken in BOX_RULES:
        flags = broken(data) & left
        left &= ~flags
        yield from (_finding(data, rule, row, "bbox") for row in np.flatnonzero(flags).tolist())
    for rule, broken, key in ANNOTATION_RULES:
        flags = broken(data)
        yield from (_finding(data, rule, row, key) for row in np.flatnonzero(flags).tolist())


def _finding(data: Annotations, rule: Rule, row: int, key: str) -> Finding:
    record = data.annotations[row]
    image = data.images.get(record["image_id"])
    text = f"{key} is {record.get(key)!r:.100}"
    if image is not None:
        text += (
            f", image {image['id']} ({image['file_name']}) is {image['width']} x {image['height']}"
        )
    x, y, width, height = data.xywh[row].tolist()
    return Finding(
        rule,
        data.ann_file,
        text,
        f"annotation {record['id']}",
        record=int(data.places[row]),
        picture=None if image is None else data.image_path(image),
        box=(x, y, x + width, y + height) if data.is_box[row] else None,
    )
