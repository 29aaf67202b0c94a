"""The json of COCO detection data, read and checked once into flat arrays.

Shapes: N images, M annotations or boxes of all images, K classes. Boxes leave this file as xyxy in
pixels of the image; COCO's own xywh exists only in `Rows`.
"""

import math
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.data.safe_paths import stays_inside
from engine.fileio import parse_json

_SECTIONS = ("images", "annotations", "categories")
_ANNOTATION_KEYS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
_KEPT_KEYS = {*_SECTIONS, *_ANNOTATION_KEYS, "file_name", "width", "height", "name"}
_POLYGONS = re.compile(rb'"segmentation":\s*\[[^"}]*\]')  # ends before the next key or }
_NUMBERS = {int, float}
_ROW_PACKER = struct.Struct("=3q4d?")  # one annotation, in the layout of `_ROW`
_ROW = np.dtype(
    [
        *((key, np.int64) for key in ("id", "image_id", "category_id")),
        ("xywh", np.float64, 4),
        ("crowd", np.bool_),
    ]
)
_SEGMENTATION = b'"segmentation"'
_NO_POLYGONS = _SEGMENTATION + b":0"
_CHUNK = 2**24  # bytes of the file at a time
_GET_COCO = (
    "COCO is train2017.zip, val2017.zip and annotations_trainval2017.zip from "
    "https://cocodataset.org/#download, all unpacked there; small drawn data to try things on: "
    "python tools/make_mini_data.py --out DIR"
)


class CocoBoxes(NamedTuple):
    """The part of a COCO json that detection needs, as flat arrays."""

    image_ids: NDArray[np.int64]  # (N,)
    sizes: NDArray[np.int64]  # (N, 2) height, width
    files: NDArray[np.bytes_]  # (N,) file names, UTF-8
    starts: NDArray[np.int64]  # (N + 1,) boxes of image i are boxes[starts[i] : starts[i + 1]]
    boxes: NDArray[np.float32]  # (M, 4) xyxy, clipped to the image, without crowds
    labels: NDArray[np.int64]  # (M,) 0..K-1
    classes: tuple[str, ...]  # K names, in order of their COCO ids
    category_ids: tuple[int, ...]  # K COCO ids, ascending
    num_crowds: int  # crowds, left out of `boxes`
    num_flat: int  # boxes without area inside their image, left out of `boxes`


class Rows(NamedTuple):
    """The annotations as arrays."""

    ids: NDArray[np.int64]  # (M,)
    image_ids: NDArray[np.int64]  # (M,)
    category_ids: NDArray[np.int64]  # (M,)
    xywh: NDArray[np.float64]  # (M, 4) finite; width and height are not negative
    crowd: NDArray[np.bool_]  # (M,)


def locate(data_root: Path, split: str) -> tuple[Path, Path]:
    """(json, image folder) of a split; "train" and "val" may also be named train2017 and val2017.

    Raises FileNotFoundError, which says how to get COCO.
    """
    names = [split, f"{split}2017"] if split in ("train", "val") else [split]
    files = [data_root / "annotations" / f"instances_{name}.json" for name in names]
    for name, ann_file in zip(names, files, strict=True):
        if ann_file.is_file():
            if not (data_root / name).is_dir():
                raise FileNotFoundError(
                    f"{data_root / name}: no such folder of images; {_GET_COCO}"
                )
            return ann_file, data_root / name
    raise FileNotFoundError(f"{' or '.join(map(str, files))}: no such file; {_GET_COCO}")


def read_coco(path: Path) -> CocoBoxes:
    """Read and check a COCO json.

    Raises ValueError, one line, for the first thing that is wrong.
    """
    packed = _sections(path, _packed)
    if (rows := _unpacked(packed)) is None:  # something is wrong; this raises and says what
        return boxes_of(path, load_records(path))
    return boxes_of(path, packed, rows)


def boxes_of(
    path: Path, records: dict[str, list[dict[str, Any]]], rows: Rows | None = None
) -> CocoBoxes:
    """The same from the result of `load_records`; `rows` are its annotations if already parsed."""
    images, annotations, categories = records.values()
    image_ids = _ids(path, "images", images)
    sizes = np.stack([_integers(path, "images", images, side) for side in ("height", "width")], 1)
    category_ids = np.sort(_ids(path, "categories", categories))
    rows = _rows(path, annotations) if rows is None else rows
    _check_unique(path, "annotations", rows.ids)
    owner = _lookup(path, rows.ids, "image_id", rows.image_ids, image_ids)  # (M,) in 0..N-1
    labels = _lookup(path, rows.ids, "category_id", rows.category_ids, category_ids)  # (M,)
    boxes = _inside(rows.xywh, sizes[owner])  # (M, 4)
    crowd = rows.crowd
    flat = (boxes[:, :2] >= boxes[:, 2:]).any(axis=1) & ~crowd
    order = np.argsort(owner, kind="stable")
    order = order[~(crowd | flat)[order]]  # the boxes to keep, by image
    names = {record["id"]: str(record.get("name", record["id"])) for record in categories}
    _check_names(path, names)
    return CocoBoxes(
        image_ids=image_ids,
        sizes=sizes,
        files=_files(path, images),
        starts=np.searchsorted(owner[order], np.arange(len(images) + 1)),
        boxes=boxes[order],
        labels=labels[order],
        classes=tuple(names[number] for number in category_ids.tolist()),
        category_ids=tuple(category_ids.tolist()),
        num_crowds=int(crowd.sum()),
        num_flat=int(flat.sum()),
    )


def load_records(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The images, annotations and categories of a COCO json, with the keys that detection uses.

    Polygons, nine tenths of COCO's json, are cut out before they cost time and memory.
    Raises ValueError if the file is not JSON or lacks one of the three lists.
    """
    return _sections(path, _slim)


def _sections(path: Path, hook: Callable[[dict[str, Any]], Any]) -> dict[str, list[Any]]:
    """The three lists; `hook` converts every object in them while it is parsed."""
    content = parse_json(path, _without_polygons(path), hook)
    for section in _SECTIONS:
        if not isinstance(content, dict) or not isinstance(content.get(section), list):
            raise ValueError(f"{path}: not a COCO json, it has no list {section!r}")
    return {section: content[section] for section in _SECTIONS}


def _slim(record: dict[str, Any]) -> dict[str, Any]:
    """The record without the keys that detection does not need."""
    return {key: value for key, value in record.items() if key in _KEPT_KEYS}


def _without_polygons(path: Path) -> bytes:
    """The file's text with 0 for every list of polygons; the whole file is never in memory."""
    kept, rest = [], b""
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            rest += chunk
            # The last key, or what may become one, goes to the next piece: its list may end there.
            key = rest.rfind(_SEGMENTATION)
            cut = key if key >= 0 else max(0, len(rest) - len(_SEGMENTATION))
            kept.append(_POLYGONS.sub(_NO_POLYGONS, rest[:cut]))
            rest = rest[cut:]
    kept.append(_POLYGONS.sub(_NO_POLYGONS, rest))
    return b"".join(kept)


def _packed(record: dict[str, Any]) -> dict[str, Any] | bytes:
    """A correct annotation as bytes of `_ROW`, a seventh of the memory; else as `_slim`."""
    box = record.get("bbox")
    if type(box) is not list or len(box) != 4:
        return _slim(record)
    try:
        numbers = (record["id"], record["image_id"], record["category_id"])
        if {*map(type, numbers)} == {int} and {*map(type, box)} <= _NUMBERS:
            return _ROW_PACKER.pack(*numbers, *box, bool(record.get("iscrowd", 0)))
    except (KeyError, struct.error, OverflowError):  # a key is missing, or a number beyond 64 bits
        pass
    return _slim(record)


def _unpacked(sections: dict[str, list[Any]]) -> Rows | None:
    """The annotations that `_packed` made; None if any record is wrong."""
    images, annotations, categories = sections.values()
    others = {*map(type, images), *map(type, categories)}
    if {*map(type, annotations)} - {bytes} or others - {dict}:
        return None
    table = np.frombuffer(b"".join(annotations), _ROW)  # (M,)
    xywh = table["xywh"]
    if not (np.isfinite(xywh).all() and (xywh[:, 2:] >= 0).all()):
        return None
    return Rows(table["id"], table["image_id"], table["category_id"], xywh, table["crowd"])


def _rows(path: Path, annotations: list[dict[str, Any]]) -> Rows:
    """The annotations that `load_records` returned; each value is checked."""
    return Rows(
        ids=_integers(path, "annotations", annotations, "id"),
        image_ids=_integers(path, "annotations", annotations, "image_id"),
        category_ids=_integers(path, "annotations", annotations, "category_id"),
        xywh=_read_boxes(path, annotations),
        crowd=np.array([bool(record.get("iscrowd", 0)) for record in annotations], bool),
    )


def _column(path: Path, section: str, records: list[dict[str, Any]], key: str) -> list[Any]:
    """Value of `key` in every record."""
    for number, record in enumerate(records):
        if not isinstance(record, dict) or key not in record:
            raise ValueError(f"{path}: {section}[{number}] has no {key!r}")
    return [record[key] for record in records]


def _integers(
    path: Path, section: str, records: list[dict[str, Any]], key: str
) -> NDArray[np.int64]:
    """Integer value of `key` in every record."""
    values = _column(path, section, records, key)
    for number, value in enumerate(values):
        if not is_integer(value):
            raise ValueError(f"{path}: {section}[{number}]: {key} is {value!r}, not an integer")
    return np.array(values, np.int64)


def is_integer(value: object) -> bool:
    """Whether `value` is an integer of at most 64 bits, and not a bool."""
    return type(value) is int and -(2**63) <= value < 2**63


def _ids(path: Path, section: str, records: list[dict[str, Any]]) -> NDArray[np.int64]:
    """The ids of the records; ValueError unless all differ."""
    ids = _integers(path, section, records, "id")
    _check_unique(path, section, ids)
    return ids


def _check_unique(path: Path, section: str, ids: NDArray[np.int64]) -> None:
    ordered = np.sort(ids)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if len(twice):
        raise ValueError(f"{path}: {section}: id {twice[0]} occurs more than once")


def _check_names(path: Path, names: dict[int, str]) -> None:
    """Raise ValueError if two categories have one name: checkpoints and reports use names."""
    seen: dict[str, int] = {}
    for number, name in sorted(names.items()):
        if name in seen:
            raise ValueError(
                f"{path}: categories {seen[name]} and {number} are both named {name!r}; rename one"
            )
        seen[name] = number


def _lookup(
    path: Path,
    annotation_ids: NDArray[np.int64],
    key: str,
    wanted: NDArray[np.int64],
    known: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Index (M,) in `known` of the ids `wanted` (M,) that annotations have under `key`."""
    missing = np.flatnonzero(~np.isin(wanted, known))
    if len(missing):
        first = missing[0]
        section = {"image_id": "images", "category_id": "categories"}[key]
        raise ValueError(
            f"{path}: annotation {annotation_ids[first]} has {key} {wanted[first]}, which is not "
            f"among its {section} ({len(missing)} such annotations)"
        )
    order = np.argsort(known)
    return order[np.searchsorted(known, wanted, sorter=order)]


def _read_boxes(path: Path, annotations: list[dict[str, Any]]) -> NDArray[np.float64]:
    """COCO's xywh boxes (M, 4)."""
    values = _column(path, "annotations", annotations, "bbox")
    for record, value in zip(annotations, values, strict=True):
        if not is_xywh(value):
            raise ValueError(
                f"{path}: annotation {record['id']}: bbox is {value!r}; it must be 4 finite "
                "numbers x, y, width, height, with width and height not negative"
            )
    return np.array(values, np.float64).reshape(-1, 4)


def _inside(xywh: NDArray[np.float64], sizes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Boxes (M, 4) as xyxy, clipped to images of `sizes` (M, 2)."""
    corners = np.stack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)  # (M, 2, 2) of x, y
    inside = np.clip(corners, 0, sizes[:, None, ::-1])
    return inside.reshape(-1, 4).astype(np.float32)


def is_xywh(value: object) -> bool:
    """Whether `value` is a list of four finite numbers with the last two not negative."""
    try:
        return (
            isinstance(value, list)
            and len(value) == 4
            and all(type(side) in (int, float) and math.isfinite(side) for side in value)
            and value[2] >= 0
            and value[3] >= 0
        )
    except OverflowError:  # an integer of hundreds of digits
        return False


def _files(path: Path, images: list[dict[str, Any]]) -> NDArray[np.bytes_]:
    """File names (N,), none of which leads out of the image folder."""
    names = _column(path, "images", images, "file_name")
    for record, name in zip(images, names, strict=True):
        if not stays_inside(name):
            raise ValueError(
                f"{path}: image {record['id']}: file_name {name!r} must be a path inside the "
                "image folder"
            )
    return np.array([name.encode() for name in names], np.bytes_)
